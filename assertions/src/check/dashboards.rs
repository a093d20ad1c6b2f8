//! Grafana dashboards: the expressions of their panels, with variables filled in so that they can be read.
//!
//! JSON is read by the YAML reader, which keeps places. A variable gets a stand-in of its own length, so that places stay.

use super::lints;
use super::rules::{Expression, extent};
use super::{Context, Finding, Report, matching, naming, promql, quantiles};
use scenarios::span::Source;
use scenarios::yaml::{self, Node, Scalar, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Deepest nesting of rows that is looked into.
const DEPTH_MAX: usize = 8;

pub(super) fn check(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let tree = match yaml::parse(source.clone()) {
        Ok(tree) => tree,
        Err(problems) => {
            let mut report = Report { findings, item: None };
            problems.into_iter().for_each(|problem| report.adopt(&lints::DASHBOARD_INVALID, problem));
            return;
        }
    };
    let recorded: BTreeSet<&str> =
        context.all_rules().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    // A dashboard as exported by the API has one more level around it.
    let root = tree.get("dashboard").unwrap_or(&tree);
    panels(context, root, &recorded, 0, findings);
}

fn panels(
    context: &Context<'_>,
    node: &Node,
    recorded: &BTreeSet<&str>,
    depth: usize,
    findings: &mut Vec<Finding>,
) {
    if depth > DEPTH_MAX {
        return;
    }
    for key in ["rows", "panels"] {
        for panel in node.get(key).map(Node::items).unwrap_or_default() {
            let mut report = Report { findings: &mut *findings, item: Some(extent(panel)) };
            for target in panel.get("targets").map(Node::items).unwrap_or_default() {
                if asks_prometheus(panel, target) {
                    expression(context, target, recorded, &mut report);
                }
            }
            panels(context, panel, recorded, depth + 1, findings);
        }
    }
}

/// Whether the query goes to Prometheus: a target or its panel may say where it goes, and if neither does it may.
fn asks_prometheus(panel: &Node, target: &Node) -> bool {
    let kind = |node: &Node| node.get("datasource")?.get("type")?.text().map(str::to_owned);
    kind(target).or_else(|| kind(panel)).is_none_or(|kind| kind == "prometheus")
}

fn expression(
    context: &Context<'_>,
    target: &Node,
    recorded: &BTreeSet<&str>,
    report: &mut Report<'_>,
) -> Option<()> {
    let node = target.get("expr")?;
    let text = node.text().filter(|text| !text.trim().is_empty())?;
    let filled = filled(text);
    let value = Value::Scalar(Scalar { text: filled, style: style(node)? });
    let node = Node { span: node.span.clone(), value };
    match Expression::read(&node, context.settings) {
        Ok(expression) => {
            promql::expression_only(context, &expression, report);
            quantiles::expression_only(context, &expression, report);
            matching::expression_only(&expression, report);
            if let Some(metrics) = context.metrics {
                naming::unknown(metrics, recorded, &expression, report);
            }
        }
        Err(error) => {
            let span = node.span_within(error.range);
            let fix = error.hint.unwrap_or_else(|| "the panel shows an error instead of data".to_owned());
            report.add(&lints::DASHBOARD_INVALID, span, error.summary, fix);
        }
    }
    Some(())
}

fn style(node: &Node) -> Option<yaml::Style> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.style),
        _ => None,
    }
}

/// The expression with a stand-in for each variable: a duration of the same length in brackets and after `offset`, a name
/// elsewhere. What stands in quotes is left, unless it would end them.
fn filled(text: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '[']) {
        let Some(length) = variable(&rest[at..]) else {
            filled.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        filled.push_str(&rest[..at]);
        filled += &stand_in(&filled, length);
        rest = &rest[at + length..];
    }
    filled + rest
}

/// Bytes of the variable at the start: `$name`, `${name:format}`, `[[name]]`.
fn variable(text: &str) -> Option<usize> {
    let name = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if let Some(inner) = text.strip_prefix("${") {
        return inner.find('}').map(|end| end + 3);
    }
    if let Some(inner) = text.strip_prefix("[[") {
        return inner.find("]]").map(|end| end + 4);
    }
    let length = name(text.strip_prefix('$')?);
    let starts_well = text[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (length > 0 && starts_well).then_some(length + 1)
}

fn stand_in(before: &str, length: usize) -> String {
    let trimmed = before.trim_end();
    let in_window = trimmed.ends_with(['[', ':']) && trimmed.rfind('[') > trimmed.rfind(']');
    if in_window || trimmed.ends_with("offset") {
        // `1h`: long enough for any scrape interval.
        return format!("{:<length$}", "1h");
    }
    "_".repeat(length)
}
