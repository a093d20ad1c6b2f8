//! Tests of alerts: promtool's unit tests, tests that people do by hand, and the runbooks that tell them how.
//!
//! A file of hand tests has `hand_tests:`, a list of `{alert, metric, events, within, post}`: so many events on the counter
//! within that time should fire the alert.

use super::lints;
use super::rules::{RuleView, extent};
use super::tree::{self, Limit};
use super::{Context, Finding, Metrics, Report, alerts, promql, quantiles};
use crate::duration;
use crate::promql::ast::Expr;
use crate::promql::function::RangeFunction;
use scenarios::problem::{Problem, nearest};
use scenarios::span::{Source, Span};
use scenarios::units::format_duration;
use scenarios::yaml::{self, Node};
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

/// promtool's unit tests: alerts that no rule makes pass for silent, and buckets of their own prove nothing.
pub(super) fn rule_tests(context: &Context<'_>, source: &Arc<Source>, findings: &mut Vec<Finding>) {
    let Some(tree) = read(source, findings) else { return };
    let is_given = |file: &str| {
        let file = file.trim_start_matches(['.', '/']);
        context.all_rules().any(|rule| rule.name_span.source.name.ends_with(file))
    };
    // An alert may be one of a rule file that is not checked with it.
    let has_all_rules = list(&tree, "rule_files").iter().filter_map(Node::text).all(is_given);
    for test in list(&tree, "tests") {
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
    for test in list(&tree, "hand_tests") {
        let mut report = Report { findings: &mut *findings, item: Some(extent(test)) };
        for (key, _) in test.entries().filter(|(key, _)| !HAND_TEST_KEYS.contains(&key.text.as_str())) {
            let problem =
                Problem::error(format!("unknown key `{}` in a hand test", key.text), key.span.clone());
            report.adopt(&lints::TEST_INVALID, problem.hint(format!("known: {}", HAND_TEST_KEYS.join(", "))));
        }
        let rule = test
            .get("alert")
            .and_then(|name| known_alert(context, name, "is done by hand tests nothing", &mut report));
        if let Some(rule) = rule {
            reach(test, rule, &mut report);
        }
    }
}

fn number(node: &Node, report: &mut Report<'_>) -> Option<f64> {
    let read = node.text().and_then(|text| text.parse::<f64>().ok()).filter(|number| *number >= 0.0);
    if read.is_none() {
        let problem = Problem::error("the number of events is due here", node.head());
        report.adopt(&lints::TEST_INVALID, problem.hint("write for example `events: 100`"));
    }
    read
}

/// A test by hand: so many events within that time.
struct Burst<'t> {
    events: f64,
    within: Duration,
    /// The counter they are counted on; `None`: whichever the alert asks for.
    metric: Option<&'t str>,
    span: Span,
}

fn reach(test: &Node, rule: &RuleView, report: &mut Report<'_>) -> Option<()> {
    let node = test.get("events")?;
    let within = test.get("within").and_then(Node::text).and_then(duration::parse).unwrap_or(Duration::ZERO);
    let metric = test.get("metric").and_then(Node::text);
    let burst = Burst { events: number(node, report)?, within, metric, span: node.head() };
    burst.hold_against(rule, report);
    Some(())
}

impl Burst<'_> {
    /// The most that it makes of the alert's rates and increases, against their thresholds.
    fn hold_against(&self, rule: &RuleView, report: &mut Report<'_>) {
        let limits = rule.expr.iter().flat_map(|expression| tree::deciding_limits(&expression.full));
        for limit in limits.filter(Limit::is_upper) {
            let inner = match limit.value {
                Expr::Aggregate(aggregate) => &aggregate.expr,
                value => value,
            };
            let Some((function, arguments)) = tree::range_call(inner) else { continue };
            let Some((selector, window)) = arguments.first().and_then(tree::range) else { continue };
            let is_other = self.metric.is_some_and(|wanted| selector.name.as_deref() != Some(wanted));
            if alerts::is_rate(function) && !is_other {
                let per_second = function != RangeFunction::Increase;
                self.hold_against_rate(rule, limit.threshold, promql::millis(window), per_second, report);
            }
        }
    }

    fn hold_against_rate(
        &self,
        rule: &RuleView,
        threshold: f64,
        window: Duration,
        per_second: bool,
        report: &mut Report<'_>,
    ) {
        let seconds = if per_second { window.as_secs_f64() } else { 1.0 };
        let unit = if per_second { "/s" } else { "" };
        let most = self.events / seconds;
        let (over, hold) = (format_duration(window), format_duration(rule.hold));
        if most <= threshold {
            let summary = format!(
                "{} events are {}{unit} over {over}, and {} fires above {threshold}{unit}: this test cannot fire it",
                self.events,
                (most * 100.0).round() / 100.0,
                rule.name
            );
            let keep_on =
                if rule.hold.is_zero() { String::new() } else { format!(", and keep on for {hold}") };
            let fix = format!("send more than {} events within {over}{keep_on}", threshold * seconds);
            related(report, self.span.clone(), summary, fix, rule);
        } else if !rule.hold.is_zero() && self.within + window < rule.hold {
            let summary = format!(
                "events within {} are seen for {} at most, and {} must hold for {hold}: this test cannot fire it",
                format_duration(self.within),
                format_duration(self.within + window),
                rule.name
            );
            related(report, self.span.clone(), summary, format!("keep sending for {hold}"), rule);
        }
    }
}

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
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let mut report = Report { findings: &mut *findings, item: None };
        let words = line.to_ascii_lowercase();
        // Prometheus has a path of the same name, to read from.
        let marks = ["alertmanager", ":9093", " post ", "-xpost", "-x post", "curl -d", "--data"];
        if marks.iter().any(|mark| words.contains(mark)) {
            api_v1(&Span::new(source.clone(), start, start + line.trim_end().len()), &mut report);
        }
        start += line.len();
    }
}

/// The interface of Alertmanager that went with version 0.27.
fn api_v1(span: &Span, report: &mut Report<'_>) {
    for (at, path) in span.text().match_indices("/api/v1/alerts") {
        let place = Span::new(span.source.clone(), span.start + at, span.start + at + path.len());
        let summary =
            "Alertmanager's v1 interface is gone since 0.27: the alert that is posted here never arrives";
        report.add(&lints::API_V1, place, summary, "post to `/api/v2/alerts`; the body stays the same");
    }
}
