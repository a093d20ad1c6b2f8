//! One shard of the gateway: its connections and the parts that they meet in.

use super::connection::{Asking, Conn};
use super::durable::Durable;
use super::fanout::Fanouts;
use super::faults::Injector;
use super::groups::Groups;
use super::held::Held;
use super::http::{Asked, Http};
use super::journal::Journal;
use super::lingering::Lingering;
use super::loss::LossWatch;
use super::mail::{Mail, SessionRef};
use super::names::Names;
use super::open::Open;
use super::persist::Recovered;
use super::recovery::Clock;
use super::registry::Registry;
use super::routes::Routes;
use super::shared::Shared;
use super::user::Attaching;
use super::{Map, SeededState};
use crate::auth::Verifier;
use crate::log::Event;
use crate::metrics::{CloseReason, ConnectError, ShardMetrics, Status};
use crate::stage::Stage;
use crate::trace::Tracer;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;
use wire::ws::deflate::{Deflater, Inflater};

/// How often what has been kept too long is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long an HTTP connection may stay open without a request.
const HTTP_IDLE: Duration = Duration::from_secs(120);

/// How long something waits for a shard that has fallen behind until it is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// One shard.
#[derive(Debug)]
pub struct Shard {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) hasher: SeededState,
    pub(super) conns: Vec<Conn>,
    pub(super) registry: Registry,
    pub(super) routes: Routes,
    pub(super) groups: Groups,
    pub(super) fanouts: Fanouts,
    /// Sessions that wait for answers to their last messages.
    pub(super) lingering: Map<ConnId, Lingering>,
    pub(super) injector: Injector,
    /// Watches the loss of all shards; one shard does it for all.
    pub(super) loss: Option<LossWatch>,
    /// Deliveries held by an injected latency, by release time.
    pub(super) held: BinaryHeap<Held>,
    pub(super) held_before: u64,
    pub(super) stage: Stage,
    pub(super) verifier: Verifier,
    /// What is asked of the store; `None`: there is none.
    pub(super) durable: Option<Durable>,
    /// Of devices.
    pub(super) names: Names,
    /// Where spans are left; `None`: nothing is traced.
    pub(super) tracer: Option<Box<Tracer>>,
    pub(super) journal: Journal,
    pub(super) scratch: Vec<u8>,
    pub(super) inflater: Inflater,
    pub(super) deflater: Deflater,
    /// When to look for what has been kept too long; `None` while nothing is kept.
    sweep_at: Option<Time>,
    /// When to look whether shards that had fallen behind have caught up; `None` while nothing waits for them.
    retry_at: Option<Time>,
}

/// What a timer is for; in the top two bits of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Timer {
    /// What the client has begun to send, a request or a message, must be complete.
    Incomplete = 0,
    /// The client must have been heard.
    Heartbeat = 1,
    /// A delivery may have timed out.
    Ack = 2,
}

/// Which of `shards` shards is home to a user or group, for gateways with this seed.
pub fn home_of(seed: u64, name: &str, shards: usize) -> ShardIndex {
    home(&hasher(seed), name, shards)
}

fn home(hasher: &SeededState, name: &str, shards: usize) -> ShardIndex {
    (hasher.hash_one(name) % shards as u64) as ShardIndex
}

/// All shards must agree on who is at home where, so the keys come from the gateway's seed alone.
fn hasher(seed: u64) -> SeededState {
    SeededState::with_seeds(seed, 0x5851_F42D, 0x4C95_7F2D, 0x1405_7B7E)
}

const GENERATION_MASK: u32 = (1 << 30) - 1;

pub(super) fn timer_key(timer: Timer, conn: ConnId) -> u64 {
    (timer as u64) << 62 | u64::from(conn.generation & GENERATION_MASK) << 32 | u64::from(conn.index)
}

impl Shard {
    /// Shard number `index` of a gateway.
    pub fn new(shared: Arc<Shared>, index: ShardIndex) -> Shard {
        let hasher = hasher(shared.seed);
        let metrics = shared.metrics.shard(index);
        let limits = &shared.limits;
        Shard {
            registry: Registry::new(limits.clone(), Arc::clone(&metrics), hasher.clone()),
            routes: Routes::new(shared.cache_size, limits.parked_max, hasher.clone()),
            groups: Groups::new(limits.group_members_max, hasher.clone()),
            fanouts: Fanouts::new(hasher.clone()),
            lingering: Map::with_hasher(hasher.clone()),
            injector: Injector::new(shared.seed ^ index as u64),
            loss: limits.loss_breaker.filter(|_| index == 0).map(LossWatch::new),
            metrics,
            hasher,
            conns: Vec::new(),
            held: BinaryHeap::new(),
            held_before: 0,
            stage: Stage::Serving,
            verifier: shared.verifier.clone(),
            durable: None,
            names: Names::default(),
            tracer: None,
            journal: Journal::new(Arc::clone(shared.metrics.log()), shared.wall_offset_ns),
            scratch: Vec::new(),
            inflater: Inflater::default(),
            deflater: Deflater::default(),
            sweep_at: None,
            retry_at: None,
            shared,
        }
    }

    /// Shard number `index` of a gateway of `shards` shards that has a store: it goes on with what was kept.
    pub fn with_store(
        shared: Arc<Shared>,
        index: ShardIndex,
        shards: usize,
        recovered: &Recovered,
        now: Time,
    ) -> Shard {
        let mut shard = Shard::new(shared, index);
        let (shared, hasher) = (&shard.shared, &shard.hasher);
        let (wall_offset_ns, message_ttl) = (shared.wall_offset_ns, shared.message_ttl);
        let clock = Clock { now, wall_offset_ns, message_ttl, hasher };
        shard.registry.recover(recovered, &clock);
        for (group, members) in &recovered.groups {
            for member in members {
                // A bound that was lowered meanwhile holds for those who join from now on.
                shard.groups.recover(group, Arc::clone(member), home(hasher, member, shards));
            }
        }
        shard.durable = Some(Durable::new(recovered.number_max));
        shard
    }

    /// The shard that a user or group is at home on.
    pub(super) fn home(&self, name: &str, io: &Io<Mail>) -> ShardIndex {
        home(&self.hasher, name, io.shards())
    }

    /// What `conn` is at present; `None` if its place has gone to another connection meanwhile.
    pub(super) fn conn_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(conn.index as usize).filter(|place| place.id() == Some(conn))
    }

    /// The open session on `conn`, if it is still that one.
    pub(super) fn open_mut(&mut self, conn: ConnId) -> Option<&mut Open> {
        match self.conn_mut(conn) {
            Some(Conn::Open(open)) => Some(open),
            _ => None,
        }
    }

    fn faults_mail(&mut self, asker: SessionRef, change: Option<super::faults::Change>, io: &mut Io<Mail>) {
        if let Some(change) = change {
            self.injector.change(change);
        }
        let faults = self.injector.in_force(io.now());
        io.post(asker.shard, Mail::FaultIs { conn: asker.conn, faults });
    }

    fn fault_answer(&mut self, conn: ConnId, faults: super::faults::Faults, io: &mut Io<Mail>) {
        let Some(Conn::Asking(asking)) = self.conn_mut(conn) else { return };
        if asking.add(faults) {
            self.answer_fault_request(conn, io);
        }
    }

    /// A shard may be home to users without having accepted a connection, so this hangs on what is kept.
    fn sweep_if_due(&mut self, io: &mut Io<Mail>) {
        if self.sweep_at.is_some_and(|at| at <= io.now()) {
            self.registry.sweep(io);
            self.sweep_at = None;
        }
        if self.sweep_at.is_none() && !self.registry.is_empty() {
            self.sweep_at = Some(io.now() + SWEEP_EVERY);
        }
    }

    fn close_all(&mut self, io: &mut Io<Mail>) {
        self.stage = Stage::Closing;
        for index in 0..self.conns.len() {
            if let Conn::Open(open) = &self.conns[index] {
                self.close_for_good(open.session.conn, io);
            }
        }
    }

    fn close_for_good(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        self.close(conn, CloseReason::Drain, 1001, "the gateway is shutting down", io);
    }
}

impl Application for Shard {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Mail>) {
        let index = conn.index as usize;
        if self.conns.len() <= index {
            self.conns.resize_with(index + 1, || Conn::None);
        }
        let Origin::Accepted(peer) = origin else { return };
        let http = Http { conn, peer, requested: None, begun: None };
        self.conns[index] = Conn::Http(Box::new(http));
        // Until the upgrade: which of two connections of a device is the newer one must not hang on whose shard was quicker.
        io.time_arrivals(conn, true);
        io.set_timer(io.now() + self.shared.limits.handshake_timeout, timer_key(Timer::Incomplete, conn));
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        match self.conn_mut(conn) {
            Some(Conn::Http(_)) => self.http(conn, input, io),
            Some(Conn::Open(_)) => self.frames(conn, input, io),
            // Shown again when the session begins, or the answer is written.
            _ => 0,
        }
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        match self.conn_mut(conn).map(std::mem::take) {
            Some(Conn::Http(http)) => {
                self.metrics.http.in_flight.add(-i64::from(http.begun.is_some()));
                if http.requested.is_none() && how == Closed::Tls {
                    self.connect_failed(ConnectError::Tls, Some((conn, http.peer)), io.now());
                }
            }
            Some(Conn::Asking(_)) => self.metrics.http.in_flight.add(-1),
            Some(Conn::Open(open)) => self.session_ended(open.session, how, io),
            Some(Conn::Attaching(attaching)) => {
                self.shared.sessions.give_back();
                self.trace_gone(conn, &attaching.user, how, io.now());
                self.metrics.http.in_flight.add(-1);
                // The home will answer to a connection that is gone, and be told so then.
                let session = SessionRef { shard: io.shard(), conn };
                self.metrics.in_flight.add(-(attaching.parked.len() as i64));
                for message in attaching.parked {
                    self.keep(&attaching.user, Some(session), message, io);
                }
            }
            _ => {}
        }
    }

    fn mail(&mut self, from: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Attach { user, device, session, resume, since } => {
                self.registry.attach(&user, Attaching { device, session, resume, since }, io);
            }
            Mail::Attached { conn, user, device, state, several } => {
                self.attached(conn, user, device, state, several, io);
                // Its upgrade was under way when all were closed.
                if self.stage == Stage::Closing {
                    self.close_for_good(conn, io);
                }
            }
            Mail::Evict(conn) => {
                self.close(conn, CloseReason::Replaced, 4409, "the device connected again", io)
            }
            Mail::Detached { user, session, state } => self.registry.detached(&user, session, state, io),
            Mail::WhereIs(user) => self.registry.where_is(&user, from, io),
            Mail::Route { user, sessions } => self.learn(&user, &sessions, io),
            Mail::Forget { user, home, through } => {
                self.routes.forget(&user);
                for &shard in through.iter() {
                    io.post(shard, Mail::Fence { user: Arc::clone(&user), home });
                }
            }
            Mail::Fence { user, home } => io.post(home, Mail::Fenced(user)),
            Mail::Fenced(user) => self.registry.fenced(&user, io),
            Mail::Deliver { user, conn, owed } => self.deliver(user, conn, owed, io),
            Mail::Keep { user, session, owed } => self.registry.keep(&user, session, owed, io),
            Mail::Membership { group, user, session, join } => {
                self.membership(group, user, session, join, io)
            }
            Mail::MembershipIs { conn, group, outcome } => self.membership_is(conn, &group, outcome, io),
            Mail::SendToGroup { group, from, device, session, id, message } => {
                self.send_to_group(&group, from, device, session, id, message, io);
            }
            Mail::FanOut { from: sender, message, members, first, fanout } => {
                self.fan_out(from, sender, message, members, first, fanout);
            }
            Mail::Persisted { up_to, is_kept } => self.persisted(up_to, is_kept, io),
            Mail::Persist { .. } => debug_assert!(false, "for the edge"),
            Mail::FannedOut { fanout, members } => self.fanned_out(fanout, members, io),
            // Its way through the group's home is the same for the device's next message, whichever shard that comes from.
            Mail::GroupSent { conn, id, outcome } => self.confirm(conn, &id, outcome.map(|()| 0), io),
            Mail::Fault { asker, change } => self.faults_mail(asker, change, io),
            Mail::FaultIs { conn, faults } => self.fault_answer(conn, faults, io),
            Mail::Keys(verifier) => self.verifier = verifier,
            Mail::Certificate(config) => io.accept_tls(config),
            // For the edge only.
            Mail::Push { .. } | Mail::Log(_) => {}
            Mail::Leave => self.stage = Stage::Leaving,
            Mail::Drain => self.stage = Stage::Draining,
            Mail::CloseAll => self.close_all(io),
            Mail::Stop => io.stop(),
        }
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        let (index, generation) = (key as u32, (key >> 32) as u32 & GENERATION_MASK);
        let conn = self.conns.get(index as usize).and_then(Conn::id);
        let conn = conn.filter(|conn| conn.generation & GENERATION_MASK == generation);
        match (key >> 62, conn) {
            (0, Some(conn)) if self.open_mut(conn).is_some() => self.message_timer(conn, io),
            (0, Some(conn)) => self.handshake_timer(conn, io),
            (1, Some(conn)) => self.heartbeat_timer(conn, io),
            (2, Some(conn)) => self.ack_timer(conn, io),
            _ => {}
        }
    }

    fn drained(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        self.pump_conn(conn, io);
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        self.release_held(io);
        self.continue_fanouts(io);
        self.sweep_if_due(io);
        self.tell_lost(io.now());
        self.post_ops(io);
        let is_blocked = self.fanouts.is_blocked() || self.durable.as_ref().is_some_and(Durable::is_blocked);
        self.retry_at = is_blocked.then(|| io.now() + RETRY_AFTER);
        self.watch_loss(io.now());
        self.post_records(io);
        self.metrics.cache_size.set(self.routes.len());
    }

    fn deadline(&self) -> Option<Time> {
        let has_work = self.fanouts.has_work()
            || self.durable.as_ref().is_some_and(|durable| durable.has_work() || self.registry.has_duties());
        let at_once = has_work.then_some(Time(0));
        let loss = self.loss.as_ref().map(LossWatch::due);
        [self.held.peek().map(Held::due), self.sweep_at, self.retry_at, at_once, loss]
            .into_iter()
            .flatten()
            .min()
    }

    fn turned_away(&mut self, io: &mut Io<Mail>) {
        self.connect_failed(ConnectError::Limit, None, io.now());
    }
}

impl Shard {
    pub(super) fn ask_all_shards(&mut self, asking: Asking, io: &mut Io<Mail>) {
        let conn = asking.asked.conn;
        let asker = SessionRef { shard: io.shard(), conn };
        for shard in 0..io.shards() {
            io.post(shard, Mail::Fault { asker, change: asking.change() });
        }
        self.conns[conn.index as usize] = Conn::Asking(Box::new(asking));
    }

    /// A connection will not become a session; whose it is, is known once it is accepted.
    pub(super) fn connect_failed(
        &mut self,
        error: ConnectError,
        whose: Option<(ConnId, SocketAddr)>,
        now: Time,
    ) {
        self.metrics.connect_error(error);
        let place = whose.and_then(|(conn, _)| self.place(conn));
        self.journal.say(Event::ConnectionError, now, "a connection did not become a session", |record| {
            let record = record.within(place).text("error", error.name());
            match whose {
                Some((_, peer)) => record.text("remote_addr", peer.to_string()),
                None => record,
            }
        });
    }

    fn handshake_timer(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let Some(Conn::Http(http)) = self.conn_mut(conn) else { return };
        let peer = http.peer;
        let idle_until = http.requested.map(|requested| requested + HTTP_IDLE);
        match idle_until {
            None => {
                self.connect_failed(ConnectError::Timeout, Some((conn, peer)), io.now());
                // Who has sent nothing at all is answered too.
                let begun = self.begin_request(conn, io.now()).unwrap_or((peer, io.now()));
                let asked = Asked::unread(conn, 0, begun);
                self.refuse(&asked, Status::Timeout, "timeout", "no complete request in time", io);
            }
            Some(until) if until <= io.now() => io.close(conn),
            Some(until) => io.set_timer(until, timer_key(Timer::Incomplete, conn)),
        }
    }
}
