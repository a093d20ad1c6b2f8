//! What a collector that works is told.

use crate::collector::{Collector, TAKEN};
use crate::driver::{Gateway, Member, Reply, send};
use wire::time::Time;

#[test]
fn metrics_come_again_and_again_as_a_scrape_would_show_them() {
    let collector = Collector::start();
    let gateway = collector.gateway(&[], &["--node", "n7"]);
    let mut al = Member::connect(&gateway, "al");
    let request = collector.take_until(|request| request.value("im_gateway_active_connections") == Some(1));
    assert!(request.head.starts_with("post /v1/metrics http/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("content-type: application/x-protobuf\r\n"), "{}", request.head);
    assert!(request.head.contains("user-agent: otel-otlp-exporter-rust-im-gateway/"), "{}", request.head);
    let metrics = request.metrics();
    let resource = format!("{:?}", metrics.resource_metrics[0].resource);
    for part in ["service.name", "\"im-gateway\"", "service.instance.id", "\"n7\"", "service.version"] {
        assert!(resource.contains(part), "{resource}");
    }
    assert_eq!(al.ask(&send("m", "al", "1")), "sent");
    al.delivery();
    collector.take_until(|request| request.value("im_gateway_messages_delivered_total") == Some(1));
    // By then some must have been counted as taken.
    let exported = "im_gateway_telemetry_items_total{signal=\"metrics\",result=\"exported\"}";
    assert!(gateway.metric(exported) > 100.0);
    assert_eq!(gateway.metric("im_gateway_telemetry_export_errors_total"), 0.0);
}

#[test]
fn the_standard_variables_are_in_force() {
    let collector = Collector::start();
    let url = collector.url() + "/here";
    let _gateway = Gateway::start_in(
        &[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
            ("OTEL_SERVICE_NAME", "chat"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=pod-1"),
        ],
        &[],
    );
    let request = collector.answer(TAKEN);
    assert!(request.head.starts_with("post /here http/1.1\r\n"), "{}", request.head);
    for header in ["x-tenant: a b\r\n", "content-encoding: gzip\r\n"] {
        assert!(request.head.contains(header), "{}", request.head);
    }
    let resource = format!("{:?}", request.metrics().resource_metrics[0].resource);
    assert!(resource.contains("\"chat\"") && resource.contains("\"pod-1\""), "{resource}");
}

#[test]
fn a_gateway_that_ends_sends_how_it_ended() {
    let collector = Collector::start();
    let mut gateway =
        Gateway::start(&["--otlp-endpoint", &collector.url(), "--otlp-interval", "1h", "--trace-ratio", "0"]);
    let mut al = Member::connect(&gateway, "al");
    assert_eq!(al.ask(&send("m", "nobody", "1")), "sent");
    gateway.ask_to_end();
    let request = collector.answer(TAKEN);
    assert_eq!(request.value("im_gateway_connections_closed_total"), Some(1));
    assert_eq!(request.value("im_service_offline_queue_size"), Some(1));
    assert!(gateway.ended().success());
}

#[test]
fn a_collector_that_never_answers_does_not_keep_the_gateway_from_ending() {
    let collector = Collector::start();
    let mut gateway = collector.gateway(&[], &["--drain-timeout", "1s"]);
    let request = collector.answer(Reply::Nothing);
    let asked = Time::now();
    gateway.ask_to_end();
    assert!(gateway.ended().success());
    assert!(Time::now().since(asked).as_secs() < 8, "not the ten seconds of an attempt");
    drop(request);
}
