//! What a collector is told about connections and messages.

use crate::collector::{Collector, TAKEN, partly};
use crate::driver::{Gateway, Member, send};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::io::{Read as _, Write as _};

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const ITEMS: &str = "im_gateway_telemetry_items_total";

/// A gateway that sends each span soon, and no metrics.
fn gateway(collector: &Collector, flags: &[&str]) -> Gateway {
    let (url, variables) = (collector.url(), [("OTEL_METRICS_EXPORTER", "none")]);
    let soon = ["--otlp-delay", "10ms", "--otlp-backoff", "10ms"];
    Gateway::start_in(&variables, &[&["--otlp-endpoint", &url], &soon[..], flags].concat())
}

/// The next `count` spans, in the order of their beginnings.
fn spans(collector: &Collector, count: usize) -> Vec<Span> {
    let mut spans = Vec::new();
    while spans.len() < count {
        let request = collector.answer_spans(TAKEN);
        assert!(request.head.starts_with("post /v1/traces http/1.1\r\n"), "{}", request.head);
        let of_scope = request.spans().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        spans.extend(of_scope.flat_map(|scope| scope.spans));
    }
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans.sort_by_key(|span| span.start_time_unix_nano);
    spans
}

/// An attribute's value as text; empty: there is none.
fn attribute(span: &Span, key: &str) -> String {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == key);
    match attribute.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => panic!("{other:?}"),
        None => String::new(),
    }
}

fn of_result(result: &str) -> String {
    format!("{ITEMS}{{signal=\"traces\",result=\"{result}\"}}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

#[test]
fn a_connection_and_its_messages_are_traced_where_the_request_says_so() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &["--trace-ratio", "0"]);
    let context = [("traceparent", SAMPLED), ("tracestate", "v=1")];
    let mut al = Member::connect_as(&gateway, "al", "phone", &context);
    let mut bo = Member::connect(&gateway, "bo");
    assert_eq!(al.ask(&send("m-1", "bo", "1")), "sent");
    bo.delivery();
    // Bo's connection is not traced, so what he sends is not either.
    assert_eq!(bo.ask(&send("m-2", "al", "1")), "sent");
    al.delivery();
    drop(al);
    let spans = spans(&collector, 3);
    let connection = named(&spans, "GET /ws");
    assert_eq!(hex(&connection.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&connection.parent_span_id), "b7ad6b7169203331");
    assert_eq!((&*connection.trace_state, connection.flags), ("v=1", 0x301));
    assert_eq!(connection.kind(), SpanKind::Server);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/ws"),
        ("http.response.status_code", "101"),
        ("user.id", "al"),
        ("im.device.id", "phone"),
    ] {
        assert_eq!(attribute(connection, key), value, "{key}");
    }
    assert_eq!(connection.events[0].name, "session begun");
    let sent = named(&spans, "send direct");
    assert_eq!((sent.kind(), &*hex(&sent.parent_span_id)), (SpanKind::Producer, ""));
    assert_eq!(attribute(sent, "messaging.message.id"), "m-1");
    assert_eq!(sent.links[0].span_id, connection.span_id);
    assert_eq!(sent.links[0].trace_id, connection.trace_id);
    assert_ne!(sent.trace_id, connection.trace_id);
    let delivered = named(&spans, "deliver direct");
    assert_eq!((delivered.kind(), &delivered.trace_id), (SpanKind::Consumer, &sent.trace_id));
    assert_eq!(delivered.parent_span_id, sent.span_id);
    assert_eq!(
        (attribute(delivered, "user.id"), attribute(delivered, "im.delivery.attempts")),
        ("bo".into(), "1".into())
    );
    assert!(delivered.start_time_unix_nano < delivered.end_time_unix_nano);
    assert!(delivered.status.is_none() && sent.status.is_none());
    assert!(connection.end_time_unix_nano > delivered.end_time_unix_nano);
}

#[test]
fn an_upgrade_that_is_refused_is_an_error() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &["--trace-ratio", "0"]);
    let mut stream = gateway.connect();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\ntraceparent: {SAMPLED}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let spans = spans(&collector, 1);
    assert_eq!(hex(&spans[0].parent_span_id), "b7ad6b7169203331");
    assert_eq!(attribute(&spans[0], "http.response.status_code"), "401");
    assert_eq!(attribute(&spans[0], "error.type"), "unauthorized");
    assert_eq!(spans[0].status.as_ref().unwrap().code, 2);
}

#[test]
fn a_lost_delivery_is_an_error() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &["--trace-ratio", "1"]);
    assert_eq!(gateway.ask("POST", "/test/failure-rate?rate=1", "").status, 200);
    let mut al = Member::connect(&gateway, "al");
    assert_eq!(al.ask(&send("m", "al", "1")), "sent");
    let errors =
        |span: &Span| (span.status.as_ref().map(|status| status.code), attribute(span, "error.type"));
    let lost = spans(&collector, 2);
    assert_eq!(errors(named(&lost, "deliver direct")), (Some(2), "test".into()));
    assert_eq!(errors(named(&lost, "send direct")), (None, String::new()));
}

#[test]
fn who_says_no_or_nothing_valid_is_traced_by_ratio_or_not() {
    let collector = Collector::start();
    let gateway = gateway(&collector, &["--trace-ratio", "1"]);
    for (context, is_traced) in [
        (&[("traceparent", UNSAMPLED)][..], false),
        (&[("traceparent", "00-not-valid-01"), ("tracestate", "v=1")], true),
        (&[], true),
    ] {
        let mut al = Member::connect_as(&gateway, "al", "phone", context);
        assert_eq!(al.ask(&send(&format!("{context:?}").replace('"', ""), "al", "1")), "sent");
        al.delivery();
        drop(al);
        if is_traced {
            let spans = spans(&collector, 3);
            let connection = named(&spans, "GET /ws");
            assert!(connection.parent_span_id.is_empty() && connection.trace_state.is_empty());
            assert_ne!(hex(&connection.trace_id), UNSAMPLED[3..35]);
        }
    }
}

#[test]
fn without_a_collector_what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let collector = Collector::start();
    let flags = [
        "--trace-ratio",
        "1",
        "--shards",
        "1",
        "--otlp-queue",
        "10",
        "--otlp-batch",
        "4",
        "--otlp-timeout",
        "1h",
    ];
    let gateway = gateway(&collector, &flags);
    let mut al = Member::connect(&gateway, "al");
    let mut k = 0;
    let mut message = |al: &mut Member| {
        k += 1;
        assert_eq!(al.ask(&send(&format!("m-{k}"), "nobody", "1")), "sent");
    };
    message(&mut al);
    let held = collector.next_spans();
    // Ten fit behind the request that is under way; the collector's silence is nobody's trouble.
    for _ in 0..25 {
        message(&mut al);
    }
    gateway.wait_until(&of_result("dropped"), |dropped| dropped >= 15.0);
    assert_eq!(gateway.metric("im_gateway_telemetry_queue_size{signal=\"traces\"}"), 10.0);
    held.answer(TAKEN);
    gateway.wait_until(&of_result("exported"), |n| n >= 1.0);
    spans(&collector, 10);
    message(&mut al);
    collector.answer_spans(partly(1));
    gateway.wait_until(&of_result("rejected"), |n| n == 1.0);
}
