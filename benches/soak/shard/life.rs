//! Coming, leaving and coming back.

use super::{Client, Closed, Io, Kind, MASK, Mail, Phase, Soak, State};
use crate::frames::name;
use crate::plan::mix;
use gateway::auth::Claims;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wire::ws::frame;

/// Connections per source address, far from the kernel's slow search for a port.
const PER_SOURCE: u32 = 1000;
/// How long a visitor may take for a handful of messages.
const VISIT_PATIENCE: Duration = Duration::from_secs(60);
/// A stall ends before the gateway gives a delivery up (three times the ACK timeout).
const STALL: Duration = Duration::from_secs(8);
const GOING_AWAY: u16 = 1000;

impl Soak {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = mix(self.random);
        self.random % bound
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }

    fn set_timer(&mut self, local: u32, after: Duration, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        client.timer = client.timer.wrapping_add(1);
        io.set_timer(io.now() + after, u64::from(client.timer) << 32 | u64::from(local));
    }

    pub(super) fn authorization(&self, user: u32) -> String {
        let claims = Claims { sub: name(user), device: "phone".into(), exp: 1 << 40 };
        match self.signer.sign(&claims) {
            Ok(token) => format!("Authorization: Bearer {token}"),
            Err(_) => String::new(),
        }
    }

    /// Everybody who stays comes, over a second or two.
    pub(super) fn all_come(&mut self, io: &mut Io<Mail>) {
        for local in 0..self.plan.users() {
            self.set_timer(local, Duration::from_micros(500) * local, io);
        }
    }

    fn connect(&mut self, local: u32, io: &mut Io<Mail>) {
        let block = local / PER_SOURCE;
        let source = Ipv4Addr::new(127, 0, 1 + (block / 250) as u8, 1 + (block % 250) as u8);
        let conn = io.connect(self.target, Some(IpAddr::V4(source)));
        if self.owners.len() <= conn.index as usize {
            self.owners.resize(conn.index as usize + 1, u32::MAX);
        }
        self.owners[conn.index as usize] = local;
        let client = &mut self.clients[local as usize];
        (client.conn, client.state) = (Some(conn), State::Connecting);
        self.report.connects += 1;
    }

    /// `hello` came.
    pub(super) fn greeted(&mut self, local: u32, seq: u64, io: &mut Io<Mail>) {
        let client = &self.clients[local as usize];
        self.ledger.totals.unexpected += u64::from(seq < client.seq);
        match self.group_of(client) {
            Some(group) => {
                self.write_text(local, format_args!(r#"{{"type":"join","group":"g{group}"}}"#), io)
            }
            None => self.ready(local, io),
        }
    }

    /// The group that a client joins when it comes: members their own, churners one as its guests.
    fn group_of(&self, client: &Client) -> Option<u32> {
        match client.kind {
            Kind::Churner if self.plan.groups > 0 => Some(client.user % self.plan.groups),
            _ => self.plan.group(client.user),
        }
    }

    pub(super) fn ready(&mut self, local: u32, io: &mut Io<Mail>) {
        if self.clients[local as usize].state != State::Connecting {
            return;
        }
        self.clients[local as usize].state = State::Open;
        if self.phase == Phase::Leaving {
            return self.leave(local, true, io);
        }
        // What came before is acknowledged now.
        self.to_ack.push(local);
        self.send_again(local, io);
        self.begin_turns(local, io);
        if self.clients[local as usize].kind == Kind::Visitor {
            self.visit(local, io);
        }
    }

    /// Sets what a client does next.
    pub(super) fn begin_turns(&mut self, local: u32, io: &mut Io<Mail>) {
        let (kind, state) = (self.clients[local as usize].kind, self.clients[local as usize].state);
        if self.phase != Phase::Traffic {
            return;
        }
        let after = match (kind, state) {
            (Kind::Visitor, State::Idle) => self.millis(200..1800),
            (_, State::Idle) => self.millis(1..1000),
            (Kind::Churner, State::Open) => self.millis(2000..20_000),
            (Kind::Sleeper, State::Open) => self.millis(1000..3000),
            (Kind::Slow, State::Open) => self.millis(8000..20_000),
            (Kind::Visitor, State::Open) => VISIT_PATIENCE,
            _ => return,
        };
        self.set_timer(local, after, io);
    }

    /// A client's timer is due.
    pub(super) fn turn(&mut self, local: u32, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        match (client.state, client.kind) {
            (State::Idle, _) if self.phase != Phase::Leaving => self.connect(local, io),
            (State::Open, _) if self.phase != Phase::Traffic => {}
            (State::Open, Kind::Churner) => {
                let is_polite = self.below(2) == 0;
                if let (true, Some(group)) = (is_polite, self.group_of(&self.clients[local as usize])) {
                    self.write_text(local, format_args!(r#"{{"type":"leave","group":"g{group}"}}"#), io);
                }
                self.leave(local, is_polite, io);
            }
            (State::Open, Kind::Sleeper) => self.leave(local, true, io),
            (State::Open, Kind::Slow) if !client.is_stalled => {
                client.is_stalled = true;
                self.set_timer(local, STALL, io);
            }
            (State::Open, Kind::Slow | Kind::Visitor) => self.leave(local, false, io),
            _ => {}
        }
    }

    /// Ends a connection: with a close handshake, or by cutting it, whatever is under way.
    pub(super) fn leave(&mut self, local: u32, is_polite: bool, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        let (State::Open, Some(conn)) = (client.state, client.conn) else { return };
        client.state = State::Leaving;
        if !is_polite {
            return io.reset(conn);
        }
        if let Some(out) = io.send(conn) {
            frame::write_close(out, GOING_AWAY, "", MASK);
        }
        io.close(conn);
    }

    pub(super) fn closed_by_gateway(&mut self, local: u32, code: u16, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        *self.report.ends.entry(format!("{:?}, closed with {code}", client.kind)).or_default() += 1;
        client.state = State::Leaving;
        if let Some(conn) = client.conn {
            io.close(conn);
        }
    }

    pub(super) fn gone(&mut self, local: u32, how: Closed, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        if client.state != State::Leaving {
            *self.report.ends.entry(format!("{:?}, {how:?}", client.kind)).or_default() += 1;
        }
        client.gone();
        let kind = client.kind;
        if kind == Kind::Visitor && client.is_served {
            self.report.visits += 1;
            self.clients[local as usize] = self.next_visitor(local);
        }
        let away = match (self.phase, kind) {
            (Phase::Leaving, _) => return,
            (Phase::Traffic, Kind::Churner) => self.millis(100..3000),
            (Phase::Traffic, Kind::Sleeper) => self.millis(5000..60_000),
            (Phase::Traffic, Kind::Visitor) => self.millis(200..1800),
            (Phase::Settling, Kind::Visitor) if self.clients[local as usize].next == 0 => return,
            _ => Duration::from_millis(100),
        };
        self.set_timer(local, away, io);
    }

    fn next_visitor(&mut self, local: u32) -> Client {
        let user = self.plan.users() + self.visitors;
        self.visitors += 1;
        let timer = self.clients[local as usize].timer;
        Client { timer, ..Client::new(user, Kind::Visitor) }
    }

    /// Whoever is away comes, and whoever stalls begins anew.
    pub(super) fn all_settle(&mut self, io: &mut Io<Mail>) {
        for local in 0..self.clients.len() as u32 {
            let client = &self.clients[local as usize];
            let is_needed = client.kind != Kind::Visitor || client.next > 0;
            match client.state {
                State::Idle if is_needed => self.set_timer(local, Duration::from_millis(100), io),
                // A timer of this phase no longer comes for it.
                State::Idle => self.clients[local as usize].timer += 1,
                State::Open if client.is_stalled => self.leave(local, false, io),
                _ => {}
            }
        }
    }
}
