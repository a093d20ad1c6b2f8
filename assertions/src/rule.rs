//! Prometheus rule files: read with every problem at once, each at its place.
//!
//! The file is taken as shipped. What the engine cannot do as Prometheus would is refused here, so that no rule is
//! ever silently not judged. It evaluates nothing.

use crate::promql::ast::{Dialect, Expr, Kind};
use crate::promql::parse::{ParseOptions, parse};
use crate::promql::selection::{self, Windows};
use crate::template::Template;
use scenarios::problem::{Problem, Severity};
use scenarios::span::{Source, Spanned};
use scenarios::yaml::{self, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub mod doubts;
mod fields;

pub(crate) use fields::{check_keys, plain_number, yaml_number};

/// The rules of one or more files, in order.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// Groups in the order of the files.
    pub groups: Vec<Group>,
}

/// Rules that are evaluated together, one after the other.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name, unique in its file.
    pub name: Spanned<String>,
    /// How often it is evaluated; `None`: as the engine is told.
    pub interval: Option<Duration>,
    /// Most alerts or series a rule may make; 0 is no limit.
    pub limit: usize,
    /// How far in the past it is evaluated.
    pub query_offset: Duration,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its number, counted over all files from 0: the `rule` of an alert event.
    pub index: usize,
    /// What it makes.
    pub kind: RuleKind,
    /// The expression as written.
    pub text: Spanned<String>,
    /// The expression.
    pub expr: Expr,
    /// Labels it adds; in an alert they may be templates.
    pub labels: BTreeMap<String, Template>,
}

/// What a rule makes.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Alerts.
    Alert(AlertRule),
    /// A series of this name.
    Record(Spanned<String>),
}

/// What only an alerting rule has.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// The alert's name.
    pub name: Spanned<String>,
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    /// How long it goes on firing after the expression has stopped to hold.
    pub keep_firing: Duration,
    /// Texts for people.
    pub annotations: BTreeMap<String, Template>,
}

/// Rules, and what the user should know of them.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The rules.
    pub rules: RuleSet,
    /// Warnings: nothing that makes a rule behave differently from Prometheus.
    pub warnings: Vec<Problem>,
}

/// Reads rule files.
///
/// Errors: all problems of all files, warnings among them, at least one an error. Files without a single rule are an
/// error: a drill that judges nothing must not pass.
pub fn load(sources: &[Arc<Source>], options: ParseOptions) -> Result<Loaded, Vec<Problem>> {
    match read(sources, options) {
        Ok(loaded) if loaded.rules.rules().next().is_none() => {
            let mut problems = loaded.warnings;
            problems.push(no_rules(sources));
            Err(problems)
        }
        other => other,
    }
}

/// Reads rule files, which may have no rules. Errors: as [`load`].
pub fn read(sources: &[Arc<Source>], options: ParseOptions) -> Result<Loaded, Vec<Problem>> {
    read_trees(sources.iter().map(|source| yaml::parse(source.clone())), options)
}

/// Reads what stands in files, or in other files as in one of its own: maps with `groups:`. Errors: as [`load`].
pub(crate) fn read_trees(
    trees: impl IntoIterator<Item = Result<Node, Vec<Problem>>>,
    options: ParseOptions,
) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut rules = RuleSet::default();
    for tree in trees {
        match tree {
            Ok(tree) => {
                let mut reader =
                    Reader { options, problems: &mut problems, next_index: rules.rules().count() };
                rules.groups.extend(reader.file(&tree));
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    Ok(Loaded { rules, warnings: problems })
}

fn no_rules(sources: &[Arc<Source>]) -> Problem {
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let problem = Problem {
        severity: Severity::Error,
        summary: format!(
            "no rules in {}",
            if names.is_empty() { "no files".to_string() } else { names.join(", ") }
        ),
        span: sources.first().map(|source| scenarios::span::Span::new(source.clone(), 0, 0)),
        hint: None,
        related: Vec::new(),
    };
    problem.hint("a rule file has `groups:`, each with `name:` and `rules:`")
}

impl RuleSet {
    /// All rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    /// All alerting rules, in order.
    pub fn alerts(&self) -> impl Iterator<Item = (&Rule, &AlertRule)> {
        self.rules().filter_map(|rule| match &rule.kind {
            RuleKind::Alert(alert) => Some((rule, alert)),
            RuleKind::Record(_) => None,
        })
    }

    /// The longest time any rule looks back: what a history must cover.
    pub fn reach(&self) -> Duration {
        self.rules().map(|rule| rule.windows().reach).max().unwrap_or_default()
    }
}

impl Rule {
    /// The alert's or the series' name.
    pub fn name(&self) -> &Spanned<String> {
        match &self.kind {
            RuleKind::Alert(alert) => &alert.name,
            RuleKind::Record(name) => name,
        }
    }

    /// The windows and series of its expression.
    pub fn windows(&self) -> Windows {
        selection::windows(&self.expr)
    }
}

const FILE_KEYS: &[&str] = &["groups"];
const GROUP_KEYS: &[&str] = &["name", "interval", "limit", "query_offset", "labels", "rules"];
const RULE_KEYS: &[&str] = &["alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"];

struct Reader<'p> {
    options: ParseOptions,
    problems: &'p mut Vec<Problem>,
    next_index: usize,
}

impl Reader<'_> {
    fn file(&mut self, tree: &Node) -> Vec<Group> {
        if tree.is_null() {
            return Vec::new();
        }
        let Some(entries) = tree.expect_mapping("a map with `groups:`", self.problems) else {
            return Vec::new();
        };
        check_keys(entries, FILE_KEYS, "a rule file", self.problems);
        let Some(list) = tree.get("groups").filter(|node| !node.is_null()) else { return Vec::new() };
        let Some(items) = list.expect_sequence("a list of groups", self.problems) else { return Vec::new() };
        let items: Vec<&Node> = items.iter().filter(|item| !self.is_nothing(item, "group")).collect();
        let groups: Vec<Group> = items.into_iter().filter_map(|item| self.group(item)).collect();
        self.check_names(&groups);
        groups
    }

    fn check_names(&mut self, groups: &[Group]) {
        let mut seen: BTreeMap<&str, &Group> = BTreeMap::new();
        for group in groups {
            let Some(first) = seen.insert(&group.name.value, group) else { continue };
            let (Some(span), Some(first_span)) = (&group.name.span, &first.name.span) else { continue };
            let problem =
                Problem::error(format!("group `{}` is defined twice", group.name.value), span.clone());
            self.problems.push(
                problem
                    .related(first_span.clone(), "first defined here")
                    .hint("group names are unique in a file; rename one"),
            );
        }
    }

    fn group(&mut self, node: &Node) -> Option<Group> {
        let entries = node.expect_mapping("a group", self.problems)?;
        check_keys(entries, GROUP_KEYS, "a group", self.problems);
        let name = self.group_name(node);
        let interval = self.optional_duration(node, "interval");
        let limit = node.get("limit").and_then(|limit| self.limit(limit)).unwrap_or(0);
        let query_offset = self.optional_duration(node, "query_offset").unwrap_or_default();
        let shared = self.labels(node);
        let items = match node.get("rules").filter(|rules| !rules.is_null()) {
            Some(rules) => rules.expect_sequence("a list of rules", self.problems)?,
            None => &[],
        };
        let items: Vec<&Node> = items.iter().filter(|item| !self.is_nothing(item, "rule")).collect();
        let rules = items.into_iter().filter_map(|item| self.rule(item, &shared)).collect();
        Some(Group { name: name?, interval, limit, query_offset, rules })
    }

    fn rule(&mut self, node: &Node, shared: &BTreeMap<String, Template>) -> Option<Rule> {
        let entries = node.expect_mapping("a rule", self.problems)?;
        check_keys(entries, RULE_KEYS, "a rule", self.problems);
        let mut labels = shared.clone();
        labels.extend(self.labels(node));
        let kind = self.rule_kind(node);
        let (text, expr) = self.expression(node)?;
        let index = self.next_index;
        self.next_index += 1;
        Some(Rule { index, kind: kind?, text, expr, labels })
    }

    fn rule_kind(&mut self, node: &Node) -> Option<RuleKind> {
        // To Prometheus an empty name is none.
        let named = |key: &str| node.get(key).filter(|name| name.text() != Some(""));
        match (named("alert"), named("record")) {
            (Some(alert), None) => self.alert(node, alert),
            (None, Some(record)) => self.record(node, record),
            (Some(_), Some(record)) => {
                let problem = Problem::error("a rule has both `alert` and `record`", record.head());
                self.problems.push(problem.hint("make two rules of it"));
                None
            }
            (None, None) => {
                let empty = ["alert", "record"].into_iter().find_map(|key| Some((key, node.get(key)?)));
                let problem = match empty {
                    Some((key, name)) => Problem::error(format!("`{key}` is empty"), name.head()),
                    None => Problem::error("a rule has neither `alert` nor `record`", node.head()),
                };
                self.problems.push(problem.hint("`alert: Name` makes alerts, `record: name` a series"));
                None
            }
        }
    }

    fn alert(&mut self, node: &Node, name: &Node) -> Option<RuleKind> {
        let text = name.expect_text("the alert's name", self.problems)?.to_string();
        let annotations = self.annotations(node);
        Some(RuleKind::Alert(AlertRule {
            name: Spanned::at(text, name.head()),
            hold: self.optional_duration(node, "for").unwrap_or_default(),
            keep_firing: self.optional_duration(node, "keep_firing_for").unwrap_or_default(),
            annotations,
        }))
    }

    fn record(&mut self, node: &Node, name: &Node) -> Option<RuleKind> {
        let text = name.expect_text("the name of the series", self.problems)?.to_string();
        for key in ["for", "keep_firing_for", "annotations"] {
            let Some(value) = node.get(key).filter(|value| !value.is_null()) else { continue };
            // What says nothing is no fault to Prometheus.
            let says_nothing = match key {
                "annotations" => matches!(&value.value, yaml::Value::Mapping(entries) if entries.is_empty()),
                _ => self.optional_duration(node, key).is_none_or(|time| time.is_zero()),
            };
            if !says_nothing {
                let problem = Problem::error(format!("`{key}` in a recording rule"), value.head());
                self.problems.push(problem.hint("only an alert has it; remove it"));
            }
        }
        if let Some(hint) = self.not_a_metric(&text) {
            let problem = Problem::error(format!("`{text}` is not a metric name"), name.head());
            self.problems.push(problem.hint(hint));
            return None;
        }
        Some(RuleKind::Record(Spanned::at(text, name.head())))
    }

    fn expression(&mut self, node: &Node) -> Option<(Spanned<String>, Expr)> {
        let Some(value) = node.get("expr") else {
            self.problems.push(Problem::error("a rule has no `expr`", node.head()));
            return None;
        };
        let text = value.expect_text("a PromQL expression", self.problems)?.to_string();
        match parse(&text, self.options) {
            Ok(expr) if matches!(expr.kind(), Kind::Scalar | Kind::Vector) => {
                Some((Spanned::at(text, value.span.clone()), expr))
            }
            Ok(expr) => {
                let what = if expr.kind() == Kind::Text { "a string" } else { "a range of samples" };
                let problem = Problem::error(format!("the expression gives {what}"), value.span.clone());
                self.problems
                    .push(problem.hint("a rule needs a vector or a number, such as `rate(x[5m]) > 1`"));
                None
            }
            Err(error) => {
                let rule = node.get("alert").or(node.get("record")).and_then(Node::text).unwrap_or("a rule");
                let mut problem = Problem::error(
                    format!("{} in the expression of {rule}", error.summary),
                    value.span_within(error.range),
                );
                problem.hint = error.hint;
                self.problems.push(problem);
                None
            }
        }
    }
}

/// The dialect whose rules are read, for those who load without options.
impl From<Dialect> for ParseOptions {
    fn from(dialect: Dialect) -> ParseOptions {
        ParseOptions { dialect, experimental: false }
    }
}

#[cfg(test)]
mod tests;
