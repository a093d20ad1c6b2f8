//! A session on its connection: how it begins, what its client says, and how it ends.

use super::connection::{Attaching, Conn};
use super::guard::Guard;
use super::http::Asked;
use super::mail::{Mail, SessionRef};
use super::protocol::{self, Refusal, Request};
use super::session::SessionState;
use super::shard::{Shard, Timer, timer_key};
use crate::log;
use crate::metrics::{CloseReason, Frame, Status};
use std::sync::Arc;
use std::time::Duration;
use wire::shard::{Closed, ConnId, Io};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::extension::Deflate;
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

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
    pub(super) state: SessionState,
    /// Messages sent and not answered yet, because the store, a group's home or a recipient's has not.
    pub(super) unconfirmed: u32,
    /// How the client behaves.
    pub(super) guard: Guard,
    /// When it began.
    begun: Time,
    /// When bytes last came.
    heard: Time,
    /// Deliveries that it was owed when it began and that still wait: taking those slowly is no fault of the reader's.
    pub(super) backlog: u32,
    /// When its token's time is over.
    pub(super) expires: Time,
    /// What was agreed about compression.
    pub(super) deflate: Option<Deflate>,
    /// An ACK timer is set.
    pub(super) ack_timer: bool,
    /// Why we are closing it, once we are.
    pub(super) closing: Option<CloseReason>,
}

impl Session {
    /// Nothing has come for a while: gives up what memory is not needed.
    fn rest(&mut self, now: Time, dedup_window: Duration) {
        self.state.rest(now, dedup_window);
        self.guard.rest(now);
    }
}

impl Shard {
    /// The user's home lets the session begin.
    pub(super) fn attached(
        &mut self,
        conn: ConnId,
        user: Arc<str>,
        device: Arc<str>,
        mut state: SessionState,
        several: bool,
        io: &mut Io<Mail>,
    ) {
        let (parked, expires, deflate, protocol, asked, accept) = match self.conn_mut(conn) {
            Some(Conn::Attaching(attaching)) => {
                let accept = std::mem::take(&mut attaching.accept);
                let parked = std::mem::take(&mut attaching.parked);
                let Attaching { expires, deflate, protocol, asked, .. } = **attaching;
                (parked, expires, deflate, protocol, asked, accept)
            }
            _ => {
                // The client was quicker away than the answer was here.
                let session = SessionRef { shard: io.shard(), conn };
                return io.post(self.home(&user, io), Mail::Detached { user, session, state });
            }
        };
        self.metrics.in_flight.add(-(parked.len() as i64));
        state.owe(parked);
        self.metrics.established.increment();
        self.metrics.active_connections.add(1);
        self.metrics.in_flight.add(state.owed() as i64);
        if several {
            self.metrics.multi_device.add(state.owed() as u64);
        }
        let now = io.now();
        self.trace_begun(conn, now);
        let place = self.place(conn);
        self.journal.say(log::Event::ConnectionEstablished, now, "a session has begun", |record| {
            let record = record.of(&user, Some(&device)).within(place);
            record.text("remote_addr", asked.peer.to_string())
        });
        let name = format!("{user}/{device}");
        let backlog = u32::try_from(state.queues.waiting.len()).unwrap_or(u32::MAX);
        let mut session = Session {
            conn,
            user,
            device,
            state,
            unconfirmed: 0,
            guard: Guard::default(),
            begun: now,
            heard: now,
            expires,
            backlog,
            deflate,
            ack_timer: false,
            closing: None,
        };
        session.state.begin();
        // The first bytes that the client gets, in one piece: a second one would cost both sides as much as the first.
        self.accept_upgrade(&asked, &accept, protocol, deflate, io);
        let (shared, epoch, seq) = (Arc::clone(&self.shared), session.state.epoch, session.state.seq);
        let heartbeat = shared.heartbeat;
        self.write(conn, Frame::Hello, io, |out| {
            protocol::write_hello(out, &name, &shared.node, epoch, seq, heartbeat.as_secs())
        });
        self.pump(&mut session, io);
        let first_look = heartbeat.min(self.shared.limits.idle_timeout);
        io.set_timer((now + first_look).min(expires), timer_key(Timer::Heartbeat, conn));
        self.conns[conn.index as usize] =
            Conn::Open(Box::new(Open { endpoint: Endpoint::with_deflate(Role::Server, deflate), session }));
        io.show_again(conn);
    }

    fn accept_upgrade(
        &mut self,
        asked: &Asked,
        accept: &str,
        protocol: Option<&str>,
        deflate: Option<Deflate>,
        io: &mut Io<Mail>,
    ) {
        let write = |out: &mut Vec<u8>| handshake::write_accepted_with(out, accept, protocol, deflate);
        self.answer(asked, Status::SwitchingProtocols, write, io);
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
                self.metrics.frame(Frame::of(&frame));
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
            Event::Binary(_) => {
                self.metrics.frame(Frame::Invalid);
                self.close_session(session, CloseReason::Protocol, 1003, "im.v1 is text", io);
            }
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

    pub(super) fn heartbeat_timer(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let limits = &self.shared.limits;
        let (heartbeat, idle_timeout) = (self.shared.heartbeat, limits.idle_timeout);
        let dedup_window = limits.dedup_window;
        let Some(open) = self.open_mut(conn) else { return };
        let expires = open.session.expires;
        if io.now() >= expires {
            return self.close(conn, CloseReason::TokenExpired, 4401, "the token has expired", io);
        }
        let heard = open.session.heard;
        let silent = io.now().since(heard);
        if silent >= heartbeat {
            open.session.rest(io.now(), dedup_window);
        }
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

    pub(super) fn refuse_frame(
        &mut self,
        conn: ConnId,
        id: Option<&str>,
        refusal: Refusal,
        io: &mut Io<Mail>,
    ) {
        self.metrics.refused[refusal as usize].increment();
        self.write(conn, Frame::Error, io, |out| protocol::write_error(out, id, refusal));
    }

    /// Appends one text frame to what leaves for `conn` at the end of the step.
    pub(super) fn write(
        &mut self,
        conn: ConnId,
        kind: Frame,
        io: &mut Io<Mail>,
        payload: impl FnOnce(&mut Vec<u8>),
    ) {
        if let Some(out) = io.send(conn) {
            self.metrics.frame(kind);
            self.scratch.clear();
            payload(&mut self.scratch);
            frame::write(out, Opcode::Text, &self.scratch, None);
        }
    }

    /// Closes the session on `conn`, if there is one or is to be one.
    pub(super) fn close(
        &mut self,
        conn: ConnId,
        reason: CloseReason,
        code: u16,
        text: &str,
        io: &mut Io<Mail>,
    ) {
        match self.conn_mut(conn).map(std::mem::take) {
            Some(Conn::Open(mut open)) => {
                self.close_session(&mut open.session, reason, code, text, io);
                self.conns[conn.index as usize] = Conn::Open(open);
            }
            // Its home has given it no session, so nothing is on its way here: the connection is nothing any more.
            Some(Conn::Attaching(attaching)) => {
                self.shared.sessions.give_back();
                let Attaching { asked, accept, protocol, deflate, .. } = &*attaching;
                self.accept_upgrade(asked, accept, *protocol, *deflate, io);
                write_close(conn, code, text, io);
            }
            Some(other) => self.conns[conn.index as usize] = other,
            None => {}
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
        self.trace_closing(session.conn, code);
        write_close(session.conn, code, text, io);
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
        self.shared.sessions.give_back();
        let (now, place) = (io.now(), self.place(session.conn));
        self.trace_end(&session, reason, now);
        self.journal.say(log::Event::ConnectionClosed, now, "a session has ended", |record| {
            let lasted = now.since(session.begun).as_secs_f64();
            let record = record.of(&session.user, Some(&session.device)).within(place);
            record.text("reason", reason.name()).number("duration_seconds", lasted)
        });
        self.linger_or_go_home(session, io);
    }
}

fn write_close(conn: ConnId, code: u16, text: &str, io: &mut Io<Mail>) {
    if let Some(out) = io.send(conn) {
        frame::write_close(out, code, text, None);
    }
    io.close(conn);
}
