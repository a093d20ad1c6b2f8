//! Which rule files are taken and which refused: as promtool 2.42 does, but for what is refused on purpose. Held against the
//! promtool that is installed, too.

use assertions::promql::ast::Dialect;
use assertions::rule;
use scenarios::problem::Severity;
use scenarios::span::Source;
use std::process::Command;
use std::sync::Arc;

/// What Prometheus loads.
const TAKEN: &[&str] = &[
    "",
    "# nothing",
    "groups:",
    "groups: []",
    "groups: [~]",
    "groups: [{name: g}]",
    "groups: [{name: g, rules: ~}]",
    "groups: [{name: g, rules: [~]}]",
    "groups: [{name: 5, rules: []}]",
    "groups: [{name: g, interval: ~, rules: []}]",
    "groups: [{name: g, interval: 0s, rules: []}]",
    "groups: [{name: g, interval: 290y, rules: []}]",
    "groups: [{name: g, limit: -1, rules: []}]",
    "groups: [{name: g, limit: ~, rules: []}]",
    "groups: [{name: g, limit: 1e3, rules: []}]",
    "groups: [{name: g, limit: 1.5, rules: []}]",
    "groups: [{name: g, limit: 0x10, rules: []}]",
    "groups: [{name: g, limit: 1_000, rules: []}]",
    "groups: [{name: g, limit: +5, rules: []}]",
    "rule: {alert: A, expr: up, for: 200y}",
    "rule: {alert: A, expr: up, for: ~}",
    "rule: {alert: A, expr: up, for: 0}",
    "rule: {alert: A, expr: up, for: '0'}",
    "rule: {alert: A, expr: up, for: 5ms}",
    "rule: {alert: A, expr: up, for: 1h30m}",
    "rule: {alert: A, expr: up, keep_firing_for: 0}",
    "rule: {alert: ' ', expr: up}",
    "rule: {alert: Ünï, expr: up}",
    "rule: {alert: 5, expr: 1}",
    "rule: {alert: '', record: r, expr: up}",
    "rule: {alert: , record: r, expr: up}",
    "rule: {record: r, expr: up, for: 0s}",
    "rule: {record: r, expr: up, for: ~}",
    "rule: {record: r, expr: up, keep_firing_for: 0s}",
    "rule: {record: r, expr: up, annotations: {}}",
    "rule: {record: ':a:', expr: 5}",
    "rule: {record: r, expr: up, labels: {a: '{{ $foo }}'}}",
    "rule: {alert: A, expr: up, labels: {alertname: x, alertstate: y, __x__: z}}",
    "rule: {alert: A, expr: up, labels: ~, annotations: ~}",
    "rule: {alert: A, expr: up, labels: {a: ~}, annotations: {__name__: 5, true: x, b: 2021-01-01}}",
    "rule: {alert: A, expr: up, annotations: {a: '{{ index 5 1 }}'}}",
    "groups: [{name: g, rules: [{alert: A, expr: up}, {alert: A, expr: up}]}]",
    "groups: [{name: g, rules: [{record: a, expr: up}, {record: a, expr: up}]}]",
    "groups: [{name: g, rules: [&a {alert: A, expr: up}, *a]}]",
];

/// What Prometheus refuses.
const REFUSED: &[&str] = &[
    "text",
    "- a",
    "group: []",
    "groups: {}",
    "groups: []\ngroups: []",
    "groups: [{rules: []}]",
    "groups: [{name: , rules: []}]",
    "groups: [{name: '', rules: []}]",
    "groups: [{name: [a], rules: []}]",
    "groups: [{name: a, rules: []}, {name: a, rules: []}]",
    "groups: [{name: g, foo: 1, rules: []}]",
    "groups: [{name: g, interval: 5, rules: []}]",
    "groups: [{name: g, interval: '', rules: []}]",
    "groups: [{name: g, limit: '5', rules: []}]",
    "groups: [{name: g, limit: 99999999999999999999, rules: []}]",
    "rule: {}",
    "rule: {Alert: A, expr: up}",
    "rule: {alert: A, expr: up, foo: 1}",
    "rule: {alert: A, expr: up, expr: up}",
    "rule: {alert: A, record: r, expr: up}",
    "rule: {alert: ~, record: r, expr: up}",
    "rule: {alert: '', expr: up}",
    "rule: {alert: , expr: up}",
    "rule: {alert: [a], expr: up}",
    "rule: {record: '', expr: up}",
    "rule: {record: a-b, expr: up}",
    "rule: {record: ä, expr: up}",
    "rule: {record: r, expr: up, for: 5m}",
    "rule: {record: r, expr: up, keep_firing_for: 5m}",
    "rule: {record: r, expr: up, annotations: {a: b}}",
    "rule: {record: r, expr: up, labels: {__name__: x}}",
    "rule: {alert: A}",
    "rule: {alert: A, expr: }",
    "rule: {alert: A, expr: ''}",
    "rule: {alert: A, expr: '# nothing'}",
    "rule: {alert: A, expr: 'rate(up'}",
    "rule: {alert: A, expr: up, for: ''}",
    "rule: {alert: A, expr: up, for: 5}",
    "rule: {alert: A, expr: up, for: -5m}",
    "rule: {alert: A, expr: up, for: 1.5m}",
    "rule: {alert: A, expr: up, for: 30m1h}",
    "rule: {alert: A, expr: up, for: 1h1h}",
    "rule: {alert: A, expr: up, for: 300y}",
    "rule: {alert: A, expr: up, for: [5m]}",
    "rule: {alert: A, expr: up, labels: {a-b: x}}",
    "rule: {alert: A, expr: up, labels: {'': x}}",
    "rule: {alert: A, expr: up, labels: {__name__: x}}",
    "rule: {alert: A, expr: up, labels: {a: 1, a: 2}}",
    "rule: {alert: A, expr: up, labels: {a: '{{ $foo }}'}}",
    "rule: {alert: A, expr: up, annotations: {a-b: x}}",
    "rule: {alert: A, expr: up, annotations: {runbook.url: x}}",
    "rule: {alert: A, expr: up, annotations: {1a: x}}",
    "rule: {alert: A, expr: up, annotations: {5: x}}",
    "rule: {alert: A, expr: up, annotations: {ä: x}}",
    "rule: {alert: A, expr: up, annotations: {'': x}}",
    "rule: {alert: A, expr: up, annotations: {a: [x]}}",
    "rule: {alert: A, expr: up, annotations: text}",
    "rule: {alert: A, expr: up, annotations: {a: '{{ foo }}'}}",
];

/// What Prometheus loads and we refuse: a rule that fails at every evaluation, an alert called `~`, and a document that is never
/// read.
const REFUSED_ON_PURPOSE: &[&str] = &[
    "rule: {alert: A, expr: 'up[5m]'}",
    "rule: {alert: A, expr: \"'a'\"}",
    "rule: {record: r, expr: \"'a'\"}",
    "rule: {alert: ~, expr: up}",
    "groups: []\n---\ngroups: []",
];

/// `rule: ...` is short for a file with that one rule.
fn file(text: &str) -> String {
    match text.strip_prefix("rule: ") {
        Some(rule) => format!("groups:\n- name: g\n  rules:\n  - {rule}\n"),
        None => text.to_string(),
    }
}

/// The places of all errors; none if the file is taken.
fn errors(text: &str, dialect: Dialect) -> Vec<String> {
    let source = Arc::new(Source { name: "r.yml".into(), text: file(text) });
    let problems = rule::read(&[source], dialect.into()).err().unwrap_or_default();
    let errors = problems.into_iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(|problem| problem.span.expect("a place").to_string()).collect()
}

#[test]
fn what_prometheus_loads_is_taken() {
    for text in TAKEN {
        assert_eq!(errors(text, Dialect::V2), [""; 0], "{text}");
    }
}

#[test]
fn what_prometheus_refuses_is_refused_with_its_place() {
    for text in REFUSED.iter().chain(REFUSED_ON_PURPOSE) {
        assert!(!errors(text, Dialect::V2).is_empty(), "{text}");
    }
}

#[test]
fn prometheus_3_takes_more_names() {
    for text in [
        "rule: {record: a-b, expr: up}",
        "rule: {record: ä, expr: up, labels: {a-b: x}}",
        "rule: {alert: A, expr: up, labels: {a.b: x}, annotations: {runbook.url: x, 5: y}}",
    ] {
        assert_eq!(errors(text, Dialect::V3), [""; 0], "{text}");
        assert!(!errors(text, Dialect::V2).is_empty(), "{text}");
    }
    for text in [
        "rule: {record: 'a{b=\"c\"}', expr: up}",
        "rule: {alert: A, expr: up, labels: {__name__: x}}",
        "rule: {alert: A, expr: up, labels: {'': x}}",
        "rule: {alert: A, expr: up, annotations: {'': x}}",
    ] {
        assert!(!errors(text, Dialect::V3).is_empty(), "{text}");
    }
}

#[test]
fn promtool_says_the_same() {
    let folder = std::env::temp_dir().join(format!("rule-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let cases = || TAKEN.iter().chain(REFUSED_ON_PURPOSE).chain(REFUSED);
    let paths: Vec<_> = (0..cases().count()).map(|index| folder.join(format!("{index}.yml"))).collect();
    for (path, text) in paths.iter().zip(cases()) {
        std::fs::write(path, file(text)).expect("a file");
    }
    let output = Command::new("promtool").args(["check", "rules", "--lint=none"]).args(&paths).output();
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let Ok(output) = output else { return eprintln!("promtool is not installed") };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for (index, (path, text)) in paths.iter().zip(cases()).enumerate() {
        let after = said.split_once(&format!("Checking {}\n", path.display())).map(|(_, after)| after);
        let takes = after.is_some_and(|after| after.starts_with("  SUCCESS"));
        assert_eq!(takes, index < TAKEN.len() + REFUSED_ON_PURPOSE.len(), "promtool on {text}");
    }
}
