//! A record as a line: JSON for machines, text for people.

use super::{Detail, Record, SERVICE};
use crate::trace::Place;
use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use std::io::{self, Write as _};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object each.
    Json,
    /// Time, level and event, then `name=value`.
    Text,
}

/// Appends one line.
pub(super) fn write(out: &mut Vec<u8>, format: Format, record: &Record, node: &str) {
    let start = out.len();
    let written = match format {
        Format::Json => json(out, record, node),
        Format::Text => text(out, record),
    };
    match written {
        Ok(()) => out.push(b'\n'),
        // A vector takes everything, so there is nothing to be told.
        Err(_) => out.truncate(start),
    }
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
}

fn latency_ms(record: &Record) -> Option<f64> {
    record.latency.map(|latency| latency.as_micros() as f64 / 1000.0)
}

fn json(out: &mut Vec<u8>, record: &Record, node: &str) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::new(out);
    let mut line = serializer.serialize_map(None)?;
    line.serialize_entry("timestamp", &timestamp(record.at_ms))?;
    line.serialize_entry("level", record.event.level().name())?;
    line.serialize_entry("service", SERVICE)?;
    line.serialize_entry("node", node)?;
    line.serialize_entry("component", record.event.component())?;
    line.serialize_entry("event", record.event.name())?;
    line.serialize_entry("message", &record.message)?;
    if let Some(Place { trace, span }) = record.place {
        line.serialize_entry("trace_id", &format_args!("{trace:032x}"))?;
        line.serialize_entry("span_id", &format_args!("{span:016x}"))?;
    }
    for (name, value) in [("user_id", &record.user), ("device_id", &record.device)] {
        if let Some(value) = value {
            line.serialize_entry(name, &**value)?;
        }
    }
    if let Some(id) = &record.message_id {
        line.serialize_entry("msg_id", id)?;
    }
    if let Some(latency_ms) = latency_ms(record) {
        line.serialize_entry("latency_ms", &latency_ms)?;
    }
    for (name, detail) in &record.details {
        match detail {
            Detail::Text(text) => line.serialize_entry(name, text)?,
            Detail::Count(count) => line.serialize_entry(name, count)?,
            Detail::Number(number) => line.serialize_entry(name, number)?,
        }
    }
    Ok(line.end()?)
}

fn text(out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    let (level, event) = (record.event.level().name(), record.event.name());
    write!(out, "{} {level:<5} {event}: {}", timestamp(record.at_ms), quoted(&record.message, ""))?;
    for (name, value) in [("user_id", &record.user), ("device_id", &record.device)] {
        if let Some(value) = value {
            write!(out, " {name}={}", quoted(value, " =\""))?;
        }
    }
    if let Some(id) = &record.message_id {
        write!(out, " msg_id={}", quoted(id, " =\""))?;
    }
    if let Some(latency_ms) = latency_ms(record) {
        write!(out, " latency_ms={latency_ms}")?;
    }
    for (name, detail) in &record.details {
        match detail {
            Detail::Text(text) => write!(out, " {name}={}", quoted(text, " =\""))?,
            Detail::Count(count) => write!(out, " {name}={count}")?,
            Detail::Number(number) => write!(out, " {name}={number}")?,
        }
    }
    if let Some(Place { trace, span }) = record.place {
        write!(out, " trace_id={trace:032x} span_id={span:016x}")?;
    }
    Ok(())
}

/// As it is; in quotes if it has one of `special` or what could begin another line or move a terminal's cursor.
fn quoted(text: &str, special: &str) -> String {
    let is_plain = |c: char| !c.is_control() && !special.contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Event;
    use std::sync::Arc;
    use std::time::Duration;

    fn record() -> Record {
        let record = Record::new(Event::HighLatency, 1_795_235_647_123, "it took long");
        let record =
            record.of(&Arc::from("b\"ob\n"), Some(&Arc::from("phone"))).number("duration_seconds", 1.5);
        let (latency, message_id) = (Some(Duration::from_micros(601_100)), Some("m 1".to_owned()));
        Record { latency, message_id, ..record.count("retry_count", 2).text("reason", "slow") }
    }

    #[track_caller]
    fn check(format: Format, expected: &str) {
        check_record(format, &record(), expected);
    }

    #[track_caller]
    fn check_record(format: Format, record: &Record, expected: &str) {
        let mut out = Vec::new();
        write(&mut out, format, record, "n1");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_line_is_one_object_with_the_operators_fields() {
        let expected = concat!(
            r#"{"timestamp":"2026-11-21T04:34:07.123Z","level":"warn","service":"im-gateway","node":"n1","#,
            r#""component":"delivery","event":"high_latency","message":"it took long","user_id":"b\"ob\n","#,
            r#""device_id":"phone","msg_id":"m 1","latency_ms":601.1,"duration_seconds":1.5,"retry_count":2,"#,
            "\"reason\":\"slow\"}\n"
        );
        check(Format::Json, expected);
    }

    #[test]
    fn nobody_begins_a_line_of_his_own() {
        let expected = concat!(
            r#"2026-11-21T04:34:07.123Z warn  high_latency: it took long user_id="b\"ob\n" device_id=phone "#,
            "msg_id=\"m 1\" latency_ms=601.1 duration_seconds=1.5 retry_count=2 reason=slow\n"
        );
        check(Format::Text, expected);
    }

    #[test]
    fn what_is_traced_has_its_trace_and_span() {
        let place = Some(Place { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xab });
        let record = Record::new(Event::ConnectionEstablished, 0, "m").within(place);
        let expected = concat!(
            r#"{"timestamp":"1970-01-01T00:00:00.000Z","level":"debug","service":"im-gateway","node":"n1","#,
            r#""component":"connection","event":"connection_established","message":"m","#,
            r#""trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"00000000000000ab"}"#,
            "\n"
        );
        check_record(Format::Json, &record, expected);
        let expected = concat!(
            "1970-01-01T00:00:00.000Z debug connection_established: m ",
            "trace_id=0af7651916cd43dd8448eb211c80319c span_id=00000000000000ab\n"
        );
        check_record(Format::Text, &record, expected);
    }
}
