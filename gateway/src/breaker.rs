//! A circuit breaker: closed, open, half-open.
//!
//! Pure: it is told the time and how calls went, and says whether a call may be made. It knows neither what a call is nor who
//! makes it: the loss of messages (`im::loss`) and push notifications (`push`) have one each. States and their numbers are those
//! that operators know from other breakers: 0 closed, 1 open, 2 half-open.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use wire::time::Time;

/// Parts of the window: it moves by one of them at a time.
const SLICES: usize = 10;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Share of failures in the window from which it opens, above 0 and at most 1.
    pub ratio: f64,
    /// How far back outcomes count.
    pub window: Duration,
    /// Outcomes in the window below which nothing is concluded.
    pub events_min: u64,
    /// How long it stays open before it tries.
    pub open_for: Duration,
    /// Calls let through to try; it closes when as many outcomes are known and too few of them are failures.
    pub probes: u64,
}

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Lets all through.
    Closed = 0,
    /// Lets none through.
    Open = 1,
    /// Lets a few through, to see.
    HalfOpen = 2,
}

/// Calls that ended well, and that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// Ended well.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
}

impl Outcomes {
    fn add(&mut self, more: Outcomes) {
        self.succeeded += more.succeeded;
        self.failed += more.failed;
    }

    fn total(self) -> u64 {
        self.succeeded + self.failed
    }

    /// Whether failures are at least `ratio` of `total`.
    fn fails(self, ratio: f64, total: u64) -> bool {
        self.failed > 0 && self.failed as f64 >= ratio * total as f64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Time },
    HalfOpen { renew_at: Time, permits: u64, seen: Outcomes },
}

/// One breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    phase: Phase,
    slices: [Outcomes; SLICES],
    /// Number of the newest slice, counted from time zero.
    newest: u64,
    opened: u64,
    trials: u64,
}

impl Breaker {
    /// Closed, with nothing known.
    pub fn new(settings: Settings) -> Breaker {
        let slices = [Outcomes::default(); SLICES];
        Breaker { settings, phase: Phase::Closed, slices, newest: 0, opened: 0, trials: 0 }
    }

    /// What it does with calls at `now`.
    pub fn state(&mut self, now: Time) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open,
            Phase::Open { .. } => {
                self.try_again(Outcomes::default(), now);
                State::HalfOpen
            }
            Phase::HalfOpen { renew_at, seen, .. } => {
                // What was let through may never tell how it went.
                if now >= renew_at {
                    self.try_again(seen, now);
                }
                State::HalfOpen
            }
        }
    }

    fn try_again(&mut self, seen: Outcomes, now: Time) {
        self.trials += 1;
        let (renew_at, permits) = (now + self.settings.open_for, self.settings.probes);
        self.phase = Phase::HalfOpen { renew_at, permits, seen };
    }

    /// Whether a call may be made now. Half-open, each yes is one probe less.
    pub fn permits(&mut self, now: Time) -> bool {
        match (self.state(now), &mut self.phase) {
            (State::Closed, _) => true,
            (State::HalfOpen, Phase::HalfOpen { permits, .. }) if *permits > 0 => {
                *permits -= 1;
                true
            }
            _ => false,
        }
    }

    /// Takes in how calls went. What ends while it is open was begun before, and says nothing new.
    pub fn record(&mut self, outcomes: Outcomes, now: Time) {
        let Settings { ratio, events_min, open_for, probes, .. } = self.settings;
        self.state(now);
        let fails = match &mut self.phase {
            Phase::Open { .. } => return,
            Phase::HalfOpen { seen, .. } => {
                seen.add(outcomes);
                let seen = *seen;
                // Certain before all are known, if so many failed.
                let fails = seen.fails(ratio, seen.total().max(probes));
                if !fails && seen.total() >= probes {
                    self.forget();
                    self.phase = Phase::Closed;
                }
                fails
            }
            Phase::Closed => {
                self.move_window(now);
                self.slices[(self.newest % SLICES as u64) as usize].add(outcomes);
                let window = self.in_window();
                window.total() >= events_min && window.fails(ratio, window.total())
            }
        };
        if fails {
            self.forget();
            self.opened += 1;
            self.phase = Phase::Open { until: now + open_for };
        }
    }

    /// Share of failures of what is known now, 0 to 1; 0 where nothing is.
    pub fn failure_rate(&mut self, now: Time) -> f64 {
        self.move_window(now);
        let known = match self.phase {
            Phase::HalfOpen { seen, .. } => seen,
            _ => self.in_window(),
        };
        if known.total() == 0 { 0.0 } else { known.failed as f64 / known.total() as f64 }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// How often it has let [`Settings::probes`] calls through to try.
    pub fn trials(&self) -> u64 {
        self.trials
    }

    fn in_window(&self) -> Outcomes {
        self.slices.iter().fold(Outcomes::default(), |mut sum, slice| {
            sum.add(*slice);
            sum
        })
    }

    fn move_window(&mut self, now: Time) {
        let slice_ns = (self.settings.window.as_nanos() as u64 / SLICES as u64).max(1);
        let newest = now.0 / slice_ns;
        let passed = newest.saturating_sub(self.newest).min(SLICES as u64);
        for slice in (0..passed).map(|back| newest - back) {
            self.slices[(slice % SLICES as u64) as usize] = Outcomes::default();
        }
        self.newest = self.newest.max(newest);
    }

    fn forget(&mut self) {
        self.slices = [Outcomes::default(); SLICES];
    }
}

/// A breaker as others see it: its owner publishes, anybody reads, and nobody waits.
#[derive(Debug, Default)]
pub struct Published {
    state: AtomicU8,
    /// Calls that may still be made while it is half-open.
    permits: AtomicU64,
    trials: AtomicU64,
    opened: AtomicU64,
    /// The bits of an `f64`.
    failure_rate: AtomicU64,
}

impl Published {
    /// The owner tells what holds at `now`.
    pub fn publish(&self, breaker: &mut Breaker, now: Time) {
        let state = breaker.state(now);
        if self.trials.swap(breaker.trials(), Ordering::Relaxed) != breaker.trials() {
            self.permits.store(breaker.settings.probes, Ordering::Relaxed);
        }
        self.opened.store(breaker.opened(), Ordering::Relaxed);
        self.failure_rate.store(breaker.failure_rate(now).to_bits(), Ordering::Relaxed);
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Whether a call may be made, as far as has been published. Half-open, each yes is one probe less, whoever asks.
    pub fn permits(&self) -> bool {
        const CLOSED: u8 = State::Closed as u8;
        const OPEN: u8 = State::Open as u8;
        match self.state.load(Ordering::Relaxed) {
            CLOSED => true,
            OPEN => false,
            _ => {
                let one_less = |permits: u64| permits.checked_sub(1);
                self.permits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
            }
        }
    }

    /// 0 closed, 1 open, 2 half-open.
    pub fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Share of failures, 0 to 1.
    pub fn failure_rate(&self) -> f64 {
        f64::from_bits(self.failure_rate.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn settings() -> Settings {
        Settings {
            ratio: 0.2,
            window: Duration::from_millis(1000),
            events_min: 10,
            open_for: Duration::from_millis(500),
            probes: 5,
        }
    }

    fn at(ms: u64) -> Time {
        Time(ms * MS)
    }

    fn outcomes(succeeded: u64, failed: u64) -> Outcomes {
        Outcomes { succeeded, failed }
    }

    #[test]
    fn opens_at_the_ratio_and_not_before_enough_is_known() {
        for (given, state) in [
            (outcomes(0, 9), State::Closed),
            (outcomes(9, 2), State::Closed),
            (outcomes(8, 2), State::Open),
            (outcomes(0, 10), State::Open),
            (outcomes(1_000_000, 0), State::Closed),
        ] {
            let mut breaker = Breaker::new(settings());
            breaker.record(given, at(5000));
            assert_eq!(breaker.state(at(5000)), state, "{given:?}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut breaker = Breaker::new(settings());
        breaker.record(outcomes(0, 9), at(5000));
        breaker.record(outcomes(0, 1), at(6000));
        assert_eq!(breaker.state(at(6000)), State::Closed);
        assert_eq!(breaker.failure_rate(at(6000)), 1.0);
        breaker.record(outcomes(0, 9), at(6899));
        assert_eq!(
            (breaker.state(at(6899)), breaker.failure_rate(at(6899))),
            (State::Open, 0.0),
            "begins anew"
        );
    }

    #[test]
    fn tries_and_closes_or_opens_again() {
        let open = || {
            let mut breaker = Breaker::new(settings());
            breaker.record(outcomes(0, 10), at(5000));
            assert!(!breaker.permits(at(5499)));
            assert_eq!((0..9).filter(|_| breaker.permits(at(5500))).count(), 5);
            breaker
        };
        let mut breaker = open();
        breaker.record(outcomes(4, 0), at(5600));
        assert_eq!(breaker.state(at(5600)), State::HalfOpen);
        breaker.record(outcomes(1, 0), at(5600));
        assert_eq!((breaker.state(at(5600)), breaker.opened()), (State::Closed, 1));
        let mut breaker = open();
        breaker.record(outcomes(0, 1), at(5600));
        assert_eq!((breaker.state(at(5600)), breaker.opened()), (State::Open, 2), "one of five is a fifth");
        assert_eq!(breaker.state(at(6100)), State::HalfOpen);
        // Nobody tells how the probes went: others are let through.
        let mut breaker = open();
        assert!(!breaker.permits(at(5999)) && breaker.permits(at(6000)));
    }

    #[test]
    fn what_is_published_lets_no_more_probes_through() {
        let (mut breaker, published) = (Breaker::new(settings()), Published::default());
        assert!(published.permits());
        breaker.record(outcomes(0, 10), at(5000));
        published.publish(&mut breaker, at(5000));
        assert!(!published.permits());
        assert_eq!((published.state(), published.opened()), (1, 1));
        for now in [5500, 5600, 5700] {
            published.publish(&mut breaker, at(now));
        }
        assert_eq!(published.state(), 2);
        assert_eq!((0..99).filter(|_| published.permits()).count(), 5);
    }

    #[derive(Debug, Clone)]
    enum Act {
        Wait(u64),
        Record(u64, u64),
        Ask,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0u64..700).prop_map(Act::Wait),
            (0u64..12, 0u64..4).prop_map(|(succeeded, failed)| Act::Record(succeeded, failed)),
            Just(Act::Ask),
        ]
    }

    proptest! {
        /// Against a model that keeps every outcome with its slice of the window and says, in words of the definition, when to open.
        #[test]
        fn does_what_the_definition_says(acts in prop::collection::vec(act(), 1..300)) {
            let Settings { ratio, events_min, probes, .. } = settings();
            let mut breaker = Breaker::new(settings());
            let (mut now, mut kept): (u64, Vec<(u64, u64, u64)>) = (10_000, Vec::new());
            let mut open_until: Option<u64> = None;
            // Permits, when they are renewed, successes, failures.
            let mut probing: Option<(u64, u64, u64, u64)> = None;
            for act in acts {
                if let Act::Wait(ms) = act {
                    now += ms;
                }
                if open_until.is_some_and(|until| now >= until) {
                    (open_until, probing) = (None, Some((probes, now + 500, 0, 0)));
                }
                if let Some((permits, renew_at, _, _)) = &mut probing
                    && now >= *renew_at
                {
                    (*permits, *renew_at) = (probes, now + 500);
                }
                let expected = match (open_until, &probing) {
                    (Some(_), _) => State::Open,
                    (None, Some(_)) => State::HalfOpen,
                    (None, None) => State::Closed,
                };
                prop_assert_eq!(breaker.state(at(now)), expected);
                match act {
                    Act::Wait(_) => {}
                    Act::Ask => {
                        let permitted = match (&mut probing, open_until) {
                            (_, Some(_)) => false,
                            (Some((permits, ..)), None) => {
                                let permitted = *permits > 0;
                                *permits = permits.saturating_sub(1);
                                permitted
                            }
                            (None, None) => true,
                        };
                        prop_assert_eq!(breaker.permits(at(now)), permitted);
                    }
                    Act::Record(ok, bad) => {
                        breaker.record(outcomes(ok, bad), at(now));
                        let mut opens = false;
                        if let (Some((_, _, seen_ok, seen_bad)), None) = (&mut probing, open_until) {
                            (*seen_ok, *seen_bad) = (*seen_ok + ok, *seen_bad + bad);
                            let total = (*seen_ok + *seen_bad).max(probes);
                            opens = *seen_bad > 0 && *seen_bad as f64 >= ratio * total as f64;
                            if !opens && *seen_ok + *seen_bad >= probes {
                                (probing, kept) = (None, Vec::new());
                            }
                        } else if open_until.is_none() {
                            kept.push((now / 100, ok, bad));
                            kept.retain(|(slice, ..)| now / 100 - slice < SLICES as u64);
                            let bad: u64 = kept.iter().map(|(_, _, bad)| bad).sum();
                            let total: u64 = kept.iter().map(|(_, ok, bad)| ok + bad).sum();
                            opens = total >= events_min && bad > 0 && bad as f64 >= ratio * total as f64;
                        }
                        if opens {
                            (open_until, probing, kept) = (Some(now + 500), None, Vec::new());
                        }
                    }
                }
            }
        }
    }
}
