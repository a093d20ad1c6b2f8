//! Faults for alert drills: latency between accept and first write, and deliveries lost after they were confirmed.
//!
//! A fault always ends by itself: whoever injects it may die.

use std::time::Duration;
use wire::time::Time;

/// How lost deliveries are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// Each by chance.
    Random,
    /// Every (1/share)-th, so that a burn rate's moment has a closed form.
    Even,
}

/// Deliveries held between accept and first write.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// How long.
    pub delay: Duration,
    /// Which share of deliveries, 0 to 1. Below 1, the others overtake those that are held.
    pub share: f64,
    /// The fault ends by itself.
    pub until: Time,
}

/// Deliveries lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    /// Which share of deliveries, 0 to 1.
    pub share: f64,
    /// How they are chosen.
    pub pick: Pick,
    /// The fault ends by itself.
    pub until: Time,
}

/// What is in force on a shard.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Injected latency.
    pub latency: Option<Latency>,
    /// Injected loss.
    pub failure: Option<Failure>,
}

/// A change to what is in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// What is to be in force.
    pub to: Setting,
    /// When it was asked for, by the asker's clock. A fault that was asked for before it was last healed stays out: its request
    /// lay somewhere while another, perhaps on behalf of a dead asker, healed. 0 for a heal and the maximum for a fault: unknown.
    pub asked_us: u64,
}

/// What is to be in force; `None` heals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    /// Sets or heals the latency.
    Latency(Option<Latency>),
    /// Sets or heals the loss.
    Failure(Option<Failure>),
}

/// Decides which deliveries a fault hits.
#[derive(Debug)]
pub(crate) struct Injector {
    faults: Faults,
    /// When latency and loss were last asked to be healed.
    latency_healed_us: u64,
    failure_healed_us: u64,
    /// Sum of shares not yet spent on a loss, for [`Pick::Even`].
    owed_losses: f64,
    random: u64,
}

impl Injector {
    pub(crate) fn new(seed: u64) -> Injector {
        Injector {
            faults: Faults::default(),
            latency_healed_us: 0,
            failure_healed_us: 0,
            owed_losses: 0.0,
            random: seed,
        }
    }

    /// What is in force at `now`.
    pub(crate) fn in_force(&mut self, now: Time) -> Faults {
        self.faults.latency = self.faults.latency.filter(|latency| now < latency.until);
        self.faults.failure = self.faults.failure.filter(|failure| now < failure.until);
        self.faults
    }

    pub(crate) fn change(&mut self, change: Change) {
        let (healed_us, heals) = match change.to {
            Setting::Latency(latency) => (&mut self.latency_healed_us, latency.is_none()),
            Setting::Failure(failure) => (&mut self.failure_healed_us, failure.is_none()),
        };
        if heals {
            *healed_us = change.asked_us.max(*healed_us);
        } else if change.asked_us < *healed_us {
            return;
        }
        match change.to {
            Setting::Latency(latency) => self.faults.latency = latency,
            Setting::Failure(failure) => {
                self.faults.failure = failure;
                self.owed_losses = 0.0;
            }
        }
    }

    /// Whether this delivery is lost.
    pub(crate) fn loses(&mut self, now: Time) -> bool {
        let Some(failure) = self.faults.failure.filter(|failure| now < failure.until) else { return false };
        match failure.pick {
            Pick::Random => self.chance() < failure.share,
            Pick::Even => {
                self.owed_losses += failure.share;
                let lost = self.owed_losses >= 1.0 - 1e-9;
                if lost {
                    self.owed_losses -= 1.0;
                }
                lost
            }
        }
    }

    /// Until when this delivery is held.
    pub(crate) fn holds(&mut self, now: Time) -> Option<Time> {
        let latency = self.faults.latency.filter(|latency| now < latency.until)?;
        (latency.share >= 1.0 || self.chance() < latency.share).then(|| now + latency.delay)
    }

    /// Uniform in 0..1 (SplitMix64: tiny state, seeded, good enough to pick messages).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Time = Time(1_000);

    fn put_in(to: Setting) -> Change {
        Change { to, asked_us: u64::MAX }
    }

    #[test]
    fn even_loses_exactly_its_share() {
        for (share, deliveries, lost) in
            [(0.02, 10_000, 200), (0.3, 1000, 300), (1.0, 7, 7), (0.001, 5000, 5)]
        {
            let mut injector = Injector::new(1);
            injector.change(put_in(Setting::Failure(Some(Failure {
                share,
                pick: Pick::Even,
                until: LATER,
            }))));
            assert_eq!((0..deliveries).filter(|_| injector.loses(Time(0))).count(), lost, "{share}");
        }
    }

    #[test]
    fn random_loses_about_its_share() {
        let mut injector = Injector::new(1);
        let failure = Failure { share: 0.1, pick: Pick::Random, until: LATER };
        injector.change(put_in(Setting::Failure(Some(failure))));
        let lost = (0..100_000).filter(|_| injector.loses(Time(0))).count();
        assert!((9_500..10_500).contains(&lost), "{lost}");
    }

    #[test]
    fn faults_end_by_themselves_and_by_healing() {
        let mut injector = Injector::new(1);
        let latency = Latency { delay: Duration::from_nanos(5), share: 1.0, until: LATER };
        injector.change(put_in(Setting::Latency(Some(latency))));
        assert_eq!(injector.holds(Time(10)), Some(Time(15)));
        assert_eq!(injector.holds(LATER), None);
        assert_eq!(injector.in_force(LATER), Faults::default());
        injector.change(put_in(Setting::Latency(Some(latency))));
        injector.change(Change { to: Setting::Latency(None), asked_us: 0 });
        assert_eq!(injector.holds(Time(10)), None);
        injector.change(put_in(Setting::Latency(Some(latency))));
        assert!(injector.holds(Time(10)).is_some(), "who names no time is not late");
    }

    #[test]
    fn a_fault_asked_for_before_it_was_healed_stays_out() {
        let latency =
            Setting::Latency(Some(Latency { delay: Duration::from_nanos(5), share: 1.0, until: LATER }));
        let failure = Setting::Failure(Some(Failure { share: 1.0, pick: Pick::Even, until: LATER }));
        for (fault, heal) in [(latency, Setting::Latency(None)), (failure, Setting::Failure(None))] {
            let mut injector = Injector::new(1);
            let mut change = |to, asked_us| {
                injector.change(Change { to, asked_us });
                injector.in_force(Time(0)) != Faults::default()
            };
            assert!(change(fault, 5));
            assert!(!change(heal, 7));
            assert!(!change(fault, 6), "it lay somewhere meanwhile");
            assert!(change(fault, 8));
            assert!(!change(heal, 1), "a heal is never too late");
            assert!(!change(fault, 6), "nor does it bring back what was late before it");
        }
    }
}
