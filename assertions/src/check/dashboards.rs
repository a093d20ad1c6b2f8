//! Grafana dashboards: every expression in them, wherever it stands: panels, rows, annotations, queries of variables.
//!
//! JSON is read by the YAML reader, which keeps places. Variables are filled in so that expressions can be read
//! (`variables`); whom an expression is for, Prometheus or another system, is for `datasources` to say. What is not looked at
//! is told.

use super::lints;
use super::rules::{Expression, extent};
use super::{Context, Finding, Report, language, matching, naming, promql, quantiles};
use crate::promql::parse::ParseError;
use datasources::{Datasources, System};
use scenarios::problem::Problem;
use scenarios::span::{Source, Span};
use scenarios::yaml::{self, Node, Scalar, Value};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use variables::Reading;

mod datasources;
mod variables;

pub(super) fn check(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let tree = match yaml::parse(source.clone()) {
        Ok(tree) => tree,
        Err(problems) => {
            let mut report = Report { findings, item: None };
            problems.into_iter().for_each(|problem| report.adopt(&lints::DASHBOARD_INVALID, problem));
            return;
        }
    };
    // As exported by the API, with one more level around it, and as an object.
    let root = tree.get("dashboard").or_else(|| tree.get("spec")).unwrap_or(&tree);
    let recorded = context.all_rules().filter(|rule| !rule.is_alert).map(|rule| rule.name.as_str()).collect();
    let walk = &mut Walk { context, recorded, datasources: Datasources::of(&tree, root), findings };
    walk.node(root, &Scope { system: System::Unknown, item: None }, true);
}

struct Walk<'c, 'f> {
    context: &'c Context<'c>,
    /// Names of series that rules record.
    recorded: BTreeSet<&'c str>,
    datasources: Datasources<'c>,
    findings: &'f mut Vec<Finding>,
}

/// What a node has from those above it.
#[derive(Clone)]
struct Scope {
    system: System,
    /// The panel, where findings can be switched off.
    item: Option<Range<usize>>,
}

/// Keys of a dashboard or panel under which Grafana reads a list of maps.
const LISTS: &[&str] = &["rows", "panels", "targets"];

impl Walk<'_, '_> {
    /// `holds_panels`: whether it is the dashboard, a row, a panel or a list of them.
    fn node(&mut self, node: &Node, scope: &Scope, holds_panels: bool) {
        for item in node.items() {
            if holds_panels && !matches!(item.value, Value::Mapping(_)) && !item.is_null() {
                self.odd(item, "a panel or query", scope);
            }
            self.node(item, scope, holds_panels);
        }
        if !matches!(node.value, Value::Mapping(_)) {
            return;
        }
        let mut scope = scope.clone();
        scope.system = self.datasources.system(node).unwrap_or(scope.system);
        let is_query = node.get("expr").is_some() && scope.item.is_none();
        if is_query || node.get("targets").is_some() {
            scope.item = Some(extent(node));
        }
        if scope.system != System::Other {
            self.queries(node, &scope);
        }
        for (key, value) in node.entries() {
            let is_list = holds_panels && LISTS.contains(&key.text.as_str());
            if is_list && !matches!(value.value, Value::Sequence(_)) && !value.is_null() {
                self.odd(value, &format!("a list for `{}`", key.text), &scope);
            }
            self.node(value, &scope, is_list);
        }
    }

    fn report(&mut self, scope: &Scope) -> Report<'_> {
        Report { findings: &mut *self.findings, item: scope.item.clone() }
    }

    fn odd(&mut self, node: &Node, wanted: &str, scope: &Scope) {
        let problem = Problem::error(format!("expected {wanted}, found {}", node.kind()), node.head());
        let problem = problem.hint("Grafana does not show what stands here");
        self.report(scope).adopt(&lints::DASHBOARD_INVALID, problem);
    }

    /// What a node asks Prometheus: a panel's or annotation's `expr`, a variable's `query`.
    fn queries(&mut self, node: &Node, scope: &Scope) {
        if let Some(expr) = node.get("expr").filter(|expr| !expr.is_null()) {
            match &expr.value {
                Value::Scalar(scalar) => self.expression(expr, scalar, scope),
                _ => self.odd(expr, "an expression", scope),
            }
        }
        let of_variable = node.get("type").and_then(Node::text) == Some("query");
        let query = node.get("query").filter(|_| of_variable);
        let query = query.map(|query| query.get("query").unwrap_or(query));
        if let Some((query, Value::Scalar(scalar))) = query.map(|query| (query, &query.value))
            && let Some(text) = asked(&scalar.text)
        {
            let scope = Scope { item: Some(extent(node)), ..scope.clone() };
            self.expression(query, &Scalar { text, style: scalar.style }, &scope);
        }
    }

    fn expression(&mut self, node: &Node, text: &Scalar, scope: &Scope) {
        if text.text.trim().is_empty() {
            return;
        }
        let asked = Node { span: node.span.clone(), value: Value::Scalar(text.clone()) };
        match variables::read(&asked, self.context.settings) {
            Reading::Read(expression, open) => self.read(&expression, &open, scope),
            Reading::Refused(error) => self.refused(&asked, error, scope),
            Reading::Open(span) => {
                let summary =
                    "what this variable stands for decides what the expression is: it was not checked";
                let fix = "write a value in its place to have it checked";
                self.report(scope).add(&lints::DASHBOARD_UNREAD, span, summary, fix);
            }
        }
    }

    /// The checks of expressions, without what they say of a part that a variable may change.
    fn read(&mut self, expression: &Expression, open: &[Span], scope: &Scope) {
        let (context, before) = (self.context, self.findings.len());
        let mut report = Report { findings: &mut *self.findings, item: scope.item.clone() };
        promql::expression_only(context, expression, &mut report);
        quantiles::expression_only(context, expression, &mut report);
        matching::expression_only(expression, &mut report);
        if let Some(metrics) = context.metrics {
            naming::unknown(metrics, &self.recorded, expression, &mut report);
        }
        let is_open = |finding: &Finding| {
            let span = finding.problem.span.as_ref();
            span.is_some_and(|span| open.iter().any(|open| open.start < span.end && span.start < open.end))
        };
        let found = self.findings.split_off(before);
        self.findings.extend(found.into_iter().filter(|finding| !is_open(finding)));
    }

    fn refused(&mut self, node: &Node, error: ParseError, scope: &Scope) {
        let span = node.span_within(error.range);
        let language = language::other_language(node.text().unwrap_or_default());
        if let Some(language) = language.filter(|_| scope.system == System::Unknown) {
            let summary =
                format!("this is probably {language}, and nothing says whom it is for: it was not checked");
            let fix = "give the panel's `datasource` its `type`";
            self.report(scope).add(&lints::DASHBOARD_UNREAD, span, summary, fix);
            return;
        }
        let fix = error.hint.unwrap_or_else(|| "the panel shows an error instead of data".to_owned());
        self.report(scope).add(&lints::DASHBOARD_INVALID, span, error.summary, fix);
    }
}

/// The expression in a variable's query, everything else blank: of `query_result(x)` and `label_values(x, label)`, `x`.
fn asked(query: &str) -> Option<String> {
    let inner = |function: &str| {
        let rest = query.trim_end().strip_prefix(function)?.strip_suffix(')')?;
        Some(function.len()..function.len() + rest.len())
    };
    let values = || {
        let range = inner("label_values(")?;
        // Without a metric it asks for the label's values wherever they are.
        let end = query[range.clone()].rfind(',')?;
        Some(range.start..range.start + end)
    };
    let range = inner("query_result(").or_else(values)?;
    let blank = |text: &str| " ".repeat(text.len());
    Some(blank(&query[..range.start]) + &query[range.clone()] + &blank(&query[range.end..]))
}
