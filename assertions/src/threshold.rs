//! k6's thresholds over what clients saw: `ws_msg_latency{phase:slow}` with `p(99)<900`.
//!
//! Metric names, expressions and units (bare milliseconds) are k6's. No data fails, unlike in k6.

use crate::figures::{ClientFigures, Figures};
use crate::slo::Outcome;
use hdrhistogram::Histogram;
use scenarios::problem::{Problem, nearest};
use scenarios::scenario::{NoData, PhaseSet, Threshold};
use scenarios::threshold::Aggregation;
use std::borrow::Cow;

/// A metric by what it is measured as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
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
pub const METRICS: &[(&str, Measured)] = &[
    ("dropped_messages", Measured::Counter(Counter::Missed)),
    ("send_lag", Measured::Trend(Trend::SendLag)),
    ("ws_connect_failed", Measured::ConnectFailed),
    ("ws_connecting", Measured::Trend(Trend::Connecting)),
    ("ws_msg_latency", Measured::Trend(Trend::Latency)),
    ("ws_msg_latency_uncorrected", Measured::Trend(Trend::LatencyUncorrected)),
    ("ws_msgs_blocked", Measured::Counter(Counter::Blocked)),
    ("ws_msgs_duplicated", Measured::Counter(Counter::Duplicates)),
    ("ws_msgs_expired", Measured::Counter(Counter::Expired)),
    ("ws_msgs_late", Measured::Counter(Counter::Late)),
    ("ws_msgs_lost", Measured::Counter(Counter::Lost)),
    ("ws_msgs_missed", Measured::Counter(Counter::Missed)),
    ("ws_msgs_offline", Measured::Counter(Counter::Offline)),
    ("ws_msgs_queued", Measured::Counter(Counter::Queued)),
    ("ws_msgs_received", Measured::Counter(Counter::Delivered)),
    ("ws_msgs_refused", Measured::Counter(Counter::Refused)),
    ("ws_msgs_reordered", Measured::Counter(Counter::Reordered)),
    ("ws_msgs_sent", Measured::Counter(Counter::Sent)),
    ("ws_msgs_unconfirmed", Measured::Counter(Counter::Unconfirmed)),
    ("ws_reconnect_time", Measured::Trend(Trend::Reconnect)),
    ("ws_reconnects", Measured::Counter(Counter::Reconnects)),
    ("ws_sessions", Measured::Counter(Counter::Connects)),
];

/// Problems of a threshold that only its metric decides: an unknown name or tag, an aggregation it does not have.
pub fn problems(threshold: &Threshold) -> Vec<Problem> {
    let Some(span) = threshold.metric.span.clone() else { return Vec::new() };
    let metric = &threshold.metric.value;
    let Some(measured) = measured(&metric.name) else {
        let problem = Problem::error(format!("unknown metric `{}`", metric.name), span);
        return vec![match nearest(&metric.name, METRICS.iter().map(|(name, _)| *name)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => {
                let names: Vec<_> = METRICS.iter().map(|(name, _)| *name).collect();
                problem.hint(format!("there are {}", names.join(", ")))
            }
        }];
    };
    let mut problems = Vec::new();
    for (tag, _) in metric.tags.iter().filter(|(tag, _)| tag != "phase") {
        let problem = Problem::error(format!("metric `{}` has no tag `{tag}`", metric.name), span.clone());
        problems.push(problem.hint("the only tag is the phase: `{phase:NAME}`"));
    }
    let aggregation = threshold.expression.value.aggregation;
    if !has(measured, aggregation) {
        let known = match measured {
            Measured::Trend(_) => "avg, min, med, max and p(N)",
            Measured::Counter(_) => "count and rate",
            Measured::ConnectFailed => "rate",
        };
        let summary = format!("metric `{}` has no `{aggregation}`", metric.name);
        let span = threshold.expression.span.clone().unwrap_or(span);
        problems.push(Problem::error(summary, span).hint(format!("it has {known}")));
    }
    problems
}

fn measured(name: &str) -> Option<Measured> {
    METRICS.iter().find(|(known, _)| *known == name).map(|(_, measured)| *measured)
}

fn has(measured: Measured, aggregation: Aggregation) -> bool {
    match (measured, aggregation) {
        (_, Aggregation::Value) => false,
        (Measured::Counter(_), Aggregation::Count | Aggregation::Rate) => true,
        (Measured::ConnectFailed, Aggregation::Rate) => true,
        (Measured::Trend(_), Aggregation::Count | Aggregation::Rate) => false,
        (Measured::Trend(_), _) => true,
        _ => false,
    }
}

/// Judges one threshold; the value seen is `None` without data.
///
/// `figures` has the phases of the scenario, in its order. A tag and `during` both narrow it; several phases count as one
/// stretch. With `window`, call it once for each window, with the figures of that window.
pub fn judge(figures: &ClientFigures, threshold: &Threshold) -> (Outcome, Option<f64>) {
    let expression = &threshold.expression.value;
    let seen = measured(&threshold.metric.value.name).and_then(|metric| {
        let stretch = stretch(figures, threshold)?;
        measure(&stretch, metric, expression.aggregation)
    });
    let outcome = match seen {
        None if threshold.no_data == NoData::Pass => Outcome::Passed,
        None => Outcome::NoData,
        Some(value) if expression.comparison.holds(value, expression.value) => Outcome::Passed,
        Some(_) => Outcome::Failed,
    };
    (outcome, seen)
}

/// The figures that a threshold is about; `None` if it names a phase that is not there.
fn stretch<'a>(figures: &'a ClientFigures, threshold: &Threshold) -> Option<Cow<'a, Figures>> {
    let tag = threshold.metric.value.tags.iter().find(|(tag, _)| tag == "phase").map(|(_, phase)| phase);
    if tag.is_none() && threshold.during == PhaseSet::All {
        return Some(Cow::Borrowed(&figures.total));
    }
    let phases = figures.phases.iter().enumerate().filter(|(index, phase)| {
        threshold.during.contains(*index) && tag.is_none_or(|tag| *tag == phase.name)
    });
    let mut found: Option<Cow<'a, Figures>> = None;
    for (_, phase) in phases {
        match &mut found {
            None => found = Some(Cow::Borrowed(&phase.figures)),
            Some(sum) => sum.to_mut().add(&phase.figures),
        }
    }
    found
}

fn measure(figures: &Figures, metric: Measured, aggregation: Aggregation) -> Option<f64> {
    match metric {
        Measured::Trend(trend) => of_histogram(histogram(figures, trend), aggregation),
        Measured::ConnectFailed => {
            let share = figures.connect_failures as f64 / figures.connect_attempts as f64;
            (figures.connect_attempts > 0).then_some(share)
        }
        Measured::Counter(counter) => match aggregation {
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
        Aggregation::Average => histogram.mean(),
        Aggregation::Minimum => histogram.min() as f64,
        Aggregation::Maximum => histogram.max() as f64,
        Aggregation::Median => histogram.value_at_quantile(0.5) as f64,
        Aggregation::Percentile(percent) => histogram.value_at_quantile(percent / 100.0) as f64,
        Aggregation::Count | Aggregation::Rate | Aggregation::Value => return None,
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
    use scenarios::span::{Source, Span, Spanned};
    use std::sync::Arc;
    use std::time::Duration;

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

    fn threshold(metric: &str, expression: &str) -> Threshold {
        let source = Arc::new(Source { name: "t".to_owned(), text: format!("{metric}{expression}") });
        let metric_span = Span::new(source.clone(), 0, metric.len());
        let span = Span::new(source.clone(), metric.len(), source.text.len());
        Threshold {
            metric: Spanned::at(scenarios::threshold::metric(metric).expect("a metric"), metric_span),
            expression: Spanned::at(
                scenarios::threshold::expression(expression).expect("an expression"),
                span,
            ),
            abort_on_fail: false,
            delay_abort_eval: Duration::ZERO,
            no_data: NoData::Fail,
            during: PhaseSet::All,
            window: None,
        }
    }

    #[track_caller]
    fn check(metric: &str, expression: &str, expected: Outcome) {
        let threshold = threshold(metric, expression);
        assert_eq!(problems(&threshold), []);
        let (outcome, seen) = judge(&run(), &threshold);
        assert_eq!(outcome, expected, "{metric} {expression:?} saw {seen:?}");
    }

    #[test]
    fn during_adds_phases_up() {
        let mut threshold = threshold("ws_msgs_received", "count==7");
        let mut figures = run();
        figures.phases[0].figures.messages.delivered = 3;
        figures.phases[1].figures.messages.delivered = 4;
        assert_eq!(judge(&figures, &threshold), (Outcome::Failed, Some(500.0)));
        threshold.during = PhaseSet::These(vec![Spanned::default_value(0), Spanned::default_value(1)]);
        assert_eq!(judge(&figures, &threshold), (Outcome::Passed, Some(7.0)));
        threshold.during = PhaseSet::These(vec![Spanned::default_value(1)]);
        assert_eq!(judge(&figures, &threshold), (Outcome::Failed, Some(4.0)));
    }

    #[test]
    fn no_data_can_be_allowed() {
        let mut threshold = threshold("ws_reconnect_time", "p(95)<12000");
        threshold.no_data = NoData::Pass;
        assert_eq!(judge(&run(), &threshold), (Outcome::Passed, None));
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
    fn the_languages_readme_names_every_metric() {
        let readme = include_str!("../../scenarios/README.md");
        let missing: Vec<_> =
            METRICS.iter().filter(|(name, _)| !readme.contains(&format!("`{name}`"))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn what_a_metric_does_not_have_is_refused() {
        let check = |metric: &str, expression: &str, expected: &str| {
            let found: Vec<String> = problems(&threshold(metric, expression))
                .into_iter()
                .map(|problem| format!("{}; {}", problem.summary, problem.hint.unwrap_or_default()))
                .collect();
            assert_eq!(found, [expected]);
        };
        check("ws_msg_latencys", "avg<1", "unknown metric `ws_msg_latencys`; did you mean `ws_msg_latency`?");
        check(
            "ws_msg_latency{vu:1}",
            "avg<1",
            "metric `ws_msg_latency` has no tag `vu`; the only tag is the phase: `{phase:NAME}`",
        );
        check(
            "ws_msg_latency",
            "count<1",
            "metric `ws_msg_latency` has no `count`; it has avg, min, med, max and p(N)",
        );
        check("ws_msgs_lost", "p(9)<2", "metric `ws_msgs_lost` has no `p(9)`; it has count and rate");
        check("ws_connect_failed", "count<2", "metric `ws_connect_failed` has no `count`; it has rate");
        check("ws_msgs_lost", "value<2", "metric `ws_msgs_lost` has no `value`; it has count and rate");
    }
}
