//! How many connections may be accepted, over all shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places that the shards of one listener have together.
///
/// The kernel spreads connections by a hash, so that a bound per shard would turn some away while others have room. One
/// counter, touched only when a connection comes or goes.
#[derive(Debug, Clone)]
pub struct Seats {
    taken: Arc<AtomicUsize>,
    max: usize,
}

impl Seats {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Seats {
        Seats { taken: Arc::default(), max }
    }

    /// Room for as many as there are descriptors.
    pub fn unlimited() -> Seats {
        Seats::new(usize::MAX)
    }

    /// Takes a place. False: there is none.
    pub(super) fn take(&self) -> bool {
        let is_free = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !is_free {
            self.give_back();
        }
        is_free
    }

    /// Places taken, over all shards.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
