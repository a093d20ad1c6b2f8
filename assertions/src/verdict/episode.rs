//! Stretches of an alert's life: from pending to its end.

use crate::labels::Labels;
use crate::time::Millis;
use crate::timeline::{AlertEvent, ResolveReason, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One stretch in which an instance was pending or firing without a break.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// Index of the rule.
    pub rule: usize,
    /// The instance.
    pub labels: Labels,
    /// Its first moment.
    pub pending: Millis,
    /// When it fired; `None` if it never did.
    pub firing: Option<Millis>,
    /// When it ended; `None` if it lasts.
    pub end: Option<Millis>,
    /// Why a firing one ended.
    pub ended_by: Option<ResolveReason>,
    /// The value when it fired, else when it went pending.
    pub value: f64,
    /// The last value seen.
    pub last_value: f64,
    /// Annotations when it fired, else when it went pending.
    pub annotations: Arc<BTreeMap<String, String>>,
}

impl Episode {
    /// The alert's name.
    pub fn name(&self) -> &str {
        self.labels.get("alertname")
    }

    /// Whether it is pending or firing at a moment.
    pub fn is_active_at(&self, at: Millis) -> bool {
        self.pending <= at && self.end.is_none_or(|end| at < end)
    }

    /// Whether it is firing at a moment.
    pub fn fires_at(&self, at: Millis) -> bool {
        self.firing.is_some_and(|firing| firing <= at) && self.is_active_at(at)
    }
}

/// All episodes, by their first moment. An end without a beginning belongs to the time before and is left out.
pub fn episodes(events: &[AlertEvent]) -> Vec<Episode> {
    let mut done = Vec::new();
    let mut open: BTreeMap<(usize, &Labels), Episode> = BTreeMap::new();
    for event in events {
        let key = (event.rule, &event.labels);
        match &event.transition {
            Transition::Pending => {
                // A firing alert whose `for` was raised goes back to pending: the same stretch.
                let episode = open.entry(key).or_insert_with(|| begin(event));
                episode.firing = None;
            }
            Transition::Firing => {
                let episode = open.entry(key).or_insert_with(|| begin(event));
                episode.firing = Some(event.at);
                episode.value = event.value;
                episode.annotations = event.annotations.clone();
            }
            Transition::Dropped => done.extend(open.remove(&key).map(|episode| end(episode, event, None))),
            Transition::Resolved(reason) => {
                done.extend(open.remove(&key).map(|episode| end(episode, event, Some(reason.clone()))));
            }
        }
    }
    done.extend(open.into_values());
    done.sort_by(|left, right| (left.pending, &left.labels).cmp(&(right.pending, &right.labels)));
    done
}

fn begin(event: &AlertEvent) -> Episode {
    Episode {
        rule: event.rule,
        labels: event.labels.clone(),
        pending: event.at,
        firing: None,
        end: None,
        ended_by: None,
        value: event.value,
        last_value: event.value,
        annotations: event.annotations.clone(),
    }
}

fn end(episode: Episode, event: &AlertEvent, reason: Option<ResolveReason>) -> Episode {
    Episode { end: Some(event.at), ended_by: reason, last_value: event.value, ..episode }
}

/// From the first firing among the episodes to the first moment at which none of them fires; `None` if none fired.
/// The end is `None` while one fires.
pub(super) fn first_firing(episodes: &[&Episode]) -> Option<(Millis, Option<Millis>)> {
    let mut spans: Vec<(Millis, Option<Millis>)> =
        episodes.iter().filter_map(|episode| Some((episode.firing?, episode.end))).collect();
    spans.sort();
    let (begin, mut end) = *spans.first()?;
    for (next_begin, next_end) in spans {
        match (end, next_end) {
            (Some(current), _) if next_begin > current => break,
            (Some(current), Some(next)) => end = Some(current.max(next)),
            _ => end = None,
        }
    }
    Some((begin, end))
}

/// How many different label sets fired.
pub(super) fn instances_fired(episodes: &[&Episode]) -> usize {
    let fired = episodes.iter().filter(|episode| episode.firing.is_some());
    fired.map(|episode| &episode.labels).collect::<BTreeSet<_>>().len()
}
