//! Tests of alerts: promtool's unit tests, tests that people do by hand, and the runbooks that tell them how.
//!
//! A file of hand tests has `hand_tests:`, a list of `{alert, metric, events, within, post}`: so many events on the counter
//! within that time should fire the alert.

use super::lints;
use super::rules::{self, RuleView, extent};
use super::tree::{self, Limit};
use super::{Context, Finding, Metrics, Report, alerts, language, promql, quantiles};
use crate::duration;
use crate::promql::ast::{AggregateOperator, Arithmetic, Comparison, Dialect, Expr, Operator};
use crate::promql::function::RangeFunction;
use crate::rule::check_keys;
use crate::rule_test::{TestFile, glob};
use scenarios::problem::{Problem, nearest};
use scenarios::span::{Source, Span};
use scenarios::units::format_duration;
use scenarios::yaml::{self, Node, Value};
use std::sync::Arc;
use std::time::Duration;

/// Reads a test file; what is wrong with it becomes findings.
fn read(source: &Arc<Source>, findings: &mut Vec<Finding>) -> Option<Node> {
    match yaml::parse(source.clone()) {
        Ok(tree) => Some(tree),
        Err(problems) => {
            let mut report = Report { findings, item: None };
            problems.into_iter().for_each(|problem| report.adopt(&lints::TEST_INVALID, problem));
            None
        }
    }
}

fn list<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).map(Node::items).unwrap_or_default()
}

/// promtool's unit tests: what is wrong with the file, alerts that no rule makes, which pass for silent, and buckets of their
/// own, which prove nothing.
pub(super) fn rule_tests(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let read = |dialect: Dialect| match TestFile::read(source.clone(), dialect.into()) {
        Ok(read) => read.warnings,
        Err(problems) => problems,
    };
    let tree = yaml::parse(source.clone()).ok();
    let tests = tree.as_ref().map(|tree| list(tree, "tests")).unwrap_or_default();
    for (problem, only) in rules::problems(context.settings, read) {
        let problem = match only {
            Some(version) => language::only_for(problem, version),
            None => problem,
        };
        let start = problem.span.as_ref().map_or(0, |span| span.start);
        let item = tests.iter().map(extent).find(|test| test.contains(&start));
        Report { findings: &mut *findings, item }.adopt(&lints::TEST_INVALID, problem);
    }
    let Some(tree) = &tree else { return };
    // An alert may be one of a rule file that is not checked with it.
    let has_all_rules =
        list(tree, "rule_files").iter().filter_map(Node::text).all(|file| is_given(context, file));
    for test in tests {
        let mut report = Report { findings: &mut *findings, item: Some(extent(test)) };
        for case in list(test, "alert_rule_test") {
            if let Some(name) = case.get("alertname").filter(|_| has_all_rules) {
                known_alert(context, name, "this expects of it holds for any rules", &mut report);
            }
        }
        for series in list(test, "input_series").iter().filter_map(|series| series.get("series")) {
            if let Some(metrics) = context.metrics {
                foreign_bucket(metrics, series, &mut report);
            }
        }
    }
}

/// Whether a rule file that a test names, perhaps by a pattern, is among those that are checked.
fn is_given(context: &Context<'_>, file: &str) -> bool {
    let wanted = file.trim_start_matches("../").trim_start_matches("./").trim_start_matches('/');
    let depth = wanted.split('/').count();
    let given = context.all_rules().map(|rule| rule.name_span.source.name.as_str());
    given.into_iter().any(|name| {
        let parts: Vec<&str> = name.split('/').collect();
        let end = parts[parts.len().saturating_sub(depth)..].join("/");
        let fits = |(pattern, part): (&str, &str)| glob::matches(pattern, part) == Some(true);
        end == wanted || parts.len() >= depth && wanted.split('/').zip(end.split('/')).all(fits)
    })
}

/// The rule of that alert; a finding if there are rules and none has the name.
fn known_alert<'c>(
    context: &'c Context<'_>,
    node: &Node,
    consequence: &str,
    report: &mut Report<'_>,
) -> Option<&'c RuleView> {
    let name = node.text()?;
    let alerts = || context.all_rules().filter(|rule| rule.is_alert);
    let found = alerts().find(|rule| rule.name == name);
    if found.is_none() && alerts().next().is_some() {
        let summary = format!("no rule makes the alert {name}: what {consequence}");
        let fix = match nearest(name, alerts().map(|rule| rule.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name an alert of the rule files that are checked with it".to_owned(),
        };
        report.add(&lints::TEST_UNKNOWN_ALERT, node.head(), summary, fix);
    }
    found
}

/// A series with a bucket bound that production does not have.
fn foreign_bucket(metrics: &Metrics, node: &Node, report: &mut Report<'_>) -> Option<()> {
    let text = node.text()?;
    let (name, labels) = text.split_once('{')?;
    let at = labels.find("le=\"")? + 4;
    let written = labels[at..].split('"').next()?;
    let bound: f64 = written.parse().ok().filter(|bound: &f64| bound.is_finite())?;
    let bounds = metrics.bounds(name.trim())?;
    if quantiles::is_bound(bounds, bound) {
        return None;
    }
    let summary = format!(
        "production has no bucket `{written}` of {}: the test proves what cannot happen",
        name.trim()
    );
    let fix = format!("use its bounds: {}", quantiles::listed(bounds));
    report.add(&lints::TEST_FOREIGN_BUCKET, node.head(), summary, fix);
    Some(())
}

const HAND_TEST_KEYS: &[&str] = &["alert", "metric", "events", "within", "post", "note"];

/// Tests by hand: whether so many events can fire the alert at all.
pub(super) fn hand_tests(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let Some(tree) = read(source, findings) else { return };
    let mut problems = Vec::new();
    let tests =
        tree.get("hand_tests").and_then(|node| node.expect_sequence("a list of hand tests", &mut problems));
    for test in tests.unwrap_or_default() {
        let mut problems = Vec::new();
        if let Some(entries) = test.expect_mapping("a hand test, a map", &mut problems) {
            check_keys(entries, HAND_TEST_KEYS, "a hand test", &mut problems);
        }
        let mut report = Report { findings: &mut *findings, item: Some(extent(test)) };
        let rule = match test.get("alert").filter(|alert| !alert.is_null()) {
            Some(name) => known_alert(context, name, "is done by hand tests nothing", &mut report),
            None => {
                missing(test, "alert", "DeadLetters", &mut problems);
                None
            }
        };
        let burst = burst(test, &mut problems);
        if let (Some(rule), Some(burst)) = (rule, burst) {
            burst.hold_against(rule, &mut report);
        }
        problems.into_iter().for_each(|problem| report.adopt(&lints::TEST_INVALID, with_example(problem)));
    }
    let mut report = Report { findings, item: None };
    problems.into_iter().for_each(|problem| report.adopt(&lints::TEST_INVALID, with_example(problem)));
}

fn with_example(problem: Problem) -> Problem {
    match problem.hint {
        Some(_) => problem,
        None => problem.hint("a hand test is `- {alert: DeadLetters, events: 100, within: 10s}`"),
    }
}

fn missing(test: &Node, key: &str, example: &str, problems: &mut Vec<Problem>) {
    if matches!(test.value, Value::Mapping(_)) {
        let problem = Problem::error(format!("a hand test has no `{key}`: it tests nothing"), test.head());
        problems.push(problem.hint(format!("write for example `{key}: {example}`")));
    }
}

/// What a hand test does, as far as it says.
fn burst<'t>(test: &'t Node, problems: &mut Vec<Problem>) -> Option<Burst<'t>> {
    let Some(node) = test.get("events") else {
        missing(test, "events", "100", problems);
        return None;
    };
    let events = node.text().and_then(|text| text.parse::<f64>().ok()).filter(|number| *number >= 0.0);
    if events.is_none() {
        let problem = Problem::error("the number of events is due here", node.head());
        problems.push(problem.hint("write for example `events: 100`"));
    }
    let within = match test.get("within") {
        None => Some(Duration::ZERO),
        Some(node) => {
            let read = node.text().and_then(duration::parse);
            if read.is_none() {
                let problem =
                    Problem::error("the time within which all events are sent is due here", node.head());
                problems.push(problem.hint("write for example `within: 10s`"));
            }
            read
        }
    };
    let metric = test.get("metric").and_then(Node::text);
    Some(Burst { events: events?, within: within?, metric, span: node.head() })
}

/// A test by hand: so many events within that time.
struct Burst<'t> {
    events: f64,
    within: Duration,
    /// The counter they are counted on; `None`: whichever the alert asks for.
    metric: Option<&'t str>,
    span: Span,
}

/// What Prometheus may add to an increase: it extends what the scrapes of a window saw to the whole window, and a window has
/// four scrapes or more.
const EXTRAPOLATION_MAX: f64 = 4.0 / 3.0;

impl Burst<'_> {
    /// The most that it makes of the alert's rates and increases, against their thresholds.
    fn hold_against(&self, rule: &RuleView, report: &mut Report<'_>) {
        let limits = rule.expr.iter().flat_map(|expression| tree::deciding_limits(&expression.full));
        for limit in limits.filter(Limit::is_upper) {
            let (inner, factor) = scaled(limit.value);
            let Some((function, arguments)) = tree::range_call(inner) else { continue };
            let Some((selector, window)) = arguments.first().and_then(tree::range) else { continue };
            let is_other = self.metric.is_some_and(|wanted| selector.name.as_deref() != Some(wanted));
            if !alerts::is_rate(function) || is_other || factor <= 0.0 {
                continue;
            }
            let window = promql::millis(window);
            let seconds = if function == RangeFunction::Increase { 1.0 } else { window.as_secs_f64() };
            if !self.is_too_few(rule, &limit, window, factor / seconds, report) {
                self.is_too_short(rule, window, report);
            }
        }
    }

    /// `each`: what one event in the window adds to the value.
    fn is_too_few(
        &self,
        rule: &RuleView,
        limit: &Limit<'_>,
        window: Duration,
        each: f64,
        report: &mut Report<'_>,
    ) -> bool {
        let most = self.events * each;
        let reaches = match limit.op {
            Comparison::GreaterOrEqual => most * EXTRAPOLATION_MAX >= limit.threshold,
            _ => most * EXTRAPOLATION_MAX > limit.threshold,
        };
        if reaches {
            return false;
        }
        let unit = if each < 1.0 && (each * window.as_secs_f64() - 1.0).abs() < 1e-9 { "/s" } else { "" };
        let (over, hold) = (format_duration(window), format_duration(rule.hold));
        let summary = format!(
            "{} events are {}{unit} over {over}, and {} fires above {}{unit}: this test cannot fire it",
            self.events,
            tree::tidy((most * 100.0).round() / 100.0),
            rule.name,
            tree::tidy(limit.threshold),
        );
        let keep_on = if rule.hold.is_zero() { String::new() } else { format!(", and keep on for {hold}") };
        let due = tree::tidy(limit.threshold / each).ceil();
        let fix = format!("send more than {due} events within {over}{keep_on}");
        related(report, self.span.clone(), summary, fix, rule);
        true
    }

    fn is_too_short(&self, rule: &RuleView, window: Duration, report: &mut Report<'_>) {
        if rule.hold.is_zero() || self.within + window >= rule.hold {
            return;
        }
        let hold = format_duration(rule.hold);
        let summary = format!(
            "events within {} are seen for {} at most, and {} must hold for {hold}: this test cannot fire it",
            format_duration(self.within),
            format_duration(self.within + window),
            rule.name
        );
        related(report, self.span.clone(), summary, format!("keep sending for {hold}"), rule);
    }
}

/// What stands behind sums and factors, and the factor: of `60 * sum(x)`, `x` and 60.
fn scaled(expr: &Expr) -> (&Expr, f64) {
    let (inner, factor) = match expr {
        Expr::Aggregate(aggregate) if ADDS.contains(&aggregate.op) => (&aggregate.expr, 1.0),
        Expr::Binary(binary) => match (binary.op, tree::number(&binary.left), tree::number(&binary.right)) {
            (Operator::Arithmetic(Arithmetic::Multiply), Some(by), _) => (&binary.right, by),
            (Operator::Arithmetic(Arithmetic::Multiply), _, Some(by)) => (&binary.left, by),
            (Operator::Arithmetic(Arithmetic::Divide), _, Some(by)) => (&binary.left, 1.0 / by),
            _ => return (expr, 1.0),
        },
        _ => return (expr, 1.0),
    };
    let (inner, rest) = scaled(inner);
    (inner, factor * rest)
}

/// Aggregations that give at most what all events together are.
const ADDS: [AggregateOperator; 4] =
    [AggregateOperator::Sum, AggregateOperator::Avg, AggregateOperator::Max, AggregateOperator::Min];

fn related(report: &mut Report<'_>, span: Span, summary: String, fix: String, rule: &RuleView) {
    let problem = report.add(&lints::HAND_TEST_UNREACHABLE, span, summary, fix);
    problem.related.push((rule.name_span.clone(), "the alert".to_owned()));
}

/// Loops of requests in a runbook or script, beside the name of an alert: from heading to heading.
pub(super) fn loops(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let alerts: Vec<&RuleView> = context.all_rules().filter(|rule| rule.is_alert).collect();
    let mut start = 0;
    let is_markdown = source.name.ends_with(".md");
    let mut section: Vec<(usize, &str)> = Vec::new();
    for line in source.text.split_inclusive('\n') {
        if is_markdown && line.starts_with('#') {
            section_of(&section, &alerts, source, findings);
            section.clear();
        }
        section.push((start, line));
        start += line.len();
    }
    section_of(&section, &alerts, source, findings);
}

fn section_of(
    lines: &[(usize, &str)],
    alerts: &[&RuleView],
    source: &Arc<Source>,
    findings: &mut Vec<Finding>,
) {
    let names = |line: &str, name: &str| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
    };
    let named = alerts.iter().filter(|rule| lines.iter().any(|(_, line)| names(line, &rule.name)));
    let sends = lines.iter().any(|(_, line)| ["curl", "ab ", "hey "].iter().any(|tool| line.contains(tool)));
    let Some((at, events)) =
        lines.iter().find_map(|(at, line)| repetitions(line).map(|events| (*at, events)))
    else {
        return;
    };
    let end = at + source.text[at..].lines().next().unwrap_or_default().len();
    for rule in named.filter(|_| sends) {
        let burst = Burst {
            events,
            within: Duration::from_secs(60),
            metric: None,
            span: Span::new(source.clone(), at, end),
        };
        burst.hold_against(rule, &mut Report { findings: &mut *findings, item: None });
    }
}

/// How often a line of shell repeats: `seq 100`, `seq 1 100`, `{1..100}`, `ab -n 100`.
fn repetitions(line: &str) -> Option<f64> {
    let words: Vec<&str> =
        line.split(|c: char| c.is_whitespace() || "()$;`".contains(c)).filter(|w| !w.is_empty()).collect();
    let after = |mark: &str| {
        let at = words.iter().position(|word| *word == mark)?;
        words[at + 1..].iter().map_while(|word| word.parse::<f64>().ok()).last()
    };
    let braces = || line.split_once("{1..")?.1.split_once('}')?.0.parse().ok();
    after("seq").or_else(braces).or_else(|| line.contains("http").then(|| after("-n")).flatten())
}

/// Posts to Alertmanager in any file: scripts, runbooks, comments and texts of rules.
pub(super) fn posts(source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let mut command = 0..0;
    for line in source.text.split_inclusive('\n') {
        command.end += line.len();
        // A command may go on in the next line.
        if !line.trim_end().ends_with('\\') {
            posts_of(&Span::new(source.clone(), command.start, command.end), findings);
            command.start = command.end;
        }
    }
    posts_of(&Span::new(source.clone(), command.start, command.end), findings);
}

/// The interface of Alertmanager that went with version 0.27.
fn posts_of(command: &Span, findings: &mut Vec<Finding>) {
    let words = command.text().to_ascii_lowercase();
    // Prometheus has a path of the same name, to read from; only Alertmanager has silences.
    let marks = [
        "alertmanager",
        ":9093",
        " post ",
        "-xpost",
        "-x post",
        "--data",
        "--post-",
        " -d",
        "--json",
        ".post(",
    ];
    let sends = marks.iter().any(|mark| words.contains(mark));
    for (path, now, is_meant) in [
        ("/api/v1/alerts", "/api/v2/alerts", sends),
        ("/api/v1/silences", "/api/v2/silences", true),
        ("/api/v1/silence/", "/api/v2/silence/", true),
    ] {
        // What goes on, as in `/api/v1/alerts/groups`, is a path of somebody else's, but for a silence's id.
        let is_whole = |at: usize| {
            let rest = &command.text()[at + path.len()..];
            path.ends_with('/') || !rest.starts_with(|c: char| c.is_alphanumeric() || "/_-.".contains(c))
        };
        let found = command.text().match_indices(path).filter(|(at, _)| is_meant && is_whole(*at));
        for (at, _) in found {
            let start = command.start + at;
            let place = Span::new(command.source.clone(), start, start + path.len());
            let summary = "Alertmanager's v1 interface is gone since 0.27: what is sent here never arrives";
            let fix = format!("send it to `{now}`; the body stays the same");
            Report { findings: &mut *findings, item: None }.add(&lints::API_V1, place, summary, fix);
        }
    }
}
