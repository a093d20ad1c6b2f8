//! Rule files as Prometheus reads them, with the place of everything that can be wrong.

use crate::promql::ast::{Expr, Op};
use crate::promql::parse::{ParseError, parse};
use crate::template::{self, Template};
use scenarios::problem::{Problem, nearest};
use scenarios::span::{Source, Span};
use scenarios::units;
use scenarios::yaml::{self, Node};
use std::sync::Arc;
use std::time::Duration;

/// Rules that are evaluated together, in order.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name, unique in its file.
    pub name: String,
    /// Its own evaluation interval, which wins over the global one.
    pub interval: Option<Duration>,
    /// Most alerts or series a rule may give; 0: any number.
    pub limit: usize,
    /// In order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The alert's name, or the recorded metric's.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// What is evaluated.
    pub expr: Expr,
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub expr_span: Span,
    /// Labels that are added; those of an alert may be templates.
    pub labels: Vec<(String, Template)>,
    /// Alert or record.
    pub kind: RuleKind,
}

/// What a rule is for.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Raises an alert.
    Alert {
        /// How long the condition must hold.
        hold: Duration,
        /// How long it goes on firing after the condition has ended.
        keep_firing: Duration,
        /// Texts for people.
        annotations: Vec<(String, Template)>,
    },
    /// Records a series.
    Record,
}

impl Rule {
    /// Whether it raises an alert.
    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alert { .. })
    }

    /// The rule's `for`; zero for a recording rule.
    pub fn hold(&self) -> Duration {
        match self.kind {
            RuleKind::Alert { hold, .. } => hold,
            RuleKind::Record => Duration::ZERO,
        }
    }

    /// A label of the rule, where it is no template.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).and_then(|(_, value)| value.plain())
    }

    /// The expression without its outermost comparison with a number: what the threshold is compared with.
    pub fn observed(&self) -> &Expr {
        match &self.expr {
            Expr::Binary(binary) if binary.op.is_comparison() => match (&binary.left, &binary.right) {
                (Expr::Number(_), observed) | (observed, Expr::Number(_)) => observed,
                _ => &self.expr,
            },
            expr => expr,
        }
    }

    /// The outermost comparison's operator and number, as `observed OP number`.
    pub fn threshold(&self) -> Option<(Op, f64)> {
        let Expr::Binary(binary) = &self.expr else { return None };
        match (&binary.left, &binary.right) {
            (_, Expr::Number(number)) if binary.op.is_comparison() => Some((binary.op, *number)),
            (Expr::Number(number), _) if binary.op.is_comparison() => Some((mirrored(binary.op), *number)),
            _ => None,
        }
    }

    /// Every range of a selector in the expression.
    pub fn windows(&self) -> Vec<Duration> {
        self.expr.selectors().into_iter().filter_map(|(_, range)| range).collect()
    }
}

fn mirrored(op: Op) -> Op {
    match op {
        Op::Greater => Op::Less,
        Op::Less => Op::Greater,
        Op::GreaterOrEqual => Op::LessOrEqual,
        Op::LessOrEqual => Op::GreaterOrEqual,
        op => op,
    }
}

/// Reads a rule file: its groups and warnings, or everything that is wrong with it.
pub fn read(source: Arc<Source>) -> Result<(Vec<Group>, Vec<Problem>), Vec<Problem>> {
    let root = yaml::parse(Arc::clone(&source))?;
    let mut reader = Reader { problems: Vec::new() };
    let groups = reader.file(&root);
    if groups.iter().all(|group| group.rules.is_empty()) && !reader.failed() {
        let problem = Problem::error("the file has no rules", Span::new(source, 0, 0));
        reader.problems.push(problem.hint("write `groups: [{name: …, rules: [{alert: …, expr: …}]}]`"));
    }
    if reader.failed() { Err(reader.problems) } else { Ok((groups, reader.problems)) }
}

struct Reader {
    problems: Vec<Problem>,
}

const GROUP_KEYS: [&str; 7] =
    ["name", "interval", "limit", "rules", "query_offset", "labels", "partial_response_strategy"];
const RULE_KEYS: [&str; 7] = ["alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"];

impl Reader {
    fn failed(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == scenarios::problem::Severity::Error)
    }

    fn keys(&mut self, node: &Node, what: &str, known: &[&str]) {
        for (key, _) in node.entries().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let problem = Problem::error(format!("unknown field `{}` in {what}", key.text), key.span.clone());
            self.problems.push(match nearest(&key.text, known.iter().copied()) {
                Some(name) => problem.hint(format!("did you mean `{name}`?")),
                None => problem.hint(format!("{what} has {}", known.join(", "))),
            });
        }
    }

    fn file(&mut self, root: &Node) -> Vec<Group> {
        if root.expect_mapping("a map with `groups`", &mut self.problems).is_none() {
            return Vec::new();
        }
        self.keys(root, "a rule file", &["groups"]);
        let Some(groups) = root.get("groups") else { return Vec::new() };
        let Some(items) = groups.expect_sequence("a list of groups", &mut self.problems) else {
            return Vec::new();
        };
        let mut names: Vec<(String, Span)> = Vec::new();
        let mut read = Vec::new();
        for item in items {
            let Some(group) = self.group(item) else { continue };
            if let Some(name) = item.get("name") {
                if let Some((_, first)) = names.iter().find(|(known, _)| *known == group.name) {
                    let problem =
                        Problem::error(format!("group `{}` is there twice", group.name), name.span.clone());
                    self.problems
                        .push(problem.related(first.clone(), "first here").hint("give it another name"));
                }
                names.push((group.name.clone(), name.span.clone()));
            }
            read.push(group);
        }
        read
    }

    fn group(&mut self, node: &Node) -> Option<Group> {
        node.expect_mapping("a group: `name` and `rules`", &mut self.problems)?;
        self.keys(node, "a group", &GROUP_KEYS);
        let name = match node.get("name") {
            Some(name) => name.expect_text("the group's name", &mut self.problems)?.to_owned(),
            None => {
                self.problems
                    .push(Problem::error("a group without `name`", node.head()).hint("add `name: …`"));
                return None;
            }
        };
        for key in ["query_offset", "labels"] {
            if let Some(value) = node.get(key) {
                let problem = Problem::error(format!("`{key}` of a group is not supported"), value.head());
                self.problems.push(problem.hint("write it into each rule"));
            }
        }
        let interval = node.get("interval").and_then(|interval| self.duration(interval));
        let limit = node
            .get("limit")
            .and_then(|limit| limit.expect_text("a number", &mut self.problems)?.parse().ok());
        let rules = match node.get("rules") {
            Some(rules) => rules.expect_sequence("a list of rules", &mut self.problems).unwrap_or_default(),
            None => &[],
        };
        let rules = rules.iter().filter_map(|rule| self.rule(rule)).collect();
        Some(Group { name, interval, limit: limit.unwrap_or(0), rules })
    }

    fn duration(&mut self, node: &Node) -> Option<Duration> {
        let text = node.expect_text("a duration such as 5m", &mut self.problems)?;
        // Prometheus takes a bare 0, and years.
        if text == "0" {
            return Some(Duration::ZERO);
        }
        match units::duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.problems.push(Problem::error(error.summary, node.span.clone()).hint(error.hint));
                None
            }
        }
    }

    fn rule(&mut self, node: &Node) -> Option<Rule> {
        node.expect_mapping("a rule: `alert` or `record`, and `expr`", &mut self.problems)?;
        self.keys(node, "a rule", &RULE_KEYS);
        let (name, is_alert) = match (node.get("alert"), node.get("record")) {
            (Some(alert), None) => (alert, true),
            (None, Some(record)) => (record, false),
            (Some(_), Some(record)) => {
                let problem = Problem::error("a rule is either `alert` or `record`", record.head());
                self.problems.push(problem.hint("make two rules of it"));
                return None;
            }
            (None, None) => {
                let problem = Problem::error("a rule without `alert` or `record`", node.head());
                self.problems.push(problem.hint("add `alert: NAME` or `record: NAME`"));
                return None;
            }
        };
        let text = name.expect_text("a name", &mut self.problems)?.to_owned();
        let expr = self.expr(node, &text)?;
        let labels = self.templates(node.get("labels"), is_alert);
        let kind = if is_alert {
            RuleKind::Alert {
                hold: node.get("for").and_then(|hold| self.duration(hold)).unwrap_or_default(),
                keep_firing: node
                    .get("keep_firing_for")
                    .and_then(|keep| self.duration(keep))
                    .unwrap_or_default(),
                annotations: self.templates(node.get("annotations"), true),
            }
        } else {
            for key in ["for", "keep_firing_for", "annotations"] {
                if let Some(value) = node.get(key) {
                    let problem = Problem::error(format!("a recording rule has no `{key}`"), value.head());
                    self.problems.push(problem.hint("only alerts have it"));
                }
            }
            RuleKind::Record
        };
        let (expr, expr_text, expr_span) = expr;
        Some(Rule { name: text, span: name.span.clone(), expr, text: expr_text, expr_span, labels, kind })
    }

    fn expr(&mut self, node: &Node, rule: &str) -> Option<(Expr, String, Span)> {
        let Some(value) = node.get("expr") else {
            let problem = Problem::error(format!("rule `{rule}` has no `expr`"), node.head());
            self.problems.push(problem.hint("add `expr: …`"));
            return None;
        };
        let text = value.expect_text("a PromQL expression", &mut self.problems)?;
        match parse(text) {
            Ok(expr) => Some((expr, text.trim().to_owned(), value.span.clone())),
            Err(error) => {
                let place =
                    error.subject().and_then(|subject| text.find(subject).map(|at| at..at + subject.len()));
                let span = place.map_or_else(|| value.head(), |range| value.span_within(range));
                let hint = match &error {
                    ParseError::Syntax(_) => "check it with `promtool check rules`",
                    ParseError::Unsupported(_) => {
                        "a run with this rule would not be judged as Prometheus would"
                    }
                };
                self.problems.push(Problem::error(format!("rule `{rule}`: {error}"), span).hint(hint));
                None
            }
        }
    }

    fn templates(&mut self, node: Option<&Node>, expands: bool) -> Vec<(String, Template)> {
        let Some(node) = node else { return Vec::new() };
        let Some(entries) = node.expect_mapping("a map of texts", &mut self.problems) else {
            return Vec::new();
        };
        let mut templates = Vec::new();
        for (key, value) in entries {
            let Some(text) = value.expect_text("a text", &mut self.problems) else { continue };
            let template = if expands { template::parse(text) } else { Ok(Template::text(text)) };
            let template = template.unwrap_or_else(|error| {
                let problem = Problem::error(format!("in `{}`: {error}", key.text), value.head()).warning();
                self.problems.push(problem.hint("the text is shown as it is written"));
                Template::text(text)
            });
            templates.push((key.text.clone(), template));
        }
        templates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let source = Arc::new(Source { name: "rules.yml".into(), text: text.into() });
        let problems = match read(source) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        let found: Vec<_> = problems
            .iter()
            .map(|problem| {
                let place = problem.span.as_ref().map(|span| span.position());
                let (line, column) = place.map_or((0, 0), |place| (place.line, place.column));
                format!("{line}:{column} {}", problem.summary)
            })
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn reads_a_rule_whole() {
        let text = "groups:\n- name: g\n  interval: 30s\n  rules:\n  - alert: A\n    expr: 0.5 < rate(x[5m])\n    for: 2m\n    labels: {severity: P1}\n    annotations: {summary: '{{ $value }}'}\n  - {record: r, expr: sum(x)}\n";
        let source = Arc::new(Source { name: "rules.yml".into(), text: text.into() });
        let (groups, problems) = read(source).unwrap();
        assert!(problems.is_empty());
        let rule = &groups[0].rules[0];
        assert_eq!(groups[0].interval, Some(Duration::from_secs(30)));
        assert_eq!((rule.hold(), rule.label("severity")), (Duration::from_secs(120), Some("P1")));
        assert_eq!(rule.threshold(), Some((Op::Greater, 0.5)));
        assert_eq!(
            (rule.windows(), rule.expr.reach()),
            (vec![Duration::from_secs(300)], Duration::from_secs(300))
        );
        assert!(!groups[0].rules[1].is_alert());
    }

    #[test]
    fn names_every_problem_with_its_place() {
        check("groups: []", &["1:1 the file has no rules"]);
        check(
            "groups:\n- name: g\n  rules:\n  - alert: A\n    exp: x\n  - {record: r, expr: x, for: 1m}\n  - {expr: x}\n  - {alert: B, expr: hour() > 1}\n  - {alert: C, expr: 'x >', for: 5}\n- name: g\n  rules: [{alert: D, expr: x}]\n",
            &[
                "5:5 unknown field `exp` in a rule",
                "4:5 rule `A` has no `expr`",
                "6:31 a recording rule has no `for`",
                "7:5 a rule without `alert` or `record`",
                "8:22 rule `B`: the function `hour()` is not supported",
                "9:22 rule `C`: not valid PromQL: invalid promql query",
                "10:9 group `g` is there twice",
            ],
        );
        check(
            "groups:\n- name: g\n  rules:\n  - {alert: A, expr: x, annotations: {s: '{{ if x }}'}}\n",
            &["4:42 in `s`: the action `if x` is not supported"],
        );
    }
}
