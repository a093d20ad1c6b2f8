//! What a target says of itself: Prometheus text 0.0.4 and OpenMetrics 1.0, read as tolerantly as Prometheus does.

use crate::labels::Labels;
use std::collections::BTreeMap;

/// What kind of metric a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for resets: counters, and the buckets, sums and counts of histograms and summaries.
    Counter,
    /// A level.
    Gauge,
}

/// One sample of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// All labels; the metric's name is `__name__`.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// Counter or level.
    pub kind: Kind,
    /// The family it belongs to: `x` for `x_bucket`, `x_sum` and `x_count` of a histogram.
    pub family: String,
}

/// Why a scrape cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct ExpositionError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What was expected there.
    pub what: &'static str,
}

/// Reads a whole exposition. Explicit timestamps and exemplars are read and dropped: samples are stamped by the rule-time grid.
pub fn parse(text: &str) -> Result<Vec<Sample>, ExpositionError> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        let mut cursor = Cursor { text: line, at: 0, line: index + 1 };
        cursor.blanks();
        if cursor.rest().is_empty() {
            continue;
        }
        if let Some(comment) = cursor.rest().strip_prefix('#') {
            let mut words = comment.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => {
                    types.insert(name, kind);
                }
                (Some("EOF"), None, None) => break,
                _ => {}
            }
            continue;
        }
        samples.push(cursor.sample(&types)?);
    }
    Ok(samples)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
    }

    fn error(&self, what: &'static str) -> ExpositionError {
        ExpositionError { line: self.line, column: self.at + 1, what }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn name(&mut self) -> Result<&'a str, ExpositionError> {
        let rest = self.rest();
        let end =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("a name is expected here"));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn quoted(&mut self) -> Result<String, ExpositionError> {
        if !self.take('"') {
            return Err(self.error("a value in double quotes is expected here"));
        }
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += index + 1;
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('"' | '\\'))) => value.push(c),
                    Some((_, c)) => value.extend(['\\', c]),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err(self.error("the quoted value has no end"))
    }

    fn sample(&mut self, types: &BTreeMap<&str, &str>) -> Result<Sample, ExpositionError> {
        let name = self.name()?;
        let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
        self.blanks();
        if self.take('{') {
            loop {
                self.blanks();
                if self.take('}') {
                    break;
                }
                let label = self.name()?;
                self.blanks();
                if !self.take('=') {
                    return Err(self.error("`=` is expected after a label's name"));
                }
                self.blanks();
                pairs.push((label.to_owned(), self.quoted()?));
                self.blanks();
                if !self.take(',') && !self.rest().starts_with('}') {
                    return Err(self.error("`,` or `}` is expected after a label"));
                }
            }
        }
        self.blanks();
        let rest = self.rest();
        let word = rest.split([' ', '\t', '#']).next().unwrap_or_default();
        let value = number(word).ok_or_else(|| self.error("a number is expected here"))?;
        let (kind, family) = kind_of(name, types);
        Ok(Sample { labels: Labels::from_pairs(pairs), value, kind, family })
    }
}

fn number(word: &str) -> Option<f64> {
    // Rust also reads "infinity" and signs of NaN that the format does not have; they do no harm.
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        word if word.starts_with(|c: char| c.is_ascii_digit() || "+-.N".contains(c)) => word.parse().ok(),
        _ => None,
    }
}

/// Counter-like, and of which family. What has no TYPE counts by its name's end.
fn kind_of(name: &str, types: &BTreeMap<&str, &str>) -> (Kind, String) {
    for suffix in ["_bucket", "_sum", "_count", "_total", ""] {
        let Some(base) = name.strip_suffix(suffix) else { continue };
        let kind = match (types.get(base).copied(), suffix) {
            (Some("histogram" | "summary"), "_bucket" | "_sum" | "_count") => Kind::Counter,
            (Some("counter"), "_total" | "") => Kind::Counter,
            (Some("gauge" | "info" | "stateset" | "gaugehistogram"), "") | (Some("summary"), "") => {
                Kind::Gauge
            }
            _ => continue,
        };
        return (kind, base.to_owned());
    }
    let kind = if name.ends_with("_total") { Kind::Counter } else { Kind::Gauge };
    (kind, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<_> = parse(text)
            .unwrap()
            .iter()
            .map(|sample| format!("{} {:?} {}", sample.labels, sample.kind, sample.value))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn reads_both_formats() {
        check(
            "# HELP a_total An \"a\".\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n\",} 5 1700000000000\n\nb 1e3\nc_total 2\n",
            &[
                "{__name__=\"a_total\", x=\"1\", y=\"q\\\"\\\\\\n\"} Counter 5",
                "{__name__=\"b\"} Gauge 1000",
                "{__name__=\"c_total\"} Counter 2",
            ],
        );
        check(
            "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 3 # {trace_id=\"x\"} 0.5 17.0\nh_sum 1.5\nh_count 3\n# TYPE a counter\na_total 4\n# EOF\nrubbish",
            &[
                "{__name__=\"h_bucket\", le=\"+Inf\"} Counter 3",
                "{__name__=\"h_sum\"} Counter 1.5",
                "{__name__=\"h_count\"} Counter 3",
                "{__name__=\"a_total\"} Counter 4",
            ],
        );
        check(
            "g NaN\ni +Inf\nj -Inf\n",
            &["{__name__=\"g\"} Gauge NaN", "{__name__=\"i\"} Gauge inf", "{__name__=\"j\"} Gauge -inf"],
        );
    }

    #[test]
    fn says_where_it_fails() {
        for (text, line, column) in [
            ("a 1\nb{x=1} 2", 2, 5),
            ("a{x=\"1} 2", 1, 6),
            ("a", 1, 2),
            ("{x=\"1\"} 2", 1, 1),
            ("a{x=\"1\" y=\"2\"} 2", 1, 9),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,80}", lines in "([a-c_]{1,3}(\\{[a-c]=\"[^\"]{0,3}\"?\\}?)? ?[0-9Nn+.e]{0,4}\n){0,4}") {
            let _ = parse(&text);
            let _ = parse(&lines);
        }
    }
}
