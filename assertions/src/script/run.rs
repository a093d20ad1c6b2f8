//! Carrying a script out: a store, filled and asked.

use super::compare::{self, Answers};
use super::wording::wrong_annotations;
use super::{Action, Eval, Expected, Grid, Load, Script, ScriptFailure, Times};
use crate::labels::Labels;
use crate::promql::annotation::Annotations;
use crate::promql::ast::{Dialect, Expr, Kind, Selector};
use crate::promql::eval::{Query, Settings};
use crate::promql::parse::{ParseOptions, parse};
use crate::promql::selection;
use crate::store::{METRIC_NAME, Store};
use crate::time::Millis;
use std::collections::BTreeMap;

/// Functions whose only use is a native histogram.
const NATIVE_FUNCTIONS: [&str; 5] =
    ["histogram_avg", "histogram_count", "histogram_sum", "histogram_stddev", "histogram_stdvar"];
/// What Prometheus has behind a flag, and the parser therefore refuses.
const EXPERIMENTAL: [&str; 9] =
    ["info", "limitk", "limit_ratio", "fill", "fill_left", "fill_right", "smoothed", "anchored", "integral"];

/// Why a case is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// Its samples, its answer or its function is a native histogram's.
    NativeHistogram,
    /// It depends on when counters were created, which is stored behind a flag.
    StartTimestamp,
    /// It has a function or notation that Prometheus has behind a flag.
    Experimental,
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Skip::NativeHistogram => "native histograms",
            Skip::StartTimestamp => "start timestamps",
            Skip::Experimental => "experimental functions",
        })
    }
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The answer is the one wanted.
    Passed,
    /// It was not judged.
    Skipped(Skip),
    /// The answer is another.
    Failed {
        /// The answer wanted, in the script's notation.
        expected: String,
        /// The answer given.
        got: String,
    },
}

/// A case, and how it ended.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its line, from 1.
    pub line: usize,
    /// The line.
    pub head: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Warnings and infos that it asks for, or asks not to be there, and that were not judged.
    pub unchecked: usize,
}

/// A store, and the script's dialect.
#[derive(Debug, Clone)]
pub struct Runner {
    dialect: Dialect,
    store: Store,
    /// Series whose samples are not all in the store.
    lacking: Vec<(Labels, Skip)>,
}

impl Runner {
    /// With an empty store.
    pub fn new(dialect: Dialect) -> Runner {
        Runner { dialect, store: Store::new(), lacking: Vec::new() }
    }

    /// Carries a script out; one case for each eval.
    pub fn run(&mut self, script: &Script) -> Vec<Case> {
        let mut cases = Vec::new();
        for command in &script.commands {
            match &command.action {
                Action::Clear => *self = Runner::new(self.dialect),
                Action::Load(load) => self.load(load),
                Action::Eval(eval) => {
                    let (outcome, unchecked) = self.judge(eval);
                    cases.push(Case { line: command.line, head: command.head.clone(), outcome, unchecked });
                }
            }
        }
        cases
    }

    fn load(&mut self, load: &Load) {
        // Of a series that is named twice in one load the later line counts.
        let last: BTreeMap<&Labels, usize> =
            load.series.iter().enumerate().map(|(index, series)| (&series.labels, index)).collect();
        let mut order: Vec<usize> = last.into_values().collect();
        order.sort_unstable();
        for series in order.into_iter().map(|index| &load.series[index]) {
            for (index, value) in series.points.iter().enumerate() {
                let Some(value) = value else { continue };
                // A second load may go on with a series; what it repeats of the past is refused, as Prometheus does.
                let _refused =
                    self.store.append(&series.labels, Millis(load.step.saturating_mul(index as i64)), *value);
            }
            self.lacking.extend(series.lacks.map(|skip| (series.labels.clone(), skip)));
            if load.with_native {
                self.lacking
                    .extend(native_twin(&series.labels).map(|labels| (labels, Skip::NativeHistogram)));
            }
        }
    }

    /// How a case ended, and how many of its annotations were not judged.
    fn judge(&self, eval: &Eval) -> (Outcome, usize) {
        let asked = eval.warnings.count() + eval.infos.count();
        let options = ParseOptions { dialect: self.dialect, experimental: true };
        let parsed = parse(&eval.query, options);
        let skip = self.reason_to_skip(eval, parsed.as_ref().ok());
        // A case that meets what the store cannot hold may still have the right answer, as one that leaves it out.
        if matches!(eval.expected, Expected::Native) {
            return (Outcome::Skipped(Skip::NativeHistogram), 0);
        }
        let annotations = Annotations::default();
        let answers = parsed
            .map_err(|error| ScriptFailure::of_parse(&error, &eval.query))
            .and_then(|expr| self.answers(&expr, eval.times, &annotations));
        let outcome = compare::judge(eval, answers.as_ref());
        let found = annotations.texts(&eval.query);
        match (outcome, wrong_annotations(&eval.warnings, &eval.infos, &found), skip) {
            (Outcome::Failed { .. }, _, Some(skip)) => (Outcome::Skipped(skip), 0),
            (Outcome::Passed, Some((expected, got)), None) if answers.is_ok() => {
                (Outcome::Failed { expected, got }, 0)
            }
            (Outcome::Passed, Some(_), Some(_)) => (Outcome::Passed, asked),
            (outcome, ..) => (outcome, 0),
        }
    }

    /// Why a wrong answer would prove nothing.
    fn reason_to_skip(&self, eval: &Eval, expr: Option<&Expr>) -> Option<Skip> {
        let calls = |names: &[&str]| names.iter().any(|name| calls(&eval.query, name));
        if calls(&NATIVE_FUNCTIONS) {
            return Some(Skip::NativeHistogram);
        }
        let Some(expr) = expr else {
            return (calls(&EXPERIMENTAL) || computes_duration(&eval.query)).then_some(Skip::Experimental);
        };
        let selectors = selection::windows(expr).selectors;
        let lacking = self.lacking.iter().find(|(labels, _)| selectors.iter().any(|s| selects(s, labels)));
        lacking.map(|(_, skip)| *skip)
    }

    /// The answer at each moment.
    fn answers(
        &self,
        expr: &Expr,
        times: Times,
        annotations: &Annotations,
    ) -> Result<Answers, ScriptFailure> {
        let settings = Settings {
            dialect: self.dialect,
            // Prometheus 3 has it as an option, and its own scripts are written for it.
            delayed_names: self.dialect == Dialect::V3,
            ..Settings::default()
        };
        let (grid, is_range) = match times {
            Times::Instant(at) => (Grid { start: at, end: at, step: 1 }, false),
            Times::Range(grid) => (grid, true),
        };
        if is_range && matches!(expr.kind(), Kind::Matrix | Kind::Text) {
            return Err(ScriptFailure::new("a range query must be of a vector or a number".into()));
        }
        let query = Query {
            store: &self.store,
            settings,
            start: Millis(grid.start),
            end: Millis(grid.end),
            step: if is_range { grid.step } else { 0 },
            first: Millis(grid.start),
            annotations: Some(annotations),
        };
        let at_each = grid.moments().map(|at| {
            let value = query.evaluate(expr, Millis(at)).map_err(|error| ScriptFailure::of_eval(&error))?;
            Ok((at, value))
        });
        Ok(Answers { grid, is_range, values: at_each.collect::<Result<_, ScriptFailure>>()? })
    }
}

impl Grid {
    /// Its moments, in order.
    pub(super) fn moments(self) -> impl Iterator<Item = i64> {
        (self.start..=self.end).step_by(usize::try_from(self.step).unwrap_or(usize::MAX))
    }
}

/// The native histogram that `load_with_nhcb` makes of a classic one.
fn native_twin(labels: &Labels) -> Option<Labels> {
    let name = labels.get(METRIC_NAME);
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix))?;
    Some(labels.filter(|label| label != "le").with(METRIC_NAME, base))
}

fn selects(selector: &Selector, labels: &Labels) -> bool {
    let named = selector.name.as_ref().is_none_or(|name| **name == *labels.get(METRIC_NAME));
    named && selector.matchers.iter().all(|matcher| matcher.matches(labels))
}

/// Whether a word stands in a query, outside its strings.
fn calls(query: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    outside_strings(query).split(|c: char| !is_word(c)).any(|word| word == name)
}

/// Whether a duration is computed, as in `[5m * 2]`: experimental in Prometheus.
fn computes_duration(query: &str) -> bool {
    let bare = outside_strings(query);
    let in_brackets = |part: &str| {
        part.split(']').next().is_some_and(|range| range.contains(['+', '*', '/', '(', '-', '%', '^']))
    };
    bare.split('[').skip(1).any(in_brackets) || bare.contains("offset (") || bare.contains("offset -(")
}

/// A query with its strings emptied.
fn outside_strings(query: &str) -> String {
    let mut bare = String::with_capacity(query.len());
    let mut open = None;
    let mut escaped = false;
    for c in query.chars() {
        match open {
            Some(_) if escaped => escaped = false,
            Some(quote) if quote != '`' && c == '\\' => escaped = true,
            Some(quote) if c == quote => open = None,
            Some(_) => {}
            None => {
                open = matches!(c, '"' | '\'' | '`').then_some(c);
                bare.push(if open.is_some() { ' ' } else { c });
            }
        }
    }
    bare
}
