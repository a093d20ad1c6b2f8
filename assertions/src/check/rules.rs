//! Rule files as the checks see them: every rule by itself, so that one that cannot be read hides none of the others.
//!
//! A file is one of Prometheus', or has PrometheusRule objects of Kubernetes: several documents, or a list, among others.
//! What makes a file invalid is told by the reader that a run uses ([`crate::rule`]); here is only where things stand.

use super::file::object_kind;
use super::lints::{self, Level};
use super::{Finding, Report, Settings, language};
use crate::duration;
use crate::promql::ast::{Dialect, Expr};
use crate::promql::parse::{ParseError, parse};
use crate::rule;
use scenarios::problem::{Problem, Severity};
use scenarios::span::{Source, Span};
use scenarios::yaml::{self, Node, Value};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A rule file.
pub(super) struct RuleFile {
    pub(super) groups: Vec<GroupView>,
}

/// A group of rules.
pub(super) struct GroupView {
    pub(super) interval: Option<(Duration, Span)>,
    pub(super) item: Range<usize>,
    pub(super) rules: Vec<RuleView>,
}

/// A rule, as far as it can be read.
pub(super) struct RuleView {
    pub(super) name: String,
    pub(super) name_span: Span,
    pub(super) is_alert: bool,
    /// Bytes of the whole rule.
    pub(super) item: Range<usize>,
    pub(super) expr: Option<Expression>,
    /// `for`.
    pub(super) hold: Duration,
    pub(super) labels: Vec<Text>,
    pub(super) annotations: Vec<Text>,
}

/// An expression and its place in the file.
pub(super) struct Expression {
    /// As written.
    pub(super) expr: Expr,
    /// With the recordings that are known in place of their names.
    pub(super) full: Expr,
    /// The places of those names.
    pub(super) filled: Vec<crate::promql::ast::Span>,
    /// Labels that the recordings add of their own.
    pub(super) given: BTreeSet<String>,
    node: Node,
}

/// A label's or an annotation's name and text.
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) node: Node,
}

impl Text {
    /// The place of some bytes of the text.
    pub(super) fn within(&self, range: Range<usize>) -> Span {
        self.node.span_within(range)
    }
}

impl Expression {
    /// Reads a node's text. Errors: as the parser's, in the wanted dialect or, where none is, in both.
    pub(super) fn read(node: &Node, settings: &Settings) -> Result<Expression, ParseError> {
        let text = node.text().unwrap_or_default();
        let first = settings.dialect.unwrap_or(Dialect::V2);
        let read = match (parse(text, first.into()), settings.dialect) {
            (Err(error), None) => parse(text, Dialect::V3.into()).map_err(|_| error),
            (read, _) => read,
        };
        let whole = |expr: Expr| {
            let (full, node) = (expr.clone(), node.clone());
            Expression { expr, full, filled: Vec::new(), given: BTreeSet::new(), node }
        };
        read.map(whole)
    }

    /// Whether a part of `full` stands in the expression itself, and not in a recording.
    pub(super) fn is_own(&self, part: &Expr) -> bool {
        !self.filled.contains(&part.span())
    }

    /// The place of a part of it.
    pub(super) fn place(&self, part: &Expr) -> Span {
        self.node.span_within(part.span().range())
    }

    /// The place of a piece of it that is no expression of its own: a window, a condition.
    pub(super) fn piece(&self, span: crate::promql::ast::Span) -> Span {
        self.node.span_within(span.range())
    }

    /// The place of its first line.
    pub(super) fn whole(&self) -> Span {
        let text = self.node.text().unwrap_or_default();
        let start = text.len() - text.trim_start().len();
        let first = text.trim().lines().next().unwrap_or_default();
        self.node.span_within(start..start + first.trim_end().len())
    }
}

impl RuleView {
    /// Where findings of this rule go.
    pub(super) fn report<'f>(&self, findings: &'f mut Vec<Finding>) -> Report<'f> {
        Report { findings, item: Some(self.item.clone()) }
    }

    /// A label's text, if it is the same for every alert.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|label| label.name == name)?;
        (!found.text.contains("{{")).then_some(found.text.as_str())
    }

    /// Name, summary and description in lower case: what people are told.
    pub(super) fn words(&self) -> String {
        let texts = self.annotations.iter().map(|annotation| annotation.text.as_str());
        let all: Vec<&str> = std::iter::once(self.name.as_str()).chain(texts).collect();
        all.join(" ").to_lowercase()
    }
}

/// Bytes from the start of a node to the end of the last thing in it; what follows, comments too, is not part of it.
pub(super) fn extent(node: &Node) -> Range<usize> {
    let ends = node.entries().map(|(key, value)| key.span.end.max(extent(value).end));
    let items = node.items().iter().map(|item| extent(item).end);
    let text = node.span.text();
    let own = match node.text() {
        Some(_) => node.span.start + text.trim_end().len(),
        None => node.span.start,
    };
    node.span.start..ends.chain(items).max().unwrap_or(own).max(own)
}

/// Reads a file; what is wrong with it becomes findings.
pub(super) fn read(source: &Arc<Source>, settings: &Settings, findings: &mut Vec<Finding>) -> RuleFile {
    let (trees, are_objects) = match trees(source, findings) {
        Ok(read) => read,
        Err(problems) => {
            let mut report = Report { findings, item: None };
            problems.into_iter().for_each(|problem| report.adopt(&lints::RULE_INVALID, problem));
            return RuleFile { groups: Vec::new() };
        }
    };
    let mut groups = Vec::new();
    for node in all_groups(&trees) {
        let shared = texts(node.get("labels"));
        let rules = node.get("rules").map(Node::items).unwrap_or_default();
        let rules = rules.iter().filter_map(|rule| view(rule, &shared, settings, findings)).collect();
        let interval = node.get("interval");
        let interval = interval.and_then(|node| Some((duration::parse(node.text()?)?, node.head())));
        groups.push(GroupView { interval, item: head_of(node), rules });
    }
    let file = RuleFile { groups };
    let load = |dialect: Dialect| match are_objects {
        true => rule::read_trees(trees.iter().cloned().map(Ok), dialect.into()),
        false => rule::load(std::slice::from_ref(source), dialect.into()),
    };
    let read = |dialect| load(dialect).map_or_else(|problems| problems, |loaded| loaded.warnings);
    adopt_problems(problems(settings, read), &trees, &file, findings);
    file
}

/// Everything in a file that has `groups:`: the file itself, or what its objects specify; and whether it is objects.
fn trees(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Result<(Vec<Node>, bool), Vec<Problem>> {
    let documents = yaml::parse_all(source.clone())?;
    if !documents.iter().any(|document| object_kind(document).is_some()) {
        // Of several documents Prometheus reads the first only, so a second one is a mistake.
        return Ok((vec![yaml::parse(source.clone())?], false));
    }
    let mut trees = Vec::new();
    documents.iter().for_each(|document| objects(document, &mut trees, findings));
    Ok((trees, true))
}

/// What the PrometheusRule objects in a document specify; of others it is said that they were not looked at.
fn objects(document: &Node, trees: &mut Vec<Node>, findings: &mut Vec<Finding>) {
    let mut report = Report { findings: &mut *findings, item: None };
    match object_kind(document) {
        Some("List" | "PrometheusRuleList") => {
            let items = document.get("items").map(Node::items).unwrap_or_default();
            items.iter().for_each(|item| objects(item, trees, findings));
        }
        Some("PrometheusRule") => match document.get("spec") {
            Some(spec) => trees.push(without_thanos(spec)),
            None => {
                let problem = Problem::error("a PrometheusRule without `spec`", document.head());
                report.adopt(&lints::RULE_INVALID, problem.hint("write `spec:` and below it `groups:`"));
            }
        },
        kind => {
            let what = kind.map_or("this document".to_owned(), |kind| format!("this {kind}"));
            let fix =
                "only PrometheusRule objects are; what stands in others can be checked in a file of its own";
            let span = document.get("kind").unwrap_or(document).head();
            let summary = format!("{what} is not checked");
            report.add_as(Level::Note, &lints::FILE_UNCHECKED, span, summary, fix);
        }
    }
}

/// Groups without the one key that the operator takes and Prometheus does not: it is for Thanos.
fn without_thanos(spec: &Node) -> Node {
    let mut spec = spec.clone();
    if let Value::Mapping(entries) = &mut spec.value {
        let groups = entries.iter_mut().filter(|(key, _)| key.text == "groups");
        for (_, groups) in groups {
            let Value::Sequence(groups) = &mut groups.value else { continue };
            for group in groups {
                if let Value::Mapping(entries) = &mut group.value {
                    entries.retain(|(key, _)| key.text != "partial_response_strategy");
                }
            }
        }
    }
    spec
}

fn all_groups(trees: &[Node]) -> impl Iterator<Item = &Node> {
    trees.iter().flat_map(|tree| tree.get("groups").map(Node::items).unwrap_or_default())
}

fn all_rules(trees: &[Node]) -> impl Iterator<Item = &Node> {
    all_groups(trees).flat_map(|group| group.get("rules").map(Node::items).unwrap_or_default())
}

/// A group's own lines, down to its rules.
fn head_of(node: &Node) -> Range<usize> {
    let rules = node.get("rules").map_or(node.span.end, |rules| rules.span.start);
    node.span.start..rules.max(node.span.start)
}

fn texts(node: Option<&Node>) -> Vec<Text> {
    let entries = node.map(Node::entries).into_iter().flatten();
    let text = |(key, value): &(yaml::Key, Node)| {
        let text = value.text()?.to_owned();
        Some(Text { name: key.text.clone(), text, node: value.clone() })
    };
    entries.filter_map(text).collect()
}

/// A rule; `None` if it has no name.
fn view(node: &Node, shared: &[Text], settings: &Settings, findings: &mut Vec<Finding>) -> Option<RuleView> {
    let alert = node.get("alert").filter(|name| !name.is_null());
    let name = alert.or_else(|| node.get("record"))?;
    let item = extent(node);
    let time = |key: &str| node.get(key).and_then(Node::text).and_then(duration::parse).unwrap_or_default();
    let mut labels = texts(node.get("labels"));
    for label in shared {
        if !labels.iter().any(|own| own.name == label.name) {
            labels.push(Text {
                name: label.name.clone(),
                text: label.text.clone(),
                node: label.node.clone(),
            });
        }
    }
    let mut report = Report { findings, item: Some(item.clone()) };
    let expr = node.get("expr").filter(|expr| expr.text().is_some() && !expr.is_null());
    let expr = expr.and_then(|expr| match Expression::read(expr, settings) {
        Ok(read) => {
            language::only_of(expr, settings, &mut report);
            Some(read)
        }
        Err(error) => {
            language::refused(expr, &error, settings, &mut report);
            None
        }
    });
    Some(RuleView {
        name: name.text()?.to_owned(),
        name_span: name.head(),
        is_alert: alert.is_some(),
        item,
        expr,
        hold: time("for"),
        labels,
        annotations: texts(node.get("annotations")),
    })
}

/// What the reader of a run says of the file, without what is told already: expressions that cannot be read.
fn adopt_problems(
    problems: Vec<(Problem, Option<&'static str>)>,
    trees: &[Node],
    file: &RuleFile,
    findings: &mut Vec<Finding>,
) {
    let texts: Vec<Span> =
        all_rules(trees).filter_map(|rule| rule.get("expr")).map(|expr| expr.span.clone()).collect();
    let templates: Vec<Span> = templates(trees);
    let items = || file.groups.iter().flat_map(|group| group.rules.iter().map(|rule| rule.item.clone()));
    for (problem, only) in problems {
        let start = problem.span.as_ref().map_or(0, |span| span.start);
        let of_expression = texts.iter().any(|text| text.start <= start && start < text.end);
        if of_expression && !is_about_kind(&problem) {
            continue;
        }
        let item = items().find(|item| item.contains(&start));
        let mut report = Report { findings: &mut *findings, item };
        if let Some(version) = only {
            report.push(Level::Warning, &lints::PROMQL_DIALECT, language::only_for(problem, version));
            continue;
        }
        let of_template = templates.iter().any(|text| text.start <= start && start < text.end);
        let (level, lint) = weigh(&problem, of_template);
        let problem = if level == Level::Error { problem } else { problem.warning() };
        report.push(level, lint, problem);
    }
}

/// What `read` says for the Prometheus that runs. Where nobody said which: what is wrong for both, and what is wrong for one
/// of them only with the version of the other.
pub(super) fn problems(
    settings: &Settings,
    read: impl Fn(Dialect) -> Vec<Problem>,
) -> Vec<(Problem, Option<&'static str>)> {
    if let Some(dialect) = settings.dialect {
        return read(dialect).into_iter().map(|problem| (problem, None)).collect();
    }
    let (old, new) = (read(Dialect::V2), read(Dialect::V3));
    let place = |problem: &Problem| problem.span.as_ref().map(|span| span.start);
    let is_in =
        |problem: &Problem, others: &[Problem]| others.iter().any(|other| place(other) == place(problem));
    let only = |these: &[Problem], others: &[Problem], version| {
        let refused = these.iter().filter(|problem| problem.severity == Severity::Error);
        let refused = refused.filter(|problem| !is_in(problem, others)).cloned();
        refused.map(|problem| (problem, Some(version))).collect::<Vec<_>>()
    };
    let both = old.iter().filter(|problem| is_in(problem, &new)).map(|problem| (problem.clone(), None));
    both.chain(only(&old, &new, "3")).chain(only(&new, &old, "2")).collect()
}

/// Where labels and annotations are written that are templates.
fn templates(trees: &[Node]) -> Vec<Span> {
    let fields = all_rules(trees).flat_map(|rule| [rule.get("labels"), rule.get("annotations")]).flatten();
    let spans = fields.map(|field| field.span.clone());
    spans
        .filter(|span| span.source.text.get(span.start..span.end).is_some_and(|text| text.contains("{{")))
        .collect()
}

fn weigh(problem: &Problem, of_template: bool) -> (Level, &'static lints::Lint) {
    match problem.severity {
        _ if of_template => (Level::Error, &lints::TEMPLATE),
        Severity::Error => (Level::Error, &lints::RULE_INVALID),
        Severity::Warning => (Level::Warning, &lints::RULE_INVALID),
    }
}

/// An expression that can be read and gives what no rule can use.
fn is_about_kind(problem: &Problem) -> bool {
    problem.summary.starts_with("the expression gives")
}
