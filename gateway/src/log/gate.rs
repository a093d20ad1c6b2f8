//! Which records are made at all, and how many may be under way.

use super::Level;
use crate::metrics::Dropped;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Records that may wait to be written, of all threads together.
const WAITING_MAX: usize = 16 * 1024;

/// What every thread looks at before it makes a record. All of it is atomics: nobody waits here.
#[derive(Debug)]
pub struct Gate {
    level: AtomicU8,
    waiting: AtomicUsize,
    dropped: [AtomicU64; 2],
    written: AtomicU64,
}

impl Default for Gate {
    /// One that lets only errors through.
    fn default() -> Gate {
        Gate {
            level: AtomicU8::new(Level::Error as u8),
            waiting: AtomicUsize::new(0),
            dropped: Default::default(),
            written: AtomicU64::new(0),
        }
    }
}

impl Gate {
    /// Whether anybody wants to know what is said from `level` on.
    pub fn wants(&self, level: Level) -> bool {
        level as u8 <= self.level.load(Ordering::Relaxed)
    }

    /// The level in force.
    pub fn level(&self) -> Level {
        Level::ALL[usize::from(self.level.load(Ordering::Relaxed))]
    }

    /// Puts another level in force, for every thread from its next record on.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// How many of `records` may go on their way; the others are counted as dropped.
    pub(crate) fn enter(&self, records: usize) -> usize {
        let before = self.waiting.fetch_add(records, Ordering::Relaxed);
        let admitted = records.min(WAITING_MAX.saturating_sub(before));
        if admitted < records {
            self.waiting.fetch_sub(records - admitted, Ordering::Relaxed);
            self.count_dropped(Dropped::QueueFull, records - admitted);
        }
        admitted
    }

    /// These have been written, or nobody is left to write them.
    pub(crate) fn leave(&self, records: usize) {
        self.waiting.fetch_sub(records, Ordering::Relaxed);
        self.written.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Counts records that nobody will read.
    pub(crate) fn count_dropped(&self, why: Dropped, records: usize) {
        self.dropped[why as usize].fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Records dropped for a reason.
    pub(crate) fn dropped(&self, why: Dropped) -> u64 {
        self.dropped[why as usize].load(Ordering::Relaxed)
    }

    /// Records written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_says_what_those_before_it_say() {
        let gate = Gate::default();
        for level in Level::ALL {
            gate.set_level(level);
            assert_eq!(gate.level(), level);
            assert!(Level::ALL.iter().all(|&other| gate.wants(other) == (other <= level)), "{level:?}");
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_room_comes_back() {
        let gate = Gate::default();
        assert_eq!(gate.enter(WAITING_MAX - 1), WAITING_MAX - 1);
        assert_eq!((gate.enter(3), gate.dropped(Dropped::QueueFull)), (1, 2));
        assert_eq!((gate.enter(1), gate.dropped(Dropped::QueueFull)), (0, 3));
        gate.leave(5);
        assert_eq!((gate.enter(9), gate.dropped(Dropped::QueueFull), gate.written()), (5, 7, 5));
    }
}
