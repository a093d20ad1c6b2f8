//! Metrics and labels: those that do not exist, those that make too many alerts, and texts that use what is not there.

use super::lints;
use super::metrics::known_labels;
use super::rules::{Expression, RuleView, Text};
use super::tree;
use super::{Context, Finding, Metrics, Report};
use crate::promql::ast::{Expr, Grouping, Selector};
use scenarios::problem::nearest;
use std::collections::BTreeSet;

/// Labels that Prometheus, its service discovery or its operators add to what a target exports.
const TARGET_LABELS: &[&str] = &[
    "__name__",
    "cluster",
    "container",
    "endpoint",
    "env",
    "environment",
    "instance",
    "job",
    "namespace",
    "node",
    "pod",
    "prometheus",
    "prometheus_replica",
    "region",
    "replica",
    "service",
    "zone",
];

/// Names that Prometheus makes itself.
const OWN_METRICS: &[&str] = &["up", "ALERTS", "ALERTS_FOR_STATE"];

/// Labels with a value for each user, connection or request.
const UNBOUNDED: &[&str] = &[
    "client",
    "client_id",
    "client_ip",
    "correlation_id",
    "device_id",
    "email",
    "ip",
    "message_id",
    "msg_id",
    "phone",
    "remote_addr",
    "request_id",
    "session",
    "session_id",
    "span_id",
    "trace_id",
    "uid",
    "user",
    "user_id",
    "userid",
    "username",
    "uuid",
];

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let recorded: BTreeSet<&str> =
        context.all_rules().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    for rule in context.all_rules() {
        let mut report = rule.report(findings);
        if rule.is_alert {
            values_in_labels(rule, &mut report);
        }
        let Some(expression) = &rule.expr else { continue };
        if let Some(metrics) = context.metrics {
            unknown(metrics, &recorded, expression, &mut report);
        }
        if rule.is_alert {
            lost_labels(rule, expression, &mut report);
            unbounded(context.metrics, rule, expression, &mut report);
        }
    }
}

/// Metrics and labels that nothing exports and no rule records.
pub(super) fn unknown(
    metrics: &Metrics,
    recorded: &BTreeSet<&str>,
    expression: &Expression,
    report: &mut Report<'_>,
) {
    let mut told = BTreeSet::new();
    for visit in tree::visits(&expression.expr) {
        let Some(selector) = tree::selector(visit.node) else { continue };
        let Some(name) = selector.name.as_deref() else { continue };
        let is_absence = visit.above.iter().any(|above| {
            tree::asserts_absence(above) && tree::call(above).is_some() && tree::selectors(above).len() == 1
        });
        if OWN_METRICS.contains(&name) || name.starts_with("scrape_") || recorded.contains(name) || is_absence
        {
            continue;
        }
        match metrics.labels(name) {
            None if told.insert(name) => {
                let fix = match nearest(name, metrics.names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a rule on it never fires; export it, or check against the target that does"
                        .to_owned(),
                };
                let summary = format!("{name} is not exported");
                report.add(&lints::UNKNOWN_METRIC, expression.place(visit.node), summary, fix);
            }
            None => {}
            Some(labels) => unknown_labels(labels, selector, &visit.above, expression, report),
        }
    }
}

fn unknown_labels(
    labels: &BTreeSet<String>,
    selector: &Selector,
    above: &[&Expr],
    expression: &Expression,
    report: &mut Report<'_>,
) {
    let name = selector.name.as_deref().unwrap_or_default();
    let empty = crate::labels::Labels::default();
    let is_known = |label: &str| labels.contains(label) || TARGET_LABELS.contains(&label);
    // A condition that a series without the label fulfils asks for nothing.
    let asked = selector.matchers.iter().filter(|matcher| !matcher.matches(&empty));
    let asked = asked.map(|matcher| (&*matcher.name, matcher.span));
    let grouped = match above.iter().rev().find(|above| tree::call(above).is_none()) {
        Some(Expr::Aggregate(aggregate)) => match &aggregate.grouping {
            Grouping::By(by) => by.iter().map(|label| (&**label, aggregate.grouping_span)).collect(),
            Grouping::Without(_) => Vec::new(),
        },
        _ => Vec::new(),
    };
    let mut told = BTreeSet::new();
    for (label, span) in asked.chain(grouped) {
        if is_known(label) || !told.insert(label) {
            continue;
        }
        let fix = match nearest(label, labels.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("its labels: {}", labels.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        let summary = format!("{name} has no label `{label}`");
        report.add(&lints::UNKNOWN_LABEL, expression.piece(span), summary, fix);
    }
}

/// What stands between `{{` and `}}`, and where, in bytes of the text.
fn actions(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|offset| at + offset + 2) {
        let end = text[open..].find("}}").map_or(text.len(), |offset| open + offset);
        found.push((open, &text[open..end]));
        at = end;
    }
    found
}

/// The labels of the element that a text uses, and where each stands.
fn used_labels(text: &str) -> Vec<(String, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    for (start, action) in actions(text) {
        for mark in ["$labels.", ".Labels."] {
            for (at, _) in action.match_indices(mark) {
                let rest = &action[at + mark.len()..];
                let length =
                    rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let from = start + at + mark.len();
                found.push((rest[..length].to_owned(), from..from + length));
            }
        }
    }
    found
}

fn values_in_labels(rule: &RuleView, report: &mut Report<'_>) {
    for label in &rule.labels {
        let of_value = |action: &&str| action.contains("$value") || action.contains(".Value");
        let Some((at, action)) = actions(&label.text).into_iter().find(|(_, action)| of_value(action)) else {
            continue;
        };
        let summary = format!(
            "the label `{}` has the value in it: each new value is a new alert, whose `for` begins again",
            label.name
        );
        let fix = "put it into an annotation; labels say which alert it is";
        report.add(&lints::VALUE_IN_LABEL, label.within(at..at + action.len()), summary, fix);
    }
}

fn lost_labels(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let has = tree::labels(&expression.expr);
    let texts = |texts: &'_ [Text]| {
        texts.iter().map(|text| (text.text.clone(), text.node.clone())).collect::<Vec<_>>()
    };
    for (text, node) in texts(&rule.annotations).into_iter().chain(texts(&rule.labels)) {
        for (label, range) in used_labels(&text) {
            if has.may_have(&label) {
                continue;
            }
            let summary =
                format!("the expression drops the label `{label}`: the text has nothing in its place");
            let fix = format!(
                "keep it in the expression, as in `sum by ({label}) (…)`, or leave it out of the text"
            );
            report.add(&lints::LOST_LABEL, node.span_within(range), summary, fix);
        }
    }
}

/// Labels that make an alert for each user, client or request. That they are there is known from what the rule says of them
/// itself or from what the targets export.
fn unbounded(metrics: Option<&Metrics>, rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let has = tree::labels(&expression.expr);
    let mut named: BTreeSet<String> = match &has {
        tree::LabelSet::Only(labels) => labels.clone(),
        tree::LabelSet::AllBut(_) => BTreeSet::new(),
    };
    let texts = rule.annotations.iter().chain(&rule.labels);
    named.extend(texts.flat_map(|text| used_labels(&text.text)).map(|(label, _)| label));
    let selectors = tree::selectors(&expression.expr);
    let known =
        selectors.iter().filter_map(|selector| Some(known_labels(selector.name.as_deref()?, metrics)));
    let known: BTreeSet<String> = known.flatten().collect();
    named.extend(known.iter().cloned());
    let is_unbounded = |label: &&String| UNBOUNDED.contains(&label.as_str());
    if let Some(label) = named.iter().find(|label| has.may_have(label) && is_unbounded(label)) {
        let summary =
            format!("an alert for each `{label}`: as many series, alerts and messages as there are of them");
        let fix =
            format!("add them up, `sum without ({label}) (…)`, and look for the culprit on a dashboard");
        report.add(&lints::UNBOUNDED_LABEL, expression.whole(), summary, fix);
        return;
    }
    let counts = tree::any(&expression.expr, |node| {
        tree::range_call(node).is_some_and(|(f, _)| super::alerts::is_rate(f))
    });
    if let Some(label) = known.iter().find(is_unbounded).filter(|_| counts) {
        let summary = format!(
            "a series for each `{label}`: their number has no bound, and the first event of each is not counted"
        );
        let fix = format!("drop `{label}` from the metric and write it into the log");
        report.add(&lints::UNBOUNDED_LABEL, expression.whole(), summary, fix);
    }
}
