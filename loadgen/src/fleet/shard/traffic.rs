//! What is due, what came of it, and what arrived.

use super::FleetShard;
use crate::fleet::client::State;
use crate::fleet::ledger::{Ledger, Sending};
use crate::fleet::plan::{ClientIndex, MessageNumber, Pairing, Recipients, Schedule, Traffic, user_name};
use crate::fleet::protocol::{self, MessageKey};
use crate::fleet::{Mail, Orders};
use std::time::Duration;
use wire::shard::Io;
use wire::time::Time;

/// Later than this, an attempt counts against the generator.
const LATE_ATTEMPT: Duration = Duration::from_millis(100);
/// Later than this, a message is given up: the generator could not keep its schedule.
const MISSED_AFTER: Duration = Duration::from_secs(1);
/// Sends in a row before input gets its turn.
const SENDS_IN_A_ROW_MAX: usize = 2048;
/// Unsent bytes on a socket from which a message counts as blocked.
const BLOCKED_BYTES: usize = 64 * 1024;

/// How far the time of this thread's step may lie behind that of the thread that has sent what it receives. Numbers beyond
/// were never sent, and have no place in the ledger.
const AHEAD_MAX: Duration = Duration::from_secs(10);

/// One traffic plan on one thread.
pub(super) struct ThreadTraffic {
    pub(super) pairing: Pairing,
    pub(super) schedule: Option<Schedule>,
    /// How many of this thread's messages have had their time.
    pub(super) turn: u64,
    pub(super) next_due: Option<Time>,
    pub(super) until: Option<Time>,
    pub(super) ledger: Ledger,
    pub(super) to: Recipients,
    pub(super) body_bytes: usize,
}

impl ThreadTraffic {
    /// The thread's share of plan number `index`.
    pub(super) fn new(orders: &Orders, index: usize, plan: &Traffic) -> ThreadTraffic {
        ThreadTraffic {
            pairing: Pairing::new(orders.clients, orders.threads, orders.seed ^ index as u64, plan.to),
            schedule: None,
            turn: 0,
            next_due: None,
            until: None,
            ledger: Ledger::default(),
            to: plan.to,
            body_bytes: plan.body_bytes,
        }
    }

    pub(super) fn schedule_next(&mut self, threads: u32, thread: u32) {
        let number = self.turn * u64::from(threads) + u64::from(thread);
        let due = self.schedule.as_ref().and_then(|schedule| schedule.due(number));
        self.next_due = due.filter(|due| self.until.is_none_or(|until| *due < until));
    }
}

impl FleetShard {
    pub(super) fn begin_traffic(&mut self, at: Time) {
        self.second_until = at + Duration::from_secs(1);
        for (index, traffic) in self.traffic.iter_mut().enumerate() {
            let plan = &self.orders.traffic[index];
            traffic.schedule = Some(Schedule::new(plan, at, self.orders.seed ^ index as u64));
            traffic.schedule_next(self.orders.threads, self.thread);
        }
    }

    /// Sends everything that is due.
    pub(super) fn send_due(&mut self, io: &mut Io<Mail>) {
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

    pub(super) fn confirmed(&mut self, key: MessageKey) {
        self.gauges.confirmed.add(1);
        self.settle_sending(Some(key), Sending::Confirmed);
    }

    pub(super) fn settle_sending(&mut self, key: Option<MessageKey>, sending: Sending) {
        let threads = u64::from(self.orders.threads);
        let known = key.and_then(|key| Some((self.traffic.get_mut(usize::from(key.traffic))?, key.number)));
        let thread = u64::from(self.thread);
        match known {
            Some((traffic, number)) if number % threads == thread && number / threads < traffic.turn => {
                traffic.ledger.sending(number / threads, sending);
            }
            _ => self.totals.unexpected += 1,
        }
    }

    pub(super) fn message(
        &mut self,
        local: u32,
        seq: u64,
        key: Option<MessageKey>,
        written_ns: u64,
        io: &mut Io<Mail>,
    ) {
        let client = &mut self.clients[local as usize];
        if seq > client.seq {
            client.seq = seq;
        }
        self.to_ack.push(local);
        let recipient = self.index(local);
        let Some(key) = key else { return self.totals.unexpected += 1 };
        let Some(traffic) = self.traffic.get_mut(usize::from(key.traffic)) else {
            return self.totals.unexpected += 1;
        };
        let due = traffic.schedule.as_ref().and_then(|schedule| schedule.due(key.number));
        let due = due.filter(|due| *due <= io.now() + AHEAD_MAX);
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
}
