//! What a collector is told of the log, and what the log says of traces.

use crate::collector::{Collector, TAKEN};
use crate::driver::{Gateway, Member, PATIENCE, send};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use std::io::Read as _;
use wire::time::Time;

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A gateway that says all it can and sends it soon.
fn gateway(collector: &Collector, variables: &[(&str, &str)]) -> Gateway {
    let variables = [&[("OTEL_METRICS_EXPORTER", "none")][..], variables].concat();
    let (url, soon) = (collector.url(), ["--otlp-delay", "10ms", "--trace-ratio", "0"]);
    let flags = [&["--otlp-endpoint", &url, "--log-level", "trace", "--node", "n7"], &soon[..]].concat();
    Gateway::start_in(&variables, &flags)
}

/// Records as they come until one is of `event`; gives all.
fn until(collector: &Collector, event: &str) -> Vec<LogRecord> {
    let (mut all, until) = (Vec::new(), Time::now() + PATIENCE);
    while !all.iter().any(|record: &LogRecord| record.event_name == event) {
        assert!(Time::now() < until, "no {event} in {all:#?}");
        let request = collector.next_records();
        assert!(request.head.starts_with("post /v1/logs http/1.1\r\n"), "{}", request.head);
        let records = request.records();
        let resource = format!("{:?}", records.resource_logs[0].resource);
        assert!(resource.contains("\"im-gateway\"") && resource.contains("\"n7\""), "{resource}");
        let of_scope = records.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        all.extend(of_scope.flat_map(|scope| scope.log_records));
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute<'a>(record: &'a LogRecord, key: &str) -> Option<&'a Value> {
    let attribute = record.attributes.iter().find(|attribute| attribute.key == key)?;
    attribute.value.as_ref()?.value.as_ref()
}

fn text(record: &LogRecord, key: &str) -> String {
    match attribute(record, key) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?} in {record:?}"),
    }
}

#[test]
fn records_and_lines_say_to_which_trace_they_belong() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &[]);
    let mut al = Member::connect_as(&gateway, "al", "phone", &[("traceparent", SAMPLED)]);
    let mut bo = Member::connect(&gateway, "bo");
    assert_eq!(al.ask(&send("m-1", "bo", "1")), "sent");
    bo.delivery();
    let records = until(&collector, "message_delivered");
    let of = |event: &str, user: &str| {
        let is_it = |record: &&LogRecord| record.event_name == event && text(record, "user.id") == user;
        records.iter().find(is_it).unwrap_or_else(|| panic!("no {event} of {user} in {records:#?}"))
    };
    let established = of("connection_established", "al");
    assert_eq!(hex(&established.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((established.severity_number, &*established.severity_text), (5, "debug"));
    assert_eq!(
        (text(established, "im.device.id"), text(established, "component")),
        ("phone".into(), "connection".into())
    );
    assert!(text(established, "remote_addr").starts_with("127.0.0.1:"));
    assert_eq!((established.span_id.len(), established.flags), (8, 1));
    assert!(
        established.time_unix_nano > 0 && established.time_unix_nano <= established.observed_time_unix_nano
    );
    let body = established.body.as_ref().and_then(|body| body.value.clone());
    assert_eq!(body, Some(Value::StringValue("a session has begun".into())));
    let untraced = of("connection_established", "bo");
    assert!(untraced.trace_id.is_empty() && untraced.span_id.is_empty() && untraced.flags == 0);
    let delivered = of("message_delivered", "bo");
    assert_eq!(text(delivered, "messaging.message.id"), "m-1");
    assert!(
        matches!(attribute(delivered, "latency_ms"), Some(Value::DoubleValue(latency)) if *latency > 0.0)
    );
    // The message's trace, as the collector of traces is told.
    let spans = collector.answer_spans(TAKEN).spans();
    let mut spans = spans.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let sent = spans.find_map(|scope| scope.spans.iter().find(|span| span.name == "send direct")).unwrap();
    assert_eq!((&delivered.trace_id, &delivered.span_id), (&sent.trace_id, &sent.span_id));
    let expected = (hex(&delivered.trace_id), hex(&delivered.span_id));
    let lines = gateway.stop();
    let line = lines.lines().find(|line| line.contains("\"message_delivered\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["trace_id"], &line["span_id"]), (&expected.0.into(), &expected.1.into()));
}

#[test]
fn a_refused_token_belongs_to_its_request_and_the_last_words_are_sent() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &[("OTEL_TRACES_EXPORTER", "otlp")]);
    let mut stream = gateway.connect();
    let request = crate::driver::upgrade_request("/ws?token=none", &format!("traceparent: {SAMPLED}\r\n"));
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    let records = until(&collector, "auth_failed");
    let refused = records.iter().find(|record| record.event_name == "auth_failed").unwrap();
    assert_eq!(
        (hex(&refused.trace_id), refused.severity_number),
        ("0af7651916cd43dd8448eb211c80319c".into(), 13)
    );
    collector.answer_spans(TAKEN);
    gateway.stop();
    until(&collector, "stopped");
}

#[test]
fn logs_can_be_left_out() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &[("OTEL_LOGS_EXPORTER", "none")]);
    drop(Member::connect(&gateway, "al"));
    gateway.wait_for("im_gateway_connections_closed_total", 1.0);
    assert!(gateway.metric("im_gateway_log_records_written_total") > 0.0);
    assert_eq!(gateway.metric("im_gateway_telemetry_items_total{signal=\"logs\"}"), 0.0);
    gateway.stop();
}
