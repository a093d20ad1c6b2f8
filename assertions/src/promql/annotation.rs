//! What is odd about a query that has an answer all the same: Prometheus' warnings and infos, in its words.
//!
//! Nobody looks for them unless a query says where to put them ([`super::eval::Query::annotations`]): rules are evaluated
//! without. Those about native histograms have no form here. Prometheus knows them from 2.48 on; both dialects tell them.

use super::ast::Span;
use super::literal::quoted;
use crate::template::{go_float, significant};
use crate::time::Millis;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result};

/// How much an annotation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The answer is likely not what was meant.
    Warning,
    /// The answer may not be what was meant.
    Info,
}

/// Something odd that an evaluation met.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Annotation {
    /// `rate` or `increase` of a metric that has not the name of a counter.
    MaybeNoCounter { metric: String },
    /// A quantile below 0, above 1 or NaN.
    Quantile(f64),
    /// A bucket of a classic histogram whose `le` is no number. An empty metric is one whose name is gone.
    BucketBound { metric: String, bound: String },
    /// Buckets that count less than one below them.
    FallingBuckets { metric: String, fix: Fix },
    /// The order of a range query's answer is by labels.
    SortOfRange,
}

/// What was changed so that no bucket counts less than one below it; of several histograms and moments, all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fix {
    /// The lowest upper bound of a bucket that was changed.
    pub(super) lowest: f64,
    /// The highest.
    pub(super) highest: f64,
    /// The most that a bucket lacked.
    pub(super) lacking: f64,
    /// The first and the last evaluation.
    pub(super) from: Millis,
    pub(super) until: Millis,
    /// How many histograms were changed.
    pub(super) count: usize,
}

impl Fix {
    fn and(self, other: Fix) -> Fix {
        Fix {
            lowest: self.lowest.min(other.lowest),
            highest: self.highest.max(other.highest),
            lacking: self.lacking.max(other.lacking),
            from: self.from.min(other.from),
            until: self.until.max(other.until),
            count: self.count + other.count,
        }
    }
}

impl Annotation {
    fn severity(&self) -> Severity {
        match self {
            Annotation::MaybeNoCounter { .. } | Annotation::FallingBuckets { .. } => Severity::Info,
            Annotation::Quantile(_) | Annotation::BucketBound { .. } | Annotation::SortOfRange => {
                Severity::Warning
            }
        }
    }

    /// What a range of changed buckets adds to the text; an annotation is the same as another whatever its details.
    fn details(&self) -> String {
        let Annotation::FallingBuckets { fix, .. } = self else { return String::new() };
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            go_float(fix.lowest),
            go_float(fix.highest),
            significant(fix.lacking, 2),
            fix.count,
            second(fix.from),
            second(fix.until)
        )
    }

    /// Takes up what another with the same text has found.
    fn merge(&mut self, other: Annotation) {
        if let (Annotation::FallingBuckets { fix, .. }, Annotation::FallingBuckets { fix: more, .. }) =
            (self, other)
        {
            *fix = fix.and(more);
        }
    }
}

/// The text without details.
impl Display for Annotation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self.severity() {
            Severity::Warning => "PromQL warning: ",
            Severity::Info => "PromQL info: ",
        })?;
        match self {
            Annotation::MaybeNoCounter { metric } => write!(
                f,
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                quoted(metric)
            ),
            Annotation::Quantile(q) => {
                write!(f, "quantile value should be between 0 and 1, got {}", go_float(*q))
            }
            Annotation::BucketBound { metric, bound } => {
                write!(f, "bucket label \"le\" is missing or has a malformed value of {}", quoted(bound))?;
                of_metric(f, metric)
            }
            Annotation::FallingBuckets { metric, .. } => {
                f.write_str(
                    "input to histogram_quantile needed to be fixed for monotonicity (see \
                     https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
                )?;
                of_metric(f, metric)
            }
            Annotation::SortOfRange => f.write_str(
                "sort is ineffective for range queries since results are always ordered by labels",
            ),
        }
    }
}

fn of_metric(f: &mut Formatter<'_>, metric: &str) -> Result {
    if metric.is_empty() { Ok(()) } else { write!(f, " for metric name {}", quoted(metric)) }
}

/// The second of a moment, as `1970-01-01T00:50:00Z`; beyond the calendar in milliseconds.
fn second(at: Millis) -> String {
    jiff::Timestamp::from_second(at.0 / 1000).map_or_else(|_| at.0.to_string(), |moment| moment.to_string())
}

/// What a query's evaluations found odd; each text once, at the place where it was found last.
#[derive(Debug, Default)]
pub struct Annotations {
    found: RefCell<BTreeMap<String, (Annotation, Span)>>,
}

impl Annotations {
    pub(super) fn add(&self, annotation: Annotation, span: Span) {
        let mut found = self.found.borrow_mut();
        match found.get_mut(&annotation.to_string()) {
            Some((known, place)) => {
                known.merge(annotation);
                *place = span;
            }
            None => {
                found.insert(annotation.to_string(), (annotation, span));
            }
        }
    }

    /// Everything found, in the order of the texts; each ends with `(line:column)` in `query`, counted from 1.
    pub fn texts(&self, query: &str) -> Vec<(Severity, String)> {
        let text = |(text, (annotation, span)): (&String, &(Annotation, Span))| {
            (annotation.severity(), format!("{text}{} ({})", annotation.details(), place(query, *span)))
        };
        self.found.borrow().iter().map(text).collect()
    }
}

fn place(query: &str, span: Span) -> String {
    let before = query.get(..span.start as usize).unwrap_or(query);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    format!("{}:{}", before.matches('\n').count() + 1, before.len() - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notation;
    use crate::promql::eval::{Query, Settings};
    use crate::promql::parse::parse;
    use crate::store::Store;

    /// Samples a minute apart, the query at minute 10.
    fn texts(series: &[(&str, &str)], query: &str, ends: [i64; 2]) -> Vec<String> {
        let mut store = Store::new();
        for (name, points) in series {
            for (index, value) in notation::points(points).unwrap().into_iter().enumerate() {
                let at = Millis(index as i64 * 60_000);
                store.append(&notation::labels(name).unwrap(), at, value.unwrap()).unwrap();
            }
        }
        let annotations = Annotations::default();
        let [start, end] = ends.map(|minute| Millis(minute * 60_000));
        let query_at = Query {
            start,
            end,
            annotations: Some(&annotations),
            ..Query::instant(&store, Settings::default(), start)
        };
        let expr = parse(query, Settings::default().dialect.into()).unwrap();
        for minute in ends {
            query_at.evaluate(&expr, Millis(minute * 60_000)).unwrap();
        }
        annotations.texts(query).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn each_text_is_told_once_and_in_place() {
        let series = [("x", "0+1x20"), ("x_total", "0+1x20")];
        let told =
            texts(&series, "rate(x_total[5m])\n  + on() increase(x[5m])\n  - on() rate(x[5m])", [10, 10]);
        let text = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (3:15)";
        assert_eq!(told, [text]);
        assert_eq!(
            texts(&series, "rate(nothing[5m]) or rate(x_total[5m]) or irate(x[5m])", [10, 10]),
            [""; 0]
        );
        assert_eq!(texts(&series, "rate(x[1s])", [10, 10]), [""; 0]);
    }

    #[test]
    fn changed_buckets_are_told_together() {
        let series = [
            ("h_bucket{le=\"1\"}", "10x20"),
            ("h_bucket{le=\"2\"}", "8.5x20"),
            ("h_bucket{le=\"4\"}", "9x20"),
            ("h_bucket{le=\"+Inf\"}", "20x20"),
        ];
        let head = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name \"h_bucket\"";
        assert_eq!(
            texts(&series, "histogram_quantile(0.5, h_bucket)", [10, 12]),
            [format!(
                "{head}, from buckets 2 to 4, with a max diff of 1.5, over 2 samples from 1970-01-01T00:10:00Z to \
                 1970-01-01T00:12:00Z (1:25)"
            )]
        );
        assert_eq!(texts(&series[..1], "histogram_quantile(0.5, h_bucket)", [10, 10]), [""; 0]);
    }
}
