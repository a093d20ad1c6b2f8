//! Each selector in the operators' rules finds series on our gateway, from its first scrape on.
//!
//! A rule that reads a series nobody exports never fires, and looks like one that has nothing to say.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use assertions::exposition::{self, Format};
use assertions::labels::Labels;
use assertions::promql::ast::{Expr, Selector};
use assertions::promql::parse::{ParseOptions, parse};
use assertions::rule;
use gateway::metrics::{self, Metrics};
use scenarios::span::Source;
use std::sync::Arc;

/// The API gateway's alerts of which it is the subject; the others are about the services behind it.
const API_GATEWAY: [(&str, &str); 6] = [
    (
        "HighErrorRate",
        "sum(rate(http_requests_total{status_code=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
    ),
    (
        "HighResponseTime",
        "sum(rate(http_request_duration_seconds_sum[5m])) / sum(rate(http_request_duration_seconds_count[5m])) > 5",
    ),
    ("CircuitBreakerOpen", "circuit_breaker_state == 1"),
    ("HighMemoryUsage", "process_resident_memory_bytes / process_virtual_memory_max_bytes > 0.85"),
    ("RateLimitViolations", "sum(increase(rate_limit_violations_total[1h])) > 100"),
    (
        "WebSocketConnectionIssues",
        "sum(rate(im_gateway_connections_closed_total[5m])) / sum(rate(websocket_connections_total[5m])) > 0.5",
    ),
];

/// The series of a gateway that has just started, and what Prometheus adds to a scrape.
fn series() -> Vec<Labels> {
    let text = Metrics::new("gateway-1", 2).snapshot().text(metrics::Format::OpenMetrics);
    let samples = exposition::parse(&text, Format::OpenMetrics).unwrap();
    let target = [("job".to_owned(), "im-gateway".to_owned())];
    let labels = |name: &str, own: Vec<(String, String)>| {
        Labels::from_pairs(
            [("__name__".to_owned(), name.to_owned())].into_iter().chain(own).chain(target.clone()),
        )
    };
    let own = samples.iter().map(|sample| {
        let own = sample.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        labels(&sample.name, own)
    });
    own.chain([labels("up", Vec::new())]).collect()
}

fn selectors(expr: &Expr) -> Vec<&Selector> {
    match expr {
        Expr::Selector(selector) | Expr::Range { selector, .. } => vec![selector],
        other => other.children().into_iter().flat_map(selectors).collect(),
    }
}

/// Selectors that find nothing, as text.
fn blind(expr: &Expr, series: &[Labels]) -> Vec<String> {
    let sees = |selector: &Selector| {
        series.iter().any(|labels| {
            selector.name.as_deref().is_none_or(|name| labels.get("__name__") == name)
                && selector.matchers.iter().all(|matcher| matcher.matches(labels))
        })
    };
    selectors(expr).into_iter().filter(|selector| !sees(selector)).map(Selector::to_string).collect()
}

#[test]
fn each_rule_of_the_pack_finds_its_series() {
    let series = series();
    for file in ["rules.yml", "rules.corrected.yml"] {
        let path = format!("{}/../scenarios/packs/im-gateway/{file}", env!("CARGO_MANIFEST_DIR"));
        let source = Source { name: file.to_owned(), text: std::fs::read_to_string(path).unwrap() };
        let loaded = rule::load(&[Arc::new(source)], ParseOptions::default()).unwrap();
        let recorded: Vec<&str> = loaded.rules.rules().map(|rule| rule.name().value.as_str()).collect();
        for rule in loaded.rules.rules() {
            let blind: Vec<String> = blind(&rule.expr, &series)
                .into_iter()
                .filter(|selector| !recorded.iter().any(|name| selector.starts_with(name)))
                .collect();
            assert!(blind.is_empty(), "{file}, {}: nothing is exported as {blind:?}", rule.name().value);
        }
    }
}

#[test]
fn each_alert_of_an_api_gateway_that_is_about_itself_finds_its_series() {
    let series = series();
    for (alert, text) in API_GATEWAY {
        let expr = parse(text, ParseOptions::default()).unwrap();
        assert!(!selectors(&expr).is_empty());
        assert_eq!(blind(&expr, &series), Vec::<String>::new(), "{alert}");
    }
}

#[test]
fn a_selector_of_what_is_not_exported_is_found_out() {
    let expr = parse(
        "rate(http_requests_total{status=~\"5..\"}[5m]) / up > code_generations_total",
        ParseOptions::default(),
    );
    let expected = ["http_requests_total{status=~\"5..\"}", "code_generations_total"];
    assert_eq!(blind(&expr.unwrap(), &series()), expected);
}

/// What is written can be read again, in both forms, and says the same.
#[test]
fn both_forms_of_the_exposition_are_read_as_the_same_samples() {
    let metrics = Metrics::new("a \"node\"\\", 2);
    metrics.shard(1).delivered[0].add(3);
    metrics.shard(0).latency[1].observe(0.2, &metrics::LATENCY_BOUNDS);
    let snapshot = metrics.snapshot();
    let (open, plain) =
        (snapshot.text(metrics::Format::OpenMetrics), snapshot.text(metrics::Format::Prometheus));
    let open = exposition::parse(&open, Format::OpenMetrics).unwrap();
    assert_eq!(open, exposition::parse(&plain, Format::Text).unwrap());
    let delivered = open.iter().find(|sample| sample.name == "im_gateway_messages_delivered_total").unwrap();
    assert_eq!((delivered.value, delivered.label("node")), (3.0, "a \"node\"\\"));
}
