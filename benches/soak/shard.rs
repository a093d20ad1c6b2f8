//! All clients of the soak, on one of wire's shards: they come, send on the schedule, leave and come back.

mod life;
mod traffic;

use crate::client::{Client, State};
use crate::frames::{self, Frame};
use crate::ledger::{Key, Ledger, Totals};
use crate::plan::{Kind, Plan};
use gateway::auth::Signer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;
use wire::ws::endpoint::Event;
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);
const NONCE: [u8; 16] = [7; 16];
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// The timer that belongs to no client.
const REPORT: u64 = u64::MAX;

/// From the main thread, and to it.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Everybody who stays comes.
    Connect,
    /// Messages are due from now on, and whoever churns begins to.
    Begin,
    /// Nothing is due any more; everybody comes, and stays.
    Settle,
    /// Everybody leaves for good.
    Leave,
    Stop,
    /// To the main thread, twice a second.
    Report(Box<Report>),
}

/// What the clients know.
#[derive(Debug, Default, Clone)]
pub(crate) struct Report {
    pub(crate) totals: Totals,
    /// Messages that are not confirmed or not with everybody.
    pub(crate) open: u64,
    pub(crate) connected: u32,
    pub(crate) connects: u64,
    /// Visitors who have had what they came for.
    pub(crate) visits: u64,
    /// Messages that were due and not sent: nobody could, or too late.
    pub(crate) missed: u64,
    /// Ends that the client did not want, by kind and reason.
    pub(crate) ends: BTreeMap<String, u64>,
    pub(crate) refusals: BTreeMap<String, u64>,
    /// Once everybody stays: confirmed and not with everybody; not confirmed.
    pub(crate) unsettled: (u64, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Coming,
    Traffic,
    Settling,
    Leaving,
}

pub(crate) struct Soak {
    plan: Plan,
    /// Messages per second.
    rate: f64,
    target: SocketAddr,
    signer: Signer,
    clients: Vec<Client>,
    /// By connection: whose it is.
    owners: Vec<u32>,
    ledger: Ledger,
    phase: Phase,
    began: Time,
    /// Messages that have had their time.
    due: u64,
    cursor: u32,
    visitors: u32,
    to_ack: Vec<u32>,
    random: u64,
    report: Report,
    scratch: String,
}

impl Soak {
    pub(crate) fn new(plan: Plan, rate: f64, target: SocketAddr, key: &str) -> Soak {
        let all = plan.users() + plan.visitors;
        Soak {
            plan,
            rate,
            target,
            signer: Signer::new(key.as_bytes()),
            clients: (0..all).map(|user| Client::new(user, plan.kind(user))).collect(),
            owners: Vec::new(),
            ledger: Ledger::default(),
            phase: Phase::Waiting,
            began: Time(0),
            due: 0,
            cursor: 0,
            visitors: plan.visitors,
            to_ack: Vec::new(),
            random: 1,
            report: Report::default(),
            scratch: String::new(),
        }
    }

    fn write(&mut self, local: u32, opcode: Opcode, payload: &[u8], io: &mut Io<Mail>) {
        if let Some(out) = self.clients[local as usize].conn.and_then(|conn| io.send(conn)) {
            frame::write(out, opcode, payload, MASK);
        }
    }

    fn write_text(&mut self, local: u32, text: std::fmt::Arguments<'_>, io: &mut Io<Mail>) {
        use std::fmt::Write as _;
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        // Writing to a String cannot fail.
        let _ = scratch.write_fmt(text);
        self.write(local, Opcode::Text, scratch.as_bytes(), io);
        self.scratch = scratch;
    }

    fn text(&mut self, local: u32, text: &str, io: &mut Io<Mail>) {
        match frames::parse(text) {
            Frame::Message { seq, key } => self.message(local, seq, key),
            Frame::Sent(key) => self.confirmed(local, key),
            Frame::Hello { seq } => self.greeted(local, seq, io),
            Frame::Membership => self.ready(local, io),
            Frame::Refused { key, code } => self.refused(local, key, code, io),
            Frame::Unknown => self.ledger.totals.unexpected += 1,
        }
    }

    fn frames(&mut self, local: u32, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let mut taken = 0;
        let Some(mut endpoint) = self.clients[local as usize].endpoint.take() else { return 0 };
        loop {
            match endpoint.next(&mut input[taken..], MESSAGE_BYTES_MAX) {
                Ok(Some((event, bytes))) => {
                    match event {
                        Event::Text(text) => self.text(local, text, io),
                        Event::Ping(payload) => self.write(local, Opcode::Pong, payload, io),
                        Event::Close(code) => self.closed_by_gateway(local, code, io),
                        Event::Binary(_) => self.ledger.totals.unexpected += 1,
                        Event::Pong(_) | Event::Fragment => {}
                    }
                    taken += bytes;
                }
                Ok(None) => break,
                Err(_) => {
                    self.ledger.totals.unexpected += 1;
                    taken = input.len();
                    break;
                }
            }
        }
        self.clients[local as usize].endpoint = Some(endpoint);
        taken
    }

    fn tell(&mut self, io: &mut Io<Mail>) {
        self.report.totals = self.ledger.totals;
        self.report.open = self.ledger.open();
        if self.phase == Phase::Settling {
            self.report.unsettled = self.ledger.unsettled();
        }
        let connected = self.clients.iter().filter(|client| client.state == State::Open).count();
        self.report.connected = connected as u32;
        io.post(io.edge(), Mail::Report(Box::new(self.report.clone())));
        io.set_timer(io.now() + REPORT_EVERY, REPORT);
    }
}

impl Application for Soak {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Mail>) {
        let client = &self.clients[self.owners[conn.index as usize] as usize];
        let target = format!("/ws?resume={}", client.seq);
        let authorization = self.authorization(client.user);
        if let Some(out) = io.send(conn) {
            handshake::write_request(out, "soak", &target, NONCE, &[&authorization]);
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let local = self.owners[conn.index as usize];
        let client = &mut self.clients[local as usize];
        if client.conn != Some(conn) || client.state == State::Leaving {
            return input.len();
        }
        if client.endpoint.is_some() {
            return self.frames(local, input, io);
        }
        match handshake::read_answer(input, NONCE) {
            Ok(Some(Answer::Accepted(bytes))) => {
                client.upgraded();
                bytes + self.frames(local, &mut input[bytes..], io)
            }
            Ok(None) => 0,
            other => {
                *self.report.ends.entry(format!("no upgrade: {other:?}")).or_default() += 1;
                io.reset(conn);
                input.len()
            }
        }
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        let local = self.owners[conn.index as usize];
        if self.clients[local as usize].conn == Some(conn) {
            self.gone(local, how, io);
        }
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Connect => {
                self.phase = Phase::Coming;
                self.tell(io);
                self.all_come(io);
            }
            Mail::Begin => {
                (self.phase, self.began) = (Phase::Traffic, io.now());
                (0..self.clients.len() as u32).for_each(|local| self.begin_turns(local, io));
            }
            Mail::Settle => {
                self.phase = Phase::Settling;
                self.all_settle(io);
            }
            Mail::Leave => {
                self.phase = Phase::Leaving;
                (0..self.clients.len() as u32).for_each(|local| self.leave(local, true, io));
            }
            Mail::Stop => io.stop(),
            Mail::Report(_) => {}
        }
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        if key == REPORT {
            return self.tell(io);
        }
        let (timer, local) = ((key >> 32) as u32, key as u32);
        if self.clients[local as usize].timer == timer {
            self.turn(local, io);
        }
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        self.send_due(io);
        self.acknowledge(io);
    }

    fn deadline(&self) -> Option<Time> {
        self.next_due()
    }
}
