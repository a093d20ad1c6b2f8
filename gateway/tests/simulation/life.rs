//! The gateway under simulation: its node, its figures, and the faults that are planted to prove that they would be found.

use crate::settings::Settings;
use gateway::auth::{Key, Keys, Policy, Verifier};
use gateway::im::mail::Mail;
use gateway::im::{Shard, Shared};
use gateway::metrics::Metrics;
use std::cell::Cell;
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
}

/// A shard that can be made to do wrong.
struct Watched {
    shard: Shard,
    planted: Planted,
    /// Occasions until the fault, over all shards.
    left: Rc<Cell<u64>>,
}

impl Watched {
    fn is_time(&self) -> bool {
        self.left.set(self.left.get().wrapping_sub(1));
        self.left.get() == 0
    }
}

/// Timers for acknowledgements have this in their top two bits.
const ACK_TIMER: u64 = 2;

impl Application for Watched {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Mail>) {
        self.shard.opened(conn, origin, io);
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        self.shard.received(conn, input, io)
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        self.shard.closed(conn, how, io);
    }

    fn mail(&mut self, from: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        self.shard.mail(from, mail, io);
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        let conn = ConnId { index: key as u32, generation: (key >> 32) as u32 & ((1 << 30) - 1) };
        let before = io.backlog(conn);
        self.shard.timer(key, io);
        let written = io.backlog(conn) - before;
        let is_redelivery = key >> 62 == ACK_TIMER && written > 0;
        if matches!(self.planted, Planted::SkippedRedelivery(_))
            && is_redelivery
            && self.is_time()
            && let Some(out) = io.send(conn)
        {
            out.truncate(out.len() - written);
        }
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        self.shard.step_done(io);
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
    pub(crate) metrics: Metrics,
}

pub(crate) fn address() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

impl Gateway {
    pub(crate) fn start(world: &mut World, settings: &Settings, planted: Planted) -> Gateway {
        let metrics = Metrics::new("simulated", settings.shards);
        let shared = Arc::new(Shared {
            node: "simulated".into(),
            limits: settings.limits.clone(),
            ack_timeout: settings.ack_timeout,
            heartbeat: settings.heartbeat,
            message_ttl: settings.message_ttl,
            cache_size: settings.cache_size,
            test_faults: false,
            deflate: false,
            verifier: verifier(settings.limits.name_bytes_max),
            metrics: metrics.clone(),
            wall_offset_ns: 0,
            seed: world.random().bits(),
        });
        let left = Rc::new(Cell::new(match planted {
            Planted::SkippedRedelivery(number) => number,
            Planted::Nothing | Planted::LostWake(_) => 0,
        }));
        let mut node = Node::start(world, settings.shards, Some(address()), &Seats::unlimited(), |index| {
            Watched { shard: Shard::new(Arc::clone(&shared), index), planted, left: Rc::clone(&left) }
        });
        if let Planted::LostWake(number) = planted {
            node.lose_wake(number);
        }
        Gateway { node, metrics }
    }

    pub(crate) fn kill(self, world: &mut World) {
        self.node.kill(world);
    }

    pub(crate) fn stall(&self, shard: usize, duration: Duration, world: &mut World) {
        self.node.stall(shard, duration, world);
    }

    /// Takes the event if it is for the gateway; then everything must add up.
    pub(crate) fn handle(&mut self, event: Event, world: &mut World) -> Result<bool, String> {
        if !self.node.handle(event, world) {
            return Ok(false);
        }
        if matches!(event, Event::Step { .. }) {
            self.conserves()?;
        }
        Ok(true)
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

    /// Deliveries that are on their way between shards.
    pub(crate) fn under_way(&self) -> usize {
        self.node.mail_under_way().map(Mail::deliveries).sum()
    }

    /// accepted = acknowledged + queued + expired + failed + in flight, and what is between shards.
    fn conserves(&self) -> Result<(), String> {
        let accepted = self.metrics.total(|shard| shard.accepted.get());
        let delivered = self.metrics.total(|shard| shard.delivered.iter().map(|kind| kind.get()).sum());
        let (lost, queued, in_flight) = (self.lost(), self.queued(), self.in_flight());
        let under_way = self.under_way();
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
