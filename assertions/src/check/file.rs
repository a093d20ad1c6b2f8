//! What a file is, told from its structure.

use super::lints;
use super::{Finding, Input, Report};
use scenarios::problem::Problem;
use scenarios::span::{Source, Span};
use scenarios::yaml::{self, Node, Value};
use std::sync::Arc;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Prometheus rules, also as PrometheusRule objects of Kubernetes.
    Rules,
    /// An alertmanager.yml.
    Alertmanager,
    /// A Grafana dashboard, JSON.
    Dashboard,
    /// promtool's unit tests of rules.
    RuleTests,
    /// Tests that people do by hand: `hand_tests:`.
    HandTests,
    /// Objectives as a pack has them: only that they can be read is checked.
    Objectives,
    /// A scenario of this program.
    Scenario,
    /// Anything else that people read or run: runbooks, scripts.
    Notes,
    /// A prometheus.yml, which is not checked.
    Prometheus,
    /// Objects of Kubernetes without rules, which are not checked.
    Kubernetes,
}

impl Kind {
    /// Every kind and its word on the command line.
    pub const ALL: [(&'static str, Kind); 10] = [
        ("rules", Kind::Rules),
        ("alertmanager", Kind::Alertmanager),
        ("dashboard", Kind::Dashboard),
        ("rule-tests", Kind::RuleTests),
        ("hand-tests", Kind::HandTests),
        ("objectives", Kind::Objectives),
        ("scenario", Kind::Scenario),
        ("notes", Kind::Notes),
        ("prometheus", Kind::Prometheus),
        ("kubernetes", Kind::Kubernetes),
    ];

    /// The kind of that word.
    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, kind)| kind)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        Kind::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// What the file is; `None` if its content does not tell.
    ///
    /// A file that is no YAML is told by its first keys, so that a rule file with a slip of the hand is still one.
    pub fn detect(source: &Arc<Source>) -> Option<Kind> {
        let name = source.name.to_ascii_lowercase();
        let is_text = [".md", ".txt", ".sh", ".bash", ".adoc", ".rst"].iter().any(|end| name.ends_with(end));
        if is_text {
            return Some(Kind::Notes);
        }
        match yaml::parse_all(source.clone()) {
            Ok(documents) => {
                let kinds: Vec<Kind> = documents.iter().filter_map(of_document).collect();
                kinds.iter().find(|kind| **kind == Kind::Rules).or(kinds.first()).copied()
            }
            Err(_) => guessed(&source.text),
        }
    }
}

/// Whether a node is what the API of Kubernetes takes; then its `kind`.
pub(super) fn object_kind(node: &Node) -> Option<&str> {
    node.get("apiVersion")?.text()?;
    node.get("kind")?.text()
}

fn of_document(tree: &Node) -> Option<Kind> {
    match object_kind(tree) {
        Some("PrometheusRule") => return Some(Kind::Rules),
        Some("List" | "PrometheusRuleList") => {
            let items = tree.get("items").map(Node::items).unwrap_or_default();
            let has_rules = items.iter().any(|item| of_document(item) == Some(Kind::Rules));
            return Some(if has_rules { Kind::Rules } else { Kind::Kubernetes });
        }
        Some("Dashboard") if tree.get("spec").is_some_and(is_dashboard) => return Some(Kind::Dashboard),
        Some(_) => return Some(Kind::Kubernetes),
        None => {}
    }
    let has = |key: &str| tree.get(key).is_some();
    let list = |key: &str| tree.get(key).is_some_and(|node| matches!(node.value, Value::Sequence(_)));
    let is_only = |key: &str| has(key) && tree.entries().count() == 1;
    let global = tree.get("global");
    let in_global = |key: &str| global.is_some_and(|global| global.get(key).is_some());
    let kinds = [
        (has("hand_tests"), Kind::HandTests),
        (list("groups") || is_only("groups"), Kind::Rules),
        (list("objectives"), Kind::Objectives),
        (is_dashboard(tree), Kind::Dashboard),
        (list("phases") || has("target") || has("traffic"), Kind::Scenario),
        // OpenTelemetry's collector has a map of receivers.
        (list("receivers") || has("route") || list("inhibit_rules"), Kind::Alertmanager),
        (PROMETHEUS_KEYS.iter().any(|key| has(key)), Kind::Prometheus),
        (GLOBAL_KEYS.iter().any(|key| in_global(key)), Kind::Prometheus),
        (has("rule_files") || list("tests") && has_rule_tests(tree), Kind::RuleTests),
    ];
    kinds.into_iter().find(|(fits, _)| *fits).map(|(_, kind)| kind)
}

/// Keys that only a prometheus.yml has at its top, and those that only it has under `global`.
const PROMETHEUS_KEYS: &[&str] =
    &["scrape_configs", "scrape_config_files", "alerting", "remote_write", "remote_read", "otlp"];
const GLOBAL_KEYS: &[&str] =
    &["scrape_interval", "scrape_timeout", "evaluation_interval", "external_labels", "query_log_file"];

fn is_dashboard(tree: &Node) -> bool {
    // As exported by the API, with one more level around it; since version 2 of the schema panels are named elements.
    let has = |key: &str| tree.get(key).is_some();
    tree.get("dashboard").is_some_and(is_dashboard) || has("panels") || has("rows") || has("elements")
}

fn has_rule_tests(tree: &Node) -> bool {
    let keys = ["input_series", "alert_rule_test", "promql_expr_test"];
    let tests = tree.get("tests").map(Node::items).unwrap_or_default();
    tests.iter().any(|test| keys.iter().any(|key| test.get(key).is_some()))
}

/// What a file that cannot be read was probably meant to be: told by words at the start of a line before a colon, in JSON by
/// words in quotes.
fn guessed(text: &str) -> Option<Kind> {
    let has_line = |key: &str, value: &str| {
        text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.trim_end() == value))
    };
    let has =
        |key: &str| text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    let is_json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let kinds = [
        (has_line("kind:", " PrometheusRule"), Kind::Rules),
        (has("apiVersion") && has("kind"), Kind::Kubernetes),
        (is_json && text.contains("\"panels\""), Kind::Dashboard),
        (has("hand_tests"), Kind::HandTests),
        (has("tests"), Kind::RuleTests),
        (has("groups"), Kind::Rules),
        (has("objectives"), Kind::Objectives),
        (has("phases"), Kind::Scenario),
        (has("route") || has("receivers"), Kind::Alertmanager),
        (PROMETHEUS_KEYS.iter().any(|key| has(key)), Kind::Prometheus),
    ];
    kinds.into_iter().find(|(fits, _)| *fits).map(|(_, kind)| kind)
}

/// Says of a file that nothing in it was looked at, and why.
pub(super) fn not_checked(input: &Input, findings: &mut Vec<Finding>) {
    let start = Span::new(input.source.clone(), 0, 0);
    let mut report = Report { findings, item: None };
    let syntax = || yaml::parse_all(input.source.clone()).err().unwrap_or_default();
    let mut unreadable = |problems: &[Problem]| {
        problems.iter().for_each(|problem| report.adopt(&lints::FILE_UNREADABLE, problem.clone()));
        !problems.is_empty()
    };
    if unreadable(&input.problems) || unreadable(&syntax()) {
        return;
    }
    let name = &input.source.name;
    let (lint, summary, fix) = match input.kind {
        Some(Kind::Prometheus) => (
            &lints::FILE_UNCHECKED,
            format!("{name} is Prometheus' own configuration, of which nothing is checked here"),
            "`promtool check config` checks it; name its rule files here".to_owned(),
        ),
        Some(Kind::Kubernetes) => (
            &lints::FILE_UNCHECKED,
            format!("{name} has no PrometheusRule: nothing of it is checked"),
            "what stands in other objects can be checked in a file of its own".to_owned(),
        ),
        _ => {
            let words: Vec<&str> = Kind::ALL.iter().map(|(word, _)| *word).collect();
            (
                &lints::FILE_UNREADABLE,
                format!("nothing in {name} tells what it is"),
                format!("say so with `--kind`: {}", words.join(", ")),
            )
        }
    };
    report.add(lint, start, summary, fix);
}
