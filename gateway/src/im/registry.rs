//! The users whose home is this shard: where their sessions are, what waits for them, and how a route changes.

use super::limits::SharedBucket;
use super::mail::{Mail, SessionRef};
use super::owed::Owed;
use super::persist::Op;
use super::recovery::Duties;
use super::session::SessionState;
use super::{Map, SeededState};
use crate::config::Limits;
use crate::metrics::{FailReason, ShardMetrics};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
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
    pub(super) duties: Duties,
}

#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) devices: Vec<Device>,
    pub(super) offline: VecDeque<Owed>,
    /// The route as last told to other shards.
    told: Arc<[SessionRef]>,
    /// Who was told it, one bit per shard.
    told_to: u64,
    /// Fences under way.
    fences: usize,
    /// Devices that want to begin a session.
    attaching: VecDeque<Attaching>,
    /// Shards that wait for an answer, one bit each.
    asking: u64,
    /// What the user may send over all sessions; kept while devices are known, so that a reconnect is no way round it.
    bucket: Option<Arc<SharedBucket>>,
    /// When the edge was last told that messages wait.
    pushed: Option<Time>,
}

#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Arc<str>,
    /// Its session, or the last one it had.
    pub(super) session: SessionRef,
    pub(super) state: DeviceState,
    /// Deliveries that came back from a session that is ending, until its state is here.
    pub(super) returned: Vec<Owed>,
}

#[derive(Debug)]
pub(super) enum DeviceState {
    Attached,
    /// Attached, and told to end.
    Evicting,
    Detached {
        state: Box<SessionState>,
        since: Time,
    },
}

#[derive(Debug)]
struct Attaching {
    device: Arc<str>,
    session: SessionRef,
    resume: Option<u64>,
}

/// Shards are named in 64-bit sets.
pub(crate) const SHARDS_MAX: usize = 64;

impl Registry {
    pub(crate) fn new(limits: Limits, metrics: Arc<ShardMetrics>, hasher: SeededState) -> Registry {
        Registry {
            users: Map::with_hasher(hasher),
            limits,
            metrics,
            queued: 0,
            seq_first: 0,
            duties: Duties::default(),
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

    pub(crate) fn attach(
        &mut self,
        user: &Arc<str>,
        device: Arc<str>,
        session: SessionRef,
        resume: Option<u64>,
        io: &mut Io<Mail>,
    ) {
        let record = self.users.entry(Arc::clone(user)).or_default();
        record.attaching.push_back(Attaching { device, session, resume });
        self.settle(user, io);
    }

    pub(crate) fn detached(
        &mut self,
        user: &Arc<str>,
        session: SessionRef,
        mut state: Box<SessionState>,
        io: &mut Io<Mail>,
    ) {
        let Some(record) = self.users.get_mut(user) else { return };
        if let Some(device) = record.devices.iter_mut().find(|device| device.session == session) {
            self.metrics.in_flight.add(signed(state.owed()));
            state.waiting.extend(device.returned.drain(..));
            device.state = DeviceState::Detached { state, since: io.now() };
        }
        record.withdraw_route(user, io);
        self.settle(user, io);
    }

    /// Whether nothing is known of any user.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub(crate) fn where_is(&mut self, user: &Arc<str>, asker: ShardIndex, io: &mut Io<Mail>) {
        self.users.entry(Arc::clone(user)).or_default().asking |= 1 << asker;
        self.settle(user, io);
    }

    pub(crate) fn fenced(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        if let Some(record) = self.users.get_mut(user) {
            record.fences = record.fences.saturating_sub(1);
        }
        self.settle(user, io);
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
            Some((DeviceState::Detached { state, .. }, _)) if state.owed() < self.limits.waiting_max => {
                state.waiting.push_back(owed);
                self.metrics.in_flight.add(1);
            }
            // It is ending, or it would not have given the message back; its state is on its way here. To send the message there
            // again would let later ones overtake it, and never end where session and home share a shard.
            Some((DeviceState::Attached | DeviceState::Evicting, returned)) => {
                returned.push(owed);
                self.metrics.in_flight.add(1);
            }
            _ => self.queue(user, owed),
        }
        self.tell_edge(user, io);
    }

    /// Tells the edge that messages wait for a user who is not connected, if it is to know and was not told lately.
    fn tell_edge(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        let (Some(interval), Some(record)) = (self.limits.push_interval, self.users.get_mut(user)) else {
            return;
        };
        let (now, edge) = (io.now(), io.edge());
        let was_told = record.pushed.is_some_and(|at| now.since(at) < interval);
        let detached = record.devices.iter().map(|device| match &device.state {
            DeviceState::Detached { state, .. } => state.owed(),
            DeviceState::Attached | DeviceState::Evicting => 0,
        });
        let waiting = record.offline.len() + detached.sum::<usize>();
        if was_told || waiting == 0 || record.devices.iter().any(Device::is_attached) {
            return;
        }
        record.pushed = Some(now);
        if io.congested(edge) {
            return self.metrics.push_dropped.increment();
        }
        io.post(edge, Mail::Push { user: Arc::clone(user), waiting });
    }

    fn queue(&mut self, user: &Arc<str>, owed: Owed) {
        let record = self.users.entry(Arc::clone(user)).or_default();
        if record.offline.len() >= self.limits.offline_per_user_max || self.queued >= self.limits.offline_max
        {
            self.metrics.fail(owed.kind, FailReason::QueueFull);
            return self.duties.settle(&owed);
        }
        record.offline.push_back(owed);
        self.queued += 1;
        self.metrics.offline_queue.set(self.queued);
    }

    /// Does what can be done for the user now: let sessions begin, then answer who asks.
    fn settle(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        while let Some(record) = self.users.get_mut(user) {
            if record.attaching.is_empty() {
                break;
            }
            record.withdraw_route(user, io);
            let Some(attaching) = record.attaching.front().filter(|_| record.fences == 0) else { return };
            let known = record.devices.iter().position(|device| device.name == attaching.device);
            let is_full = record.is_full(self.limits.devices_max);
            let device = known.map(|index| &mut record.devices[index]);
            match device {
                Some(device) if matches!(device.state, DeviceState::Attached) => {
                    device.state = DeviceState::Evicting;
                    return self.duties.post(device.session.shard, Mail::Evict(device.session.conn), io);
                }
                Some(device) if matches!(device.state, DeviceState::Evicting) => return,
                // As many as there may be are connected: the first of them goes.
                None if is_full => {
                    let first = &mut record.devices[0];
                    if matches!(first.state, DeviceState::Attached) {
                        first.state = DeviceState::Evicting;
                        self.duties.post(first.session.shard, Mail::Evict(first.session.conn), io);
                    }
                    return;
                }
                _ => self.complete(user, known, io),
            }
        }
        let Some(record) = self.users.get_mut(user) else { return };
        if record.fences == 0 && record.asking != 0 {
            record.told = record
                .devices
                .iter()
                .filter(|device| device.is_attached())
                .map(|device| device.session)
                .collect();
            for shard in shards(std::mem::take(&mut record.asking)) {
                record.told_to |= 1 << shard;
                io.post(shard, Mail::Route { user: Arc::clone(user), sessions: Arc::clone(&record.told) });
            }
        }
    }

    /// Lets the first waiting session begin.
    fn complete(&mut self, user: &Arc<str>, known: Option<usize>, io: &mut Io<Mail>) {
        let Some(record) = self.users.get_mut(user) else { return };
        let Some(Attaching { device, session, resume }) = record.attaching.pop_front() else { return };
        if record.attaching.is_empty() {
            // For the next time in an hour or a week it need not keep its memory.
            record.attaching = VecDeque::new();
        }
        let mut is_new = false;
        let mut state = match known {
            Some(index) => record.devices[index].begin(session),
            None => {
                let (forgotten, orphans) = record.make_room(self.limits.devices_max);
                if let Some(forgotten) = forgotten {
                    self.duties.device(user, &forgotten, false);
                }
                // One device is the usual case; a vector would begin with room for four.
                record.devices.reserve_exact(1);
                record.devices.push(Device {
                    name: Arc::clone(&device),
                    session,
                    state: DeviceState::Attached,
                    returned: Vec::new(),
                });
                self.metrics.in_flight.add(-signed(orphans.len()));
                for owed in orphans {
                    self.queue(user, owed);
                }
                is_new = true;
                Box::new(SessionState { seq: self.seq_first, ..SessionState::default() })
            }
        };
        self.metrics.in_flight.add(-signed(state.owed()));
        let Some(record) = self.users.get_mut(user) else { return };
        let (metrics, duties) = (&self.metrics, &mut self.duties);
        // A number above what this session has given out is from one that was forgotten: what is owed now has not been seen.
        if let Some(resume) = resume.filter(|resume| *resume <= state.seq) {
            // Arrived before the connection broke, acknowledged now; the time it took says nothing of the gateway.
            state.acknowledge(resume, |owed| {
                metrics.delivered[owed.kind as usize].increment();
                duties.settle(owed);
            });
        }
        state.user_bucket =
            self.limits.user_messages.map(|_| Arc::clone(record.bucket.get_or_insert_default()));
        let mut queued = std::mem::take(&mut record.offline);
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
        self.metrics.offline_queue.set(self.queued);
        let several = record.devices.iter().filter(|device| device.is_attached()).count() > 1;
        let (user, conn) = (Arc::clone(user), session.conn);
        if is_new {
            duties.device(&user, &device, true);
        }
        let mail = Mail::Attached { conn, user, device, state, queued, several };
        if is_new {
            // Whoever is told that this device is connected may rely on its being known after a crash.
            duties.post(session.shard, mail, io);
        } else {
            io.post(session.shard, mail);
        }
    }

    /// Ends what has been kept too long: sessions whose device does not come back, messages nobody fetched.
    pub(crate) fn sweep(&mut self, io: &mut Io<Mail>) {
        let now = io.now();
        let mut orphaned: Vec<(Arc<str>, Owed)> = Vec::new();
        for (name, record) in &mut self.users {
            let session_ttl = self.limits.session_ttl;
            for device in record.devices.extract_if(.., |device| device.is_over(now, session_ttl)) {
                self.duties.device(name, &device.name, false);
                let owed = device.into_owed();
                self.metrics.in_flight.add(-signed(owed.len()));
                orphaned.extend(owed.into_iter().map(|message| (Arc::clone(name), message)));
            }
            while record.offline.front().is_some_and(|owed| owed.expires <= now) {
                if let Some(owed) = record.offline.pop_front() {
                    self.duties.settle(&owed);
                }
                self.queued -= 1;
                self.metrics.expired.increment();
            }
            // Nothing is kept but that shards remember the way to nobody: they may ask again.
            if record.holds_nothing() && record.fences == 0 {
                record.withdraw_route(name, io);
            }
        }
        for (user, message) in orphaned {
            self.queue(&user, message);
            self.tell_edge(&user, io);
        }
        self.metrics.offline_queue.set(self.queued);
        self.users.retain(|_, record| !record.is_empty());
    }
}

impl User {
    /// Makes every shard that was told the route forget it, with a fence along each old way.
    fn withdraw_route(&mut self, user: &Arc<str>, io: &mut Io<Mail>) {
        if self.told_to == 0 {
            return;
        }
        let home = io.shard();
        let mut through: Vec<ShardIndex> = self.told.iter().map(|session| session.shard).collect();
        through.sort_unstable();
        through.dedup();
        if through.is_empty() {
            // An offline user's messages went to the home.
            through.push(home);
        }
        let through: Arc<[ShardIndex]> = through.into();
        for shard in shards(std::mem::take(&mut self.told_to)) {
            self.fences += through.len();
            io.post(shard, Mail::Forget { user: Arc::clone(user), home, through: Arc::clone(&through) });
        }
    }

    /// Forgets the device that has been away longest, if there are too many, and gives what it was owed.
    fn make_room(&mut self, devices_max: usize) -> (Option<Arc<str>>, Vec<Owed>) {
        if self.devices.len() < devices_max {
            return (None, Vec::new());
        }
        let away = |(index, device): (usize, &Device)| match &device.state {
            DeviceState::Detached { since, .. } => Some((*since, index)),
            DeviceState::Attached | DeviceState::Evicting => None,
        };
        match self.devices.iter().enumerate().filter_map(away).min() {
            Some((_, index)) => {
                let device = self.devices.remove(index);
                (Some(Arc::clone(&device.name)), device.into_owed())
            }
            None => (None, Vec::new()),
        }
    }

    /// Whether as many devices as there may be are known, all of them connected.
    fn is_full(&self, devices_max: usize) -> bool {
        self.devices.len() >= devices_max && self.devices.iter().all(Device::is_attached)
    }

    fn holds_nothing(&self) -> bool {
        self.devices.is_empty() && self.offline.is_empty() && self.attaching.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.holds_nothing() && (self.told_to, self.fences, self.asking) == (0, 0, 0)
    }
}

impl Device {
    fn is_attached(&self) -> bool {
        matches!(self.state, DeviceState::Attached | DeviceState::Evicting)
    }

    fn is_over(&self, now: Time, session_ttl: Duration) -> bool {
        matches!(self.state, DeviceState::Detached { since, .. } if now.since(since) > session_ttl)
    }

    /// What the device was owed when it disconnected, oldest first.
    fn into_owed(self) -> Vec<Owed> {
        match self.state {
            DeviceState::Detached { state, .. } => {
                state.unacked.into_iter().map(|unacked| unacked.message).chain(state.waiting).collect()
            }
            DeviceState::Attached | DeviceState::Evicting => Vec::new(),
        }
    }

    /// Attaches the device again and gives the state that its last session left.
    fn begin(&mut self, session: SessionRef) -> Box<SessionState> {
        self.session = session;
        match std::mem::replace(&mut self.state, DeviceState::Attached) {
            DeviceState::Detached { state, .. } => state,
            DeviceState::Attached | DeviceState::Evicting => Box::default(),
        }
    }
}

fn shards(set: u64) -> impl Iterator<Item = ShardIndex> {
    (0..SHARDS_MAX).filter(move |shard| set & (1 << shard) != 0)
}

pub(super) fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
