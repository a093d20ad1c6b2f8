//! A device's session: what it is owed, in order, and what it has acknowledged.
//!
//! The state outlives the connection: it moves to the user's home when the device disconnects and back when it returns.

use super::dedup::Dedup;
use super::limits::SharedBucket;
use super::owed::Owed;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use wire::time::Time;

/// A delivery that was written and not acknowledged.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// Its number in the session.
    pub seq: u64,
    /// What was delivered.
    pub message: Owed,
    /// When it was last written.
    pub written: Time,
    /// How often it was written.
    pub attempts: u8,
}

/// What survives a reconnect.
#[derive(Debug, Default)]
pub struct SessionState {
    /// The last number given to a delivery.
    pub(crate) seq: u64,
    /// Written, oldest number first.
    pub(crate) unacked: VecDeque<Unacked>,
    /// Owed and not written yet, because the window is full or the device was away.
    pub(crate) waiting: VecDeque<Owed>,
    /// Ids of messages that the device has sent.
    pub(crate) dedup: Dedup,
    /// What the user may send, shared with the user's other sessions; `None`: no limit.
    pub(crate) user_bucket: Option<Arc<SharedBucket>>,
}

/// What became of deliveries that were not acknowledged in time.
#[derive(Debug, Default)]
pub(crate) struct TimedOut {
    /// Numbers to write again.
    pub(crate) again: Vec<u64>,
    /// Messages that were written as often as they may be.
    pub(crate) given_up: Vec<Owed>,
}

impl SessionState {
    /// Deliveries owed to the device.
    pub(crate) fn owed(&self) -> usize {
        self.unacked.len() + self.waiting.len()
    }

    /// Gives the next waiting message its number and marks it written, if the window has room.
    pub(crate) fn next_to_write(&mut self, now: Time, window: usize) -> Option<&Unacked> {
        if self.unacked.len() >= window {
            return None;
        }
        let message = self.waiting.pop_front()?;
        self.seq += 1;
        self.unacked.push_back(Unacked { seq: self.seq, message, written: now, attempts: 1 });
        self.unacked.back()
    }

    /// Takes out everything up to `seq`, calling `done` for each.
    pub(crate) fn acknowledge(&mut self, seq: u64, mut done: impl FnMut(&Owed)) {
        while self.unacked.front().is_some_and(|first| first.seq <= seq) {
            if let Some(unacked) = self.unacked.pop_front() {
                done(&unacked.message);
            }
        }
    }

    /// When the first delivery times out.
    pub(crate) fn deadline(&self, ack_timeout: Duration) -> Option<Time> {
        self.unacked.iter().map(|unacked| unacked.written + ack_timeout).min()
    }

    /// Deliveries written at least `ack_timeout` ago: to be written again, or given up after `attempts_max` times.
    pub(crate) fn time_out(&mut self, now: Time, ack_timeout: Duration, attempts_max: u8) -> TimedOut {
        let mut timed_out = TimedOut::default();
        self.unacked.retain_mut(|unacked| {
            if unacked.written + ack_timeout > now {
                return true;
            }
            if unacked.attempts >= attempts_max {
                timed_out.given_up.push(unacked.message.clone());
                return false;
            }
            unacked.attempts += 1;
            unacked.written = now;
            timed_out.again.push(unacked.seq);
            true
        });
        timed_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::im::protocol::Message;
    use crate::metrics::Kind;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn state(messages: usize) -> SessionState {
        let message = || Message::new("\"m\"", "al", 0, "1", Time(0), Time(9), Kind::Direct);
        let message = || Owed::new(Arc::new(message()), 0, 1);
        SessionState { waiting: (0..messages).map(|_| message()).collect(), ..SessionState::default() }
    }

    fn at(second: u64) -> Time {
        Time(second * 1_000_000_000)
    }

    #[test]
    fn the_window_bounds_what_is_unacknowledged() {
        let mut state = state(3);
        assert_eq!(state.next_to_write(at(0), 2).map(|unacked| unacked.seq), Some(1));
        assert_eq!(state.next_to_write(at(0), 2).map(|unacked| unacked.seq), Some(2));
        assert!(state.next_to_write(at(0), 2).is_none());
        let mut done = 0;
        state.acknowledge(1, |_| done += 1);
        assert_eq!((done, state.next_to_write(at(0), 2).map(|unacked| unacked.seq)), (1, Some(3)));
        state.acknowledge(99, |_| done += 1);
        assert_eq!((done, state.owed()), (3, 0));
    }

    #[test]
    fn redelivers_under_the_same_number_a_bounded_number_of_times() {
        let mut state = state(1);
        state.next_to_write(at(0), 9);
        assert_eq!(state.deadline(TIMEOUT), Some(at(5)));
        assert!(state.time_out(at(4), TIMEOUT, 2).again.is_empty());
        assert_eq!(state.time_out(at(5), TIMEOUT, 2).again, [1]);
        assert_eq!(state.deadline(TIMEOUT), Some(at(10)));
        assert_eq!(state.time_out(at(10), TIMEOUT, 2).given_up.len(), 1);
        assert_eq!(state.owed(), 0);
    }
}
