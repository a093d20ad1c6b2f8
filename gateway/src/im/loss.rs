//! The breaker on lost messages: while too many are lost, new ones are refused instead of being lost too.
//!
//! Lost is what the operators' rule calls lost: `im_gateway_messages_failed_total`, of any reason, against it and the delivered.
//! Each shard counts its own, as it does for a scrape. Shard 0 sums them up a few times in each window, asks the breaker, and
//! publishes the answer in atomics that every shard reads before it accepts a message. No shard waits for another.

use super::shard::Shard;
use crate::breaker::{Breaker, Outcomes, Settings};
use crate::metrics::{Metrics, Service};
use std::time::Duration;
use wire::time::Time;

/// Looks in one window, and the bounds of the time between two.
const LOOKS_IN_WINDOW: u32 = 20;
const LOOK_EVERY_MIN: Duration = Duration::from_millis(5);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(100);

/// What shard 0 does for all.
#[derive(Debug)]
pub(super) struct LossWatch {
    breaker: Breaker,
    /// All outcomes that the breaker has been told of.
    known: Outcomes,
    every: Duration,
    /// When it was looked last. What has come since belongs to the state that was published then.
    looked: Option<Time>,
    /// When to look next; at once, at first.
    due: Time,
}

impl LossWatch {
    pub(super) fn new(settings: Settings) -> LossWatch {
        let every = (settings.window / LOOKS_IN_WINDOW).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        let breaker = Breaker::new(settings);
        LossWatch { breaker, known: Outcomes::default(), every, looked: None, due: Time(0) }
    }

    pub(super) fn due(&self) -> Time {
        self.due
    }

    fn look(&mut self, metrics: &Metrics, now: Time) {
        let all = Outcomes {
            succeeded: metrics.total(|shard| shard.delivered.iter().map(|count| count.get()).sum()),
            failed: metrics.total(|shard| shard.failed.iter().flatten().map(|count| count.get()).sum()),
        };
        let new = Outcomes {
            succeeded: all.succeeded - self.known.succeeded,
            failed: all.failed - self.known.failed,
        };
        self.known = all;
        self.breaker.record(new, self.looked.replace(now).unwrap_or(now));
        metrics.breaker(Service::Messages).publish(&mut self.breaker, now);
        self.due = now + self.every;
    }
}

impl Shard {
    /// Looks at the loss of all shards, if it is time and this is the shard that does.
    pub(super) fn watch_loss(&mut self, now: Time) {
        if let Some(watch) = self.loss.as_mut().filter(|watch| watch.due <= now) {
            watch.look(&self.shared.metrics, now);
        }
    }

    /// Whether a message may be accepted, as far as loss goes.
    pub(super) fn takes_messages(&self) -> bool {
        if self.shared.limits.loss_breaker.is_none() {
            return true;
        }
        let takes = self.shared.metrics.breaker(Service::Messages).permits();
        let counter = if takes { &self.metrics.breaker_allowed } else { &self.metrics.breaker_rejected };
        counter.increment();
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FailReason, Kind};

    const SETTINGS: Settings = Settings {
        ratio: 0.05,
        window: Duration::from_secs(1),
        events_min: 100,
        open_for: Duration::from_secs(2),
        probes: 10,
    };

    fn at(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn the_loss_of_all_shards_together_decides() {
        let (metrics, mut watch) = (Metrics::new("n", 3), LossWatch::new(SETTINGS));
        let published = metrics.breaker(Service::Messages);
        watch.look(&metrics, at(1000));
        assert_eq!(watch.due(), at(1050));
        for shard in 0..3 {
            metrics.shard(shard).delivered[Kind::Direct as usize].add(100);
        }
        metrics.shard(1).failed[Kind::Group as usize][FailReason::Test as usize].add(15);
        watch.look(&metrics, at(1050));
        assert_eq!((published.state(), published.permits()), (0, true), "15 of 315");
        metrics.shard(2).fail(Kind::Direct, FailReason::QueueFull);
        watch.look(&metrics, at(1100));
        assert_eq!((published.state(), published.permits()), (1, false), "16 of 316");
        // What is lost while it is open was accepted before.
        metrics.shard(2).fail(Kind::Direct, FailReason::Test);
        watch.look(&metrics, at(3100));
        assert_eq!(published.state(), 2);
        metrics.shard(0).delivered[0].add(10);
        watch.look(&metrics, at(3150));
        assert_eq!((published.state(), published.opened()), (0, 1));
    }
}
