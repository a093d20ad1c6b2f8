//! What becomes of telemetry where the collector is in trouble; of the gateway nothing.

use crate::collector::{Collector, TAKEN, partly};
use crate::driver::{Gateway, Member, PATIENCE, Reply, send};
use std::net::TcpListener;
use wire::time::Time;

const ITEMS: &str = "im_gateway_telemetry_items_total";
const ERRORS: &str = "im_gateway_telemetry_export_errors_total";

/// Waits until so many attempts have failed for this reason.
fn errors(gateway: &Gateway, reason: &str, wanted: f64) {
    let selector = format!("{ERRORS}{{signal=\"metrics\",reason=\"{reason}\"}}");
    gateway.wait_until(&selector, |count| count >= wanted);
}

fn of_result(result: &str) -> String {
    format!("{ITEMS}{{signal=\"metrics\",result=\"{result}\"}}")
}

fn items(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&of_result(result))
}

/// The gateway does what it is for.
fn serves(gateway: &Gateway) {
    let mut al = Member::connect(gateway, "al");
    // An id that was used before would be confirmed, and not delivered again.
    assert_eq!(al.ask(&send(&format!("{:?}", Time::now()), "al", "1")), "sent");
    al.delivery();
}

#[test]
fn what_may_pass_is_tried_again_with_the_same_request() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &[]);
    let first = collector.answer(Reply::Status(503));
    for answer in [Reply::Status(429), Reply::Status(502), Reply::Status(504), Reply::Cut] {
        assert_eq!(collector.answer(answer).body, first.body);
    }
    let asked = Time::now();
    assert_eq!(collector.answer(TAKEN).body, first.body, "the sixth and last attempt");
    assert!(Time::now().since(asked) < PATIENCE);
    assert_ne!(collector.answer(TAKEN).body, first.body);
    assert_eq!(gateway.metric(&format!("{ERRORS}{{reason=\"unavailable\"}}")), 4.0);
    assert_eq!(gateway.metric(&format!("{ERRORS}{{reason=\"connection\"}}")), 1.0);
    assert_eq!(gateway.metric("im_gateway_telemetry_export_retries_total"), 5.0);
    assert_eq!(items(&gateway, "failed"), 0.0);
}

#[test]
fn a_collector_that_asks_for_time_gets_it() {
    let collector = Collector::start();
    let _gateway = collector.gateway(&[], &[]);
    let first = collector.answer(Reply::Later(503, 1));
    let asked = Time::now();
    assert_eq!(collector.answer(TAKEN).body, first.body);
    assert!(Time::now().since(asked).as_millis() >= 900, "it was asked to wait a second");
}

#[test]
fn what_will_not_pass_is_given_up_and_counted() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &[]);
    let mut before = Vec::new();
    for (answer, reason) in [
        (Reply::Status(400), "refused"),
        (Reply::Status(404), "refused"),
        (Reply::Status(307), "refused"),
        (Reply::Status(500), "refused"),
        (Reply::Body(b"<html>it works</html>".to_vec()), "garbled"),
        (Reply::Body(vec![0; 100_000]), "garbled"),
    ] {
        let failed = items(&gateway, "failed");
        let request = collector.answer(answer);
        assert_ne!(request.body, before, "it is not sent again");
        before = request.body;
        errors(&gateway, reason, 1.0);
        gateway.wait_until(&of_result("failed"), |count| count > failed);
    }
    assert_eq!(gateway.metric("im_gateway_telemetry_export_retries_total"), 0.0);
    serves(&gateway);
}

#[test]
fn what_a_collector_leaves_out_is_counted_and_not_sent_again() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &[]);
    let first = collector.answer(partly(7));
    assert_ne!(collector.answer(TAKEN).body, first.body);
    assert_eq!((items(&gateway, "rejected"), items(&gateway, "failed")), (7.0, 0.0));
    assert!(items(&gateway, "exported") > 100.0);
    assert_eq!(gateway.metric(ERRORS), 0.0);
}

#[test]
fn a_collector_that_rejects_more_than_it_got_is_not_believed() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &[]);
    collector.answer(partly(i64::MAX));
    let rejected = gateway.wait_until(&of_result("rejected"), |count| count > 0.0);
    assert!(rejected < 10_000.0 && items(&gateway, "exported") == 0.0, "{rejected}");
}

#[test]
fn a_slow_collector_holds_up_nobody() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &["--otlp-timeout", "100ms", "--otlp-attempts", "2"]);
    for _ in 0..2 {
        collector.answer(Reply::Nothing);
        serves(&gateway);
    }
    errors(&gateway, "timeout", 2.0);
    gateway.wait_until(&of_result("failed"), |count| count > 0.0);
    // And all is well when it is.
    collector.take_until(|request| request.value("im_gateway_messages_delivered_total") == Some(2));
}

#[test]
fn without_a_collector_the_gateway_serves_and_ends() {
    // A port that is nobody's: its listener is gone.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let flags =
        ["--otlp-endpoint", &url, "--otlp-interval", "20ms", "--otlp-backoff", "10ms", "--trace-ratio", "0"];
    let mut gateway = Gateway::start(&flags);
    errors(&gateway, "connection", 20.0);
    serves(&gateway);
    assert!(items(&gateway, "failed") > 0.0 && items(&gateway, "exported") == 0.0);
    gateway.ask_to_end();
    assert!(gateway.ended().success());
}

#[test]
fn off_there_is_none_and_what_cannot_be_done_is_refused_at_the_start() {
    let gateway = Gateway::start(&[]);
    serves(&gateway);
    assert_eq!(gateway.metric(ITEMS) + gateway.metric(ERRORS), 0.0);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    for (variables, said) in [
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")][..], "`nowhere`"),
        (&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "only http/protobuf is spoken"),
        (&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")], "OTEL_EXPORTER_OTLP_HEADERS is no list"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0"])
            .env("GATEWAY_AUTH_KEY", "k")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(113), "{stderr}");
        assert!(stderr.contains(said) && !stderr.contains("s3cret"), "{stderr}");
    }
}
