//! Prometheus' notation for test series: `metric{label="x"} 0+10x100 _ 5 stale`.
//!
//! Shared by everything that reads promqltest scripts or rule unit tests. Points lie one step apart.

use crate::labels::Labels;
use crate::promql::ast::{Dialect, Expr, MatchOp};
use crate::promql::literal;
use crate::promql::parse::{ParseOptions, parse};
use crate::series::stale_marker;
use crate::store::METRIC_NAME;
use std::ops::Range;

/// Most points one series may have.
pub(crate) const POINTS_MAX: usize = 2_000_000;

/// A point: a value (perhaps the stale marker), or `None` for a missing sample.
pub type NotedPoint = Option<f64>;

/// Why a notation cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The part before the points is not a metric with labels.
    #[error("`{0}` is not a series")]
    Series(String),
    /// One of the points is none.
    #[error("`{0}` is not a point")]
    Point(String),
    /// A native histogram, which is not supported.
    #[error("native histograms are not supported: `{0}`")]
    NativeHistogram(String),
    /// More points than memory is worth.
    #[error("more than {POINTS_MAX} points")]
    TooMany,
}

/// The labels of `metric{label="x"}` or `{label="x"}`; the metric's name is the label `__name__`.
pub fn labels(text: &str) -> Result<Labels, NotationError> {
    let wrong = || NotationError::Series(text.to_string());
    if text.trim() == "{}" {
        return Ok(Labels::default());
    }
    let options = ParseOptions { dialect: Dialect::V3, experimental: false };
    let Ok(Expr::Selector(selector)) = parse(text, options) else { return Err(wrong()) };
    let mut pairs = Vec::new();
    if let Some(name) = &selector.name {
        pairs.push((METRIC_NAME.to_string(), name.to_string()));
    }
    for matcher in &selector.matchers {
        match &matcher.op {
            MatchOp::Equal(value) => pairs.push((matcher.name.to_string(), value.clone())),
            _ => return Err(wrong()),
        }
    }
    Ok(Labels::from_pairs(pairs))
}

/// The points of `1 2+1x5 _ _x3 stale`.
pub fn points(text: &str) -> Result<Vec<NotedPoint>, NotationError> {
    if text.contains("{{") {
        return Err(NotationError::NativeHistogram(text.trim().to_string()));
    }
    let mut points = Vec::new();
    for word in text.split_whitespace() {
        add(word, &mut points)?;
        if points.len() > POINTS_MAX {
            return Err(NotationError::TooMany);
        }
    }
    Ok(points)
}

/// The bytes of `text` that an error of [`points`] is about, where it is about a part.
pub fn place(text: &str, error: &NotationError) -> Option<Range<usize>> {
    let NotationError::Point(word) = error else { return None };
    let wrong = text.split_whitespace().find(|found| found == word)?;
    let start = wrong.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + wrong.len())
}

fn add(word: &str, points: &mut Vec<NotedPoint>) -> Result<(), NotationError> {
    let wrong = || NotationError::Point(word.to_string());
    let (what, times) = match word.rsplit_once('x') {
        Some((what, times)) => (what, Some(count(times).ok_or_else(wrong)?)),
        None => (word, None),
    };
    if times.is_some_and(|times| times > POINTS_MAX) {
        return Err(NotationError::TooMany);
    }
    // To Prometheus `stalex3`, `NaNx3` and `1+Infx3` end with a word that it does not know.
    if times.is_some() && what.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(wrong());
    }
    match what {
        "_" => points.extend(std::iter::repeat_n(None, times.unwrap_or(1))),
        "stale" => points.push(Some(stale_marker())),
        _ => {
            let (first, increment) = value_and_increment(what, times.is_some()).ok_or_else(wrong)?;
            // By repeated addition, as Prometheus reads it: the last digits of a long sequence depend on it.
            let values = std::iter::successors(Some(first), |value| Some(value + increment));
            points.extend(values.take(times.unwrap_or(0) + 1).map(Some));
        }
    }
    Ok(())
}

fn count(text: &str) -> Option<usize> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `3`, and if it is repeated `3+2`, `3-2`; the sign of an exponent is not an increment's.
fn value_and_increment(text: &str, is_repeated: bool) -> Option<(f64, f64)> {
    if let Some(value) = number(text) {
        return Some((value, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| is_repeated && matches!(c, '+' | '-'));
    let mut found = signs.filter_map(|(at, _)| Some((number(&text[..at])?, number(&text[at..])?)));
    found.next()
}

/// A number as Prometheus reads it in a series: perhaps signed, octal with a leading zero, and not hexadecimal, because `0x3`
/// is a zero repeated.
fn number(text: &str) -> Option<f64> {
    let (sign, bare) = match text.strip_prefix('-') {
        Some(bare) => (-1.0, bare),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_word = bare.eq_ignore_ascii_case("inf") || bare.eq_ignore_ascii_case("nan");
    let begins = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let is_number = begins(bare) || bare.strip_prefix('.').is_some_and(begins);
    if !is_word && (!is_number || bare.contains(['_', 'x', 'X'])) {
        return None;
    }
    literal::number(bare).map(|magnitude| sign * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[f64]) {
        let found: Vec<f64> = points(text).unwrap().into_iter().map(Option::unwrap).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn points_are_read() {
        check("1 2 3", &[1.0, 2.0, 3.0]);
        check("0+10x3", &[0.0, 10.0, 20.0, 30.0]);
        check("5-2x2", &[5.0, 3.0, 1.0]);
        check("1x2", &[1.0, 1.0, 1.0]);
        check("-1e-3-1x1", &[-0.001, -1.001]);
        check("Inf -Inf 0x0", &[f64::INFINITY, f64::NEG_INFINITY, 0.0]);
        assert_eq!(points("_ _x2 1").unwrap(), [None, None, None, Some(1.0)]);
        assert!(crate::series::is_stale(points("stale").unwrap()[0].unwrap()));
        check("0x2", &[0.0, 0.0, 0.0]);
        check(
            "010 08 +5 .5 5. 1e2x1 -Inf+1x1",
            &[8.0, 8.0, 5.0, 0.5, 5.0, 100.0, 100.0, f64::NEG_INFINITY, f64::NEG_INFINITY],
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let of_promtool = [
            "0x10x2", "1+2", "1x+5", "stalex3", "Infx3", "infinity", "1_000", "0b11", "--5", "1--2x2",
            "1+infx2", "0o7", "1X2",
        ];
        let others = ["a", "1+", "1x", "1xx", "{{count:1}}", "1x99999999999999999999", "1e999", "-", "."];
        for text in of_promtool.into_iter().chain(others) {
            assert!(points(text).is_err(), "{text}");
        }
        for text in ["a b", "{a=~\"x\"}", "", "rate(x[5m])"] {
            assert!(labels(text).is_err(), "{text}");
        }
    }
}
