//! promqltest scripts: load series, evaluate, expect. The format is Prometheus' own.
//!
//! [`Script::read`] reads one, [`Runner`] carries it out over a store of its own and holds every answer against what the
//! script expects. The project's scripts lie in `assertions/tests/*.test`; the example `promqltest` runs any others.
//!
//! Not checked: the texts of `expect fail`, and whether there are annotations (`expect warn`, `expect info` and their
//! opposites), because the evaluator makes none. What needs native histograms, start timestamps or experimental functions
//! is skipped, with the reason ([`Skip`]); nothing else is.

use crate::labels::Labels;
use crate::notation::NotedPoint;
use crate::promql::ast::Dialect;

mod compare;
mod points;
mod read;
mod run;

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
    /// How many annotations (warnings, infos, or their absence) are asked for; none is checked.
    pub annotations: usize,
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
    /// No answer.
    Failure,
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
