//! The gateway under simulation: its node, its figures, and the faults that are planted to prove that they would be found.

use crate::disk::Disk;
use crate::edge::Edge;
use crate::settings::Settings;
use gateway::auth::{Key, Keys, Policy, Verifier};
use gateway::config::Limits;
use gateway::im::mail::Mail;
use gateway::im::{Shard, Shared};
use gateway::metrics::{Metrics, ShardMetrics};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::virtual_time::{Event, Node, World};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex};
use wire::time::Time;

pub(crate) const KEY: &[u8] = b"simulated-0123456789abcdefghijkl";

/// A fault of the gateway itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// The n-th redelivery is counted and not written.
    SkippedRedelivery(u64),
    /// The n-th wake-up by mail is lost.
    LostWake(u64),
    /// Fences go home at once instead of along the way that messages took.
    ShortFences,
}

/// What a shard that kept no bound says.
type Excess = Rc<RefCell<Option<String>>>;

/// A shard that can be made to do wrong.
struct Watched {
    shard: Shard,
    planted: Planted,
    /// Occasions until the fault, over all shards.
    left: Rc<Cell<u64>>,
    open: Vec<ConnId>,
    limits: Limits,
    routes_max: usize,
    /// Messages that wait for one user: what was confirmed before a crash is not given up for a bound.
    queued_max: usize,
    /// Answers to what one read can take, bytes.
    answers_max: usize,
    excess: Excess,
}

impl Watched {
    fn is_time(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() == 0
    }

    /// Nothing that a client does, or does not, makes the gateway hold more than it says.
    fn check_bounds(&self, io: &Io<Mail>) {
        let Limits { backlog_bytes_max, frame_bytes_max, .. } = self.limits;
        let backlog = self.open.iter().map(|conn| io.backlog(*conn)).max().unwrap_or_default();
        let sizes = self.shard.sizes();
        for (what, size, max) in [
            (
                "unsent bytes of a connection",
                backlog,
                2 * backlog_bytes_max + frame_bytes_max + self.answers_max,
            ),
            ("ids of a session", sizes.ids, self.limits.dedup_ids),
            ("unacknowledged deliveries of a session", sizes.unacked, self.limits.window),
            ("messages queued for a user", sizes.queued, self.queued_max),
            ("routes", sizes.routes, self.routes_max),
        ] {
            if size > max {
                self.excess.borrow_mut().get_or_insert_with(|| format!("{size} {what}, at most {max}"));
            }
        }
    }
}

/// More than the longest delivery of a simulated message takes.
const DELIVERY_BYTES_MAX: usize = 1024;
/// Timers for acknowledgements have this in their top two bits.
const ACK_TIMER: u64 = 2;

impl Application for Watched {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Mail>) {
        self.open.push(conn);
        self.shard.opened(conn, origin, io);
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        self.shard.received(conn, input, io)
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        self.open.retain(|open| *open != conn);
        self.shard.closed(conn, how, io);
    }

    fn mail(&mut self, from: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        let mail = match mail {
            Mail::Forget { user, home, through } if self.planted == Planted::ShortFences => {
                Mail::Forget { user, home, through: through.iter().map(|_| home).collect() }
            }
            mail => mail,
        };
        self.shard.mail(from, mail, io);
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        let conn = ConnId { index: key as u32, generation: (key >> 32) as u32 & ((1 << 30) - 1) };
        let before = io.backlog(conn);
        self.shard.timer(key, io);
        let written = io.backlog(conn) - before;
        let is_redelivery = key >> 62 == ACK_TIMER && written > 0;
        let backlog_max = self.limits.backlog_bytes_max;
        let is_bounded = before < backlog_max && before + written < backlog_max + DELIVERY_BYTES_MAX;
        assert!(is_bounded || !is_redelivery, "{written} bytes are written again on top of {before}");
        if matches!(self.planted, Planted::SkippedRedelivery(_))
            && is_redelivery
            && self.left.get() > 0
            && self.is_time()
            && let Some(out) = io.send(conn)
        {
            out.truncate(out.len() - written);
        }
    }

    fn drained(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        self.shard.drained(conn, io);
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        self.shard.step_done(io);
        self.check_bounds(io);
    }

    fn deadline(&self) -> Option<Time> {
        self.shard.deadline()
    }

    fn turned_away(&mut self, io: &mut Io<Mail>) {
        self.shard.turned_away(io);
    }
}

fn verifier(name_bytes_max: usize) -> Verifier {
    let keys = Keys::from(Key::secret(KEY).expect("the key is not empty"));
    Verifier::new(
        keys,
        Policy { leeway: Duration::from_secs(60), audience: None, issuer: None, name_bytes_max },
    )
}

/// One life of the gateway.
pub(crate) struct Gateway {
    node: Node<Watched>,
    /// `None`: it has no store.
    edge: Option<Edge>,
    pub(crate) metrics: Metrics,
    /// Places for sessions.
    seats: Seats,
    excess: Excess,
}

pub(crate) fn address() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

/// The edge's alarms have this and the number of the life as key.
const EDGE_ALARMS: u64 = 1 << 32;

impl Gateway {
    /// Life number `life`; on `disk` it finds what the former one has left there.
    pub(crate) fn start(
        world: &mut World,
        settings: &Settings,
        disk: Option<Disk>,
        life: u32,
        planted: Planted,
    ) -> Result<Gateway, String> {
        let metrics = Metrics::new("simulated", settings.shards);
        let seed = world.random().bits();
        let shared = Arc::new(Shared {
            limits: settings.limits.clone(),
            ack_timeout: settings.ack_timeout,
            heartbeat: settings.heartbeat,
            message_ttl: settings.message_ttl,
            cache_size: settings.cache_size,
            seed,
            ..Shared::new("simulated", verifier(settings.limits.name_bytes_max), metrics.clone())
        });
        let now = world.now();
        let key = EDGE_ALARMS + u64::from(life);
        let opened =
            disk.map(|disk| Edge::open(disk, settings, seed, metrics.store(), now, key)).transpose()?;
        let (edge, recovered) = opened.unzip();
        let left = Rc::new(Cell::new(match planted {
            Planted::SkippedRedelivery(number) => number,
            Planted::Nothing | Planted::LostWake(_) | Planted::ShortFences => 0,
        }));
        let users = recovered.iter().flatten().flat_map(|shard| &shard.users);
        let recovered_max = users.map(|user| user.owed.len()).max().unwrap_or_default();
        let excess = Excess::default();
        let shards = settings.shards;
        let mut node = Node::start(world, shards, Some(address()), &Seats::unlimited(), |index| Watched {
            shard: match &recovered {
                Some(recovered) => {
                    Shard::with_store(Arc::clone(&shared), index, shards, &recovered[index], now)
                }
                None => Shard::new(Arc::clone(&shared), index),
            },
            planted,
            left: Rc::clone(&left),
            open: Vec::new(),
            limits: settings.limits.clone(),
            routes_max: settings.cache_size,
            queued_max: recovered_max.max(settings.limits.offline_per_user_max),
            answers_max: settings.conditions.pipe_bytes + 1024,
            excess: Rc::clone(&excess),
        });
        if let Planted::LostWake(number) = planted {
            node.lose_wake(number);
        }
        Ok(Gateway { node, edge, metrics, seats: shared.sessions.clone(), excess })
    }

    /// The machine stops. Gives the disk that the next start finds.
    pub(crate) fn kill(self, world: &mut World) -> Option<Disk> {
        let disk = self.edge.as_ref().map(|edge| edge.crash(world));
        self.node.kill(world);
        disk
    }

    /// The process ends, after its shards have.
    pub(crate) fn end(mut self, world: &mut World) -> Option<Disk> {
        let disk = self.edge.map(|edge| edge.stop(self.node.take_edge_mail(), world));
        self.node.kill(world);
        disk
    }

    /// What was written at the start has had time to be kept.
    pub(crate) fn settle_disk(&self) {
        if let Some(edge) = &self.edge {
            edge.settle();
        }
    }

    /// From now on the disk fails.
    pub(crate) fn break_disk(&self) {
        if let Some(edge) = &self.edge {
            edge.break_down();
        }
    }

    pub(crate) fn tell_all(&mut self, mail: impl Fn() -> Mail, world: &mut World) {
        for shard in 0..self.node.shards() {
            self.node.post(shard, mail(), world);
        }
    }

    /// As the process looks at it before it ends: something is not acknowledged, not handed out or not kept yet.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = |shard: &ShardMetrics| {
            shard.in_flight.get() + shard.fanout_backlog.get() + shard.persist_waiting.get()
        };
        self.metrics.level(busy) > 0
    }

    pub(crate) fn stall(&self, shard: usize, duration: Duration, world: &mut World) {
        self.node.stall(shard, duration, world);
    }

    /// Takes the event if it is for the gateway; then everything must add up.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Result<bool, String> {
        let is_for_edge = match event {
            Event::Alarm(key) => self.edge.as_ref().is_some_and(|edge| edge.key() == key),
            Event::Mail { to, .. } => to == self.node.shards(),
            _ => false,
        };
        let is_alarm = matches!(event, Event::Alarm(_)) && is_for_edge;
        if !is_alarm && !self.node.handle(event, world) {
            return Ok(false);
        }
        if is_for_edge && let Some(edge) = &mut self.edge {
            for (shard, mail) in edge.work(self.node.take_edge_mail(), world) {
                self.node.post(shard, mail, world);
            }
        }
        if matches!(event, Event::Step { .. }) {
            self.conserves()?;
            if let Some(excess) = self.excess.take() {
                return Err(excess);
            }
        }
        Ok(true)
    }

    /// Deliveries and requests that are not where a client, or its absence, decides what becomes of them.
    pub(crate) fn unsettled(&self) -> i64 {
        self.metrics.level(|shard| shard.fanout_backlog.get() + shard.persist_waiting.get())
    }

    pub(crate) fn in_flight(&self) -> i64 {
        self.metrics.level(|shard| shard.in_flight.get())
    }

    pub(crate) fn queued(&self) -> i64 {
        self.metrics.level(|shard| shard.offline_queue.get())
    }

    /// Deliveries that failed or expired.
    pub(crate) fn lost(&self) -> u64 {
        self.metrics.total(|shard| {
            shard.expired.get() + shard.failed.iter().flatten().map(|failed| failed.get()).sum::<u64>()
        })
    }

    /// Deliveries that are on their way between shards, or will be when the store has answered.
    pub(crate) fn under_way(&self) -> usize {
        self.held_and_sessions().0 + self.in_mail()
    }

    fn in_mail(&self) -> usize {
        self.node.mail_under_way().map(Mail::deliveries).sum::<usize>()
    }

    /// Of all shards: deliveries in mail that waits for the store, and sessions.
    fn held_and_sessions(&self) -> (usize, usize) {
        let sizes = (0..self.node.shards()).map(|shard| self.node.application(shard).shard.sizes());
        sizes.fold((0, 0), |(held, sessions), sizes| (held + sizes.held, sessions + sizes.sessions))
    }

    /// accepted = acknowledged + queued + expired + failed + in flight, and what is between shards; and each session has its place.
    fn conserves(&self) -> Result<(), String> {
        let accepted = self.metrics.total(|shard| shard.accepted.get());
        let delivered = self.metrics.total(|shard| shard.delivered.iter().map(|kind| kind.get()).sum());
        let (lost, queued, in_flight) = (self.lost(), self.queued(), self.in_flight());
        let (held, sessions) = self.held_and_sessions();
        let under_way = held + self.in_mail();
        let seats = self.seats.taken();
        if seats != sessions {
            return Err(format!("{seats} places are taken, and there are {sessions} sessions"));
        }
        let sum = delivered as i64 + lost as i64 + queued + in_flight + under_way as i64;
        if sum == accepted as i64 && queued >= 0 && in_flight >= 0 {
            return Ok(());
        }
        Err(format!(
            "not conserved: accepted {accepted} = acknowledged {delivered} + lost {lost} + queued {queued} \
             + in flight {in_flight} + under way {under_way}"
        ))
    }
}
