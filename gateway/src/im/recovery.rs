//! A home's part in what survives a crash: what it must have kept, and how it goes on with what was.

use super::SeededState;
use super::mail::{Mail, SessionRef};
use super::message::Message;
use super::owed::Owed;
use super::persist::{Op, Recovered, RecoveredUser};
use super::rare::Rare;
use super::registry::{Registry, signed};
use super::user::{Away, Device, DeviceState};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use wire::shard::{ConnId, Io, ShardIndex};
use wire::time::Time;

/// What must be kept across a crash; nothing where there is no store.
#[derive(Debug, Default)]
pub(super) struct Duties {
    pub(super) outbox: Option<Outbox>,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) ops: Vec<Op>,
    /// To be posted when all before it is kept.
    pub(super) held: Vec<(ShardIndex, Mail)>,
}

impl Duties {
    /// Posts mail when all before it is kept; at once where there is no store.
    pub(super) fn post(&mut self, shard: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match &mut self.outbox {
            Some(outbox) => outbox.held.push((shard, mail)),
            None => io.post(shard, mail),
        }
    }

    pub(super) fn settle(&mut self, owed: &Owed) {
        if let (Some(outbox), Some(debt)) = (&mut self.outbox, owed.debt()) {
            outbox.ops.push(Op::Settle(debt));
        }
    }

    pub(super) fn device(&mut self, user: &Arc<str>, device: &Arc<str>, is_known: bool) {
        if let Some(outbox) = &mut self.outbox {
            let (user, device) = (Arc::clone(user), Arc::clone(device));
            outbox.ops.push(Op::Device { user, device, is_known });
        }
    }
}

/// Of a device that has had no connection since the start.
const NO_SESSION: SessionRef =
    SessionRef { shard: usize::MAX, conn: ConnId { index: u32::MAX, generation: u32::MAX } };

/// Both clocks at the moment of recovery: what is kept carries wall time, what runs counts monotonic time.
#[derive(Debug)]
pub(crate) struct Clock<'a> {
    /// Now.
    pub(crate) now: Time,
    /// The wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    pub(crate) wall_offset_ns: u64,
    /// How long messages are kept for absent users.
    pub(crate) message_ttl: Duration,
    /// Of all ids.
    pub(crate) hasher: &'a SeededState,
}

impl Clock<'_> {
    /// Monotonic time of a wall time; zero if the machine was not up then.
    fn at(&self, wall_ns: u64) -> Time {
        Time(wall_ns.saturating_sub(self.wall_offset_ns))
    }

    /// When a message was accepted and when it expires.
    fn lifetime(&self, number: u64) -> (Time, Time) {
        let expires_ns = number.saturating_add(self.message_ttl.as_nanos() as u64);
        (self.at(number), self.at(expires_ns))
    }
}

impl Registry {
    /// Goes on with what was owed and known before. Every message is counted as accepted anew, once for each delivery it becomes.
    pub(crate) fn recover(&mut self, recovered: &Recovered, clock: &Clock<'_>) {
        self.duties.outbox = Some(Outbox::default());
        self.seq_first = u64::from(recovered.starts) << 32;
        let mut messages = BTreeMap::new();
        for user in &recovered.users {
            self.recover_user(user, clock, &mut messages);
        }
        self.metrics.offline_queue.set(self.queued);
    }

    /// `messages` are those recovered so far, by number: what a group was sent is in memory once.
    fn recover_user(
        &mut self,
        user: &RecoveredUser,
        clock: &Clock<'_>,
        messages: &mut BTreeMap<u64, Arc<Message>>,
    ) {
        let deliveries = user.devices.len().max(1);
        let mut owed: VecDeque<Owed> = VecDeque::new();
        for message in &user.owed {
            let (accepted, expires) = clock.lifetime(message.message.number);
            let new = || Arc::new(Message::recovered(&message.message, accepted, expires));
            let kept = messages.entry(message.message.number).or_insert_with(new);
            let message = Owed::new(Arc::clone(kept), message.recipient, deliveries);
            self.metrics.accepted.add(deliveries as u64);
            self.metrics.recovered.add(deliveries as u64);
            if expires > clock.now {
                owed.push_back(message);
                continue;
            }
            self.metrics.expired.add(deliveries as u64);
            for _ in 0..deliveries {
                self.duties.settle(&message);
            }
        }
        for device in &user.devices {
            let mut state = self.new_session(&user.name);
            state.owe(owed.clone());
            for (id, wall_ns) in &device.sent {
                let at = clock.at(*wall_ns);
                state.queues.dedup.remember(id, at, clock.hasher, self.limits.dedup_ids, false);
            }
            self.metrics.in_flight.add(signed(state.owed()));
            let state = DeviceState::Detached(Box::new(Away { state, since: clock.now }));
            let record = self.users.entry(Arc::clone(&user.name)).or_default();
            record.add(Device {
                name: Arc::clone(&device.name),
                session: NO_SESSION,
                since: Time(0),
                state,
                returned: Rare::default(),
            });
        }
        if user.devices.is_empty() {
            self.queued += owed.len();
            self.users.entry(Arc::clone(&user.name)).or_default().rest.offline = owed;
        }
    }
}
