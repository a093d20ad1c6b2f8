//! Where the core's work becomes spans. Where nothing is traced, each of these is one look at an absent tracer.

use super::open::Session;
use super::owed::Owed;
use super::protocol::Refusal;
use super::shard::Shard;
use crate::metrics::{CloseReason, FailReason, Kind, Status};
use crate::trace::{Parent, Place, Tracer, What};
use std::sync::Arc;
use wire::http::Request;
use wire::shard::{Closed, ConnId};
use wire::time::Time;

impl Shard {
    /// The same shard with a tracer; `None`: nothing is traced.
    pub fn with_tracer(mut self, tracer: Option<Tracer>) -> Shard {
        self.tracer = tracer.map(Box::new);
        self
    }

    /// A request for an upgrade has come.
    pub(super) fn trace_request(&mut self, conn: ConnId, request: &Request<'_>, now: Time) {
        if let Some(tracer) = &mut self.tracer {
            let parent = Parent::read(request.headers("traceparent"), request.headers("tracestate"));
            tracer.open(conn, parent, now);
        }
    }

    /// A request has been refused; those for an upgrade are traced.
    pub(super) fn trace_refused(&mut self, conn: ConnId, status: Status, error: &'static str, now: Time) {
        if let Some(tracer) = &mut self.tracer {
            tracer.close(conn, |_| What::Refused { status: status.code(), error }, now);
        }
    }

    /// The connection's session begins.
    pub(super) fn trace_begun(&mut self, conn: ConnId, now: Time) {
        if let Some(connection) = self.tracer.as_mut().and_then(|tracer| tracer.connection(conn)) {
            connection.begun = Some(now);
        }
    }

    /// The connection is being closed with this code.
    pub(super) fn trace_closing(&mut self, conn: ConnId, code: u16) {
        if let Some(connection) = self.tracer.as_mut().and_then(|tracer| tracer.connection(conn)) {
            connection.code = Some(code);
        }
    }

    /// The connection of a session has ended.
    pub(super) fn trace_end(&mut self, session: &Session, reason: CloseReason, now: Time) {
        if let Some(tracer) = &mut self.tracer {
            let (user, device) = (Arc::clone(&session.user), Some(Arc::clone(&session.device)));
            tracer.close_of(session.conn, (user, device), reason, now);
        }
    }

    /// A connection has ended before its session began.
    pub(super) fn trace_gone(&mut self, conn: ConnId, user: &Arc<str>, how: Closed, now: Time) {
        let reason = match how {
            Closed::Reset | Closed::Truncated => CloseReason::Reset,
            _ => CloseReason::Client,
        };
        if let Some(tracer) = &mut self.tracer {
            tracer.close_of(conn, (Arc::clone(user), None), reason, now);
        }
    }

    /// Where the connection's span stands; `None`: it is not traced.
    pub(super) fn place(&mut self, conn: ConnId) -> Option<Place> {
        let connection = self.tracer.as_mut()?.connection(conn)?;
        Some(connection.place)
    }

    /// Where a message from this session will stand; `None`: it is not traced.
    pub(super) fn trace_message(&mut self, session: &Session) -> Option<Place> {
        self.tracer.as_mut()?.place_from(session.conn)
    }

    /// The message has been taken, or refused.
    pub(super) fn trace_sent(
        &mut self,
        session: &Session,
        place: Option<Place>,
        (kind, id): (Kind, &str),
        refusal: Option<Refusal>,
        now: Time,
    ) {
        let (Some(tracer), Some(place)) = (&mut self.tracer, place) else { return };
        let (user, device) = (Arc::clone(&session.user), Arc::clone(&session.device));
        let what = What::Send { kind, user, device, id: id.into(), refusal };
        tracer.sent(session.conn, place, what, now);
    }

    /// A delivery has been lost.
    pub(super) fn trace_loss(&mut self, owed: &Owed, user: &Arc<str>, reason: FailReason, now: Time) {
        delivered(&mut self.tracer, owed, user, 0, Some(reason), now);
    }
}

/// A delivery is over: it was acknowledged after so many `attempts`, or lost.
pub(super) fn delivered(
    tracer: &mut Option<Box<Tracer>>,
    owed: &Owed,
    user: &Arc<str>,
    attempts: u8,
    lost: Option<FailReason>,
    now: Time,
) {
    let (Some(sent), Some(tracer)) = (owed.trace(), tracer) else { return };
    let what = What::Deliver { kind: owed.kind, user: Arc::clone(user), attempts, lost };
    tracer.delivered(sent, what, owed.accepted, now);
}
