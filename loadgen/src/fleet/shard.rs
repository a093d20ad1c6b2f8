//! One thread of the load generator: its clients, its share of every schedule, its half of the truth.

use super::client::{Client, State, reason};
use super::figures::{FleetFigures, Gauges, PhaseFigures, PhaseMark, PhaseMarks, Second};
use super::ledger::{Ledger, Sending};
use super::plan::{ClientIndex, MessageNumber, Pairing, Recipients, Schedule, SplitMix, user_name};
use super::protocol::{self, Frame, MessageKey};
use super::{Mail, Orders, ThreadTruth};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

/// Connects under way at once, per thread: more would only wait in the listener's backlog.
const CONNECTS_AT_ONCE_MAX: usize = 256;
/// Connections per source address: beyond that the kernel's search for a free port collapses.
const CONNECTIONS_PER_SOURCE: u32 = 5000;
/// Later than this, an attempt counts against the generator.
const LATE_ATTEMPT: Duration = Duration::from_millis(100);
/// Later than this, a message is given up: the generator could not keep its schedule.
const MISSED_AFTER: Duration = Duration::from_secs(1);
/// Sends in a row before input gets its turn.
const SENDS_IN_A_ROW_MAX: usize = 2048;
/// Unsent bytes on a socket from which a message counts as blocked.
const BLOCKED_BYTES: usize = 64 * 1024;
/// Reconnects in a row before sends get their turn: ten thousand clients that lose their sessions at once must not hold up
/// the schedule of those that have one.
const RECONNECTS_IN_A_ROW_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How often order-keeping forgets what is too old to matter.
const PRUNE_EVERY: Duration = Duration::from_secs(5);

const TIMER_RECONNECT: u64 = 0;
const TIMER_CONNECT_TIMEOUT: u64 = 1;

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

/// One traffic plan on one thread.
struct ThreadTraffic {
    pairing: Pairing,
    schedule: Option<Schedule>,
    /// How many of this thread's messages have had their time.
    turn: u64,
    next_due: Option<Time>,
    until: Option<Time>,
    ledger: Ledger,
    to: Recipients,
    body_bytes: usize,
}

impl FleetShard {
    /// Thread number `thread` of the fleet that `orders` describes.
    pub(super) fn new(orders: Arc<Orders>, thread: u32, gauges: Arc<Gauges>) -> FleetShard {
        let mine = (orders.clients + orders.threads - 1 - thread) / orders.threads;
        let traffic = orders
            .traffic
            .iter()
            .enumerate()
            .map(|(index, traffic)| ThreadTraffic {
                pairing: Pairing::new(orders.clients, orders.threads, orders.seed ^ index as u64, traffic.to),
                schedule: None,
                turn: 0,
                next_due: None,
                until: None,
                ledger: Ledger::default(),
                to: traffic.to,
                body_bytes: traffic.body_bytes,
            })
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

    /// When the next client of this thread may connect.
    fn next_connect(&self) -> Option<Time> {
        let begin = self.connect_begin.filter(|_| self.to_connect < self.clients.len())?;
        if self.connecting >= CONNECTS_AT_ONCE_MAX {
            return None;
        }
        let place = self.to_connect as f64 * f64::from(self.orders.threads) + f64::from(self.thread);
        Some(begin + Duration::from_secs_f64(place / self.orders.connect_rate))
    }

    fn connect(&mut self, local: u32, io: &mut Io<Mail>) {
        let source = self.source(local);
        let conn = io.connect(self.orders.target, source);
        if self.owners.len() <= conn.index as usize {
            self.owners.resize(conn.index as usize + 1, u32::MAX);
        }
        self.owners[conn.index as usize] = local;
        self.connecting += 1;
        self.gauges.connect_attempts.add(1);
        self.phase_of(io.now()).connects.attempts += 1;
        let client = &mut self.clients[local as usize];
        client.conn = Some(conn);
        client.state = State::Connecting;
        client.attempted = io.now();
        if !client.was_open {
            client.since = io.now();
        }
        io.set_timer(io.now() + CONNECT_TIMEOUT, timer_key(TIMER_CONNECT_TIMEOUT, local, client.attempts));
    }

    /// 127.0.x.y for a target on loopback, one address per 5,000 clients; elsewhere the kernel's choice.
    fn source(&self, local: u32) -> Option<IpAddr> {
        if !self.orders.target.ip().is_loopback() || !self.orders.target.is_ipv4() {
            return None;
        }
        let block = self.index(local) / CONNECTIONS_PER_SOURCE;
        Some(Ipv4Addr::new(127, 0, 1 + (block / 250) as u8, 1 + (block % 250) as u8).into())
    }

    fn upgrade(&mut self, local: u32, conn: ConnId, io: &mut Io<Mail>) {
        let nonce = self.nonce(local);
        let client = &self.clients[local as usize];
        let target = match client.was_open {
            true => format!("{}?resume={}", self.orders.path, client.seq),
            false => self.orders.path.clone(),
        };
        let token = (self.orders.token)(&user_name(self.index(local)));
        let authorization = format!("Authorization: Bearer {token}");
        if let Some(out) = io.send(conn) {
            handshake::write_request(out, &self.orders.host, &target, nonce, &[&authorization]);
        }
        self.clients[local as usize].state = State::Upgrading;
    }

    /// The client's handshake key; derived, so that it need not be kept.
    fn nonce(&self, local: u32) -> [u8; 16] {
        let mut random = SplitMix::new(self.orders.seed ^ u64::from(self.index(local)).rotate_left(17));
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&random.next_u64().to_ne_bytes());
        nonce[8..].copy_from_slice(&random.next_u64().to_ne_bytes());
        nonce
    }

    fn answer(&mut self, local: u32, conn: ConnId, input: &[u8], io: &mut Io<Mail>) -> usize {
        match handshake::read_answer(input, self.nonce(local)) {
            Ok(Some(Answer::Accepted(bytes))) => {
                let client = &mut self.clients[local as usize];
                client.state = State::Greeting;
                client.endpoint = Endpoint::new(Role::Client);
                bytes
            }
            Ok(Some(Answer::Refused(_))) => {
                self.connect_failed(local, "http status", io);
                io.reset(conn);
                input.len()
            }
            Ok(None) => 0,
            Err(_) => {
                self.connect_failed(local, "handshake", io);
                io.reset(conn);
                input.len()
            }
        }
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
                    io.close(conn);
                    taken += bytes;
                    break;
                }
                Ok(Some((_, bytes))) => taken += bytes,
                Ok(None) => break,
                Err(_) => {
                    self.totals.unexpected += 1;
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
            Frame::Hello(seq) => self.greeted(local, seq, io),
            Frame::Error(key, code) => {
                self.gauges.refused.add(1);
                *self.totals.refusals.entry(code).or_default() += 1;
                self.settle_sending(key, Sending::Refused);
            }
            Frame::Unknown => self.totals.unexpected += 1,
        }
    }

    fn greeted(&mut self, local: u32, seq: u64, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        if client.state != State::Greeting {
            return;
        }
        // Nobody can come back to a target that is not there, so its own absence does not count. Who is in before we are
        // told that it is back has come at once.
        let from = if self.is_gone { client.attempted } else { client.since.max(self.back_at) };
        let took = io.now().since(from);
        // A lower number is a new session: the target has forgotten the old one, and counts anew.
        client.seq = client.seq.min(seq);
        client.acked = client.seq;
        client.state = State::Open;
        client.attempts = 0;
        let (attempted, was_open) = (client.attempted, std::mem::replace(&mut client.was_open, true));
        self.connecting -= 1;
        self.gauges.connected.add(1);
        let connects = &mut self.phase_of(attempted).connects;
        let times = if was_open { &mut connects.reconnect } else { &mut connects.connecting };
        times.record(took);
    }

    fn confirmed(&mut self, key: MessageKey) {
        self.gauges.confirmed.add(1);
        self.settle_sending(Some(key), Sending::Confirmed);
    }

    fn settle_sending(&mut self, key: Option<MessageKey>, sending: Sending) {
        let threads = u64::from(self.orders.threads);
        let known = key.and_then(|key| Some((self.traffic.get_mut(usize::from(key.traffic))?, key.number)));
        match known {
            Some((traffic, number)) if number % threads == u64::from(self.thread) => {
                traffic.ledger.sending(number / threads, sending);
            }
            _ => self.totals.unexpected += 1,
        }
    }

    fn message(&mut self, local: u32, seq: u64, key: Option<MessageKey>, written_ns: u64, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        if seq > client.seq {
            client.seq = seq;
        }
        self.to_ack.push(local);
        self.gauges.received.add(1);
        let recipient = self.index(local);
        let Some(key) = key else { return self.totals.unexpected += 1 };
        let Some(traffic) = self.traffic.get_mut(usize::from(key.traffic)) else {
            return self.totals.unexpected += 1;
        };
        let due = traffic.schedule.as_ref().and_then(|schedule| schedule.due(key.number));
        let (Some(due), true) = (due, traffic.pairing.recipient(key.number) == Some(recipient)) else {
            return self.totals.unexpected += 1;
        };
        if !traffic.ledger.arrived(key.number) {
            return;
        }
        let sender = traffic.pairing.sender(key.number);
        let overtaken = self.overtaken(key, sender, local, due);
        self.first_arrival(due, written_ns, overtaken, io.now());
    }

    /// Whether a later message of the same sender arrived before this one.
    fn overtaken(&mut self, key: MessageKey, sender: ClientIndex, local: u32, due: Time) -> bool {
        match self.order.entry((key.traffic, sender, local)) {
            std::collections::hash_map::Entry::Occupied(mut last) => {
                let overtaken = last.get().0 > key.number;
                if !overtaken {
                    last.insert((key.number, due));
                }
                overtaken
            }
            std::collections::hash_map::Entry::Vacant(first) => {
                first.insert((key.number, due));
                false
            }
        }
    }

    fn first_arrival(&mut self, due: Time, written_ns: u64, overtaken: bool, now: Time) {
        let (latency, uncorrected) = (now.since(due), now.since(Time(written_ns)));
        self.gauges.delivered.add(1);
        self.second.delivered += 1;
        self.second.latency.record(latency);
        let (planned, index) = (self.marks.of(due, Some(due)), self.marks.of(due, Some(now)));
        if index != planned {
            *self.totals.caught.entry(planned).or_default() += 1;
        }
        let phase = &mut self.phases[index];
        phase.latency.record(latency);
        phase.latency_uncorrected.record(uncorrected);
        phase.reordered += u64::from(overtaken);
        phase.late += u64::from(latency > self.orders.late_after);
    }

    /// Sends everything that is due.
    fn send_due(&mut self, io: &mut Io<Mail>) {
        for index in 0..self.traffic.len() {
            for _ in 0..SENDS_IN_A_ROW_MAX {
                let traffic = &mut self.traffic[index];
                let Some(due) = traffic.next_due.filter(|due| *due <= io.now()) else { break };
                let number = traffic.turn * u64::from(self.orders.threads) + u64::from(self.thread);
                let turn = traffic.turn;
                traffic.turn += 1;
                traffic.schedule_next(self.orders.threads, self.thread);
                let sending = self.attempt(index, number, due, io);
                self.traffic[index].ledger.sending(turn, sending);
            }
        }
    }

    fn attempt(&mut self, index: usize, number: MessageNumber, due: Time, io: &mut Io<Mail>) -> Sending {
        let lag = io.now().since(due);
        self.second.due += 1;
        let phase = &mut self.phases[self.marks.of(due, Some(due))];
        if lag > LATE_ATTEMPT {
            phase.attempted_late += 1;
        }
        if lag > MISSED_AFTER {
            return Sending::Missed;
        }
        phase.send_lag.record(lag);
        self.second.send_lag.record(lag);
        self.gauges.attempted.add(1);
        let traffic = &self.traffic[index];
        let sender = traffic.pairing.sender(number) / self.orders.threads;
        let client = &self.clients[sender as usize];
        let Some(conn) = client.conn.filter(|_| client.state == State::Open) else { return Sending::Offline };
        if io.backlog(conn) > BLOCKED_BYTES {
            return Sending::Blocked;
        }
        let to = match (traffic.to, traffic.pairing.recipient(number)) {
            (_, Some(recipient)) => user_name(recipient),
            // Spread over enough names that no single queue is the limit.
            (_, None) => format!("absent-{}", number % 1000),
        };
        let body_bytes = traffic.body_bytes;
        let key = MessageKey { traffic: index as u8, number };
        self.write(conn, io, |out, now| protocol::write_send(out, key, &to, now.0, body_bytes));
        self.gauges.sent.add(1);
        self.second.sent += 1;
        Sending::Sent
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

    fn connect_failed(&mut self, local: u32, why: &'static str, io: &mut Io<Mail>) {
        self.gauges.connect_failed.add(1);
        *self.totals.connect_errors.entry(why).or_default() += 1;
        let attempted = self.clients[local as usize].attempted;
        self.phase_of(attempted).connects.failed += 1;
        self.connecting -= 1;
        self.later(local, io);
    }

    fn reconnect_some(&mut self, io: &mut Io<Mail>) {
        for _ in 0..RECONNECTS_IN_A_ROW_MAX {
            let Some(local) = self.to_reconnect.pop_front() else { return };
            if self.clients[local as usize].state == State::Idle && self.ending < Ending::Asked {
                self.connect(local, io);
            }
        }
    }

    /// The client has no connection any more and will try again.
    fn later(&mut self, local: u32, io: &mut Io<Mail>) {
        let pause = self.orders.backoff.pause(self.clients[local as usize].attempts, self.random.fraction());
        let client = &mut self.clients[local as usize];
        client.state = State::Idle;
        client.conn = None;
        client.attempts = client.attempts.saturating_add(1);
        if self.ending < Ending::Asked {
            io.set_timer(io.now() + pause, timer_key(TIMER_RECONNECT, local, 0));
        }
    }

    fn lost(&mut self, local: u32, io: &mut Io<Mail>) {
        self.gauges.connected.subtract(1);
        let client = &mut self.clients[local as usize];
        client.since = io.now();
        client.acked = client.seq;
        self.later(local, io);
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

    fn begin_traffic(&mut self, at: Time) {
        self.second_until = at + Duration::from_secs(1);
        for (index, traffic) in self.traffic.iter_mut().enumerate() {
            let plan = &self.orders.traffic[index];
            traffic.schedule = Some(Schedule::new(plan, at, self.orders.seed ^ index as u64));
            traffic.schedule_next(self.orders.threads, self.thread);
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

impl ThreadTraffic {
    fn schedule_next(&mut self, threads: u32, thread: u32) {
        let number = self.turn * u64::from(threads) + u64::from(thread);
        let due = self.schedule.as_ref().and_then(|schedule| schedule.due(number));
        self.next_due = due.filter(|due| self.until.is_none_or(|until| *due < until));
    }
}

fn timer_key(kind: u64, local: u32, attempt: u8) -> u64 {
    kind << 62 | u64::from(attempt) << 32 | u64::from(local)
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
            (_, Closed::Eof) => self.connect_failed(local, "closed", io),
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
        let (kind, local) = (key >> 62, key as u32);
        let client = &self.clients[local as usize];
        match kind {
            TIMER_RECONNECT => self.to_reconnect.push_back(local),
            TIMER_CONNECT_TIMEOUT => {
                let same_attempt = u64::from(client.attempts) == key >> 32 & 0xFF;
                if let Some(conn) = client.conn
                    && same_attempt
                    && !matches!(client.state, State::Open | State::Idle)
                {
                    io.reset(conn);
                }
            }
            _ => {}
        }
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        while self.next_connect().is_some_and(|at| at <= io.now()) {
            let local = self.to_connect as u32;
            self.to_connect += 1;
            self.connect(local, io);
        }
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
