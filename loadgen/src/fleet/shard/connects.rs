//! How clients come in, and come back.

use super::{Ending, FleetShard};
use crate::fleet::client::State;
use crate::fleet::plan::{SplitMix, user_name};
use crate::fleet::{Mail, pause, protocol};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use wire::shard::{ConnId, Io};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Role};
use wire::ws::handshake::{self, Answer};

/// Connects under way at once, per thread: more would only wait in the listener's backlog.
const CONNECTS_AT_ONCE_MAX: usize = 256;
/// Reconnects in a row before sends get their turn: ten thousand clients that lose their sessions at once must not hold up
/// the schedule of those that have one.
const RECONNECTS_IN_A_ROW_MAX: usize = 64;
/// Connections per source address: beyond that the kernel's search for a free port collapses.
const CONNECTIONS_PER_SOURCE: u32 = 5000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

const TIMER_RECONNECT: u64 = 0;
const TIMER_CONNECT_TIMEOUT: u64 = 1;

impl FleetShard {
    /// When the next client of this thread may connect.
    pub(super) fn next_connect(&self) -> Option<Time> {
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
        self.phase_of(io.now()).connects.attempts += 1;
        let client = &mut self.clients[local as usize];
        client.conn = Some(conn);
        client.state = State::Connecting;
        client.attempted = io.now();
        if !client.was_open {
            client.since = io.now();
        }
        io.set_timer(io.now() + CONNECT_TIMEOUT, timer_key(TIMER_CONNECT_TIMEOUT, local));
    }

    /// 127.0.x.y for a target on loopback, one address per 5,000 clients; elsewhere the kernel's choice.
    fn source(&self, local: u32) -> Option<IpAddr> {
        if !self.orders.target.ip().is_loopback() || !self.orders.target.is_ipv4() {
            return None;
        }
        let block = self.index(local) / CONNECTIONS_PER_SOURCE;
        Some(Ipv4Addr::new(127, 0, 1 + (block / 250) as u8, 1 + (block % 250) as u8).into())
    }

    pub(super) fn upgrade(&mut self, local: u32, conn: ConnId, io: &mut Io<Mail>) {
        let nonce = self.nonce(local);
        let client = &self.clients[local as usize];
        let target = match &client.epoch {
            Some(epoch) => format!("{}?resume={}&epoch={epoch}", self.orders.path, client.seq),
            None => self.orders.path.clone(),
        };
        let token = (self.orders.token)(&user_name(self.index(local)));
        let authorization = format!("Authorization: Bearer {token}");
        if let Some(out) = io.send(conn) {
            handshake::write_request(
                out,
                &self.orders.host,
                &target,
                nonce,
                &[&authorization, protocol::OFFER],
            );
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

    pub(super) fn answer(&mut self, local: u32, conn: ConnId, input: &[u8], io: &mut Io<Mail>) -> usize {
        match handshake::read_answer_to_protocol(input, self.nonce(local), protocol::NAME) {
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

    pub(super) fn greeted(&mut self, local: u32, epoch: Box<str>, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        if client.state != State::Greeting {
            return;
        }
        // Nobody can come back to a target that is not there, so its own absence does not count. Who is in before we are
        // told that it is back has come at once.
        let from = if self.is_gone { client.attempted } else { client.since.max(self.back_at) };
        let took = io.now().since(from);
        if client.epoch.as_ref() != Some(&epoch) {
            // Nothing of this session has been seen: the target has forgotten the old one, and counts anew.
            (client.epoch, client.seq) = (Some(epoch), 0);
        }
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

    pub(super) fn connect_failed(&mut self, local: u32, why: &'static str, io: &mut Io<Mail>) {
        self.gauges.connect_failed.add(1);
        *self.totals.connect_errors.entry(why).or_default() += 1;
        let attempted = self.clients[local as usize].attempted;
        self.phase_of(attempted).connects.failed += 1;
        self.connecting -= 1;
        self.later(local, io);
    }

    /// The connection is being ended: without a session yet, that is a failed connect.
    pub(super) fn ended(&mut self, local: u32, why: &'static str, io: &mut Io<Mail>) {
        if self.clients[local as usize].state == State::Greeting {
            self.connect_failed(local, why, io);
        }
    }

    pub(super) fn reconnect_some(&mut self, io: &mut Io<Mail>) {
        for _ in 0..RECONNECTS_IN_A_ROW_MAX {
            let Some(local) = self.to_reconnect.pop_front() else { return };
            if self.clients[local as usize].state == State::Idle && self.ending < Ending::Asked {
                self.connect(local, io);
            }
        }
    }

    /// First connects whose time has come.
    pub(super) fn connect_due(&mut self, io: &mut Io<Mail>) {
        while self.next_connect().is_some_and(|at| at <= io.now()) {
            let local = self.to_connect as u32;
            self.to_connect += 1;
            self.connect(local, io);
        }
    }

    /// A timer of [`timer_key`] has fired.
    pub(super) fn connect_timer(&mut self, key: u64, io: &mut Io<Mail>) {
        let (kind, local) = (key >> 62, key as u32);
        let client = &self.clients[local as usize];
        match kind {
            TIMER_RECONNECT => self.to_reconnect.push_back(local),
            TIMER_CONNECT_TIMEOUT => {
                // The timer of an earlier attempt may still be under way.
                let is_over = io.now().since(client.attempted) >= CONNECT_TIMEOUT;
                if let Some(conn) = client.conn
                    && is_over
                    && !matches!(client.state, State::Open | State::Idle)
                {
                    io.reset(conn);
                }
            }
            _ => {}
        }
    }

    /// The client has no connection any more and will try again.
    fn later(&mut self, local: u32, io: &mut Io<Mail>) {
        let pause =
            pause(&self.orders.reconnect, self.clients[local as usize].attempts, self.random.fraction());
        let client = &mut self.clients[local as usize];
        client.state = State::Idle;
        client.conn = None;
        client.attempts = client.attempts.saturating_add(1);
        if self.ending < Ending::Asked {
            io.set_timer(io.now() + pause, timer_key(TIMER_RECONNECT, local));
        }
    }

    pub(super) fn lost(&mut self, local: u32, io: &mut Io<Mail>) {
        self.gauges.connected.subtract(1);
        let client = &mut self.clients[local as usize];
        client.since = io.now();
        client.acked = client.seq;
        self.later(local, io);
    }
}

fn timer_key(kind: u64, local: u32) -> u64 {
    kind << 62 | u64::from(local)
}
