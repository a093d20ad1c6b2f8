//! A device's session: what it is owed, in order, and what it has acknowledged.
//!
//! The state outlives the connection: it moves to the user's home when the device disconnects and back when it returns. What is owed
//! to the device stays in it, in order and under its number, until it is acknowledged or the session is forgotten.

use super::SeededState;
use super::dedup::Dedup;
use super::limits::SharedBucket;
use super::owed::Owed;
use super::protocol::Refusal;
use super::rare::{Part, Rare};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use wire::time::Time;

/// Deliveries for which a session's queue keeps room when it is empty; what a longer burst took is given back.
const ROOM_KEPT: usize = 16;

/// Names one life of a session, from its begin to when the gateway forgets it. Numbers of deliveries mean something only within it.
///
/// As text 16 hexadecimal digits; for clients opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch(pub(super) u64);

impl fmt::Display for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

impl FromStr for Epoch {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Epoch, Self::Err> {
        u64::from_str_radix(text, 16).map(Epoch)
    }
}

/// What a device says that it has processed: every delivery up to `seq` of that life of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Of the `hello` after which it counted.
    pub epoch: Epoch,
    /// The highest number.
    pub seq: u64,
}

/// A delivery that was written and not acknowledged.
#[derive(Debug)]
pub(crate) struct Unacked {
    /// Its number in the session.
    pub seq: u64,
    /// What was delivered.
    pub message: Owed,
    /// When it was last written.
    written: Time,
    /// How often it was written on this connection; [`GIVEN_UP`]: as often as it may be, and in vain.
    attempts: u8,
}

/// Attempts of a delivery that is written again on the next connection only.
const GIVEN_UP: u8 = u8::MAX;

/// What survives a reconnect.
#[derive(Debug, Default)]
pub struct SessionState {
    /// Which life of the session this is.
    pub(crate) epoch: Epoch,
    /// The last number given to a delivery.
    pub(crate) seq: u64,
    /// What passes through it.
    pub(crate) queues: Rare<Queues>,
    /// Shards that got messages from its last connection, one bit each: on its way to them something may be that the device's
    /// next messages must not overtake.
    pub(crate) sent_to: u64,
    /// What the user may send, shared with the user's other sessions; `None`: no limit.
    pub(crate) user_bucket: Option<Arc<SharedBucket>>,
}

/// What a session needs only while messages come and go.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Written, oldest number first, without gaps.
    pub(crate) unacked: VecDeque<Unacked>,
    /// Numbers that are to be written again as soon as there is room.
    again: Range<u64>,
    /// Owed and not written yet, because the window is full or the device was away.
    pub(crate) waiting: VecDeque<Owed>,
    /// Ids of messages that the device has sent.
    pub(crate) dedup: Dedup,
}

impl Part for Queues {
    const NEW: Queues =
        Queues { unacked: VecDeque::new(), again: 0..0, waiting: VecDeque::new(), dedup: Dedup::NEW };
    const IDLE: &'static Queues = &Self::NEW;

    fn is_idle(&self, _: Time) -> bool {
        self.unacked.is_empty() && self.waiting.is_empty() && self.dedup.is_empty()
    }
}

impl SessionState {
    /// The first of its life. Its deliveries count from `seq` on.
    pub(crate) fn new(epoch: Epoch, seq: u64) -> SessionState {
        SessionState { epoch, seq, ..SessionState::default() }
    }

    /// Deliveries owed to the device.
    pub(crate) fn owed(&self) -> usize {
        self.queues.unacked.len() + self.queues.waiting.len()
    }

    /// Adds to what waits, in that order.
    pub(crate) fn owe(&mut self, more: impl IntoIterator<Item = Owed, IntoIter: ExactSizeIterator>) {
        let more = more.into_iter();
        if more.len() > 0 {
            self.queues.waiting.extend(more);
        }
    }

    /// Nothing has happened for a while: gives up what memory is not needed, and ids older than `dedup_window`.
    pub(crate) fn rest(&mut self, now: Time, dedup_window: Duration) {
        if self.queues.is_held() {
            self.queues.dedup.forget(now, dedup_window);
            self.queues.rest(now);
        }
    }

    /// A new connection: what is unacknowledged is to be written again, as often as on any.
    pub(crate) fn begin(&mut self) {
        if self.queues.unacked.is_empty() {
            return;
        }
        let again = self.first()..self.seq + 1;
        let queues = &mut *self.queues;
        for unacked in &mut queues.unacked {
            unacked.attempts = 0;
        }
        queues.again = again;
    }

    /// Number of the first unacknowledged delivery, or of the next one.
    fn first(&self) -> u64 {
        self.seq + 1 - self.queues.unacked.len() as u64
    }

    /// Whether a delivery waits for room to be written again.
    fn has_again(&self) -> bool {
        self.queues.again.end > self.queues.again.start.max(self.first())
    }

    /// Whether [`SessionState::next_to_write`] would give one.
    pub(crate) fn has_to_write(&self, window: usize) -> bool {
        self.has_again() || (self.queues.unacked.len() < window && !self.queues.waiting.is_empty())
    }

    /// The next delivery to write, marked as written: one that is to be written again, or else the next waiting message under a new
    /// number, if the window has room.
    pub(crate) fn next_to_write(&mut self, now: Time, window: usize) -> Option<&Unacked> {
        if !self.has_to_write(window) {
            return None;
        }
        let first = self.first();
        let Queues { unacked, again, waiting, .. } = &mut *self.queues;
        again.start = again.start.max(first);
        if let Some(seq) = again.next() {
            let unacked = unacked.get_mut((seq - first) as usize)?;
            (unacked.written, unacked.attempts) = (now, unacked.attempts.saturating_add(1));
            return Some(unacked);
        }
        let message = waiting.pop_front()?;
        self.seq += 1;
        give_room_back(waiting);
        unacked.push_back(Unacked { seq: self.seq, message, written: now, attempts: 1 });
        unacked.back()
    }

    /// Takes out everything up to `seq`, calling `done` for each, with how often it was written.
    pub(crate) fn acknowledge(&mut self, seq: u64, mut done: impl FnMut(&Owed, u8)) {
        while self.queues.unacked.front().is_some_and(|first| first.seq <= seq) {
            let queue = &mut self.queues.unacked;
            if let Some(unacked) = queue.pop_front() {
                done(&unacked.message, unacked.attempts);
            }
            give_room_back(queue);
        }
    }

    /// When the first delivery times out; `None` while others wait for room to be written again.
    pub(crate) fn deadline(&self, ack_timeout: Duration) -> Option<Time> {
        if self.has_again() {
            return None;
        }
        let timed = self.queues.unacked.iter().filter(|unacked| unacked.attempts != GIVEN_UP);
        timed.map(|unacked| unacked.written + ack_timeout).min()
    }

    /// Marks deliveries written at least `ack_timeout` ago as to be written again, or as given up after `attempts_max` times. Gives
    /// how many they are. While some still wait for room the others need not be sent again: the peer does not read.
    pub(crate) fn time_out(&mut self, now: Time, ack_timeout: Duration, attempts_max: u8) -> usize {
        if self.has_again() {
            return 0;
        }
        let is_late =
            |unacked: &Unacked| unacked.attempts != GIVEN_UP && unacked.written + ack_timeout <= now;
        let Some(begin) = self.queues.unacked.iter().position(is_late) else { return 0 };
        let first = self.first();
        let queues = &mut *self.queues;
        let (mut late, mut again) = (0, 0);
        // They lie together: all that was written in one go, before everything that was written later.
        for unacked in queues.unacked.range_mut(begin..) {
            if !is_late(unacked) {
                break;
            }
            late += 1;
            if unacked.attempts >= attempts_max {
                unacked.attempts = GIVEN_UP;
            } else {
                again += 1;
            }
        }
        let end = first + (begin + late) as u64;
        // Older ones have been written as often or more often, so those that are given up come first.
        queues.again = end - again..end;
        late
    }

    /// A message of the device has gone to these shards, one bit each, or was refused; its id is remembered, or not.
    pub(crate) fn conclude(&mut self, id: &str, outcome: Result<u64, Refusal>, hasher: &SeededState) {
        self.queues.dedup.conclude(id, hasher, outcome.is_ok());
        self.sent_to |= outcome.unwrap_or_default();
    }

    /// Ends the session: what is owed, oldest first.
    pub(crate) fn into_owed(mut self) -> VecDeque<Owed> {
        let Queues { unacked, waiting, .. } = self.queues.take();
        unacked.into_iter().map(|unacked| unacked.message).chain(waiting).collect()
    }
}

/// Ten thousand busy sessions would otherwise each hold what their longest burst ever took.
fn give_room_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > ROOM_KEPT {
        *queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::im::message::Message;
    use crate::metrics::Kind;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn state(messages: usize) -> SessionState {
        let message = || Message::new("\"m\"", "al", 0, "1", Time(0), Time(9), Kind::Direct);
        let message = || Owed::new(Arc::new(message()), 0, 1);
        let mut state = SessionState::default();
        state.owe((0..messages).map(|_| message()));
        state
    }

    fn at(second: u64) -> Time {
        Time(second * 1_000_000_000)
    }

    /// Writes all there is: the numbers.
    fn write(state: &mut SessionState, second: u64, window: usize) -> Vec<u64> {
        let numbers =
            std::iter::from_fn(|| state.next_to_write(at(second), window).map(|unacked| unacked.seq));
        numbers.collect()
    }

    #[test]
    fn the_window_bounds_what_is_unacknowledged() {
        let mut state = state(3);
        assert_eq!(write(&mut state, 0, 2), [1, 2]);
        assert!(!state.has_to_write(2) && state.has_to_write(3));
        let mut done = 0;
        state.acknowledge(1, |_, _| done += 1);
        assert_eq!((done, write(&mut state, 0, 2)), (1, vec![3]));
        state.acknowledge(99, |_, _| done += 1);
        assert_eq!((done, state.owed()), (3, 0));
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut state = state(500);
        while state.next_to_write(at(0), 1000).is_some() {}
        assert_eq!((state.queues.unacked.len(), state.queues.waiting.capacity()), (500, 0));
        state.acknowledge(499, |_, _| {});
        assert!(state.queues.unacked.capacity() >= 500, "not while something is in it");
        state.acknowledge(500, |_, _| {});
        assert_eq!(state.queues.unacked.capacity(), 0);
    }

    #[test]
    fn redelivers_under_the_same_number_a_bounded_number_of_times() {
        let mut state = state(1);
        write(&mut state, 0, 9);
        assert_eq!(state.deadline(TIMEOUT), Some(at(5)));
        assert_eq!(state.time_out(at(4), TIMEOUT, 2), 0);
        assert_eq!((state.time_out(at(5), TIMEOUT, 2), write(&mut state, 5, 9)), (1, vec![1]));
        assert_eq!(state.deadline(TIMEOUT), Some(at(10)));
        assert_eq!((state.time_out(at(10), TIMEOUT, 2), write(&mut state, 10, 9)), (1, vec![]));
        assert_eq!((state.deadline(TIMEOUT), state.owed()), (None, 1), "it stays this device's");
        state.begin();
        assert_eq!((write(&mut state, 11, 9), state.deadline(TIMEOUT)), (vec![1], Some(at(16))));
    }

    #[test]
    fn what_waits_to_be_written_again_comes_in_order_and_goes_with_its_ack() {
        let mut state = state(4);
        assert_eq!(write(&mut state, 0, 2), [1, 2]);
        assert_eq!(write(&mut state, 1, 4), [3, 4]);
        assert_eq!(state.time_out(at(5), TIMEOUT, 3), 2);
        assert_eq!(state.next_to_write(at(5), 4).map(|unacked| unacked.seq), Some(1));
        assert_eq!(state.time_out(at(6), TIMEOUT, 3), 0, "there is no room even for those before");
        state.acknowledge(2, |_, _| ());
        assert_eq!((state.has_to_write(4), state.time_out(at(6), TIMEOUT, 3)), (false, 2));
        assert_eq!(write(&mut state, 6, 4), [3, 4]);
    }

    #[test]
    fn an_epoch_reads_as_it_is_written() {
        let epoch = Epoch(0x00ab_cdef_0123_4567);
        assert_eq!(epoch.to_string(), "00abcdef01234567");
        assert_eq!(epoch.to_string().parse(), Ok(epoch));
        assert!("".parse::<Epoch>().is_err() && "x".parse::<Epoch>().is_err());
    }
}
