//! One thread of the load generator: its clients, its share of every schedule, its half of the truth.

use super::client::{Client, State, reason};
use super::figures::{FleetFigures, Gauges, PhaseFigures, PhaseMark, PhaseMarks, Second};
use super::ledger::Sending;
use super::plan::{ClientIndex, MessageNumber, SplitMix};
use super::protocol::{self, Frame};
use super::{Mail, Orders, ThreadTruth};

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use traffic::ThreadTraffic;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};

mod connects;
mod traffic;

const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// How often order-keeping forgets what is too old to matter.
const PRUNE_EVERY: Duration = Duration::from_secs(5);

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// One thread of a fleet.
pub(super) struct FleetShard {
    orders: Arc<Orders>,
    thread: u32,
    clients: Vec<Client>,
    /// By connection index: which of this thread's clients it belongs to.
    owners: Vec<u32>,
    traffic: Vec<ThreadTraffic>,
    /// Next of this thread's clients to connect for the first time.
    to_connect: usize,
    connect_begin: Option<Time>,
    connecting: usize,
    /// Clients whose pause before the next attempt is over.
    to_reconnect: VecDeque<u32>,
    to_ack: Vec<u32>,
    marks: PhaseMarks,
    phases: Vec<PhaseFigures>,
    totals: FleetFigures,
    second: Second,
    second_until: Time,
    random: SplitMix,
    scratch: Vec<u8>,
    gauges: Arc<Gauges>,
    /// Last message of a sender to a recipient, to see one overtake another.
    order: Map<(u8, ClientIndex, u32), (MessageNumber, Time)>,
    prune_at: Time,
    /// When the target was last proven to be back.
    back_at: Time,
    /// The target was taken away.
    is_gone: bool,
    ending: Ending,
}

/// How far the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Ending {
    /// It was not asked for.
    No,
    /// Traffic has an end; messages may be due until then.
    Traffic,
    /// Nothing is due any more; stragglers are waited for.
    Settling,
    /// Everything is to be handed over as soon as nothing is due any more.
    Asked,
    /// All is handed over; nothing counts any more.
    HandedOver,
}

impl FleetShard {
    /// Thread number `thread` of the fleet that `orders` describes.
    pub(super) fn new(orders: Arc<Orders>, thread: u32, gauges: Arc<Gauges>) -> FleetShard {
        let mine = (orders.clients + orders.threads - 1 - thread) / orders.threads;
        let traffic = orders
            .traffic
            .iter()
            .enumerate()
            .map(|(index, plan)| ThreadTraffic::new(&orders, index, plan))
            .collect();
        let mut marks = PhaseMarks::default();
        marks.begin(PhaseMark { begin: Time(0), disturbed: None });
        FleetShard {
            random: SplitMix::new(orders.seed ^ (u64::from(thread) << 32)),
            order: Map::with_hasher(ahash::RandomState::with_seeds(orders.seed, 1, 2, u64::from(thread))),
            orders,
            thread,
            clients: (0..mine).map(|_| Client::default()).collect(),
            owners: Vec::new(),
            traffic,
            to_connect: 0,
            connect_begin: None,
            connecting: 0,
            to_reconnect: VecDeque::new(),
            to_ack: Vec::new(),
            marks,
            phases: vec![PhaseFigures::default()],
            totals: FleetFigures::default(),
            second: Second::default(),
            second_until: Time(0),
            scratch: Vec::new(),
            gauges,
            prune_at: Time(0),
            back_at: Time(0),
            is_gone: false,
            ending: Ending::No,
        }
    }

    /// The client's number in the population.
    fn index(&self, local: u32) -> ClientIndex {
        local * self.orders.threads + self.thread
    }

    fn owner(&self, conn: ConnId) -> Option<u32> {
        let local = *self.owners.get(conn.index as usize)?;
        (self.clients.get(local as usize)?.conn == Some(conn)).then_some(local)
    }

    /// The figures of the phase that `at` lies in.
    fn phase_of(&mut self, at: Time) -> &mut PhaseFigures {
        &mut self.phases[self.marks.of(at, Some(at))]
    }

    fn frames(&mut self, local: u32, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let mut endpoint =
            std::mem::replace(&mut self.clients[local as usize].endpoint, Endpoint::new(Role::Client));
        let mut taken = 0;
        loop {
            match endpoint.next(&mut input[taken..], MESSAGE_BYTES_MAX) {
                Ok(Some((Event::Text(text), bytes))) => {
                    self.frame(local, text, io);
                    taken += bytes;
                }
                Ok(Some((Event::Ping(payload), bytes))) => {
                    let mask = self.mask();
                    if let Some(out) = io.send(conn) {
                        frame::write(out, Opcode::Pong, payload, Some(mask));
                    }
                    taken += bytes;
                }
                Ok(Some((Event::Close(code), bytes))) => {
                    let mask = self.mask();
                    if let Some(out) = io.send(conn) {
                        frame::write_close(out, code, "", Some(mask));
                    }
                    self.ended(local, "closed", io);
                    io.close(conn);
                    taken += bytes;
                    break;
                }
                Ok(Some((_, bytes))) => taken += bytes,
                Ok(None) => break,
                Err(_) => {
                    self.totals.unexpected += 1;
                    self.ended(local, "protocol", io);
                    io.reset(conn);
                    break;
                }
            }
        }
        self.clients[local as usize].endpoint = endpoint;
        taken
    }

    fn frame(&mut self, local: u32, text: &str, io: &mut Io<Mail>) {
        match protocol::parse(text) {
            Frame::Message { seq, key, written_ns } => self.message(local, seq, key, written_ns, io),
            Frame::Sent(key) => self.confirmed(key),
            Frame::Hello(epoch) => self.greeted(local, epoch, io),
            Frame::Error(key, code) => {
                self.gauges.refused.add(1);
                *self.totals.refusals.entry(code).or_default() += 1;
                self.settle_sending(key, Sending::Refused);
            }
            Frame::Unknown => self.totals.unexpected += 1,
        }
    }

    fn write(&mut self, conn: ConnId, io: &mut Io<Mail>, payload: impl FnOnce(&mut Vec<u8>, Time)) {
        let (mask, now) = (self.mask(), io.now());
        if let Some(out) = io.send(conn) {
            self.scratch.clear();
            payload(&mut self.scratch, now);
            frame::write(out, Opcode::Text, &self.scratch, Some(mask));
        }
    }

    fn mask(&mut self) -> [u8; 4] {
        (self.random.next_u64() as u32).to_ne_bytes()
    }

    /// One cumulative ACK per client and step.
    fn acknowledge(&mut self, io: &mut Io<Mail>) {
        for local in std::mem::take(&mut self.to_ack) {
            let client = &mut self.clients[local as usize];
            let (conn, seq) = (client.conn, client.seq);
            if client.state == State::Open
                && let Some(conn) = conn
                && std::mem::replace(&mut client.acked, seq) != seq
            {
                self.write(conn, io, |out, _| protocol::write_ack(out, seq));
            }
        }
    }

    fn end_of_second(&mut self, io: &mut Io<Mail>) {
        if self.second_until.0 == 0 || io.now() < self.second_until {
            return;
        }
        let second = std::mem::take(&mut self.second);
        let until = self.second_until;
        self.second_until = until + Duration::from_secs(1);
        io.post(io.edge(), Mail::Second { until, second: Box::new(second) });
    }

    /// What is older than the time after which a message counts as late can no longer be overtaken in a way that matters.
    fn prune(&mut self, now: Time) {
        if now >= self.prune_at {
            self.prune_at = now + PRUNE_EVERY;
            let horizon = self.orders.late_after * 2;
            self.order.retain(|_, (_, due)| now.since(*due) < horizon);
        }
    }

    /// A thread that was kept from running may still owe the attempts of its last moments: they are made, or missed, before
    /// anything is over.
    fn end_if_done(&mut self, io: &mut Io<Mail>) {
        if self.traffic.iter().any(|traffic| traffic.next_due.is_some()) {
            return;
        }
        match self.ending {
            Ending::Traffic => {
                self.ending = Ending::Settling;
                self.gauges.traffic_over.add(1);
            }
            Ending::Asked => {
                self.hand_over(io);
                self.ending = Ending::HandedOver;
            }
            Ending::No | Ending::Settling | Ending::HandedOver => {}
        }
    }

    fn hand_over(&mut self, io: &mut Io<Mail>) {
        let mut totals = std::mem::take(&mut self.totals);
        totals.phases.clear();
        let truth = ThreadTruth {
            totals,
            phases: std::mem::take(&mut self.phases),
            traffic: self
                .traffic
                .iter_mut()
                .map(|traffic| (traffic.schedule.clone(), traffic.turn, std::mem::take(&mut traffic.ledger)))
                .collect(),
            marks: self.marks.clone(),
        };
        io.post(io.edge(), Mail::Truth(Box::new(truth)));
    }
}

impl Application for FleetShard {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Mail>) {
        if let Some(local) = self.owner(conn) {
            self.upgrade(local, conn, io);
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let owner = self.owner(conn).filter(|_| self.ending != Ending::HandedOver);
        let Some(local) = owner else { return input.len() };
        let mut taken = 0;
        if self.clients[local as usize].state == State::Upgrading {
            taken = self.answer(local, conn, input, io);
        }
        match self.clients[local as usize].state {
            State::Greeting | State::Open => taken + self.frames(local, conn, &mut input[taken..], io),
            _ => taken,
        }
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        let Some(local) = self.owner(conn) else { return };
        match (self.clients[local as usize].state, how) {
            (State::Open, _) => self.lost(local, io),
            (_, Closed::ConnectFailed(kind)) => self.connect_failed(local, reason(kind), io),
            (_, Closed::Reset) => self.connect_failed(local, "reset", io),
            (_, Closed::Eof | Closed::Truncated) => self.connect_failed(local, "closed", io),
            (_, Closed::Tls) => self.connect_failed(local, "tls", io),
            (_, Closed::Local) => self.connect_failed(local, "timeout", io),
        }
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Connect(at) => self.connect_begin = Some(at),
            Mail::BeginTraffic(at) => self.begin_traffic(at),
            Mail::Phase { mark, load } => {
                self.marks.begin(mark);
                self.phases.push(PhaseFigures::default());
                for traffic in &mut self.traffic {
                    if let Some(schedule) = &mut traffic.schedule {
                        schedule.scale(mark.begin, load);
                    }
                    traffic.schedule_next(self.orders.threads, self.thread);
                }
            }
            Mail::Disturbed(at) => self.marks.disturb(at),
            Mail::Gone => self.is_gone = true,
            Mail::Back(at) => (self.back_at, self.is_gone) = (at, false),
            Mail::EndTraffic(at) => {
                self.ending = Ending::Traffic;
                for traffic in &mut self.traffic {
                    traffic.until = Some(at);
                    traffic.next_due = traffic.next_due.filter(|due| *due < at);
                }
            }
            Mail::HandOver => self.ending = Ending::Asked,
            Mail::Stop => io.stop(),
            Mail::Second { .. } | Mail::Truth(_) => {}
        }
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        self.connect_timer(key, io);
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        self.connect_due(io);
        self.reconnect_some(io);
        self.send_due(io);
        self.acknowledge(io);
        self.end_of_second(io);
        self.prune(io.now());
        self.end_if_done(io);
    }

    fn deadline(&self) -> Option<Time> {
        let second = (self.second_until.0 != 0).then_some(self.second_until);
        let traffic = self.traffic.iter().filter_map(|traffic| traffic.next_due).min();
        let reconnect = (!self.to_reconnect.is_empty()).then_some(Time(0));
        [self.next_connect(), reconnect, traffic, second].into_iter().flatten().min()
    }
}
