//! A line with so many bytes a second, for one connection or for all.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::time::Time;

/// When a line is free again. Threads share the line of all connections without a lock: each takes the next place on it.
#[derive(Debug, Default)]
pub struct Line(AtomicU64);

impl Line {
    /// Takes the next place for `bytes` that are ready at `ready`; gives when the last of them has passed.
    pub(super) fn pass(&self, ready: Time, bytes: usize, rate: NonZeroU64) -> Time {
        let took = time_of(bytes, rate);
        let after = |free: u64| Time(free.max(ready.0)) + took;
        // The closure always gives a value, so both arms hold the time before.
        let (Ok(free) | Err(free)) =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| Some(after(free).0));
        after(free)
    }

    /// The line is free from then on, whatever has been taken.
    pub(super) fn free(&self, at: Time) {
        self.0.store(at.0, Ordering::Relaxed);
    }
}

/// How long so many bytes take, to the next nanosecond.
pub(super) fn time_of(bytes: usize, rate: NonZeroU64) -> Duration {
    let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that leave together: 20 ms worth, so that a slow line costs 50 steps a second and not one for each byte.
pub(super) fn portion(rate: NonZeroU64) -> usize {
    (rate.get() / 50).clamp(1, 64 * 1024) as usize
}
