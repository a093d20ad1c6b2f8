//! The gateway's spans as spans of OTLP, with names and attributes by the semantic conventions.

use super::otlp::{
    Event, HAS_IS_REMOTE, IS_REMOTE, KeyValue, Link, SAMPLED, STATUS_ERROR, Span, SpanKind, Status,
};
use super::resource::{number, text};
use crate::im::protocol::Refusal;
use crate::metrics::{CloseReason, FailReason, Kind};
use crate::trace::{self, What};
use std::sync::Arc;

/// What is known of a span by what it is about.
struct About {
    name: String,
    kind: SpanKind,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    /// Why it is an error.
    error: Option<String>,
}

/// `wall_offset_ns`: the wall clock at monotonic time zero, nanoseconds since the Unix epoch.
pub(super) fn span(span: trace::Span, wall_offset_ns: u64) -> Span {
    let is_remote = matches!(span.what, What::Refused { .. } | What::Connection { .. }) && span.parent != 0;
    let About { name, kind, mut attributes, events, error } = about(span.what, wall_offset_ns);
    attributes.extend(error.iter().map(|error| text("error.type", error.as_str())));
    Span {
        trace_id: span.place.trace.to_be_bytes().to_vec(),
        span_id: span.place.span.to_be_bytes().to_vec(),
        trace_state: span.state.as_deref().unwrap_or_default().to_owned(),
        parent_span_id: if span.parent == 0 { Vec::new() } else { span.parent.to_be_bytes().to_vec() },
        name,
        kind: kind as i32,
        start_time_unix_nano: wall_offset_ns + span.start.0,
        end_time_unix_nano: wall_offset_ns + span.end.0,
        attributes,
        events,
        links: span.link.map(link).into_iter().collect(),
        status: error.map(|message| Status { message, code: STATUS_ERROR }),
        flags: SAMPLED | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 },
    }
}

fn link(place: trace::Place) -> Link {
    let (trace_id, span_id) = (place.trace.to_be_bytes().to_vec(), place.span.to_be_bytes().to_vec());
    Link { trace_id, span_id, flags: SAMPLED | HAS_IS_REMOTE }
}

fn about(what: What, wall_offset_ns: u64) -> About {
    match what {
        What::Refused { status, error } => {
            let error = Some(error.to_owned());
            About { error, ..upgrade(status) }
        }
        What::Connection { user, device, begun, reason, code } => {
            let begun = begun.map(|begun| wall_offset_ns + begun.0);
            connection(&user, device, begun, reason, code)
        }
        What::Send { kind, user, device, id, refusal } => {
            let mut attributes = message(kind, "send");
            attributes.push(text("messaging.message.id", id.trim_matches('"')));
            attributes.push(text("user.id", &*user));
            attributes.push(text("im.device.id", &*device));
            let error = refusal.map(|refusal: Refusal| refusal.code().to_owned());
            let name = format!("send {}", kind.name());
            About { name, kind: SpanKind::Producer, attributes, events: Vec::new(), error }
        }
        What::Deliver { kind, user, attempts, lost } => {
            let mut attributes = message(kind, "process");
            attributes.push(text("user.id", &*user));
            attributes.push(number("im.delivery.attempts", i64::from(attempts)));
            let error = lost.map(|reason: FailReason| reason.name().to_owned());
            let name = format!("deliver {}", kind.name());
            About { name, kind: SpanKind::Consumer, attributes, events: Vec::new(), error }
        }
    }
}

fn upgrade(status: u16) -> About {
    let attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", "/ws"),
        text("url.path", "/ws"),
        number("http.response.status_code", i64::from(status)),
        text("network.protocol.name", "http"),
        text("network.protocol.version", "1.1"),
    ];
    About { name: "GET /ws".to_owned(), kind: SpanKind::Server, attributes, events: Vec::new(), error: None }
}

fn connection(
    user: &Arc<str>,
    device: Option<Arc<str>>,
    begun: Option<u64>,
    reason: CloseReason,
    code: Option<u16>,
) -> About {
    let mut about = upgrade(101);
    about.attributes.push(text("user.id", &**user));
    about.attributes.extend(device.map(|device| text("im.device.id", &*device)));
    about.attributes.push(text("im.close.reason", reason.name()));
    about.attributes.extend(code.map(|code| number("im.close.code", i64::from(code))));
    about
        .events
        .extend(begun.map(|time_unix_nano| Event { time_unix_nano, name: "session begun".to_owned() }));
    let is_usual = matches!(
        reason,
        CloseReason::Client | CloseReason::Replaced | CloseReason::Drain | CloseReason::TokenExpired
    );
    about.error = (!is_usual).then(|| reason.name().to_owned());
    about
}

fn message(kind: Kind, operation: &str) -> Vec<KeyValue> {
    vec![
        text("messaging.system", "im.v1"),
        text("messaging.operation.type", operation),
        text("messaging.destination.template", kind.name()),
    ]
}
