//! How many of something there may be over all shards: connections at the door, an application's sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places that shards have together.
///
/// The kernel spreads connections by a hash, so that a bound per shard would turn some away while others have room. One
/// counter, touched only when somebody comes or goes.
#[derive(Debug, Clone)]
pub struct Seats {
    taken: Arc<AtomicUsize>,
    max: usize,
}

impl Seats {
    /// Room for `max`.
    pub fn new(max: usize) -> Seats {
        Seats { taken: Arc::default(), max }
    }

    /// Room for as many as there are descriptors.
    pub fn unlimited() -> Seats {
        Seats::new(usize::MAX)
    }

    /// Takes a place. False: there is none.
    pub fn take(&self) -> bool {
        let is_free = self.taken.fetch_add(1, Ordering::Relaxed) < self.max;
        if !is_free {
            self.give_back();
        }
        is_free
    }

    /// Whether [`Seats::take`] would find a place now. Another shard may be quicker.
    pub fn has_free(&self) -> bool {
        self.taken() < self.max
    }

    /// Places taken, over all shards.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Gives back a place that [`Seats::take`] gave.
    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
