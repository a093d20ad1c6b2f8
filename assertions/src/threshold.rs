//! k6's thresholds over what clients saw: `ws_msg_latency{phase:slow}` with `p(99)<900`.
//!
//! Metric names, expressions and units (bare milliseconds) are k6's. No data fails, unlike in k6.

use crate::figures::{ClientFigures, Figures};
use crate::slo::{Comparison, Outcome};
use hdrhistogram::Histogram;
use std::ops::Range;

/// A metric and the phase it is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric.
    pub metric: Metric,
    /// `{phase:NAME}`; the whole run without it.
    pub phase: Option<String>,
}

/// A metric by what it is measured as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// A distribution of times.
    Trend(Trend),
    /// A number of events.
    Counter(Counter),
    /// The share of failed connects.
    ConnectFailed,
}

/// The distributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `Figures` of the same names say what they are")]
pub enum Trend {
    Latency,
    LatencyUncorrected,
    SendLag,
    Connecting,
    Reconnect,
}

/// The counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `MessageCounts` of the same names say what they are")]
pub enum Counter {
    Sent,
    Delivered,
    Missed,
    Offline,
    Blocked,
    Refused,
    Unconfirmed,
    Expired,
    Queued,
    Lost,
    Duplicates,
    Reordered,
    Late,
    Reconnects,
    Connects,
}

/// Every metric by its name.
pub const METRICS: &[(&str, Metric)] = &[
    ("dropped_messages", Metric::Counter(Counter::Missed)),
    ("send_lag", Metric::Trend(Trend::SendLag)),
    ("ws_connect_failed", Metric::ConnectFailed),
    ("ws_connecting", Metric::Trend(Trend::Connecting)),
    ("ws_msg_latency", Metric::Trend(Trend::Latency)),
    ("ws_msg_latency_uncorrected", Metric::Trend(Trend::LatencyUncorrected)),
    ("ws_msgs_blocked", Metric::Counter(Counter::Blocked)),
    ("ws_msgs_duplicated", Metric::Counter(Counter::Duplicates)),
    ("ws_msgs_expired", Metric::Counter(Counter::Expired)),
    ("ws_msgs_late", Metric::Counter(Counter::Late)),
    ("ws_msgs_lost", Metric::Counter(Counter::Lost)),
    ("ws_msgs_missed", Metric::Counter(Counter::Missed)),
    ("ws_msgs_offline", Metric::Counter(Counter::Offline)),
    ("ws_msgs_queued", Metric::Counter(Counter::Queued)),
    ("ws_msgs_received", Metric::Counter(Counter::Delivered)),
    ("ws_msgs_refused", Metric::Counter(Counter::Refused)),
    ("ws_msgs_reordered", Metric::Counter(Counter::Reordered)),
    ("ws_msgs_sent", Metric::Counter(Counter::Sent)),
    ("ws_msgs_unconfirmed", Metric::Counter(Counter::Unconfirmed)),
    ("ws_reconnect_time", Metric::Trend(Trend::Reconnect)),
    ("ws_reconnects", Metric::Counter(Counter::Reconnects)),
    ("ws_sessions", Metric::Counter(Counter::Connects)),
];

/// What is taken of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// Mean, ms.
    Avg,
    /// Smallest, ms.
    Min,
    /// Largest, ms.
    Max,
    /// `med` or `p(N)`, ms; 0 to 1.
    Quantile(f64),
    /// How many.
    Count,
    /// Per second for a counter, share for a rate.
    Rate,
}

/// `p(99)<250`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expression {
    /// The left side.
    pub aggregation: Aggregation,
    /// The sign.
    pub comparison: Comparison,
    /// The right side.
    pub bound: f64,
}

/// Why a threshold cannot be read, and where, in bytes of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct ThresholdError {
    /// What is wrong.
    pub summary: String,
    /// Where.
    pub range: Range<usize>,
}

impl Selector {
    /// Reads `ws_msg_latency` or `ws_msg_latency{phase:slow}`.
    pub fn parse(text: &str) -> Result<Selector, ThresholdError> {
        let error = |summary: String, range: Range<usize>| ThresholdError { summary, range };
        let name_end = text.find('{').unwrap_or(text.len());
        let name = text[..name_end].trim();
        let Some((_, metric)) = METRICS.iter().find(|(known, _)| *known == name) else {
            return Err(error(format!("unknown metric `{name}`"), 0..name_end));
        };
        if name_end == text.len() {
            return Ok(Selector { metric: *metric, phase: None });
        }
        let tag = text[name_end..].trim_end().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let phase = tag.and_then(|tag| tag.trim().strip_prefix("phase:")).map(str::trim);
        match phase.filter(|phase| !phase.is_empty()) {
            Some(phase) => Ok(Selector { metric: *metric, phase: Some(phase.to_owned()) }),
            None => Err(error("the only tag is the phase: `{phase:NAME}`".to_owned(), name_end..text.len())),
        }
    }
}

impl Expression {
    /// Reads `p(99)<250` for a metric; the metric decides what can be asked of it.
    pub fn parse(text: &str, metric: Metric) -> Result<Expression, ThresholdError> {
        let error = |summary: String, range: Range<usize>| ThresholdError { summary, range };
        let Some(sign_at) = text.find(['<', '>', '=', '!']) else {
            return Err(error("no comparison; write it like `p(99)<250`".to_owned(), 0..text.len()));
        };
        let signs = [
            ("===", Comparison::Equal),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let rest = &text[sign_at..];
        let Some((sign, comparison)) = signs.into_iter().find(|(sign, _)| rest.starts_with(sign)) else {
            return Err(error("unknown comparison; k6 has < <= > >= == !=".to_owned(), sign_at..sign_at + 1));
        };
        let value = &rest[sign.len()..];
        let bound = value.trim().parse::<f64>().ok().filter(|bound| bound.is_finite());
        let Some(bound) = bound else {
            let range = sign_at + sign.len()..text.len();
            return Err(error(
                format!("`{}` is no number; times are bare milliseconds", value.trim()),
                range,
            ));
        };
        let left = text[..sign_at].trim();
        let aggregation = aggregation(left, metric).ok_or_else(|| {
            let known = match metric {
                Metric::Trend(_) => "avg min med max p(N)",
                Metric::Counter(_) => "count rate",
                Metric::ConnectFailed => "rate",
            };
            error(format!("`{left}` cannot be asked of this metric; it has {known}"), 0..sign_at)
        })?;
        Ok(Expression { aggregation, comparison, bound })
    }
}

fn aggregation(text: &str, metric: Metric) -> Option<Aggregation> {
    match (metric, text) {
        (Metric::Trend(_), "avg") => Some(Aggregation::Avg),
        (Metric::Trend(_), "min") => Some(Aggregation::Min),
        (Metric::Trend(_), "max") => Some(Aggregation::Max),
        (Metric::Trend(_), "med") => Some(Aggregation::Quantile(0.5)),
        (Metric::Trend(_), other) => {
            let percent = other.strip_prefix("p(")?.strip_suffix(')')?.trim().parse::<f64>().ok()?;
            (0.0..=100.0).contains(&percent).then_some(Aggregation::Quantile(percent / 100.0))
        }
        (Metric::Counter(_), "count") => Some(Aggregation::Count),
        (Metric::Counter(_) | Metric::ConnectFailed, "rate") => Some(Aggregation::Rate),
        _ => None,
    }
}

/// Judges one expression; the value seen is `None` without data.
pub fn judge(
    figures: &ClientFigures,
    selector: &Selector,
    expression: &Expression,
) -> (Outcome, Option<f64>) {
    let stretch = match &selector.phase {
        Some(phase) => figures.phase(phase),
        None => Some(&figures.total),
    };
    let seen = stretch.and_then(|figures| measure(figures, selector.metric, expression.aggregation));
    let outcome = match seen {
        None => Outcome::NoData,
        Some(value) if expression.comparison.holds(value, expression.bound) => Outcome::Passed,
        Some(_) => Outcome::Failed,
    };
    (outcome, seen)
}

fn measure(figures: &Figures, metric: Metric, aggregation: Aggregation) -> Option<f64> {
    match metric {
        Metric::Trend(trend) => of_histogram(histogram(figures, trend), aggregation),
        Metric::ConnectFailed => {
            let share = figures.connect_failures as f64 / figures.connect_attempts as f64;
            (figures.connect_attempts > 0).then_some(share)
        }
        Metric::Counter(counter) => match aggregation {
            Aggregation::Rate => {
                let per_second = count(figures, counter) as f64 / figures.wall_seconds;
                (figures.wall_seconds > 0.0).then_some(per_second)
            }
            _ => Some(count(figures, counter) as f64),
        },
    }
}

fn of_histogram(histogram: &Histogram<u64>, aggregation: Aggregation) -> Option<f64> {
    if histogram.is_empty() {
        return None;
    }
    let micros = match aggregation {
        Aggregation::Avg => histogram.mean(),
        Aggregation::Min => histogram.min() as f64,
        Aggregation::Max => histogram.max() as f64,
        Aggregation::Quantile(quantile) => histogram.value_at_quantile(quantile) as f64,
        Aggregation::Count | Aggregation::Rate => return None,
    };
    Some(micros / 1000.0)
}

fn histogram(figures: &Figures, trend: Trend) -> &Histogram<u64> {
    match trend {
        Trend::Latency => &figures.latency,
        Trend::LatencyUncorrected => &figures.latency_uncorrected,
        Trend::SendLag => &figures.send_lag,
        Trend::Connecting => &figures.connecting,
        Trend::Reconnect => &figures.reconnect,
    }
}

fn count(figures: &Figures, counter: Counter) -> u64 {
    let messages = &figures.messages;
    match counter {
        Counter::Sent => messages.sent(),
        Counter::Delivered => messages.delivered,
        Counter::Missed => messages.missed,
        Counter::Offline => messages.offline,
        Counter::Blocked => messages.blocked,
        Counter::Refused => messages.refused,
        Counter::Unconfirmed => messages.unconfirmed,
        Counter::Expired => messages.expired,
        Counter::Queued => messages.queued,
        Counter::Lost => messages.lost,
        Counter::Duplicates => messages.duplicates,
        Counter::Reordered => messages.reordered,
        Counter::Late => messages.late,
        Counter::Reconnects => figures.reconnect.len(),
        Counter::Connects => {
            figures.connect_attempts - figures.connect_failures.min(figures.connect_attempts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{MessageCounts, PhaseFigures};

    fn run() -> ClientFigures {
        let mut total =
            Figures { wall_seconds: 10.0, connect_attempts: 1000, connect_failures: 2, ..Figures::empty() };
        total.messages = MessageCounts { delivered: 500, lost: 1, ..MessageCounts::default() };
        (1..=100).for_each(|ms| total.latency.record(ms * 1000).expect("in range"));
        let mut slow = Figures::empty();
        slow.latency.record(600_000).expect("in range");
        let phase = |name: &str, figures: Figures| PhaseFigures { name: name.to_owned(), figures };
        ClientFigures { phases: vec![phase("slow", slow), phase("idle", Figures::empty())], total }
    }

    #[track_caller]
    fn check(metric: &str, expression: &str, expected: Outcome) {
        let selector = Selector::parse(metric).expect("a metric");
        let expression = Expression::parse(expression, selector.metric).expect("an expression");
        let (outcome, seen) = judge(&run(), &selector, &expression);
        assert_eq!(outcome, expected, "{metric} {expression:?} saw {seen:?}");
    }

    #[test]
    fn thresholds_pass_fail_and_fail_without_data() {
        check("ws_msg_latency", "p(99)<100", Outcome::Passed);
        check("ws_msg_latency", "p(99) < 99", Outcome::Failed);
        check("ws_msg_latency", "med>=50", Outcome::Passed);
        check("ws_msg_latency", "avg<51", Outcome::Passed);
        check("ws_msg_latency", "avg<50", Outcome::Failed);
        check("ws_msg_latency", "max<=100.1", Outcome::Passed);
        check("ws_msg_latency{phase:slow}", "p(50)>590", Outcome::Passed);
        check("ws_msg_latency{phase:idle}", "p(50)<590", Outcome::NoData);
        check("ws_msg_latency{phase:gone}", "p(50)<590", Outcome::NoData);
        check("ws_connect_failed", "rate<0.001", Outcome::Failed);
        check("ws_connect_failed", "rate<=0.002", Outcome::Passed);
        check("ws_connect_failed{phase:idle}", "rate<1", Outcome::NoData);
        check("ws_msgs_lost", "count==0", Outcome::Failed);
        check("ws_msgs_duplicated", "count===0", Outcome::Passed);
        check("ws_msgs_received", "rate>49", Outcome::Passed);
        check("ws_msgs_received{phase:idle}", "rate>49", Outcome::NoData);
        check("ws_reconnect_time", "p(95)<12000", Outcome::NoData);
        check("ws_msgs_lost", "count!=1", Outcome::Failed);
    }

    #[test]
    fn what_cannot_be_read_is_marked() {
        let check = |metric: &str, expression: &str, expected: &str| {
            let error = Selector::parse(metric).map_err(|error| (error, metric)).and_then(|selector| {
                Expression::parse(expression, selector.metric).map_err(|error| (error, expression))
            });
            let (error, text) = error.expect_err("a problem");
            assert_eq!(format!("{} at {}", error.summary, &text[error.range]), expected);
        };
        check("ws_msg_latencies", "avg<1", "unknown metric `ws_msg_latencies` at ws_msg_latencies");
        check("ws_msg_latency{vu:1}", "avg<1", "the only tag is the phase: `{phase:NAME}` at {vu:1}");
        check("ws_msg_latency", "p(99)", "no comparison; write it like `p(99)<250` at p(99)");
        check("ws_msg_latency", "p(99)<250ms", "`250ms` is no number; times are bare milliseconds at 250ms");
        check(
            "ws_msg_latency",
            "p(101)<2",
            "`p(101)` cannot be asked of this metric; it has avg min med max p(N) at p(101)",
        );
        check("ws_msgs_lost", "p(9)<2", "`p(9)` cannot be asked of this metric; it has count rate at p(9)");
        check("ws_msgs_lost", "count=2", "unknown comparison; k6 has < <= > >= == != at =");
    }
}
