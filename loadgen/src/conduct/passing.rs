//! Time passing: scrapes on their slots, seconds taken in, the target and the signals watched.

use super::{Conductor, Cut, LEASE, LEASE_ANSWER, SCRAPE_TIMEOUT_MAX, State, TICK, guardian};
use crate::target::OwnGateway;
use std::time::Duration;
use wire::sys::Signal;
use wire::time::Time;

impl Conductor<'_> {
    pub(super) async fn wait(&mut self, length: Duration, state: &mut State) {
        self.until(Time::now() + length, state).await;
    }

    /// Lets time pass until `at`, doing what is due meanwhile. Returns early if the run is cut short.
    pub(super) async fn until(&mut self, at: Time, state: &mut State) {
        loop {
            self.begin_slot(state);
            let now = Time::now();
            let slot = self.clock.next_slot().map(|(wall, _)| wall).filter(|_| state.scraping.is_none());
            // A slot at the very moment still belongs before it.
            if now >= at && slot.is_none_or(|slot| slot > at) || state.cut.is_some() {
                return;
            }
            let next = [Some(at.max(now)), slot, Some(now + TICK)].into_iter().flatten().min().unwrap_or(at);
            self.pass(next.since(now), state).await;
            self.take_seconds(state);
            self.look_at_target(state);
            self.look_for_signals(state);
            self.stay_guarded(LEASE, state);
        }
    }

    /// Tells the guardian that this process lives, and may be silent for `length` if a fault is in force. A run that nobody guards
    /// any more is cut short: what is in force comes out, and nothing more goes in.
    pub(super) fn stay_guarded(&mut self, length: Duration, state: &mut State) {
        let Some(guardian) = &mut self.guardian else { return };
        let length = if state.active.is_empty() && length == LEASE { guardian::IDLE } else { length };
        if let Err(why) = guardian.renew(length) {
            state.cut.get_or_insert(Cut::Unguarded(why.to_string()));
        }
    }

    pub(super) fn look_for_signals(&mut self, state: &mut State) {
        while let Some(signal) = self.signals.next() {
            if matches!(signal, Signal::Interrupt | Signal::Terminate) {
                state.signals += 1;
                state.cut.get_or_insert(Cut::Interrupted);
            }
        }
    }

    /// Sleeps, unless a scrape ends.
    async fn pass(&mut self, length: Duration, state: &mut State) {
        let scraping = state.scraping.as_mut();
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            (at, factor, begin, result) = async {
                match scraping {
                    Some((at, factor, begin, scrape)) => (*at, *factor, *begin, scrape.await),
                    None => std::future::pending().await,
                }
            } => {
                state.scraping = None;
                self.watch.slot(at, result.ok().as_deref(), factor, Time::now().since(begin));
                state.gaps.drain(..).for_each(|gap| self.watch.gap(gap));
            }
        }
    }

    /// Begins the scrape that is due; one that finds the last still under way is a gap.
    fn begin_slot(&mut self, state: &mut State) {
        while let Some((wall, at)) = self.clock.next_slot().filter(|(wall, _)| *wall <= Time::now()) {
            self.clock.slot_done();
            let late = Time::now().since(wall) > self.clock.slot_distance();
            if state.scraping.is_some() {
                state.gaps.push(at);
                continue;
            }
            if late {
                self.watch.gap(at);
                continue;
            }
            let scraper = self.scraper.clone();
            let timeout = self.clock.slot_distance().mul_f64(0.9).min(SCRAPE_TIMEOUT_MAX);
            let scrape = async move {
                match tokio::time::timeout(timeout, scraper.scrape()).await {
                    Ok(result) => result,
                    Err(_) => Err(crate::scrape::ScrapeError::Late),
                }
            };
            state.scraping = Some((at, self.clock.factor(), Time::now(), Box::pin(scrape)));
        }
    }

    pub(super) async fn finish_scrape(&mut self, state: &mut State) {
        self.begin_slot(state);
        if let Some((at, factor, begin, scrape)) = state.scraping.take() {
            self.stay_guarded(LEASE_ANSWER, state);
            let result = scrape.await;
            self.watch.slot(at, result.ok().as_deref(), factor, Time::now().since(begin));
            state.gaps.drain(..).for_each(|gap| self.watch.gap(gap));
        }
    }

    pub(super) fn take_seconds(&mut self, state: &mut State) {
        let connected = self.fleet.count(|gauges| gauges.connected.get());
        let threads = self.fleet.threads();
        for (until, second) in self.fleet.seconds() {
            state.seconds.add(until, &second, threads, connected);
        }
        if let Some(second) = state.seconds.closed.last() {
            self.progress.second(second, &self.watch.events);
        }
    }

    fn look_at_target(&mut self, state: &mut State) {
        let killed_by_us = state.active.iter().any(|active| active.prepared.kills());
        if state.target_died || killed_by_us {
            return;
        }
        if let Some(how) = self.gateway.as_mut().and_then(OwnGateway::ended) {
            state.target_died = true;
            state.incidents.push(format!("the gateway ended by itself ({how}); the run went on without it"));
        }
    }
}
