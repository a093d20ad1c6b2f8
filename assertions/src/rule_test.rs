//! Rule unit test files, as `promtool test rules` has them: input series, and what alerts and queries must answer.
//!
//! Start at [`TestFile::read`] and [`run::run`]. A file is taken as written for promtool: the same keys, the same
//! notation, the same verdicts. What is beyond the evaluator (native histograms) is not judged, and said so with its
//! place. It reads no file: the caller expands [`TestFile::rule_files`] and loads the rules.

use crate::labels::Labels;
use crate::notation::NotedPoint;
use crate::promql::ast::Expr;
use crate::rule::RuleSet;
use crate::time::Millis;
use regex::Regex;
use scenarios::problem::{Problem, nearest};
use scenarios::span::{Span, Spanned};
use std::collections::BTreeMap;
use std::time::Duration;

pub mod glob;
pub mod run;

mod difference;
mod reader;
mod values;

/// How often rules are evaluated in a file that does not say.
pub const EVALUATION_INTERVAL: Duration = Duration::from_secs(60);

/// A test file.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// Patterns of the rule files, relative to the test file.
    pub rule_files: Vec<Spanned<String>>,
    /// How often all groups are evaluated.
    pub evaluation_interval: Duration,
    /// Whether values that differ in the last bit are the same.
    pub fuzzy_compare: bool,
    /// Names of groups in the order of their evaluation.
    pub group_eval_order: Vec<Spanned<String>>,
    /// The tests.
    pub tests: Vec<Test>,
}

/// Series, and what rules make of them.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its place.
    pub span: Span,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Distance of the input's points.
    pub interval: Duration,
    /// When it begins.
    pub start: Millis,
    /// What is scraped.
    pub series: Vec<InputSeries>,
    /// What alerts must fire.
    pub alerts: Vec<AlertCheck>,
    /// What queries must answer.
    pub queries: Vec<QueryCheck>,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$externalURL`.
    pub external_url: String,
}

/// A series and its points, one interval apart.
#[derive(Debug, Clone)]
pub struct InputSeries {
    /// Its place.
    pub span: Span,
    /// All its labels.
    pub labels: Labels,
    /// Its points; `None`: native histograms, which cannot be evaluated.
    pub points: Option<Vec<NotedPoint>>,
}

/// Which alerts of a name must fire.
#[derive(Debug, Clone)]
pub struct AlertCheck {
    /// Its place.
    pub span: Span,
    /// When, since the test's start.
    pub eval_time: Duration,
    /// The alerts' name.
    pub alertname: Spanned<String>,
    /// The alerts, all of them.
    pub expected: Vec<ExpectedAlert>,
}

/// An alert that must fire.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExpectedAlert {
    /// Its labels, `alertname` included; an empty value is no label.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a query must answer.
#[derive(Debug, Clone)]
pub struct QueryCheck {
    /// Its place.
    pub span: Span,
    /// The query as written.
    pub text: Spanned<String>,
    /// The query.
    pub expr: Expr,
    /// When, since the test's start.
    pub eval_time: Duration,
    /// The samples, all of them; `None`: native histograms, which cannot be judged.
    pub expected: Option<Vec<(Labels, f64)>>,
}

/// Which tests are run.
#[derive(Debug, Clone, Default)]
pub struct Filter(Option<Regex>);

impl Filter {
    /// Tests whose name the pattern matches anywhere; without one all tests. Errors: not a regular expression.
    pub fn new(pattern: Option<&str>) -> Result<Filter, regex::Error> {
        pattern.map(Regex::new).transpose().map(Filter)
    }

    /// Whether a test is run.
    pub fn wants(&self, test: &Test) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(test.name.as_deref().unwrap_or_default()))
    }
}

/// A file that could be read, and what its author should know.
#[derive(Debug, Clone)]
pub struct Read {
    /// The file.
    pub file: TestFile,
    /// Warnings.
    pub warnings: Vec<Problem>,
}

impl TestFile {
    /// Warnings about groups and alerts that no rule has: what is checked of them holds by accident.
    pub fn unknown_names(&self, rules: &RuleSet) -> Vec<Problem> {
        let alerts: Vec<&str> = rules.alerts().map(|(_, alert)| alert.name.value.as_str()).collect();
        let groups: Vec<&str> = rules.groups.iter().map(|group| group.name.value.as_str()).collect();
        let checked = self.tests.iter().flat_map(|test| &test.alerts).map(|check| &check.alertname);
        let mut problems: Vec<Problem> =
            checked.filter_map(|name| unknown(name, &alerts, "no rule makes an alert")).collect();
        let ordered = self.group_eval_order.iter();
        problems.extend(ordered.filter_map(|name| unknown(name, &groups, "no rule file has a group")));
        problems
    }
}

fn unknown(name: &Spanned<String>, known: &[&str], what: &str) -> Option<Problem> {
    if known.contains(&name.value.as_str()) {
        return None;
    }
    let problem = Problem::error(format!("{what} `{}`", name.value), name.span.clone()?).warning();
    Some(match nearest(&name.value, known.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint("nothing can be found of it"),
    })
}

#[cfg(test)]
mod tests;
