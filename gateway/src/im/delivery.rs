//! Messages in and out of sessions.

use super::connection::Conn;
use super::dedup::Repetition;
use super::fanout::Blocked;
use super::guard::Guard;
use super::mail::{Mail, SessionRef};
use super::owed::Owed;
use super::protocol::{self, Address, Message, Refusal, Request};
use super::routes::Route;
use super::session::{SessionState, Unacked};
use super::shard::{Shard, Timer, timer_key};
use crate::metrics::{CloseReason, Kind, LATENCY_BOUNDS, seconds};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::shard::{Closed, ConnId, Io};
use wire::time::Time;
use wire::ws::deflate;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::extension::Deflate;
use wire::ws::frame::{self, Opcode};

/// An open session and its end of the WebSocket.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) endpoint: Endpoint,
    pub(super) session: Session,
}

/// A connected device.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) conn: ConnId,
    pub(super) user: Arc<str>,
    pub(super) device: Arc<str>,
    pub(super) state: Box<SessionState>,
    /// Messages sent and not answered, because the store has not answered.
    pub(super) unconfirmed: u32,
    /// How the client behaves.
    pub(super) guard: Guard,
    /// When bytes last came.
    heard: Time,
    /// Deliveries that it was owed when it began and that still wait: taking those slowly is no fault of the reader's.
    backlog: usize,
    /// When its token's time is over.
    expires: Time,
    /// What was agreed about compression.
    deflate: Option<Deflate>,
    /// An ACK timer is set.
    ack_timer: bool,
    /// Why we are closing it, once we are.
    pub(super) closing: Option<CloseReason>,
}

impl Shard {
    /// The user's home lets the session begin.
    #[expect(clippy::too_many_arguments, reason = "the parts of one piece of mail")]
    pub(super) fn attached(
        &mut self,
        conn: ConnId,
        user: Arc<str>,
        device: Arc<str>,
        mut state: Box<SessionState>,
        queued: VecDeque<Owed>,
        several: bool,
        io: &mut Io<Mail>,
    ) {
        state.waiting.extend(queued);
        let (parked, expires, deflate) = match self.conn_mut(conn) {
            Some(Conn::Attaching(attaching)) => {
                (std::mem::take(&mut attaching.parked), attaching.expires, attaching.deflate)
            }
            _ => {
                // The client was quicker away than the answer was here.
                let session = SessionRef { shard: io.shard(), conn };
                return io.post(self.home(&user, io), Mail::Detached { user, session, state });
            }
        };
        self.metrics.in_flight.add(-(parked.len() as i64));
        state.waiting.extend(parked);
        self.metrics.established.increment();
        self.metrics.active_connections.add(1);
        self.metrics.in_flight.add(state.owed() as i64);
        if several {
            self.metrics.multi_device.add(state.owed() as u64);
        }
        let now = io.now();
        let name = format!("{user}/{device}");
        let backlog = state.waiting.len();
        let mut session = Session {
            conn,
            user,
            device,
            state,
            unconfirmed: 0,
            guard: Guard::default(),
            heard: now,
            expires,
            backlog,
            deflate,
            ack_timer: false,
            closing: None,
        };
        let (node, heartbeat) = (self.shared.node.clone(), self.shared.heartbeat);
        let seq = session.state.seq;
        self.write(conn, io, |out| protocol::write_hello(out, &name, &node, seq, heartbeat.as_secs()));
        self.write_unacked_again(&mut session, io);
        self.pump(&mut session, io);
        let first_look = heartbeat.min(self.shared.limits.idle_timeout);
        io.set_timer((now + first_look).min(expires), timer_key(Timer::Heartbeat, conn));
        self.conns[conn.index as usize] =
            Conn::Open(Box::new(Open { endpoint: Endpoint::with_deflate(Role::Server, deflate), session }));
        io.show_again(conn);
    }

    fn write_unacked_again(&mut self, session: &mut Session, io: &mut Io<Mail>) {
        let conn = session.conn;
        for Unacked { seq, message, written, .. } in &mut session.state.unacked {
            *written = io.now();
            self.write_delivery(conn, session.deflate, *seq, message, io);
        }
    }

    /// Handles the frames at the front of `input`; gives the bytes they took.
    pub(super) fn frames(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let Some(Conn::Open(mut open)) = self.conn_mut(conn).map(std::mem::take) else { return 0 };
        let Open { endpoint, session } = &mut *open;
        let (now, shared) = (io.now(), Arc::clone(&self.shared));
        session.heard = now;
        let mut inflater = std::mem::take(&mut self.inflater);
        let mut taken = 0;
        while session.closing.is_none() {
            match endpoint.next_inflated(&mut input[taken..], shared.limits.frame_bytes_max, &mut inflater) {
                Ok(Some((event, bytes))) => {
                    match session.guard.frame(&event, &shared.limits, now) {
                        Ok(()) => self.event(session, &event, io),
                        Err(offence) => self.punish(session, offence, io),
                    }
                    taken += bytes;
                }
                Ok(None) => break,
                Err(violation) => {
                    let (code, reason) = (violation.close_code(), violation.to_string());
                    self.close_session(session, CloseReason::Protocol, code, &reason, io);
                }
            }
        }
        self.inflater = inflater;
        self.input_taken(session, taken, input.len() - taken, io);
        self.conns[conn.index as usize] = Conn::Open(open);
        taken
    }

    fn event(&mut self, session: &mut Session, event: &Event<'_>, io: &mut Io<Mail>) {
        match event {
            Event::Text(text) => {
                let frame = protocol::parse(text, self.shared.limits.name_bytes_max);
                match self.admit(session, frame, io.now()) {
                    Ok(request) => self.request_frame(session, request, io),
                    Err((id, refusal)) => self.refuse_frame(session.conn, id, refusal, io),
                }
            }
            Event::Ping(payload) => {
                if let Some(out) = io.send(session.conn) {
                    frame::write(out, Opcode::Pong, payload, None);
                }
            }
            Event::Close(code) => self.close_session(session, CloseReason::Client, *code, "", io),
            Event::Binary(_) => self.close_session(session, CloseReason::Protocol, 1003, "im.v1 is text", io),
            Event::Pong(_) | Event::Fragment => {}
        }
    }

    fn request_frame(&mut self, session: &mut Session, request: Request<'_>, io: &mut Io<Mail>) {
        match request {
            Request::Send { id, to, body } => self.send(session, id, &to, body, io),
            Request::Ack(seq) => self.acknowledge(session, seq, io),
            Request::Join(group) => self.ask_membership(session, group.into(), true, io),
            Request::Leave(group) => self.ask_membership(session, group.into(), false, io),
        }
    }

    fn send(&mut self, session: &mut Session, id: &str, to: &Address<'_>, body: &str, io: &mut Io<Mail>) {
        let (now, conn) = (io.now(), session.conn);
        if self.draining {
            return self.refuse_frame(conn, Some(id), Refusal::Draining, io);
        }
        match session.state.dedup.look_up(id, now, &self.hasher, self.shared.limits.dedup_window) {
            Repetition::New => {}
            Repetition::Undecided => return self.refuse_frame(conn, Some(id), Refusal::Overloaded, io),
            Repetition::Repeated => {
                self.metrics.duplicates.increment();
                return self.write(conn, io, |out| protocol::write_sent(out, id));
            }
        }
        if !self.takes_messages() {
            return self.refuse_frame(conn, Some(id), Refusal::CircuitOpen, io);
        }
        let (at_ms, expires) = (self.shared.wall_ms(now), now + self.shared.message_ttl);
        let number = self.number(now, io.shard());
        let message =
            |kind| Message::new(id, &session.user, at_ms, body, now, expires, kind).numbered(number);
        let sent = match to {
            Address::User(user) => self.accept(session, id, user, message(Kind::Direct), io),
            Address::Group(group) => self.ask_group(session, id, group, message(Kind::Group), io),
        };
        match sent {
            Ok(is_accepted) => {
                let (limits, is_undecided) = (&self.shared.limits, self.durable.is_some());
                session.state.dedup.remember(id, now, &self.hasher, limits.dedup_ids, is_undecided);
                if is_accepted {
                    self.write(conn, io, |out| protocol::write_sent(out, id));
                }
            }
            Err(refusal) => self.refuse_frame(conn, Some(id), refusal, io),
        }
    }

    /// Hands a message to the group's home, which answers. Never true: see [`Shard::accept`].
    fn ask_group(
        &mut self,
        session: &mut Session,
        id: &str,
        group: &str,
        message: Message,
        io: &mut Io<Mail>,
    ) -> Result<bool, Refusal> {
        let home = self.home(group, io);
        if io.congested(home) {
            return Err(Refusal::Overloaded);
        }
        if self.durable.is_some() {
            session.unconfirmed += 1;
        }
        let session_ref = SessionRef { shard: io.shard(), conn: session.conn };
        let mail = Mail::SendToGroup {
            group: group.into(),
            from: Arc::clone(&session.user),
            device: Arc::clone(&session.device),
            session: session_ref,
            id: id.into(),
            message: Arc::new(message),
        };
        io.post(home, mail);
        Ok(false)
    }

    /// Sends a message to all sessions of a user, or to the home that keeps it, or lets it wait for the answer where that is.
    pub(super) fn route(
        &mut self,
        user: &str,
        message: Arc<Message>,
        recipient: u32,
        io: &mut Io<Mail>,
    ) -> Result<(), Blocked> {
        match self.routes.look_up(user, &message, recipient) {
            Route::Known(user, sessions) => {
                let is_congested = match &*sessions {
                    [] => io.congested(self.home(&user, io)),
                    sessions => sessions.iter().any(|session| io.congested(session.shard)),
                };
                if is_congested {
                    return Err(Blocked::Congested);
                }
                self.metrics.cache_hits.increment();
                self.dispatch(&user, &sessions, &message, recipient, io);
            }
            Route::Asked => self.metrics.cache_misses.increment(),
            Route::Ask(user) => {
                self.metrics.cache_misses.increment();
                let home = self.home(&user, io);
                if io.congested(home) {
                    self.routes.unask(&user);
                    return Err(Blocked::Congested);
                }
                io.post(home, Mail::WhereIs(user));
            }
            Route::Full => return Err(Blocked::Parked),
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        user: &Arc<str>,
        sessions: &[SessionRef],
        message: &Arc<Message>,
        recipient: u32,
        io: &mut Io<Mail>,
    ) {
        let deliveries = sessions.len().max(1);
        self.metrics.accepted.add(deliveries as u64);
        if sessions.len() > 1 {
            self.metrics.multi_device.add(sessions.len() as u64);
        }
        let owed = || Owed::new(Arc::clone(message), recipient, deliveries);
        if sessions.is_empty() {
            return self.keep(user, None, owed(), io);
        }
        for session in sessions {
            let (user, owed) = (Arc::clone(user), owed());
            io.post(session.shard, Mail::Deliver { user, conn: session.conn, owed });
        }
    }

    /// Hands a message to the user's home.
    pub(super) fn keep(
        &mut self,
        user: &Arc<str>,
        session: Option<SessionRef>,
        owed: Owed,
        io: &mut Io<Mail>,
    ) {
        io.post(self.home(user, io), Mail::Keep { user: Arc::clone(user), session, owed });
    }

    /// The home has answered where a user is.
    pub(super) fn learn(&mut self, user: &Arc<str>, sessions: &Arc<[SessionRef]>, io: &mut Io<Mail>) {
        for (message, recipient) in self.routes.learn(user, sessions) {
            self.dispatch(user, sessions, &message, recipient, io);
        }
    }

    pub(super) fn deliver_now(&mut self, user: &Arc<str>, conn: ConnId, owed: Owed, io: &mut Io<Mail>) {
        let waiting_max = self.shared.limits.waiting_max;
        match self.conn_mut(conn) {
            // Only for as long as the state is on its way here, so bounded by the mail that overtakes it.
            Some(Conn::Attaching(attaching)) => {
                attaching.parked.push(owed);
                self.metrics.in_flight.add(1);
            }
            Some(Conn::Open(open)) => {
                let session = &mut open.session;
                let is_full = session.state.waiting.len() >= waiting_max + session.backlog;
                let is_closing = session.closing.is_some();
                if is_closing && is_full {
                    return self.keep(user, None, owed, io);
                }
                // A session that is being closed takes what still comes along to its home. Sent there by itself the message
                // would come straight back, for the home has not been told yet, and so on for as long as the close takes.
                session.state.waiting.push_back(owed);
                self.metrics.in_flight.add(1);
                if is_closing {
                    return;
                }
                if is_full {
                    return self.close(conn, CloseReason::SlowReader, 1013, "deliveries are not taken", io);
                }
                self.pump_conn(conn, io);
            }
            _ => {
                if let Err(owed) = self.deliver_to_lingering(conn, owed) {
                    let session = SessionRef { shard: io.shard(), conn };
                    self.keep(user, Some(session), owed, io);
                }
            }
        }
    }

    fn pump_conn(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        if let Some(Conn::Open(mut open)) = self.conn_mut(conn).map(std::mem::take) {
            self.pump(&mut open.session, io);
            self.conns[conn.index as usize] = Conn::Open(open);
        }
    }

    /// Writes what waits, as far as window and backlog allow, and sees to the ACK timer.
    fn pump(&mut self, session: &mut Session, io: &mut Io<Mail>) {
        let limits = &self.shared.limits;
        let (window, backlog_max) = (limits.window, limits.backlog_bytes_max);
        while io.backlog(session.conn) < backlog_max {
            let Some(unacked) = session.state.next_to_write(io.now(), window) else { break };
            let (seq, message) = (unacked.seq, unacked.message.clone());
            self.write_delivery(session.conn, session.deflate, seq, &message, io);
        }
        session.backlog = session.backlog.min(session.state.waiting.len());
        if !session.ack_timer
            && let Some(deadline) = session.state.deadline(self.shared.ack_timeout)
        {
            session.ack_timer = true;
            io.set_timer(deadline, timer_key(Timer::Ack, session.conn));
        }
    }

    fn acknowledge(&mut self, session: &mut Session, seq: u64, io: &mut Io<Mail>) {
        if seq > session.state.seq {
            // Nobody can have received what was never sent.
            return self.refuse_frame(session.conn, None, Refusal::BadFrame, io);
        }
        let (now, metrics, durable) = (io.now(), &self.metrics, &mut self.durable);
        session.state.acknowledge(seq, |message| {
            if let Some(durable) = durable.as_mut() {
                durable.settle(message.debt());
            }
            let kind = message.kind as usize;
            metrics.delivered[kind].increment();
            metrics.latency[kind].observe(seconds(now.since(message.accepted)), &LATENCY_BOUNDS);
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
        let timed_out =
            session.state.time_out(io.now(), self.shared.ack_timeout, self.shared.limits.attempts_max);
        self.metrics.ack_timeouts.add((timed_out.again.len() + timed_out.given_up.len()) as u64);
        for unacked in session.state.unacked.iter().filter(|unacked| timed_out.again.contains(&unacked.seq)) {
            self.write_delivery(conn, session.deflate, unacked.seq, &unacked.message, io);
        }
        self.metrics.in_flight.add(-(timed_out.given_up.len() as i64));
        for message in timed_out.given_up {
            self.keep(&session.user, None, message, io);
        }
        self.pump(session, io);
        self.conns[conn.index as usize] = Conn::Open(open);
    }

    pub(super) fn heartbeat_timer(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let (heartbeat, idle_timeout) = (self.shared.heartbeat, self.shared.limits.idle_timeout);
        let Some(open) = self.open_mut(conn) else { return };
        let expires = open.session.expires;
        if io.now() >= expires {
            return self.close(conn, CloseReason::TokenExpired, 4401, "the token has expired", io);
        }
        let heard = open.session.heard;
        let silent = io.now().since(heard);
        if silent >= idle_timeout {
            return self.close(conn, CloseReason::Heartbeat, 4408, "nothing was heard for too long", io);
        }
        let next = if silent >= heartbeat { io.now() + heartbeat } else { heard + heartbeat };
        let next = next.min(heard + idle_timeout);
        if silent >= heartbeat
            && let Some(out) = io.send(conn)
        {
            frame::write(out, Opcode::Ping, b"", None);
        }
        // The same timer ends the session, so that reconnects leave no timer behind that fires only when a token ends.
        io.set_timer(next.min(expires), timer_key(Timer::Heartbeat, conn));
    }

    pub(super) fn group_sent(
        &mut self,
        conn: ConnId,
        id: &str,
        outcome: Result<(), Refusal>,
        io: &mut Io<Mail>,
    ) {
        self.confirm(conn, id, outcome, io);
    }

    pub(super) fn refuse_frame(
        &mut self,
        conn: ConnId,
        id: Option<&str>,
        refusal: Refusal,
        io: &mut Io<Mail>,
    ) {
        self.metrics.refused[refusal as usize].increment();
        self.write(conn, io, |out| protocol::write_error(out, id, refusal));
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

    /// Appends one text frame to what leaves for `conn` at the end of the step.
    pub(super) fn write(&mut self, conn: ConnId, io: &mut Io<Mail>, payload: impl FnOnce(&mut Vec<u8>)) {
        if let Some(out) = io.send(conn) {
            self.scratch.clear();
            payload(&mut self.scratch);
            frame::write(out, Opcode::Text, &self.scratch, None);
        }
    }

    /// Closes the session on `conn`, if there is one.
    pub(super) fn close(
        &mut self,
        conn: ConnId,
        reason: CloseReason,
        code: u16,
        text: &str,
        io: &mut Io<Mail>,
    ) {
        if let Some(Conn::Open(mut open)) = self.conn_mut(conn).map(std::mem::take) {
            self.close_session(&mut open.session, reason, code, text, io);
            self.conns[conn.index as usize] = Conn::Open(open);
        }
    }

    pub(super) fn close_session(
        &mut self,
        session: &mut Session,
        reason: CloseReason,
        code: u16,
        text: &str,
        io: &mut Io<Mail>,
    ) {
        if session.closing.is_some() {
            return;
        }
        session.closing = Some(reason);
        if let Some(out) = io.send(session.conn) {
            frame::write_close(out, code, text, None);
        }
        io.close(session.conn);
    }

    /// The connection is gone: what the session leaves goes to the user's home.
    pub(super) fn session_ended(&mut self, session: Session, how: Closed, io: &mut Io<Mail>) {
        let reason = session.closing.unwrap_or(match how {
            Closed::Reset | Closed::Truncated => CloseReason::Reset,
            Closed::Tls => CloseReason::Protocol,
            _ => CloseReason::Client,
        });
        self.metrics.closed[reason as usize].increment();
        self.metrics.active_connections.add(-1);
        self.linger_or_go_home(session, io);
    }
}
