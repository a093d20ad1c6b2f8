//! Deliveries at the door of the session's shard, where injected faults act.

use super::mail::Mail;
use super::owed::Owed;
use super::shard::Shard;
use crate::metrics::FailReason;
use std::sync::Arc;
use wire::shard::{ConnId, Io};
use wire::time::Time;

/// A delivery held by an injected latency. Ordered so that a heap gives the earliest first, and equal times in order of arrival.
#[derive(Debug)]
pub(super) struct Held {
    order: std::cmp::Reverse<(Time, u64)>,
    user: Arc<str>,
    conn: ConnId,
    owed: Owed,
}

impl Held {
    pub(super) fn due(&self) -> Time {
        self.order.0.0
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.order == other.order
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl Shard {
    /// A delivery has reached the session's shard: injected faults act here.
    pub(super) fn deliver(&mut self, user: Arc<str>, conn: ConnId, owed: Owed, io: &mut Io<Mail>) {
        if self.injector.loses(io.now()) {
            return self.lose(&user, &owed, FailReason::Test, io.now());
        }
        if let Some(due) = self.injector.holds(owed.accepted).filter(|due| *due > io.now())
            && self.held.len() < self.shared.limits.held_max
        {
            self.held_before += 1;
            self.metrics.in_flight.add(1);
            let order = std::cmp::Reverse((due, self.held_before));
            return self.held.push(Held { order, user, conn, owed });
        }
        self.deliver_now(&user, conn, owed, io);
    }

    /// Releases what was held long enough.
    pub(super) fn release_held(&mut self, io: &mut Io<Mail>) {
        while self.held.peek().is_some_and(|held| held.due() <= io.now()) {
            if let Some(held) = self.held.pop() {
                self.metrics.in_flight.add(-1);
                self.deliver_now(&held.user, held.conn, held.owed, io);
            }
        }
    }
}
