//! The users whose home is this shard: where their sessions are, what waits for them, and how a route changes.

use super::mail::{Mail, SessionRef};
use super::owed::Owed;
use super::persist::Op;
use super::rare::Rare;
use super::recovery::Duties;
use super::session::{Epoch, SessionState};
use super::user::{Attaching, Away, Device, DeviceState, User, append_in_order, shards};
use super::{Map, SeededState};
use crate::config::Limits;
use crate::metrics::{FailReason, ShardMetrics};
use std::sync::Arc;
use wire::shard::{Io, ShardIndex};
use wire::time::Time;

/// The users of one home shard.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Boxed, because half of a table's places are empty.
    pub(super) users: Map<Arc<str>, Box<User>>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<ShardMetrics>,
    /// Messages in all offline queues here.
    pub(super) queued: usize,
    /// Number that a new session counts from.
    pub(super) seq_first: u64,
    /// Sessions that have begun a new life here.
    epochs: u64,
    hasher: SeededState,
    pub(super) duties: Duties,
    /// Deliveries lost here in this step, and whose; the shard says so.
    lost: Vec<(Arc<str>, Owed)>,
}

impl Registry {
    pub(crate) fn new(limits: Limits, metrics: Arc<ShardMetrics>, hasher: SeededState) -> Registry {
        Registry {
            users: Map::with_hasher(hasher.clone()),
            limits,
            metrics,
            queued: 0,
            seq_first: 0,
            epochs: 0,
            hasher,
            duties: Duties::default(),
            lost: Vec::new(),
        }
    }

    /// What must be kept since the last call, and what waits for it.
    pub(crate) fn take_duties(&mut self) -> (Vec<Op>, Vec<(ShardIndex, Mail)>) {
        let outbox = self.duties.outbox.as_mut().map(std::mem::take).unwrap_or_default();
        (outbox.ops, outbox.held)
    }

    /// Whether [`Registry::take_duties`] would give anything.
    pub(crate) fn has_duties(&self) -> bool {
        self.duties.outbox.as_ref().is_some_and(|outbox| !outbox.ops.is_empty() || !outbox.held.is_empty())
    }

    /// A device has connected. Of two connections of a device the one begun later has the session, whichever is heard of first.
    pub(crate) fn attach(&mut self, user: &Arc<str>, attaching: Attaching, io: &mut Io<Mail>) {
        let record = self.users.entry(Arc::clone(user)).or_default();
        if record.knows_newer(&attaching) {
            return io.post(attaching.session.shard, Mail::Evict(attaching.session.conn));
        }
        record.rest.attaching.push_back(attaching);
        self.settle(user, io);
    }

    pub(crate) fn detached(
        &mut self,
        user: &Arc<str>,
        session: SessionRef,
        mut state: SessionState,
        io: &mut Io<Mail>,
    ) {
        let Some(record) = self.users.get_mut(user) else { return };
        if let Some(device) = record.devices.iter_mut().find(|device| device.session == session) {
            self.metrics.in_flight.add(signed(state.owed()));
            state.owe(device.returned.take());
            device.state = DeviceState::Detached(Box::new(Away { state, since: io.now() }));
        }
        record.withdraw_route(user, io);
        self.settle(user, io);
    }

    /// Whether nothing is known of any user.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(crate) fn where_is(&mut self, user: &Arc<str>, asker: ShardIndex, io: &mut Io<Mail>) {
        self.users.entry(Arc::clone(user)).or_default().rest.asking |= 1 << asker;
        self.settle(user, io);
    }

    pub(crate) fn fenced(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        if let Some(record) = self.users.get_mut(user) {
            record.rest.fences = record.rest.fences.saturating_sub(1);
        }
        self.settle(user, io);
    }

    /// A session that begins a new life. Its name is drawn from the gateway's seed, so another process does not give it again.
    pub(super) fn new_session(&mut self, user: &str) -> SessionState {
        self.epochs += 1;
        SessionState::new(Epoch(self.hasher.hash_one((user, self.epochs))), self.seq_first)
    }

    /// Keeps a message for the user: with the device it was meant for, while that is remembered; else in the queue from which
    /// the next device that connects is served.
    pub(crate) fn keep(
        &mut self,
        user: &Arc<str>,
        session: Option<SessionRef>,
        owed: Owed,
        io: &mut Io<Mail>,
    ) {
        let record = self.users.entry(Arc::clone(user)).or_default();
        let device = record.devices.iter_mut().find(|device| Some(device.session) == session);
        match device.map(|device| (&mut device.state, &mut device.returned)) {
            None => self.queue(user, owed),
            Some((DeviceState::Detached(away), _)) if away.state.owed() < self.limits.device_owed_max() => {
                away.state.queues.waiting.push_back(owed);
                self.metrics.in_flight.add(1);
            }
            // It is ending, or it would not have given the message back; its state is on its way here. To send the message there
            // again would let later ones overtake it, and never end where session and home share a shard.
            Some((DeviceState::Attached | DeviceState::Evicting, returned))
                if returned.len() < self.limits.device_owed_max() =>
            {
                returned.push(owed);
                self.metrics.in_flight.add(1);
            }
            // Another device would get it out of order, and most likely twice.
            Some(_) => self.lose(user, owed),
        }
        self.tell_edge(user, io);
    }

    fn lose(&mut self, user: &Arc<str>, owed: Owed) {
        self.metrics.fail(owed.kind, FailReason::QueueFull);
        self.duties.settle(&owed);
        self.lost.push((Arc::clone(user), owed));
    }

    /// Deliveries for which no queue had room since the last call.
    pub(super) fn take_lost(&mut self) -> Vec<(Arc<str>, Owed)> {
        std::mem::take(&mut self.lost)
    }

    /// Tells the edge that messages wait for a user who is not connected, if it is to know and was not told lately.
    fn tell_edge(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        let (Some(interval), Some(record)) = (self.limits.push_interval, self.users.get_mut(user)) else {
            return;
        };
        let (now, edge) = (io.now(), io.edge());
        let was_told = record.rest.pushed.is_some_and(|at| now.since(at) < interval);
        let detached = record.devices.iter().map(|device| match &device.state {
            DeviceState::Detached(away) => away.state.owed(),
            DeviceState::Attached | DeviceState::Evicting => 0,
        });
        let waiting = record.rest.offline.len() + detached.sum::<usize>();
        if was_told || waiting == 0 || record.devices.iter().any(Device::is_attached) {
            return;
        }
        record.rest.pushed = Some(now);
        if io.congested(edge) {
            return self.metrics.push_dropped.increment();
        }
        io.post(edge, Mail::Push { user: Arc::clone(user), waiting });
    }

    fn queue(&mut self, user: &Arc<str>, owed: Owed) {
        let record = self.users.entry(Arc::clone(user)).or_default();
        if record.rest.offline.len() >= self.limits.offline_per_user_max
            || self.queued >= self.limits.offline_max
        {
            return self.lose(user, owed);
        }
        record.rest.offline.push_back(owed);
        self.queued += 1;
        self.metrics.offline_queue.set(self.queued);
    }

    /// Does what can be done for the user now: let sessions begin, then answer who asks.
    fn settle(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        while self.begin_next(user, io) {}
        let Some(record) = self.users.get_mut(user) else { return };
        // Also while a session is being ended for a new one: that may have to wait for an answer to end.
        if record.rest.fences == 0 && record.rest.asking != 0 {
            let attached = record.devices.iter().filter(|device| device.is_attached());
            let route: Arc<[SessionRef]> = attached.map(|device| device.session).collect();
            let rest = &mut *record.rest;
            for shard in shards(std::mem::take(&mut rest.asking)) {
                rest.told_to |= 1 << shard;
                io.post(shard, Mail::Route { user: Arc::clone(user), sessions: Arc::clone(&route) });
            }
            rest.told = Some(route);
        }
        record.rest.rest(io.now());
    }

    /// Lets the first session that waits begin. False: none waits, or something must happen first and has been asked for.
    fn begin_next(&mut self, user: &Arc<str>, io: &mut Io<Mail>) -> bool {
        let Some(record) = self.users.get_mut(user) else { return false };
        let Some(attaching) = record.rest.attaching.front() else { return false };
        let (name, shard) = (Arc::clone(&attaching.device), attaching.session.shard);
        let known = record.devices.iter().position(|device| device.name == name);
        // Where as many as there may be are connected, the first of them goes.
        let first = (known.is_none() && record.is_full(self.limits.devices_max)).then_some(0);
        if let Some(device) = known.or(first).map(|index| &mut record.devices[index])
            && device.is_attached()
        {
            if matches!(device.state, DeviceState::Attached) {
                device.state = DeviceState::Evicting;
                self.duties.post(device.session.shard, Mail::Evict(device.session.conn), io);
            }
            return false;
        }
        record.withdraw_route(user, io);
        if let Some(device) = known.map(|index| &mut record.devices[index])
            && device.needs_fences(shard)
        {
            device.send_fences(user, &mut record.rest.fences, io);
        }
        if record.rest.fences > 0 {
            return false;
        }
        self.complete(user, known, io);
        true
    }

    /// Lets the first waiting session begin.
    fn complete(&mut self, user: &Arc<str>, known: Option<usize>, io: &mut Io<Mail>) {
        let Some(record) = self.users.get_mut(user) else { return };
        let Some(Attaching { device, session, resume, since }) = record.rest.attaching.pop_front() else {
            return;
        };
        let is_new = known.is_none();
        let mut state = match known {
            Some(index) => record.devices[index].begin(session, since),
            None => self.admit(user, &device, (session, since), io),
        };
        self.metrics.in_flight.add(-signed(state.owed()));
        let Some(record) = self.users.get_mut(user) else { return };
        let (metrics, duties) = (&self.metrics, &mut self.duties);
        // Numbers of another life of the session say nothing of what is owed now.
        if let Some(resume) = resume.filter(|resume| resume.epoch == state.epoch && resume.seq <= state.seq) {
            // Arrived before the connection broke, acknowledged now; the time it took says nothing of the gateway.
            state.acknowledge(resume.seq, |owed, _| {
                metrics.delivered[owed.kind as usize].increment();
                duties.settle(owed);
            });
        }
        state.user_bucket =
            self.limits.user_messages.map(|_| Arc::clone(record.rest.bucket.get_or_insert_default()));
        if !record.rest.offline.is_empty() {
            let mut queued = std::mem::take(&mut record.rest.offline);
            self.queued -= queued.len();
            let now = io.now();
            queued.retain(|owed| {
                let is_kept = owed.expires > now;
                if !is_kept {
                    metrics.expired.increment();
                    duties.settle(owed);
                }
                is_kept
            });
            append_in_order(&mut state.queues.waiting, queued);
        }
        self.metrics.offline_queue.set(self.queued);
        let several = record.devices.iter().filter(|device| device.is_attached()).count() > 1;
        let (user, conn) = (Arc::clone(user), session.conn);
        if is_new {
            duties.device(&user, &device, true);
        }
        let mail = Mail::Attached { conn, user, device, state, several };
        if is_new {
            // Whoever is told that this device is connected may rely on its being known after a crash.
            duties.post(session.shard, mail, io);
        } else {
            io.post(session.shard, mail);
        }
    }

    /// Makes a device known that was not, and another one forgotten if they would be too many.
    fn admit(
        &mut self,
        user: &Arc<str>,
        name: &Arc<str>,
        (session, since): (SessionRef, Time),
        io: &mut Io<Mail>,
    ) -> SessionState {
        let record = self.users.entry(Arc::clone(user)).or_default();
        if let Some(mut forgotten) = record.make_room(self.limits.devices_max) {
            // Should it come back it begins anew, and must not overtake what it sent before either.
            forgotten.send_fences(user, &mut record.rest.fences, io);
            self.duties.device(user, &forgotten.name, false);
            self.orphan(user, forgotten);
        }
        let (name, state) = (Arc::clone(name), DeviceState::Attached);
        let record = self.users.entry(Arc::clone(user)).or_default();
        record.add(Device { name, session, since, state, returned: Rare::default() });
        self.new_session(user)
    }

    /// Queues what a device was owed that is forgotten.
    fn orphan(&mut self, user: &Arc<str>, device: Device) {
        let mut owed = device.into_owed();
        if owed.is_empty() {
            return;
        }
        self.metrics.in_flight.add(-signed(owed.len()));
        let record = self.users.entry(Arc::clone(user)).or_default();
        let queued = std::mem::take(&mut record.rest.offline);
        self.queued -= queued.len();
        append_in_order(&mut owed, queued);
        for owed in owed {
            self.queue(user, owed);
        }
        self.metrics.offline_queue.set(self.queued);
    }

    /// Ends what has been kept too long: sessions whose device does not come back, messages nobody fetched.
    pub(crate) fn sweep(&mut self, io: &mut Io<Mail>) {
        let now = io.now();
        let mut forgotten: Vec<(Arc<str>, Device)> = Vec::new();
        for (name, record) in &mut self.users {
            let session_ttl = self.limits.session_ttl;
            while let Some(index) = record.devices.iter().position(|device| device.is_over(now, session_ttl))
            {
                let device = record.remove(index);
                self.duties.device(name, &device.name, false);
                forgotten.push((Arc::clone(name), device));
            }
            while record.rest.offline.front().is_some_and(|owed| owed.expires <= now) {
                if let Some(owed) = record.rest.offline.pop_front() {
                    self.duties.settle(&owed);
                }
                self.queued -= 1;
                self.metrics.expired.increment();
            }
            // Nothing is kept but that shards remember the way to nobody: they may ask again.
            if record.holds_nothing() && record.rest.fences == 0 {
                record.withdraw_route(name, io);
            }
            record.rest.rest(now);
        }
        for (user, device) in forgotten {
            self.orphan(&user, device);
            self.tell_edge(&user, io);
        }
        self.metrics.offline_queue.set(self.queued);
        self.users.retain(|_, record| !record.is_empty());
    }
}

pub(super) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
