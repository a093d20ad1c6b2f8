//! Prometheus' notation for test series: `metric{label="x"} 0+10x100 _ 5 stale`.
//!
//! Shared by everything that reads promqltest scripts or rule unit tests. Points lie one step apart.

use crate::labels::Labels;
use crate::promql::ast::{Dialect, Expr, MatchOp};
use crate::promql::parse::{ParseOptions, parse};
use crate::series::stale_marker;
use crate::store::METRIC_NAME;
use std::ops::Range;

/// Most points one series may have.
const POINTS_MAX: usize = 2_000_000;

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
        Some((what, times)) => (what, Some(times.parse::<usize>().map_err(|_| wrong())?)),
        None => (word, None),
    };
    let times = match times {
        Some(times) if times > POINTS_MAX => return Err(NotationError::TooMany),
        times => times,
    };
    match what {
        "_" => points.extend(std::iter::repeat_n(None, times.unwrap_or(1))),
        // Unlike a value, a marker repeated n times is n points.
        "stale" => points.extend(std::iter::repeat_n(Some(stale_marker()), times.unwrap_or(1))),
        _ => {
            let (first, increment) = value_and_increment(what).ok_or_else(wrong)?;
            // By repeated addition, as Prometheus reads it: the last digits of a long sequence depend on it.
            let values = std::iter::successors(Some(first), |value| Some(value + increment));
            points.extend(values.take(times.unwrap_or(0) + 1).map(Some));
        }
    }
    Ok(())
}

/// `3`, `3+2`, `3-2`; the sign of an exponent is not an increment's.
fn value_and_increment(text: &str) -> Option<(f64, f64)> {
    if let Some(value) = number(text) {
        return Some((value, 0.0));
    }
    let signs = text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    let found: Vec<(f64, f64)> =
        signs.filter_map(|(at, _)| Some((number(&text[..at])?, number(&text[at..])?))).collect();
    found.first().copied()
}

fn number(text: &str) -> Option<f64> {
    let bare = text.trim_start_matches(['+', '-']);
    if bare.starts_with("0x") || bare.starts_with("0X") {
        let magnitude = i64::from_str_radix(&bare[2..], 16).ok()? as f64;
        return Some(if text.starts_with('-') { -magnitude } else { magnitude });
    }
    text.parse().ok()
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
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "1+", "1x", "1xx", "{{count:1}}", "1x99999999999999999999"] {
            assert!(points(text).is_err(), "{text}");
        }
        for text in ["a b", "{a=~\"x\"}", "", "rate(x[5m])"] {
            assert!(labels(text).is_err(), "{text}");
        }
    }
}
