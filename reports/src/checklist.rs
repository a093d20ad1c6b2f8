//! How outcomes are told, the same in all reports.

use crate::record::Outcome;

/// `passed`, `failed`, `no data`, `not judged`.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::NoData => "no data",
        Outcome::NotJudged => "not judged",
    }
}

/// `✓`, `✗`, `?`, `-`.
pub(crate) fn sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "✓",
        Outcome::Failed => "✗",
        Outcome::NoData => "?",
        Outcome::NotJudged => "-",
    }
}
