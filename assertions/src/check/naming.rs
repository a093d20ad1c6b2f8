//! Metrics and labels: those that do not exist, those that make too many alerts, and texts that use what is not there.

use super::labels::{self, LabelSet};
use super::lints::{self, Level};
use super::metrics::known_labels;
use super::rules::{Expression, RuleView, Text};
use super::tree;
use super::{Context, Finding, Metrics, Report};
use crate::promql::ast::{Dialect, Expr, Grouping, Selector};
use crate::template::{Template, Uses};
use scenarios::problem::nearest;
use std::collections::BTreeSet;

/// Labels that Prometheus, its service discovery or its operators add to what a target exports.
const TARGET_LABELS: &[&str] = &[
    "__name__",
    "app",
    "cluster",
    "component",
    "container",
    "datacenter",
    "dc",
    "endpoint",
    "env",
    "environment",
    "exported_instance",
    "exported_job",
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
    "site",
    "stage",
    "team",
    "zone",
];

/// Names that Prometheus makes itself.
const OWN_METRICS: &[&str] = &["up", "ALERTS", "ALERTS_FOR_STATE"];

/// Labels with a value for each user, connection or request.
const UNBOUNDED: &[&str] = &[
    "client_id",
    "client_ip",
    "connection_id",
    "correlation_id",
    "device_id",
    "email",
    "message_id",
    "msg_id",
    "order_id",
    "phone",
    "remote_addr",
    "request_id",
    "session_id",
    "span_id",
    "trace_id",
    "user_id",
    "userid",
    "uuid",
];

/// Labels that are that in what an application counts, and few in what runs it: the users of a database, the address of a
/// node, the id of a pod.
const OFTEN_UNBOUNDED: &[&str] = &["client", "ip", "session", "uid", "user", "username"];

/// Starts of names of what runs applications.
const INFRASTRUCTURE: &[&str] = &[
    "ALERTS",
    "alertmanager_",
    "apiserver_",
    "bind_",
    "blackbox_",
    "ceph_",
    "clickhouse_",
    "container_",
    "coredns_",
    "elasticsearch_",
    "etcd_",
    "go_",
    "grafana_",
    "haproxy_",
    "ipmi_",
    "kafka_",
    "kube_",
    "kubelet_",
    "mongodb_",
    "mysql_",
    "namedprocess_",
    "nginx_",
    "node_",
    "pg_",
    "postgres_",
    "probe_",
    "process_",
    "prometheus_",
    "rabbitmq_",
    "redis_",
    "snmp_",
    "systemd_",
    "thanos_",
    "windows_",
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

/// What a text takes from its alert; nothing, where it is a template that Prometheus refuses.
fn uses(text: &Text) -> Uses {
    let read = |dialect| Template::parse(&text.text, dialect);
    read(Dialect::V2).or_else(|_| read(Dialect::V3)).map(|template| template.uses()).unwrap_or_default()
}

fn values_in_labels(rule: &RuleView, report: &mut Report<'_>) {
    for label in &rule.labels {
        let uses = uses(label);
        let name = &label.name;
        if let Some(value) = uses.values.first() {
            let summary = format!(
                "the label `{name}` has the value in it: each new value is a new alert, whose `for` begins again"
            );
            let fix = "put it into an annotation; labels say which alert it is";
            report.add(&lints::VALUE_IN_LABEL, label.within(value.clone()), summary, fix);
        } else if let Some(value) = uses.decisions.first() {
            // Without `for` the new alert fires at once.
            let level = if rule.hold.is_zero() { Level::Note } else { Level::Warning };
            let summary = format!(
                "the label `{name}` changes with the value: at each change the alert ends, and another one begins its `for`"
            );
            let fix = "write one alert for each, with its own threshold";
            report.add_as(level, &lints::VALUE_IN_LABEL, label.within(value.clone()), summary, fix);
        }
    }
}

fn lost_labels(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let has = labels::possible(&expression.full);
    for text in rule.annotations.iter().chain(&rule.labels) {
        for (label, range) in uses(text).labels {
            if has.may_have(&label) || expression.given.contains(&label) {
                continue;
            }
            let summary =
                format!("the expression drops the label `{label}`: the text has nothing in its place");
            let fix = format!(
                "keep it in the expression, as in `sum by ({label}) (…)`, or leave it out of the text"
            );
            report.add(&lints::LOST_LABEL, text.within(range), summary, fix);
        }
    }
}

/// Labels that make an alert for each user, client or request. That they are there is known from what the rule says of them
/// itself or from what the targets export.
fn unbounded(metrics: Option<&Metrics>, rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let has = labels::possible(&expression.full);
    let mut named: BTreeSet<String> = match &has {
        LabelSet::Only(labels) => labels.clone(),
        LabelSet::AllBut(_) => BTreeSet::new(),
    };
    let texts = rule.annotations.iter().chain(&rule.labels);
    named.extend(texts.flat_map(|text| uses(text).labels).map(|(label, _)| label));
    let selectors = tree::selectors(&expression.full);
    let names: Vec<&str> = selectors.iter().filter_map(|selector| selector.name.as_deref()).collect();
    let known: BTreeSet<String> = names.iter().flat_map(|name| known_labels(name, metrics)).collect();
    named.extend(known.iter().cloned());
    let of_infrastructure = !names.is_empty()
        && names
            .iter()
            .all(|name| *name == "up" || INFRASTRUCTURE.iter().any(|start| name.starts_with(start)));
    let is_unbounded = |label: &&String| {
        UNBOUNDED.contains(&label.as_str()) || !of_infrastructure && OFTEN_UNBOUNDED.contains(&label.as_str())
    };
    // One that is asked for is one.
    let fixed = labels::fixed(&expression.full);
    named.retain(|label| !fixed.contains_key(label));
    if let Some(label) = named.iter().find(|label| has.may_have(label) && is_unbounded(label)) {
        let summary =
            format!("an alert for each `{label}`: as many series, alerts and messages as there are of them");
        let fix =
            format!("add them up, `sum without ({label}) (…)`, and look for the culprit on a dashboard");
        report.add(&lints::UNBOUNDED_LABEL, expression.whole(), summary, fix);
        return;
    }
    let counts = tree::any(&expression.full, |node| {
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
