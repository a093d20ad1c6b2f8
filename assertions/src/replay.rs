//! Rules over saved samples, moment by moment, while the server restarts or reads other rules: what would have come of them.
//!
//! The same engine and the same routes as in a run. The Alertmanager stays up throughout; only Prometheus goes down, and then
//! neither scrapes nor evaluates nor sends. Whoever fills the store leaves out what it would have scraped meanwhile
//! ([`Plan::is_down`]).

use crate::alert::{Alert, State};
use crate::alertmanager::Alertmanager;
use crate::engine::{Engine, EngineSettings, RuleError};
use crate::labels::Labels;
use crate::notify::{Pipeline, Posted};
use crate::rule::RuleSet;
use crate::store::Store;
use crate::time::Millis;
use crate::timeline::{AlertEvent, Notification};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rules at the beginning, of a server that has been running for long.
    pub rules: RuleSet,
    /// How they are evaluated.
    pub settings: EngineSettings,
    /// Who is told; `None`: nobody asks.
    pub routes: Option<Arc<Alertmanager>>,
    /// First moment.
    pub from: Millis,
    /// Last moment.
    pub until: Millis,
    /// In the order of time, one after the other.
    pub outages: Vec<Outage>,
    /// In the order of time.
    pub reloads: Vec<Reload>,
}

/// A time without the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// It ends.
    pub from: Millis,
    /// Another one begins.
    pub until: Millis,
}

/// The server reads other rules.
#[derive(Debug, Clone)]
pub struct Reload {
    /// When.
    pub at: Millis,
    /// Which.
    pub rules: RuleSet,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Millis,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// An alert moved on.
    Alert(AlertEvent),
    /// Somebody was told.
    Told(Notification),
    /// The server ended. Its alerts are forgotten.
    Down {
        /// When the next one begins.
        until: Millis,
        /// The alerts that were active.
        forgotten: Vec<(Labels, State)>,
    },
    /// The server read other rules.
    Reloaded {
        /// Active alerts that it knows no longer: their rules are gone, or have other labels.
        forgotten: Vec<(Labels, State)>,
    },
    /// A rule could not be evaluated; of the same failures the first.
    Failed(RuleError),
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// In the order of time.
    pub entries: Vec<Entry>,
    /// Moments at which rules were evaluated.
    pub evaluations: u64,
}

impl Plan {
    /// Whether the server is down, so that it scrapes nothing.
    pub fn is_down(&self, at: Millis) -> bool {
        self.outages.iter().any(|outage| outage.from <= at && at < outage.until)
    }

    /// Plays it over the samples in the store. Time passes from one evaluation to the next.
    pub fn play(self, store: Store) -> Timeline {
        let before = Millis(self.from.0.saturating_sub(1));
        let mut play = Play {
            engine: Engine::new(self.rules, self.settings),
            store,
            pipeline: self.routes.map(|routes| Pipeline::new(routes, before)),
            last: before,
            timeline: Timeline::default(),
            failed: BTreeSet::new(),
        };
        let mut reloads = self.reloads.into_iter().peekable();
        let within = |outage: &&Outage| outage.from <= self.until && self.from < outage.until;
        for outage in self.outages.iter().filter(within) {
            while let Some(reload) = reloads.next_if(|reload| reload.at < outage.from) {
                play.evaluate_before(reload.at);
                play.reload(reload);
            }
            play.evaluate_before(outage.from);
            play.go_down(*outage);
            // What is read while nobody runs is what the next server begins with.
            while let Some(reload) = reloads.next_if(|reload| reload.at <= outage.until) {
                play.reload(reload);
            }
            play.engine.restart();
            play.last = Millis(outage.until.0 - 1);
        }
        for reload in reloads.filter(|reload| reload.at <= self.until) {
            play.evaluate_before(reload.at);
            play.reload(reload);
        }
        play.evaluate_before(Millis(self.until.0.saturating_add(1)));
        play.tell(self.until);
        play.timeline.entries.sort_by_key(|entry| entry.at);
        play.timeline
    }
}

/// A replay on its way.
struct Play {
    engine: Engine,
    store: Store,
    pipeline: Option<Pipeline>,
    /// Everything up to then is evaluated.
    last: Millis,
    timeline: Timeline,
    failed: BTreeSet<(usize, String)>,
}

impl Play {
    fn add(&mut self, at: Millis, what: Happening) {
        self.timeline.entries.push(Entry { at, what });
    }

    fn evaluate_before(&mut self, end: Millis) {
        while let Some(at) = self.engine.next_evaluation(self.last).filter(|at| *at < end) {
            self.last = at;
            self.evaluate(at);
        }
    }

    fn evaluate(&mut self, at: Millis) {
        self.timeline.evaluations += 1;
        let evaluation = self.engine.evaluate(&mut self.store, at);
        for event in evaluation.events {
            self.add(at, Happening::Alert(event));
        }
        for error in evaluation.errors {
            if self.failed.insert((error.rule, error.reason.clone())) {
                self.add(at, Happening::Failed(error));
            }
        }
        if let Some(pipeline) = &mut self.pipeline {
            for sent in evaluation.sends {
                let (starts_at, ends_at) = (Some(sent.starts_at), Some(sent.ends_at));
                pipeline.receive(at, Posted { labels: sent.labels, starts_at, ends_at });
            }
        }
        self.tell(at);
    }

    fn tell(&mut self, at: Millis) {
        let told = self.pipeline.as_mut().map(|pipeline| pipeline.advance(at)).unwrap_or_default();
        for notification in told {
            self.add(notification.at, Happening::Told(notification));
        }
    }

    fn active(&self) -> Vec<(Labels, State)> {
        self.engine.active().map(|(_, alert): (usize, &Alert)| (alert.labels.clone(), alert.state)).collect()
    }

    fn go_down(&mut self, outage: Outage) {
        let forgotten = self.active();
        self.add(outage.from, Happening::Down { until: outage.until, forgotten });
        // Nothing is active meanwhile, for a reload to lose.
        self.engine.restart();
    }

    fn reload(&mut self, reload: Reload) {
        let mut forgotten = self.active();
        self.engine.reload(reload.rules, reload.at);
        let kept: BTreeSet<Labels> = self.engine.active().map(|(_, alert)| alert.labels.clone()).collect();
        forgotten.retain(|(labels, _)| !kept.contains(labels));
        self.failed.clear();
        self.add(reload.at, Happening::Reloaded { forgotten });
    }
}

#[cfg(test)]
mod tests;
