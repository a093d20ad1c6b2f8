//! The gateway's log records as records of OTLP. What spans have as well has the name that it has there.

use super::otlp::{Any, AnyValue, LogRecord, SAMPLED};
use super::resource::{attribute, text};
use crate::log::{Detail, Level, Record};

pub(super) fn record(record: Record, observed_unix_nano: u64) -> LogRecord {
    let level = record.event.level();
    let mut attributes = vec![text("component", record.event.component())];
    attributes.extend(record.user.map(|user| text("user.id", &*user)));
    attributes.extend(record.device.map(|device| text("im.device.id", &*device)));
    attributes.extend(record.message_id.map(|id| text("messaging.message.id", id)));
    let latency_ms = record.latency.map(|latency| latency.as_secs_f64() * 1000.0);
    attributes.extend(latency_ms.map(|latency_ms| attribute("latency_ms", Any::Double(latency_ms))));
    attributes.extend(record.details.into_iter().map(|(name, detail)| attribute(name, value(detail))));
    let place = record.place;
    LogRecord {
        time_unix_nano: record.at_ms.saturating_mul(1_000_000),
        severity_number: severity(level),
        severity_text: level.name().to_owned(),
        body: Some(AnyValue { value: Some(Any::Text(record.message.into_owned())) }),
        attributes,
        flags: if place.is_some() { SAMPLED } else { 0 },
        trace_id: place.map(|place| place.trace.to_be_bytes().to_vec()).unwrap_or_default(),
        span_id: place.map(|place| place.span.to_be_bytes().to_vec()).unwrap_or_default(),
        observed_time_unix_nano: observed_unix_nano,
        event_name: record.event.name().to_owned(),
    }
}

/// The first of the four numbers that a level has.
fn severity(level: Level) -> i32 {
    match level {
        Level::Trace => 1,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
    }
}

fn value(detail: Detail) -> Any {
    match detail {
        Detail::Text(text) => Any::Text(text.into_owned()),
        Detail::Count(count) => Any::Int(i64::try_from(count).unwrap_or(i64::MAX)),
        Detail::Number(number) => Any::Double(number),
    }
}
