//! The text of a test file to tests; every problem at once, each at its place.

use super::values::{moment, number, optional_duration, optional_text, switch};
use super::{AlertCheck, EVALUATION_INTERVAL, ExpectedAlert, InputSeries, QueryCheck, Read, Test, TestFile};
use crate::labels::Labels;
use crate::notation::{self, NotationError};
use crate::promql::ast::{Dialect, Kind};
use crate::promql::parse::{ParseOptions, parse};
use crate::rule::check_keys;
use crate::time::Millis;
use scenarios::problem::{Problem, Severity};
use scenarios::span::{Source, Spanned};
use scenarios::yaml::{self, Node};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const FILE_KEYS: &[&str] =
    &["rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare", "tests"];
const TEST_KEYS: &[&str] = &[
    "name",
    "interval",
    "input_series",
    "alert_rule_test",
    "promql_expr_test",
    "external_labels",
    "external_url",
    "start_timestamp",
];
const SERIES_KEYS: &[&str] = &["series", "values"];
const ALERT_TEST_KEYS: &[&str] = &["eval_time", "alertname", "exp_alerts"];
const ALERT_KEYS: &[&str] = &["exp_labels", "exp_annotations"];
const QUERY_KEYS: &[&str] = &["expr", "eval_time", "exp_samples"];
const SAMPLE_KEYS: &[&str] = &["labels", "value", "histogram"];

/// Most evaluations of one test: more would not end in a time that anybody waits.
const EVALUATIONS_MAX: u128 = 5_000_000;

/// Most points of all series of a file.
const POINTS_MAX: usize = 10_000_000;

/// The label that has the alert's name.
const ALERT_NAME: &str = "alertname";

impl TestFile {
    /// Reads a test file. Errors: all problems, warnings among them, at least one an error.
    pub fn read(source: Arc<Source>, options: ParseOptions) -> Result<Read, Vec<Problem>> {
        let tree = yaml::parse(source)?;
        let mut problems = Vec::new();
        let file = Reader { options, problems: &mut problems, points: 0 }.file(&tree);
        match file {
            Some(file) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
                Ok(Read { file, warnings: problems })
            }
            _ => Err(problems),
        }
    }
}

struct Reader<'p> {
    options: ParseOptions,
    problems: &'p mut Vec<Problem>,
    /// Points of all series so far.
    points: usize,
}

impl Reader<'_> {
    fn file(&mut self, tree: &Node) -> Option<TestFile> {
        let entries = tree.expect_mapping("a map with `rule_files:` and `tests:`", self.problems)?;
        check_keys(entries, FILE_KEYS, "a test file", self.problems);
        let evaluation_interval = optional_duration(tree, "evaluation_interval", self.problems)
            .filter(|interval| !interval.is_zero())
            .unwrap_or(EVALUATION_INTERVAL);
        let group_eval_order = self.texts(tree, "group_eval_order", "the name of a group");
        self.repeated_groups(&group_eval_order);
        let items = self.list(tree, "tests", "a list of tests");
        let tests: Vec<Test> = items.iter().filter_map(|item| self.test(item, evaluation_interval)).collect();
        if items.is_empty() {
            let problem = Problem::error("no tests in the file: it proves nothing", tree.head()).warning();
            self.problems.push(problem.hint("`tests:` is a list of tests"));
        }
        Some(TestFile {
            rule_files: self.texts(tree, "rule_files", "the name of a rule file"),
            evaluation_interval,
            fuzzy_compare: switch(tree, "fuzzy_compare", self.problems),
            group_eval_order,
            tests,
        })
    }

    /// The items under `key`; none if there is no such key.
    fn list<'n>(&mut self, node: &'n Node, key: &str, wanted: &str) -> &'n [Node] {
        match node.get(key).filter(|list| !list.is_null()) {
            Some(list) => list.expect_sequence(wanted, self.problems).unwrap_or_default(),
            None => &[],
        }
    }

    fn texts(&mut self, node: &Node, key: &str, what: &str) -> Vec<Spanned<String>> {
        let wanted = format!("a list for `{key}`");
        let items = self.list(node, key, &wanted);
        let text = |item: &Node| {
            let text = item.expect_text(what, self.problems)?;
            Some(Spanned::at(text.to_string(), item.head()))
        };
        items.iter().filter_map(text).collect()
    }

    fn repeated_groups(&mut self, names: &[Spanned<String>]) {
        let mut seen = BTreeSet::new();
        for name in names.iter().filter(|name| !seen.insert(name.value.as_str())) {
            let Some(span) = name.span.clone() else { continue };
            let problem = Problem::error(format!("group `{}` stands twice in the order", name.value), span);
            self.problems.push(problem.hint("name each group once"));
        }
    }

    fn test(&mut self, node: &Node, evaluation_interval: Duration) -> Option<Test> {
        let entries = node.expect_mapping("a test", self.problems)?;
        check_keys(entries, TEST_KEYS, "a test", self.problems);
        let series = self.list(node, "input_series", "a list of series");
        let series: Vec<InputSeries> = series.iter().filter_map(|item| self.series(item)).collect();
        let interval = self.interval(node, &series, evaluation_interval);
        self.repeated_series(&series);
        let alerts = self.list(node, "alert_rule_test", "a list of alert checks");
        let alerts: Vec<AlertCheck> = alerts.iter().filter_map(|item| self.alert_check(item)).collect();
        let queries = self.list(node, "promql_expr_test", "a list of query checks");
        let queries: Vec<QueryCheck> = queries.iter().filter_map(|item| self.query_check(item)).collect();
        let start = match node.get("start_timestamp").filter(|value| !value.is_null()) {
            Some(value) => moment(value, self.problems).unwrap_or_default(),
            None => Millis(0),
        };
        let test = Test {
            span: node.head(),
            name: optional_text(node, "name", self.problems),
            interval,
            start,
            series,
            alerts,
            queries,
            external_labels: Labels::from_pairs(self.text_map(node, "external_labels")),
            external_url: optional_text(node, "external_url", self.problems).unwrap_or_default(),
        };
        self.check_length(&test, node, evaluation_interval);
        Some(test)
    }

    /// The distance of points. Prometheus 2.42 takes none for zero, and of points at one time the first counts.
    fn interval(&mut self, node: &Node, series: &[InputSeries], evaluation_interval: Duration) -> Duration {
        let given = optional_duration(node, "interval", self.problems).filter(|interval| !interval.is_zero());
        if self.options.dialect == Dialect::V3 || given.is_some() {
            return given.unwrap_or(evaluation_interval);
        }
        let points = series.iter().map(|series| series.points.as_ref().map_or(0, Vec::len));
        if points.max().unwrap_or(0) > 1 {
            let summary = "without `interval` all points are at the start, and only the first counts";
            let problem = Problem::error(summary, node.head()).warning();
            self.problems
                .push(problem.hint("write `interval: 1m`; in Prometheus 3 it is the evaluations' interval"));
        }
        Duration::ZERO
    }

    fn check_length(&mut self, test: &Test, node: &Node, evaluation_interval: Duration) {
        let evaluations = test.length().as_millis() / evaluation_interval.as_millis().max(1);
        if evaluations > EVALUATIONS_MAX {
            let summary = format!("the test has {evaluations} evaluations, more than {EVALUATIONS_MAX}");
            let problem = Problem::error(summary, node.head());
            self.problems.push(problem.hint("an earlier `eval_time`, or a longer `evaluation_interval`"));
        }
        if test.alerts.is_empty() && test.queries.is_empty() {
            let problem = Problem::error("the test checks nothing", node.head()).warning();
            self.problems.push(problem.hint("`alert_rule_test:` and `promql_expr_test:` say what must be"));
        }
    }

    fn series(&mut self, node: &Node) -> Option<InputSeries> {
        let entries = node.expect_mapping("a series", self.problems)?;
        check_keys(entries, SERIES_KEYS, "a series", self.problems);
        let labels = match node.get("series") {
            Some(series) => {
                let text = series.expect_text("a series such as `up{job=\"x\"}`", self.problems)?;
                let labels = notation::labels(text).map_err(|error| error.to_string());
                self.notated(labels, series, "as in `up{job=\"x\", instance=\"y\"}`")
            }
            None => self.missing(node, "a series", "series"),
        };
        let points = match node.get("values").filter(|values| !values.is_null()) {
            Some(values) => self.points(values),
            None => Some(Some(Vec::new())),
        };
        Some(InputSeries { span: node.head(), labels: labels?, points: points? })
    }

    /// The points of a series; inside, `None` for native histograms.
    fn points(&mut self, values: &Node) -> Option<Option<Vec<notation::NotedPoint>>> {
        let text = values.expect_text("points such as `0+10x5 _ stale`", self.problems)?;
        if self.points > POINTS_MAX {
            // Said once, where it began.
            return None;
        }
        match notation::points(text) {
            Ok(points) => {
                self.points += points.len();
                if self.points > POINTS_MAX {
                    let summary = format!("the series of this file have more than {POINTS_MAX} points");
                    let problem = Problem::error(summary, values.head());
                    self.problems.push(problem.hint("a longer `interval`, or several files"));
                    return None;
                }
                Some(Some(points))
            }
            Err(NotationError::NativeHistogram(_)) => {
                let summary = "native histograms are not supported: the series is left out";
                let problem = Problem::error(summary, values.head()).warning();
                self.problems.push(problem.hint("checks that ask for it by name are not judged"));
                Some(None)
            }
            Err(error) => {
                let span = notation::place(text, &error).map(|range| values.span_within(range));
                let problem = Problem::error(error.to_string(), span.unwrap_or_else(|| values.head()));
                self.problems.push(
                    problem.hint(
                        "points are `1`, `_`, `stale`, `1x4`, `0+10x5` or `5-1x3`, a blank between them",
                    ),
                );
                None
            }
        }
    }

    fn notated<T>(&mut self, read: Result<T, String>, node: &Node, hint: &str) -> Option<T> {
        read.map_err(|summary| self.problems.push(Problem::error(summary, node.head()).hint(hint))).ok()
    }

    fn missing<T>(&mut self, node: &Node, what: &str, key: &str) -> Option<T> {
        self.problems.push(Problem::error(format!("{what} has no `{key}`"), node.head()));
        None
    }

    fn repeated_series(&mut self, series: &[InputSeries]) {
        let mut seen: BTreeMap<&Labels, &InputSeries> = BTreeMap::new();
        for one in series {
            let Some(first) = seen.insert(&one.labels, one) else { continue };
            let summary = format!("the series {} stands twice: the later one counts", one.labels);
            let problem = Problem::error(summary, one.span.clone()).warning();
            self.problems.push(problem.related(first.span.clone(), "first here").hint("remove one"));
        }
    }

    fn alert_check(&mut self, node: &Node) -> Option<AlertCheck> {
        let entries = node.expect_mapping("a check with `eval_time:` and `alertname:`", self.problems)?;
        check_keys(entries, ALERT_TEST_KEYS, "an alert check", self.problems);
        let eval_time = optional_duration(node, "eval_time", self.problems).unwrap_or_default();
        let name = match node.get("alertname").filter(|name| !name.is_null()) {
            Some(name) => {
                let text = name.expect_text("the alert's name", self.problems)?.to_string();
                Some(Spanned::at(text, name.head()))
            }
            None => self.missing(node, "an alert check", "alertname"),
        };
        let items = self.list(node, "exp_alerts", "a list of alerts");
        let name = name?;
        let expected = items.iter().filter_map(|item| self.expected_alert(item, &name.value)).collect();
        Some(AlertCheck { span: node.head(), eval_time, alertname: name, expected })
    }

    fn expected_alert(&mut self, node: &Node, name: &str) -> Option<ExpectedAlert> {
        if !node.is_null() {
            let entries = node.expect_mapping("an alert with `exp_labels:`", self.problems)?;
            check_keys(entries, ALERT_KEYS, "an expected alert", self.problems);
        }
        let labels = self.text_map(node, "exp_labels");
        let labels = labels.into_iter().chain([(ALERT_NAME.to_string(), name.to_string())]);
        let annotations = self.text_map(node, "exp_annotations").into_iter().collect();
        Some(ExpectedAlert { labels: Labels::from_pairs(labels), annotations })
    }

    fn text_map(&mut self, node: &Node, key: &str) -> Vec<(String, String)> {
        let Some(map) = node.get(key).filter(|map| !map.is_null()) else { return Vec::new() };
        let wanted = format!("a map for `{key}`");
        let Some(entries) = map.expect_mapping(&wanted, self.problems) else { return Vec::new() };
        let mut pairs = Vec::new();
        for (name, value) in entries {
            let text = match value.is_null() {
                true => Some(""),
                false => value.expect_text("text", self.problems),
            };
            pairs.extend(text.map(|text| (name.text.clone(), text.to_string())));
        }
        pairs
    }

    fn query_check(&mut self, node: &Node) -> Option<QueryCheck> {
        let entries = node.expect_mapping("a check with `expr:` and `eval_time:`", self.problems)?;
        check_keys(entries, QUERY_KEYS, "a query check", self.problems);
        let eval_time = optional_duration(node, "eval_time", self.problems).unwrap_or_default();
        let Some(value) = node.get("expr") else { return self.missing(node, "a query check", "expr") };
        let text = value.expect_text("a PromQL expression", self.problems)?.to_string();
        let samples = self.list(node, "exp_samples", "a list of samples");
        let mut expected = Some(Vec::new());
        for item in samples {
            match (self.sample(item), &mut expected) {
                (Some(Some(sample)), Some(expected)) => expected.push(sample),
                (Some(None), _) => expected = None,
                _ => {}
            }
        }
        let expr = match parse(&text, self.options) {
            Ok(expr) if matches!(expr.kind(), Kind::Scalar | Kind::Vector) => expr,
            Ok(_) => {
                let summary = "the answer is neither a vector nor a number";
                let problem = Problem::error(summary, value.span.clone());
                self.problems.push(problem.hint("only vectors and numbers can be compared"));
                return None;
            }
            Err(error) => {
                let summary = format!("{} in the expression", error.summary);
                let mut problem = Problem::error(summary, value.span_within(error.range));
                problem.hint = error.hint;
                self.problems.push(problem);
                return None;
            }
        };
        let text = Spanned::at(text, value.span.clone());
        Some(QueryCheck { span: node.head(), text, expr, eval_time, expected })
    }

    /// A sample; inside, `None` for a native histogram.
    fn sample(&mut self, node: &Node) -> Option<Option<(Labels, f64)>> {
        let entries = node.expect_mapping("a sample with `labels:` and `value:`", self.problems)?;
        check_keys(entries, SAMPLE_KEYS, "a sample", self.problems);
        if node.get("histogram").is_some_and(|histogram| !histogram.is_null()) {
            return Some(None);
        }
        let labels = match node.get("labels").filter(|labels| !labels.is_null()) {
            Some(labels) => {
                let text = labels.expect_text("labels such as `{job=\"x\"}`", self.problems)?;
                let read = match text.trim() {
                    "" => Ok(Labels::default()),
                    _ => notation::labels(text).map_err(|error| error.to_string()),
                };
                self.notated(read, labels, "as in `{job=\"x\"}` or `name{job=\"x\"}`, in quotes")
            }
            None => Some(Labels::default()),
        };
        let value = match node.get("value").filter(|value| !value.is_null()) {
            Some(value) => number(value, self.problems),
            None => Some(0.0),
        };
        Some(Some((labels?, value?)))
    }
}

impl Test {
    /// The time of its last check.
    pub fn length(&self) -> Duration {
        let alerts = self.alerts.iter().map(|check| check.eval_time);
        let queries = self.queries.iter().map(|check| check.eval_time);
        alerts.chain(queries).max().unwrap_or_default()
    }
}
