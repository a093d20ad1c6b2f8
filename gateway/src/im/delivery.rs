//! What a session is owed: written, acknowledged, written again.

use super::connection::Conn;
use super::mail::Mail;
use super::message::Message;
use super::open::Session;
use super::owed::Owed;
use super::protocol::{self, Refusal};
use super::shard::{Shard, Timer, timer_key};
use super::traced;
use crate::config::SlowReader;
use crate::metrics::{CloseReason, FailReason, Frame, Kind, LATENCY_BOUNDS, seconds};
use std::sync::Arc;
use wire::shard::{ConnId, Io};
use wire::time::Time;
use wire::ws::deflate;
use wire::ws::extension::Deflate;
use wire::ws::frame::Opcode;

impl Shard {
    pub(super) fn deliver_now(&mut self, user: &Arc<str>, conn: ConnId, owed: Owed, io: &mut Io<Mail>) {
        let shared = Arc::clone(&self.shared);
        let limits = &shared.limits;
        match self.conn_mut(conn) {
            // Only for as long as the state is on its way here, so bounded by the mail that overtakes it.
            Some(Conn::Attaching(attaching)) => {
                attaching.parked.push(owed);
                self.metrics.in_flight.add(1);
            }
            Some(Conn::Open(open)) => {
                let session = &mut open.session;
                let (is_closing, waiting) = (session.closing.is_some(), session.state.queues.waiting.len());
                let waiting_max = limits.waiting_max + session.backlog as usize;
                if waiting >= waiting_max + limits.offline_per_user_max {
                    return self.lose(user, &owed, FailReason::QueueFull, io.now());
                }
                // A session that is being closed takes what still comes along to its home. Sent there by itself the message
                // would come straight back, for the home has not been told yet, and so on for as long as the close takes.
                session.state.queues.waiting.push_back(owed);
                self.metrics.in_flight.add(1);
                if is_closing {
                    return;
                }
                if waiting >= waiting_max && limits.slow_reader == SlowReader::Close {
                    return self.close(conn, CloseReason::SlowReader, 1013, "deliveries are not taken", io);
                }
                self.pump_conn(conn, io);
            }
            _ => self.deliver_to_gone(user, conn, owed, io),
        }
    }

    /// A delivery to the user is lost, and over with it.
    pub(super) fn lose(&mut self, user: &Arc<str>, owed: &Owed, reason: FailReason, now: Time) {
        self.metrics.fail(owed.kind, reason);
        self.settle(owed.debt());
        self.tell_loss(user, owed, reason, now);
    }

    pub(super) fn pump_conn(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        if let Some(Conn::Open(mut open)) = self.conn_mut(conn).map(std::mem::take) {
            self.pump(&mut open.session, io);
            self.conns[conn.index as usize] = Conn::Open(open);
        }
    }

    /// Writes what waits, as far as window and backlog allow, and sees to the ACK timer.
    pub(super) fn pump(&mut self, session: &mut Session, io: &mut Io<Mail>) {
        let limits = &self.shared.limits;
        let (window, backlog_max) = (limits.window, limits.backlog_bytes_max);
        while session.closing.is_none() && session.state.has_to_write(window) {
            if io.backlog(session.conn) >= backlog_max {
                io.await_drain(session.conn);
                break;
            }
            let Some(unacked) = session.state.next_to_write(io.now(), window) else { break };
            let (seq, message) = (unacked.seq, unacked.message.clone());
            self.write_delivery(session.conn, session.deflate, seq, &message, io);
        }
        if session.backlog > 0 {
            let waiting = session.state.queues.waiting.len();
            session.backlog =
                u32::try_from(waiting).map_or(session.backlog, |waiting| session.backlog.min(waiting));
        }
        if !session.ack_timer
            && let Some(deadline) = session.state.deadline(self.shared.ack_timeout)
        {
            session.ack_timer = true;
            io.set_timer(deadline, timer_key(Timer::Ack, session.conn));
        }
    }

    pub(super) fn acknowledge(&mut self, session: &mut Session, seq: u64, io: &mut Io<Mail>) {
        if seq > session.state.seq {
            // Nobody can have received what was never sent.
            return self.refuse_frame(session.conn, None, Refusal::BadFrame, io);
        }
        let (now, metrics, durable) = (io.now(), &self.metrics, &mut self.durable);
        let (tracer, user) = (&mut self.tracer, &session.user);
        let (journal, who) = (&mut self.journal, (&session.user, &session.device));
        session.state.acknowledge(seq, |message, attempts| {
            traced::delivered(tracer, message, user, attempts, None, now);
            if let Some(durable) = durable.as_mut() {
                durable.settle(message.debt());
            }
            let kind = message.kind as usize;
            metrics.delivered[kind].increment();
            let latency = now.since(message.accepted);
            metrics.latency[kind].observe(seconds(latency), &LATENCY_BOUNDS);
            journal.delivered(who, message, latency, now);
            metrics.in_flight.add(-1);
            if message.kind == Kind::Group {
                metrics.group_delivered.increment();
            }
        });
        self.pump(session, io);
    }

    pub(super) fn ack_timer(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let Some(Conn::Open(mut open)) = self.conn_mut(conn).map(std::mem::take) else { return };
        let session = &mut open.session;
        session.ack_timer = false;
        let (ack_timeout, attempts_max) = (self.shared.ack_timeout, self.shared.limits.attempts_max);
        let late = session.state.time_out(io.now(), ack_timeout, attempts_max);
        self.metrics.ack_timeouts.add(late as u64);
        self.pump(session, io);
        self.conns[conn.index as usize] = Conn::Open(open);
    }

    /// Appends a delivery. Where compression was agreed, what all recipients get is compressed once and only the number differs.
    fn write_delivery(
        &mut self,
        conn: ConnId,
        deflate: Option<Deflate>,
        seq: u64,
        message: &Message,
        io: &mut Io<Mail>,
    ) {
        let Some(out) = io.send(conn) else { return };
        self.metrics.frame(Frame::Message);
        self.scratch.clear();
        let shared = match deflate {
            Some(Deflate::FULL) => message.deflated_tail(&mut self.deflater),
            _ => None,
        };
        match shared {
            Some(tail) => {
                protocol::write_message_head(&mut self.scratch, seq);
                deflate::write_shared(out, &self.scratch, tail);
            }
            None => {
                protocol::write_message(&mut self.scratch, seq, message);
                // A window of its own size is seldom asked for: such a peer's deliveries are compressed for it alone.
                let own = deflate.filter(|deflate| *deflate != Deflate::FULL);
                self.deflater.write(out, Opcode::Text, &self.scratch, own, None);
            }
        }
    }
}
