//! Traces as shards make them: pure. Spans leave by a ring that an edge thread empties in its own time.
//!
//! A connection is a span in the trace of its upgrade request, or in one of its own. A message is a trace of its own, linked to
//! the sender's connection: a connection may live for weeks, and a trace with all its messages could be shown by nobody. Its
//! first span is `send`; each delivery is a child of that, from the message's acceptance to its acknowledgement or loss.
//! Messages are traced where the sender's connection is. When a ring is full the span is dropped and counted.

mod context;

use crate::im::protocol::Refusal;
use crate::metrics::{CloseReason, FailReason, Kind, ShardMetrics};
use crate::random::Random;
pub(crate) use context::Parent;
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::shard::ConnId;
use wire::time::Time;

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Share of the traces that begin here, 0 to 1.
    pub ratio: f64,
    /// Whether who began the trace has decided.
    pub follows_parent: bool,
}

impl Sampler {
    /// By the trace's number, as other samplers by ratio decide, so that all parts of a system agree.
    fn samples(self, trace: u128, parent: Option<&Parent>) -> bool {
        match parent {
            Some(parent) if self.follows_parent => parent.is_sampled,
            _ => self.ratio >= 1.0 || ((trace as u64) >> 1) < (self.ratio * (1u64 << 63) as f64) as u64,
        }
    }
}

/// Where a span stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
}

/// A span that is over.
#[derive(Debug)]
pub struct Span {
    /// Where it stands.
    pub place: Place,
    /// Above it in its trace; 0: it is the first.
    pub parent: u64,
    /// `tracestate`, as it came.
    pub state: Option<Arc<str>>,
    /// A span of another trace that led to this one.
    pub link: Option<Place>,
    /// When it began.
    pub start: Time,
    /// When it was over.
    pub end: Time,
    /// What it is about.
    pub what: What,
}

/// What a span is about.
#[derive(Debug)]
pub enum What {
    /// An upgrade that was refused.
    Refused {
        /// Status of the answer.
        status: u16,
        /// Why.
        error: &'static str,
    },
    /// A connection from its upgrade to its end.
    Connection {
        /// Whose.
        user: Arc<str>,
        /// Of which device; `None`: it was gone before that was asked for.
        device: Option<Arc<str>>,
        /// When its session began; `None`: it was gone before.
        begun: Option<Time>,
        /// Why it ended.
        reason: CloseReason,
        /// What the close frame said, if it was ours or came.
        code: Option<u16>,
    },
    /// A message that was sent.
    Send {
        /// To a user or a group.
        kind: Kind,
        /// Who sent it.
        user: Arc<str>,
        /// From which device.
        device: Arc<str>,
        /// Its id, JSON text.
        id: Box<str>,
        /// Why it was not taken; `None`: it was, or its taker has not answered yet.
        refusal: Option<Refusal>,
    },
    /// A delivery that is over.
    Deliver {
        /// To a user or a group.
        kind: Kind,
        /// To whom.
        user: Arc<str>,
        /// How often it was written; 0: it was lost before.
        attempts: u8,
        /// Why it was lost; `None`: it was acknowledged.
        lost: Option<FailReason>,
    },
}

/// The span of a connection that is open.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) place: Place,
    parent: u64,
    state: Option<Arc<str>>,
    start: Time,
    /// When its session began.
    pub(crate) begun: Option<Time>,
    /// With which code it is being closed.
    pub(crate) code: Option<u16>,
}

/// A shard's spans.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    random: Random,
    /// Those that are recorded. Here and not where connections are, so that others pay nothing for it.
    connections: BTreeMap<ConnId, Connection>,
    spans: rtrb::Producer<Span>,
    metrics: Arc<ShardMetrics>,
}

impl Tracer {
    /// Leaves spans in `spans`; `seed` is of their numbers, and should be another one in each process and shard.
    pub fn new(
        sampler: Sampler,
        seed: u64,
        spans: rtrb::Producer<Span>,
        metrics: Arc<ShardMetrics>,
    ) -> Tracer {
        Tracer { sampler, random: Random::new(seed), connections: BTreeMap::new(), spans, metrics }
    }

    /// A connection's request has come.
    pub(crate) fn open(&mut self, conn: ConnId, parent: Option<Parent>, now: Time) {
        let trace = parent.as_ref().map_or_else(|| self.trace(), |parent| parent.trace);
        if !self.sampler.samples(trace, parent.as_ref()) {
            return;
        }
        let place = Place { trace, span: self.span() };
        let (above, state) = parent.map_or((0, None), |parent| (parent.span, parent.state));
        let connection = Connection { place, parent: above, state, start: now, begun: None, code: None };
        self.connections.insert(conn, connection);
    }

    /// An open connection; `None`: it is not recorded.
    pub(crate) fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.get_mut(&conn)
    }

    /// The connection of this user's device is over.
    pub(crate) fn close_of(
        &mut self,
        conn: ConnId,
        (user, device): (Arc<str>, Option<Arc<str>>),
        reason: CloseReason,
        now: Time,
    ) {
        let what = |connection: &Connection| {
            let (begun, code) = (connection.begun, connection.code);
            What::Connection { user, device, begun, reason, code }
        };
        self.close(conn, what, now);
    }

    /// The connection is over.
    pub(crate) fn close(&mut self, conn: ConnId, what: impl FnOnce(&Connection) -> What, now: Time) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        let what = what(&connection);
        let Connection { place, parent, state, start, .. } = connection;
        self.leave(Span { place, parent, state, link: None, start, end: now, what });
    }

    /// The first place of a trace that begins with a message from `conn`; `None`: it is not recorded.
    pub(crate) fn place_from(&mut self, conn: ConnId) -> Option<Place> {
        let is_recorded = self.connections.contains_key(&conn);
        is_recorded.then(|| Place { trace: self.trace(), span: self.span() })
    }

    /// The message has come.
    pub(crate) fn sent(&mut self, conn: ConnId, place: Place, what: What, now: Time) {
        let link = self.connections.get(&conn).map(|connection| connection.place);
        self.leave(Span { place, parent: 0, state: None, link, start: now, end: now, what });
    }

    /// A delivery of the message that was sent at `sent` is over.
    pub(crate) fn delivered(&mut self, sent: Place, what: What, accepted: Time, now: Time) {
        let place = Place { trace: sent.trace, span: self.span() };
        self.leave(Span {
            place,
            parent: sent.span,
            state: None,
            link: None,
            start: accepted,
            end: now,
            what,
        });
    }

    fn leave(&mut self, span: Span) {
        let counter = match self.spans.push(span) {
            Ok(()) => &self.metrics.spans_left,
            Err(_) => &self.metrics.spans_dropped,
        };
        counter.increment();
    }

    /// Numbers are never 0, which means none.
    fn trace(&mut self) -> u128 {
        (u128::from(self.random.bits()) << 64 | u128::from(self.random.bits())).max(1)
    }

    fn span(&mut self) -> u64 {
        self.random.bits().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(is_sampled: bool) -> Parent {
        Parent { trace: 7, span: 8, is_sampled, state: Some("v=1".into()) }
    }

    fn tracer(
        ratio: f64,
        follows_parent: bool,
        room: usize,
    ) -> (Tracer, rtrb::Consumer<Span>, Arc<ShardMetrics>) {
        let (producer, consumer) = rtrb::RingBuffer::new(room);
        let metrics: Arc<ShardMetrics> = Arc::default();
        (Tracer::new(Sampler { ratio, follows_parent }, 1, producer, Arc::clone(&metrics)), consumer, metrics)
    }

    const CONN: ConnId = ConnId { index: 1, generation: 2 };

    #[test]
    fn who_began_the_trace_decides_unless_told_otherwise() {
        for (ratio, follows_parent, of_parent, expected) in [
            (0.0, true, Some(true), true),
            (1.0, true, Some(false), false),
            (1.0, true, None, true),
            (0.0, true, None, false),
            (0.0, false, Some(true), false),
            (1.0, false, Some(false), true),
        ] {
            let (mut tracer, _spans, _) = tracer(ratio, follows_parent, 1);
            tracer.open(CONN, of_parent.map(parent), Time(1));
            let is_recorded = (tracer.connection(CONN).is_some(), tracer.place_from(CONN).is_some());
            assert_eq!(is_recorded, (expected, expected), "{ratio} {follows_parent} {of_parent:?}");
        }
    }

    #[test]
    fn a_ratio_of_the_traces_that_begin_here_is_recorded() {
        let (mut tracer, _spans, _) = tracer(0.25, true, 1);
        for index in 0..10_000 {
            tracer.open(ConnId { index, generation: 0 }, None, Time(1));
        }
        assert!((2300..2700).contains(&tracer.connections.len()), "{}", tracer.connections.len());
    }

    #[test]
    fn a_connection_stands_below_its_request_and_a_message_beside_it() {
        let (mut tracer, mut spans, _) = tracer(0.0, true, 9);
        tracer.open(CONN, Some(parent(true)), Time(1));
        let (al, phone): (Arc<str>, Arc<str>) = ("al".into(), "phone".into());
        let sent = tracer.place_from(CONN).unwrap();
        let (user, device, id) = (Arc::clone(&al), Arc::clone(&phone), "\"m\"".into());
        let what = What::Send { kind: Kind::Direct, user, device, id, refusal: None };
        tracer.sent(CONN, sent, what, Time(2));
        let what = What::Deliver { kind: Kind::Direct, user: "bo".into(), attempts: 1, lost: None };
        tracer.delivered(sent, what, Time(2), Time(3));
        tracer.close_of(CONN, (al, Some(phone)), CloseReason::Client, Time(4));
        let (send, deliver, closed) = (spans.pop().unwrap(), spans.pop().unwrap(), spans.pop().unwrap());
        assert_eq!((closed.place.trace, closed.parent, closed.state.as_deref()), (7, 8, Some("v=1")));
        assert_eq!((closed.start, closed.end), (Time(1), Time(4)));
        assert_eq!((send.link, send.parent), (Some(closed.place), 0));
        assert_ne!(send.place.trace, 7);
        assert_eq!((deliver.place.trace, deliver.parent), (send.place.trace, send.place.span));
        assert!(tracer.connections.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (mut tracer, _spans, metrics) = tracer(1.0, true, 2);
        for _ in 0..5 {
            tracer.open(CONN, None, Time(1));
            tracer.close(CONN, |_| What::Refused { status: 401, error: "auth" }, Time(1));
        }
        assert_eq!(metrics.spans_dropped.get(), 3);
    }
}
