//! How often something may happen: per connection, and per user over all devices.
//!
//! A limit is a token bucket that holds one second's worth, kept as one number: the moment at which the bucket will be full
//! again (the virtual scheduling form of ATM's generic cell rate algorithm, ITU-T I.371). So a connection's bucket is eight
//! bytes, and a user's, which several shards take from, one atomic: no lock, no hop to the user's home.

use super::open::Session;
use super::protocol::{self, Parsed, Refusal, Request};
use super::shard::Shard;
use crate::metrics::LimitScope;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::time::Time;

const SECOND_NS: u64 = 1_000_000_000;

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds that one event takes out of the bucket; rounded up, so that the rate is never exceeded.
    interval_ns: u64,
    /// How far ahead of now a bucket may be filled before the next event is refused.
    tolerance_ns: u64,
}

impl Rate {
    /// `limit` a second; `None` for 0, which is no limit.
    pub fn per_second(limit: u32) -> Option<Rate> {
        let limit = u64::from(limit);
        if limit == 0 {
            return None;
        }
        let interval_ns = SECOND_NS.div_ceil(limit);
        Some(Rate { interval_ns, tolerance_ns: interval_ns * (limit - 1) })
    }

    /// What a bucket that is full again at `full_at` becomes by one more event; `None`: it is refused.
    fn take(self, full_at: u64, now: Time) -> Option<u64> {
        (full_at <= now.0.saturating_add(self.tolerance_ns)).then(|| full_at.max(now.0) + self.interval_ns)
    }
}

/// A bucket with one owner. Owns no memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    pub(super) const FULL: Bucket = Bucket { full_at: 0 };

    /// Whether it is like one that was never taken from.
    pub(super) fn is_full(self, now: Time) -> bool {
        self.full_at <= now.0
    }

    /// Takes one event out. False: none is left. Without a `rate` there is always one.
    pub(super) fn take(&mut self, rate: Option<Rate>, now: Time) -> bool {
        let Some(rate) = rate else { return true };
        let taken = rate.take(self.full_at, now);
        self.full_at = taken.unwrap_or(self.full_at);
        taken.is_some()
    }

    /// Whether [`Bucket::take`] would find one.
    pub(super) fn has(self, rate: Option<Rate>, now: Time) -> bool {
        rate.is_none_or(|rate| rate.take(self.full_at, now).is_some())
    }
}

/// A user's bucket: shards take from it at the same time, and none waits for another.
#[derive(Debug, Default)]
pub(crate) struct SharedBucket {
    full_at: AtomicU64,
}

impl SharedBucket {
    fn take(&self, rate: Rate, now: Time) -> bool {
        // Nothing else is published by this number, so no ordering is needed.
        let update = |full_at| rate.take(full_at, now);
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok()
    }
}

impl Shard {
    /// The frame, unless the sender has sent too many, or nests its body too deeply. ACKs are free: they make room.
    pub(super) fn admit<'a>(&self, session: &mut Session, frame: Parsed<'a>, now: Time) -> Parsed<'a> {
        let limits = &self.shared.limits;
        let id = match &frame {
            Ok(Request::Ack(_)) => return frame,
            Ok(Request::Send { id, .. }) => Some(*id),
            Ok(Request::Join(_) | Request::Leave(_)) => None,
            Err((id, _)) => *id,
        };
        if limits.messages.is_some() || limits.user_messages.is_some() {
            let limited = |scope: LimitScope| {
                self.metrics.rate_limited[scope as usize].increment();
                Err((id, Refusal::RateLimited))
            };
            // Looked at before the user's bucket and taken after it, so that a refusal by either costs nothing in the other.
            if !session.guard.has_message(limits.messages, now) {
                return limited(LimitScope::Connection);
            }
            if let (Some(rate), Some(bucket)) = (limits.user_messages, &session.state.user_bucket)
                && !bucket.take(rate, now)
            {
                return limited(LimitScope::User);
            }
            session.guard.take_message(limits.messages, now);
            self.metrics.rate_allowed.increment();
        }
        match frame {
            Ok(Request::Send { body, .. }) if protocol::is_deeper(body, limits.json_depth_max) => {
                Err((id, Refusal::TooDeep))
            }
            frame => frame,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn a_bucket_holds_a_second_and_refills_evenly() {
        let rate = Rate::per_second(4);
        let mut bucket = Bucket::default();
        let now = Time(77 * SECOND_NS);
        let at = |quarters: u64| Time(now.0 + quarters * SECOND_NS / 4);
        assert_eq!((0..9).filter(|_| bucket.take(rate, at(0))).count(), 4);
        assert!(
            !bucket.take(rate, Time(at(1).0 - 1)) && bucket.take(rate, at(1)) && !bucket.take(rate, at(1))
        );
        assert_eq!((0..9).filter(|_| bucket.take(rate, at(99))).count(), 4, "no more than a second's worth");
        assert!(Rate::per_second(0).is_none() && bucket.take(None, now));
    }

    proptest! {
        /// In any stretch of time no more than a second's worth and what that time brings are let through; and whoever asks
        /// often enough gets that much, but for the rounding of one interval.
        #[test]
        fn the_limit_is_kept_and_given(limit in 1u32..300, gaps in prop::collection::vec(0u64..5_000_000, 1..400)) {
            let rate = Rate::per_second(limit);
            let (mut bucket, mut now) = (Bucket::default(), SECOND_NS);
            let mut admitted: Vec<u64> = Vec::new();
            let mut last_refused = None;
            for gap in gaps {
                now += gap;
                if bucket.take(rate, Time(now)) { admitted.push(now) } else { last_refused = Some((now, admitted.len())) }
            }
            for (index, from) in admitted.iter().enumerate() {
                for (more, until) in admitted[index..].iter().enumerate() {
                    let allowed = u128::from(limit) + u128::from(until - from) * u128::from(limit) / u128::from(SECOND_NS);
                    prop_assert!((more as u128) < allowed, "{} in {}", more + 1, until - from);
                }
            }
            // The bucket was full at the start, so a refusal means that at least its content was taken.
            if let Some((_, taken)) = last_refused {
                prop_assert!(taken >= limit as usize);
            }
        }
    }

    #[test]
    fn shards_share_a_users_bucket() {
        let bucket = Arc::new(SharedBucket::default());
        let rate = Rate::per_second(1000).expect("a limit");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let bucket = Arc::clone(&bucket);
                std::thread::spawn(move || (0..1000).filter(|_| bucket.take(rate, Time(SECOND_NS))).count())
            })
            .collect();
        let taken: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(taken, 1000);
    }
}
