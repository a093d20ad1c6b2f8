//! promqltest scripts: load series, evaluate, expect. The format is Prometheus' own.
//!
//! [`Script::read`] reads one, [`Runner`] carries it out over a store of its own and holds every answer against what the
//! script expects. The project's scripts lie in `assertions/tests/*.test`; the example `promqltest` runs any others.
//!
//! Values, warnings, infos and the texts of failures are judged. What needs native histograms, start timestamps or experimental
//! functions is skipped, with the reason ([`Skip`]); nothing else is. Of a case that has native histograms beside its answer, the
//! warnings and infos are about those: they are counted ([`Case::unchecked`]), not judged.

use crate::labels::Labels;
use crate::notation::NotedPoint;
use crate::promql::ast::Dialect;
use regex::Regex;

mod compare;
mod points;
mod read;
mod run;
mod wording;

pub use run::{Case, Outcome, Runner, Skip};

/// A script as read.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// In the order written.
    pub commands: Vec<Command>,
}

/// A step of a script.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its line, from 1.
    pub line: usize,
    /// The line itself, without the white space around it.
    pub head: String,
    /// What to do.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Empties the store.
    Clear,
    /// Adds samples to the store.
    Load(Load),
    /// Asks, and compares the answer.
    Eval(Box<Eval>),
}

/// Samples to add: of a series named twice the last line counts.
#[derive(Debug, Clone)]
pub struct Load {
    /// Distance of the points, ms; the first is at 0.
    pub step: i64,
    /// Whether native histograms are to be made of the classic ones, too.
    pub with_native: bool,
    /// The series.
    pub series: Vec<LoadedSeries>,
}

/// A series of a [`Load`].
#[derive(Debug, Clone)]
pub struct LoadedSeries {
    /// All labels.
    pub labels: Labels,
    /// One step apart; a native histogram is a stale marker.
    pub points: Vec<NotedPoint>,
    /// Why its samples are not all here.
    pub lacks: Option<Skip>,
}

/// A query, its times, and the answer wanted.
#[derive(Debug, Clone)]
pub struct Eval {
    /// The expression.
    pub query: String,
    /// When it is asked.
    pub times: Times,
    /// The answer.
    pub expected: Expected,
    /// Whether the elements must come in the order written.
    pub ordered: bool,
    /// The warnings wanted.
    pub warnings: Wanted,
    /// The infos wanted.
    pub infos: Wanted,
}

/// What is wanted of the warnings of an answer, or of its infos; by default nothing.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// There must be none.
    pub none: bool,
    /// There must be one of each, and no others, if any is named.
    pub texts: Vec<Wording>,
}

/// What a text must be.
#[derive(Debug, Clone)]
pub enum Wording {
    /// Any.
    Any,
    /// This.
    Exactly(String),
    /// One in which this is found.
    Matching(Regex),
}

/// Why a query has no answer.
#[derive(Debug, Clone)]
struct ScriptFailure {
    /// In our words.
    text: String,
    /// In Prometheus', where they are known.
    in_prometheus: Option<String>,
}

/// When a query is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Instant(i64),
    /// At each step, both ends included.
    Range(Grid),
}

/// Evenly spaced moments, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// The first.
    pub start: i64,
    /// None lies beyond.
    pub end: i64,
    /// Their distance, above 0.
    pub step: i64,
}

/// The answer wanted.
#[derive(Debug, Clone)]
pub enum Expected {
    /// No answer, for this reason.
    Failure(Wording),
    /// One number.
    Scalar(f64),
    /// One string.
    Text(String),
    /// One value each, of an instant query; one per step, of a range query.
    Elements(Vec<(Labels, Vec<NotedPoint>)>),
    /// The samples of a range, at the moments of a grid.
    Samples(Grid, Vec<(Labels, Vec<NotedPoint>)>),
    /// Something with a native histogram in it.
    Native,
}

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong in it.
    pub what: String,
}

/// The dialect that a script's name asks for: `x.v2.test` is of Prometheus 2 only, `x.v3.test` of 3 only.
pub fn dialect_of(file_name: &str) -> Option<Dialect> {
    let stem = file_name.strip_suffix(".test").unwrap_or(file_name);
    match stem.rsplit_once('.') {
        Some((_, "v2")) => Some(Dialect::V2),
        Some((_, "v3")) => Some(Dialect::V3),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
