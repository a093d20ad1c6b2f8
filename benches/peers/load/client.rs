//! One thread of a measurement's clients: on wire's shards, one arithmetic of windows instead of a task or timer each.
//!
//! Masks are zero: the server unmasks all the same, and the generator stays out of the way.

use crate::rows::Work;
use benches::bare::SENDER;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

const MASK: Option<[u8; 4]> = Some([0; 4]);
const NONCE: [u8; 16] = [7; 16];
/// Payload of a message in the bare protocol; im.v1's frames come to about the same.
const MESSAGE_BYTES: usize = 100;
const BODY: &str = "0123456789012345678901234567890123456789";
const GROUP: &str = "all";
/// Connects under way at once, per thread.
const CONNECTS_MAX: usize = 256;
/// Connections per source address: beyond it the kernel's search for a port collapses.
const PER_SOURCE: u32 = 1000;
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Nothing but messages.
    Echo,
    /// `benches::bare`: connections register.
    Bare,
    /// im.v1 with tokens.
    Im,
}

/// What the clients are to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) dialect: Dialect,
    pub(crate) work: Work,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    /// Where the generator runs; `None`: each thread on a CPU of its own.
    pub(crate) cpu: Option<usize>,
}

/// To all threads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Connect,
    Work,
    Stop,
}

/// Of all threads together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) ready: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) failed: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Upgrading,
    /// Waits for `hello`, `joined` or the echo of its number.
    Greeting,
    Ready,
}

struct Client {
    conn: Option<ConnId>,
    endpoint: Endpoint,
    state: State,
    sent: u32,
    seq: u64,
    acked: u64,
}

/// One thread of clients.
pub(crate) struct Load {
    plan: Plan,
    thread: u32,
    tokens: Vec<String>,
    clients: Vec<Client>,
    /// By connection: whose it is.
    owners: Vec<u32>,
    next: usize,
    connecting: usize,
    is_connecting: bool,
    is_working: bool,
    to_ack: Vec<u32>,
    fanouts: u64,
    delivered: u64,
    counts: Arc<Counts>,
    /// Not yet added to `counts`.
    received: u64,
    scratch: String,
}

impl Load {
    pub(crate) fn new(plan: Plan, thread: u32, tokens: Vec<String>, counts: Arc<Counts>) -> Load {
        let mine = (plan.connections + plan.threads - 1 - thread) / plan.threads;
        let client = |_| Client {
            conn: None,
            endpoint: Endpoint::new(Role::Client),
            state: State::Idle,
            sent: 0,
            seq: 0,
            acked: 0,
        };
        Load {
            plan,
            thread,
            tokens,
            clients: (0..mine).map(client).collect(),
            owners: Vec::new(),
            next: 0,
            connecting: 0,
            is_connecting: false,
            is_working: false,
            to_ack: Vec::new(),
            fanouts: 0,
            delivered: 0,
            counts,
            received: 0,
            scratch: String::new(),
        }
    }

    /// The number of a client in all threads.
    fn number(&self, local: u32) -> u32 {
        local * self.plan.threads + self.thread
    }

    fn is_fanout(&self) -> bool {
        matches!(self.plan.work, Work::Fanout { .. })
    }

    fn connect_more(&mut self, io: &mut Io<Order>) {
        while self.is_connecting && self.connecting < CONNECTS_MAX && self.next < self.clients.len() {
            let local = self.next as u32;
            let block = self.number(local) / PER_SOURCE;
            let source = Ipv4Addr::new(127, 0, 1 + (block / 250) as u8, 1 + (block % 250) as u8);
            let conn = io.connect(self.plan.target, Some(IpAddr::V4(source)));
            if self.owners.len() <= conn.index as usize {
                self.owners.resize(conn.index as usize + 1, u32::MAX);
            }
            self.owners[conn.index as usize] = local;
            self.clients[self.next].conn = Some(conn);
            self.next += 1;
            self.connecting += 1;
        }
    }

    fn upgraded(&mut self, local: u32, io: &mut Io<Order>) {
        match self.plan.dialect {
            Dialect::Im => self.clients[local as usize].state = State::Greeting,
            Dialect::Echo => self.ready(local, io),
            Dialect::Bare => {
                self.clients[local as usize].state = State::Greeting;
                let number = self.number(local);
                let id = if self.is_fanout() && number == 0 { SENDER } else { number };
                self.write(local, Opcode::Binary, &id.to_le_bytes(), io);
            }
        }
    }

    fn ready(&mut self, local: u32, io: &mut Io<Order>) {
        self.clients[local as usize].state = State::Ready;
        self.connecting -= 1;
        self.counts.ready.fetch_add(1, Ordering::Relaxed);
        self.connect_more(io);
    }

    fn write(&mut self, local: u32, opcode: Opcode, payload: &[u8], io: &mut Io<Order>) {
        if let Some(out) = self.clients[local as usize].conn.and_then(|conn| io.send(conn)) {
            frame::write(out, opcode, payload, MASK);
        }
    }

    fn write_text(&mut self, local: u32, text: std::fmt::Arguments<'_>, io: &mut Io<Order>) {
        use std::fmt::Write as _;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        // Writing to a String cannot fail.
        let _ = scratch.write_fmt(text);
        self.write(local, Opcode::Text, scratch.as_bytes(), io);
        self.scratch = scratch;
    }

    /// Sends a client's next message.
    fn send(&mut self, local: u32, io: &mut Io<Order>) {
        let client = &mut self.clients[local as usize];
        client.sent += 1;
        let (sent, neighbour) = (client.sent, self.number(local) ^ 1);
        match (self.plan.dialect, self.is_fanout()) {
            (Dialect::Im, false) => self.write_text(
                local,
                format_args!(r#"{{"type":"send","id":"{sent}","to":"user:u{neighbour}","body":"{BODY}"}}"#),
                io,
            ),
            (Dialect::Im, true) => self.write_text(
                local,
                format_args!(r#"{{"type":"send","id":"{sent}","to":"group:{GROUP}","body":"{BODY}"}}"#),
                io,
            ),
            _ => {
                let mut payload = [b'x'; MESSAGE_BYTES];
                payload[..4].copy_from_slice(&neighbour.to_le_bytes());
                self.write(local, Opcode::Binary, &payload, io);
            }
        }
    }

    fn begin_work(&mut self, io: &mut Io<Order>) {
        self.is_working = true;
        match self.plan.work {
            Work::Hold => {}
            Work::Echo { depth } => {
                for local in 0..self.clients.len() as u32 {
                    (0..depth).for_each(|_| self.send(local, io));
                }
            }
            Work::Route => (0..self.clients.len() as u32).for_each(|local| self.send(local, io)),
            Work::Fanout { .. } => self.fan_out_more(io),
        }
    }

    /// Keeps the window of a fan-out full. All of its clients are on one thread.
    fn fan_out_more(&mut self, io: &mut Io<Order>) {
        let Work::Fanout { in_flight } = self.plan.work else { return };
        let receivers = u64::from(self.plan.connections - 1).max(1);
        while self.is_working && self.fanouts < self.delivered / receivers + in_flight {
            self.fanouts += 1;
            self.send(0, io);
        }
    }

    fn delivery(&mut self, local: u32, io: &mut Io<Order>) {
        self.received += 1;
        self.delivered += 1;
        if let (Work::Echo { .. }, true) = (self.plan.work, self.is_working) {
            self.send(local, io);
        }
    }

    fn confirmed(&mut self, local: u32, io: &mut Io<Order>) {
        if self.plan.work == Work::Route && self.is_working {
            self.send(local, io);
        }
    }

    fn binary(&mut self, local: u32, payload: &[u8], io: &mut Io<Order>) {
        match self.clients[local as usize].state {
            State::Greeting => self.ready(local, io),
            _ if self.plan.dialect == Dialect::Bare && payload.len() == 4 => self.confirmed(local, io),
            _ => self.delivery(local, io),
        }
    }

    fn text(&mut self, local: u32, text: &str, io: &mut Io<Order>) {
        if let Some(rest) = text.strip_prefix(r#"{"type":"message","seq":"#) {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let client = &mut self.clients[local as usize];
            if client.seq == client.acked {
                self.to_ack.push(local);
            }
            client.seq = rest[..digits].parse().unwrap_or(client.seq);
            return self.delivery(local, io);
        }
        if text.starts_with(r#"{"type":"sent""#) {
            self.confirmed(local, io);
        } else if text.starts_with(r#"{"type":"hello""#) && self.is_fanout() {
            self.write_text(local, format_args!(r#"{{"type":"join","group":"{GROUP}"}}"#), io);
        } else if text.starts_with(r#"{"type":"hello""#) || text.starts_with(r#"{"type":"joined""#) {
            self.ready(local, io);
        } else {
            eprintln!("unexpected: {text}");
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn frames(&mut self, local: u32, input: &mut [u8], io: &mut Io<Order>) -> usize {
        let client = &mut self.clients[local as usize];
        let mut endpoint = std::mem::replace(&mut client.endpoint, Endpoint::new(Role::Client));
        let mut taken = 0;
        while let Ok(Some((event, bytes))) = endpoint.next(&mut input[taken..], MESSAGE_BYTES_MAX) {
            match event {
                Event::Binary(payload) => self.binary(local, payload, io),
                Event::Text(text) => self.text(local, text, io),
                Event::Ping(payload) => self.write(local, Opcode::Pong, payload, io),
                Event::Close(code) => eprintln!("closed with {code}"),
                Event::Pong(_) | Event::Fragment => {}
            }
            taken += bytes;
        }
        self.clients[local as usize].endpoint = endpoint;
        taken
    }
}

impl Application for Load {
    type Mail = Order;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Order>) {
        let local = self.owners[conn.index as usize];
        self.clients[local as usize].state = State::Upgrading;
        let token = self.tokens.get(local as usize);
        let headers: &[&str] = match &token {
            Some(token) => &[token.as_str()],
            None => &[],
        };
        if let Some(out) = io.send(conn) {
            handshake::write_request(out, "bench", "/ws", NONCE, headers);
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Order>) -> usize {
        let local = self.owners[conn.index as usize];
        if self.clients[local as usize].state != State::Upgrading {
            return self.frames(local, input, io);
        }
        match handshake::read_answer(input, NONCE) {
            Ok(Some(Answer::Accepted(bytes))) => {
                self.upgraded(local, io);
                bytes + self.frames(local, &mut input[bytes..], io)
            }
            Ok(None) => 0,
            other => {
                eprintln!("no upgrade: {other:?}");
                io.reset(conn);
                input.len()
            }
        }
    }

    fn closed(&mut self, _: ConnId, how: Closed, _: &mut Io<Order>) {
        eprintln!("a connection ended: {how:?}");
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn mail(&mut self, _: ShardIndex, order: Order, io: &mut Io<Order>) {
        match order {
            Order::Connect => {
                self.is_connecting = true;
                self.connect_more(io);
            }
            Order::Work => self.begin_work(io),
            Order::Stop => io.stop(),
        }
    }

    fn timer(&mut self, _: u64, _: &mut Io<Order>) {}

    fn step_done(&mut self, io: &mut Io<Order>) {
        for local in std::mem::take(&mut self.to_ack) {
            let client = &mut self.clients[local as usize];
            client.acked = client.seq;
            let seq = client.seq;
            self.write_text(local, format_args!(r#"{{"type":"ack","seq":{seq}}}"#), io);
        }
        self.fan_out_more(io);
        if self.received > 0 {
            self.counts.received.fetch_add(std::mem::take(&mut self.received), Ordering::Relaxed);
        }
    }
}
