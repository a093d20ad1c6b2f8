//! The known faults of the four systems' own rules, each found by a check that knows nothing of the system.
//!
//! The IM gateway's files are its pack; of the others `check_catalog/` has the alerts in our own words.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use assertions::check::{Finding, Input, Kind, Level, Settings, check};
use scenarios::span::Source;
use std::path::Path;
use std::sync::Arc;

const IM: &[&str] = &[
    "../scenarios/packs/im-gateway/rules.yml",
    "../scenarios/packs/im-gateway/alertmanager.yml",
    "tests/check_catalog/im-gateway.notes.md",
];
const BOT: &[&str] =
    &["tests/check_catalog/bot-gateway.yml", "tests/check_catalog/bot-gateway.hand-tests.yml"];
const MESSENGER: &[&str] = &["tests/check_catalog/messenger.yml"];
const API: &[&str] = &["tests/check_catalog/api-gateway.yml"];

/// Files, the fault, the check that finds it, and what stands at its place or in its rule.
const FAULTS: &[(&[&str], &str, &str, &str)] = &[
    (IM, "the burn texts say 5 % and 2.5 %", "slo/burn-text", "5 %"),
    (IM, "the burn texts say 5 % and 2.5 %", "slo/burn-text", "2.5 %"),
    (IM, "the fast burn has one window", "slo/burn-one-window", "[1h]"),
    (IM, "the slow burn has one window", "slo/burn-one-window", "[6h]"),
    (IM, "15 days are kept, 30 are asked", "promql/range-beyond-retention", "up{job=\"im-gateway\"}[30d]"),
    (
        IM,
        "15 days are kept, 30 are asked",
        "promql/range-beyond-retention",
        "im_gateway_messages_delivered_total[30d]",
    ),
    (IM, "one P99 per node and type", "promql/quantile-per-series", "histogram_quantile(0.99"),
    (
        IM,
        "a ratio without a value before a counter's birth",
        "promql/unborn-counter",
        "im_gateway_messages_failed_total[5m]",
    ),
    (IM, "a latency objective as a quantile", "slo/latency-quantile", "> 0.2"),
    (IM, "the synthetic alert goes to the v1 interface", "alertmanager/api-v1", "/api/v1/alerts"),
    (BOT, "one of three states, and `for`", "alert/state-equality", "circuit_breaker_state == 1"),
    (BOT, "0 sessions of a gauge that goes away", "alert/absent", "bot_gateway_active_sessions"),
    (BOT, "a pool's size is not what is free", "alert/size-as-free", "redis_connection_pool_size < 2"),
    (BOT, "100 posts cannot reach 1/s", "hand-test/unreachable", "events: 100"),
    (MESSENGER, "rate of a gauge, which always fires", "promql/rate-of-gauge", "pg_stat_activity_count"),
    (MESSENGER, "a log query among rules", "promql/language", "|="),
    (
        MESSENGER,
        "the critical alert has the lower threshold",
        "alert/contradictory-severity",
        "HighMessageLatency",
    ),
    (
        MESSENGER,
        "each instance and path has its own threshold",
        "alert/per-series",
        "messenger_http_requests_total",
    ),
    (API, "no minimum of traffic", "alert/minimum-traffic", "http_requests_total"),
    (API, "a label without bounds", "alert/unbounded-label", "rate_limit_violations_total"),
    (API, "a mean hides the tail", "alert/mean-latency", "http_request_duration_seconds_sum"),
];

fn findings(paths: &[&str]) -> Vec<Finding> {
    let input = |path: &&str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let source =
            Source { name: path.display().to_string(), text: std::fs::read_to_string(&path).unwrap() };
        let source = Arc::new(source);
        let kind = Kind::detect(&source);
        assert!(kind.is_some(), "{}", path.display());
        Input { source, kind, problems: Vec::new() }
    };
    let inputs: Vec<Input> = paths.iter().map(input).collect();
    check(&inputs, None, &Settings::default())
}

/// The line a finding is about, and those after it as far as its span goes.
fn place(finding: &Finding) -> String {
    let span = finding.problem.span.as_ref().unwrap();
    let text = &span.source.text;
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..].find('\n').map_or(text.len(), |at| span.end + at);
    text[start..end].to_owned()
}

#[test]
fn each_known_fault_is_found_by_its_check() {
    for (paths, fault, id, at) in FAULTS {
        let findings = findings(paths);
        let found = findings.iter().any(|finding| {
            finding.lint.id == *id && finding.level > Level::Note && place(finding).contains(at)
        });
        let all: String = findings.iter().map(|finding| finding.render(false)).collect();
        assert!(found, "{fault}: no {id} at `{at}`:\n{all}");
    }
}

#[test]
fn the_corrected_rules_have_none_of_the_faults() {
    let cured = FAULTS.iter().filter(|(paths, ..)| *paths == IM).map(|(_, _, id, _)| *id);
    // What no rule can cure: how long samples are kept.
    let cured: Vec<&str> = cured.filter(|id| *id != "promql/range-beyond-retention").collect();
    for finding in findings(&["../scenarios/packs/im-gateway/rules.corrected.yml"]) {
        assert!(!cured.contains(&finding.lint.id), "{}", finding.render(false));
    }
}

#[test]
fn every_file_of_a_pack_is_told_by_its_content() {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/packs/im-gateway");
    for (name, kind) in [
        ("rules.yml", Kind::Rules),
        ("rules.corrected.30d.test.yml", Kind::RuleTests),
        ("alertmanager.yml", Kind::Alertmanager),
        ("slo.yml", Kind::Objectives),
        ("README.md", Kind::Notes),
    ] {
        let path = pack.join(name);
        let source = Source { name: name.to_owned(), text: std::fs::read_to_string(path).unwrap() };
        assert_eq!(Kind::detect(&Arc::new(source)), Some(kind), "{name}");
    }
}
