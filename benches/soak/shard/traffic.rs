//! What is due, what was answered and what arrived.

use super::{Io, Key, Kind, Mail, Phase, Soak, State};
use crate::client::Unanswered;
use crate::frames;
use crate::plan::{To, VISITOR_MESSAGES};
use std::time::Duration;
use wire::time::Time;
use wire::ws::frame::Opcode;

/// Messages leave in batches of so much time.
const BATCH: Duration = Duration::from_millis(1);
/// What is later than this is not sent.
const MISSED_AFTER: Duration = Duration::from_secs(1);
/// Fewer than the ids that the gateway remembers for a session, so that each can be sent again.
const UNANSWERED_MAX: usize = 64;

impl Soak {
    /// When the next batch is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        let batches = self.due as f64 / (self.rate * BATCH.as_secs_f64());
        (self.phase == Phase::Traffic).then(|| self.began + BATCH.mul_f64(batches.floor() + 1.0))
    }

    pub(super) fn send_due(&mut self, io: &mut Io<Mail>) {
        if self.phase != Phase::Traffic {
            return;
        }
        let due = (io.now().since(self.began).as_secs_f64() * self.rate) as u64;
        let late = due.saturating_sub((MISSED_AFTER.as_secs_f64() * self.rate) as u64);
        if self.due < late {
            self.report.missed += late - self.due;
            self.due = late;
        }
        while self.due < due {
            self.due += 1;
            match self.next_sender() {
                Some(local) => self.send_next(local, io),
                None => self.report.missed += 1,
            }
        }
    }

    /// The next client in turn that can send.
    fn next_sender(&mut self) -> Option<u32> {
        for _ in 0..self.plan.senders() {
            self.cursor = (self.cursor + 1) % self.plan.senders();
            let client = &self.clients[self.cursor as usize];
            if client.state == State::Open && client.unanswered.len() < UNANSWERED_MAX {
                return Some(self.cursor);
            }
        }
        None
    }

    fn send_next(&mut self, local: u32, io: &mut Io<Mail>) {
        let client = &mut self.clients[local as usize];
        let key = Key { sender: client.user, number: client.next };
        client.next += 1;
        client.unanswered.push_back(Unanswered { number: key.number, is_again: false });
        let to = self.plan.recipient(key.sender, key.number);
        let recipients = self.plan.owed(key.sender, to);
        self.ledger.sent(key, recipients);
        self.write_send(local, key, io);
    }

    fn write_send(&mut self, local: u32, key: Key, io: &mut Io<Mail>) {
        let to = self.plan.recipient(key.sender, key.number);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        frames::write_send(&mut scratch, key, to);
        self.write(local, Opcode::Text, scratch.as_bytes(), io);
        self.scratch = scratch;
    }

    /// What was not answered before the connection ended is sent again, under its ids.
    pub(super) fn send_again(&mut self, local: u32, io: &mut Io<Mail>) {
        let client = &self.clients[local as usize];
        let sender = client.user;
        let numbers: Vec<u32> = client.unanswered.iter().map(|message| message.number).collect();
        for number in numbers {
            self.write_send(local, Key { sender, number }, io);
        }
    }

    pub(super) fn visit(&mut self, local: u32, io: &mut Io<Mail>) {
        while self.clients[local as usize].next < VISITOR_MESSAGES {
            self.send_next(local, io);
        }
    }

    pub(super) fn confirmed(&mut self, local: u32, key: Key) {
        match self.clients[local as usize].answered(key.number) {
            Some(_) => self.ledger.confirmed(key),
            None => self.ledger.totals.unexpected += 1,
        }
        self.to_ack.push(local);
    }

    pub(super) fn refused(&mut self, local: u32, key: Key, code: &str, io: &mut Io<Mail>) {
        *self.report.refusals.entry(code.to_owned()).or_default() += 1;
        match self.clients[local as usize].answered(key.number) {
            // The first attempt may have been accepted.
            Some(message) if message.is_again => {
                self.ledger.totals.retried += 1;
                self.clients[local as usize].unanswered.push_back(message);
                self.write_send(local, key, io);
            }
            Some(_) => self.ledger.refused(key),
            None => self.ledger.totals.unexpected += 1,
        }
    }

    pub(super) fn message(&mut self, local: u32, seq: u64, key: Key) {
        let client = &mut self.clients[local as usize];
        if client.is_stalled {
            return;
        }
        client.seq = seq.max(client.seq);
        let (user, kind) = (client.user, client.kind);
        client.is_served |= kind == Kind::Visitor && key.sender == user;
        self.to_ack.push(local);
        let to = self.plan.recipient(key.sender, key.number);
        match to {
            To::User(owner) if owner == user => {}
            To::Group(group) if self.plan.group(user) == Some(group) => {}
            // A guest: nobody knows exactly what it is owed.
            To::Group(_) if kind == Kind::Churner => return,
            _ => return self.ledger.totals.unexpected += 1,
        }
        let is_first = self.ledger.arrived(key, self.plan.bit(user, to));
        if is_first && kind == Kind::Steady && self.plan.kind(key.sender) == Kind::Steady {
            self.ledger.in_order(key, user, matches!(to, To::Group(_)));
        }
    }

    /// One acknowledgement for all that came in this step; a visitor that has everything goes.
    pub(super) fn acknowledge(&mut self, io: &mut Io<Mail>) {
        for local in std::mem::take(&mut self.to_ack) {
            let client = &mut self.clients[local as usize];
            if client.state != State::Open {
                continue;
            }
            if client.acked != client.seq {
                client.acked = client.seq;
                let seq = client.seq;
                self.write_text(local, format_args!(r#"{{"type":"ack","seq":{seq}}}"#), io);
            }
            let client = &self.clients[local as usize];
            if client.is_served && client.unanswered.is_empty() {
                self.leave(local, true, io);
            }
        }
    }
}
