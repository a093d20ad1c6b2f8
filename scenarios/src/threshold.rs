//! k6's thresholds: metric names with tags, and expressions such as `p(99)<50`.

use std::fmt;
use std::ops::Range;

use crate::units::plain_number;

/// A metric, perhaps only its samples with certain tags: `ws_msg_latency{phase:slow}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Tags and their values.
    pub tags: Vec<(String, String)>,
}

/// An aggregation, a comparison and a number; the number has k6's unit (milliseconds for times).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expression {
    /// What is computed.
    pub aggregation: Aggregation,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: f64,
}

/// What is computed of a metric's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// Mean.
    Average,
    /// Smallest.
    Minimum,
    /// Largest.
    Maximum,
    /// Median.
    Median,
    /// Percentile, 0 to 100.
    Percentile(f64),
    /// Number of samples, or sum of a counter.
    Count,
    /// Share of non-zero samples, or a counter per second.
    Rate,
    /// Last value of a gauge.
    Value,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

/// Longest first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("===", Comparison::Equal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Comparison {
    /// The comparison at the start of a text, and what follows.
    pub(crate) fn read(text: &str) -> Option<(Comparison, &str)> {
        COMPARISONS.iter().find_map(|(sign, comparison)| Some((*comparison, text.strip_prefix(sign)?)))
    }

    /// Whether it holds between a measured value and a bound.
    pub fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => measured < bound,
            Comparison::LessOrEqual => measured <= bound,
            Comparison::Greater => measured > bound,
            Comparison::GreaterOrEqual => measured >= bound,
            Comparison::Equal => measured == bound,
            Comparison::NotEqual => measured != bound,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().rev().find(|(_, comparison)| comparison == self);
        f.write_str(sign.map_or("", |(sign, _)| sign))
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aggregation::Percentile(percent) => write!(f, "p({percent})"),
            other => f.write_str(WORDS.iter().find(|(_, found)| found == other).map_or("", |(word, _)| word)),
        }
    }
}

/// As k6 would write it.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.aggregation, self.comparison, self.value)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let tags: Vec<_> = self.tags.iter().map(|(tag, value)| format!("{tag}:{value}")).collect();
        if tags.is_empty() { Ok(()) } else { write!(f, "{{{}}}", tags.join(",")) }
    }
}

const WORDS: [(&str, Aggregation); 7] = [
    ("avg", Aggregation::Average),
    ("min", Aggregation::Minimum),
    ("max", Aggregation::Maximum),
    ("med", Aggregation::Median),
    ("count", Aggregation::Count),
    ("rate", Aggregation::Rate),
    ("value", Aggregation::Value),
];

/// Where and why a text cannot be read; the range is in its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub summary: String,
    /// The part that is.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: String,
}

impl SyntaxError {
    pub(crate) fn new(
        summary: impl Into<String>,
        range: Range<usize>,
        hint: impl Into<String>,
    ) -> SyntaxError {
        SyntaxError { summary: summary.into(), range, hint: hint.into() }
    }
}

/// Reads `p(99)<50`. Blanks between the three parts are allowed.
///
/// Errors: an unknown aggregation, a percentile beyond 100, no comparison, something other than a bare number.
pub fn expression(text: &str) -> Result<Expression, SyntaxError> {
    let sign = text.find(['<', '>', '=', '!']);
    let comparison = sign.and_then(|at| Some((at, Comparison::read(&text[at..])?)));
    let Some((at, (comparison, bound))) = comparison else {
        let summary = format!("threshold `{text}` compares nothing");
        return Err(SyntaxError::new(
            summary,
            0..text.len(),
            "thresholds look like `p(99)<50` or `count==0`",
        ));
    };
    let aggregation = aggregation(text[..at].trim(), at)?;
    let value = bound.trim();
    let start = text.len() - bound.trim_start().len();
    match plain_number(value.strip_prefix('-').unwrap_or(value)) {
        Some(_) => Ok(Expression { aggregation, comparison, value: value.parse().unwrap_or_default() }),
        None => {
            let summary = format!("`{value}` is not a bare number");
            Err(SyntaxError::new(
                summary,
                start..start + value.len(),
                "k6's thresholds have no units; times are milliseconds",
            ))
        }
    }
}

fn aggregation(text: &str, end: usize) -> Result<Aggregation, SyntaxError> {
    if let Some((_, aggregation)) = WORDS.iter().find(|(word, _)| *word == text) {
        return Ok(*aggregation);
    }
    if let Some(percent) = text.strip_prefix("p(").and_then(|rest| rest.strip_suffix(')')) {
        let hint = "a percentile is between 0 and 100, as in `p(99.9)`";
        let percent = plain_number(percent.trim()).filter(|percent| *percent <= 100.0);
        return percent
            .map(Aggregation::Percentile)
            .ok_or_else(|| SyntaxError::new(format!("`{text}` is not a percentile"), 0..end, hint));
    }
    let hint = "use avg, min, max, med, p(N), count, rate or value";
    Err(SyntaxError::new(format!("unknown aggregation `{text}`"), 0..end, hint))
}

/// Reads `ws_msg_latency{phase:slow}`.
///
/// Errors: no name, a tag without a value, a brace that is not closed.
pub fn metric(text: &str) -> Result<Metric, SyntaxError> {
    let (name, tags) = text.split_once('{').map_or((text, None), |(name, tags)| (name, Some(tags)));
    let wrong = |summary: String| {
        Err(SyntaxError::new(summary, 0..text.len(), "metrics look like `ws_msg_latency{phase:slow}`"))
    };
    if name.is_empty() || name.contains(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.')) {
        return wrong(format!("`{name}` is not the name of a metric"));
    }
    let mut metric = Metric { name: name.to_owned(), tags: Vec::new() };
    let Some(tags) = tags else { return Ok(metric) };
    let Some(tags) = tags.strip_suffix('}') else { return wrong(format!("`{text}` lacks its `}}`")) };
    for tag in tags.split(',').map(str::trim) {
        match tag.split_once(':') {
            Some((tag, value)) if !tag.is_empty() && !value.is_empty() => {
                metric.tags.push((tag.to_owned(), value.to_owned()));
            }
            _ => return wrong(format!("tag `{tag}` has no value")),
        }
    }
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match expression(text) {
            Ok(expression) => expression.to_string(),
            Err(error) => format!("{} @{}", error.summary, &text[error.range]),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn expressions() {
        check("p(99)<50", "p(99)<50");
        check(" p(99.9) <= 50.5 ", "p(99.9)<=50.5");
        check("count==0", "count==0");
        check("rate > -1", "rate>-1");
        check("rate=>1", "threshold `rate=>1` compares nothing @rate=>1");
        check("p(101)<5", "`p(101)` is not a percentile @p(101)");
        check("p99<5", "unknown aggregation `p99` @p99");
        check("avg<5ms", "`5ms` is not a bare number @5ms");
        check("max<", "`` is not a bare number @");
        check("é", "threshold `é` compares nothing @é");
    }

    #[test]
    fn metrics() {
        let check = |text, expected: Result<&str, &str>| {
            let read = metric(text);
            assert_eq!(
                read.as_ref().map(ToString::to_string).map_err(|error| error.summary.clone()),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        };
        check("ws_msg_latency{phase:slow, to:self}", Ok("ws_msg_latency{phase:slow,to:self}"));
        check("ws_msgs", Ok("ws_msgs"));
        check("a{b}", Err("tag `b` has no value"));
        check("a{b:c", Err("`a{b:c` lacks its `}`"));
        check("{b:c}", Err("`` is not the name of a metric"));
    }
}
