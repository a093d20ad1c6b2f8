//! A healthy past: without it a rule over an hour sees the five minutes of the run, and fires 12 times too easily.
//!
//! Laid from two scrapes of a warm-up, on the same grid as the live samples, up to the warm-up's end. Each series is
//! one straight line in constant space.

use super::{Grid, Tracked, own_values};
use crate::exposition::Sample;
use crate::labels::Labels;
use crate::promql::ast::Selector;
use crate::store::{METRIC_NAME, Store};
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::time::Duration;

/// What a history is laid from.
#[derive(Debug, Clone, Copy)]
pub struct HistoryPlan<'t> {
    /// How far back it reaches: the rules' longest look-back, and a little more.
    pub length: Duration,
    /// Time of its last sample, which is the warm-up's last scrape. The first live scrape is due one interval later.
    pub until: Millis,
    /// The samples at the warm-up's begin.
    pub begin: &'t [Sample<'t>],
    /// The samples at its end: only what is exposed here gets a past.
    pub end: &'t [Sample<'t>],
    /// How long the warm-up took, on the wall, above zero.
    pub warmup: Duration,
    /// Counters of failures: in a healthy past they stand still.
    pub failures: &'t [Selector],
}

/// Why no history can be laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HistoryError {
    #[error("a warm-up of no length has no rates")]
    NoWarmup,
    #[error("the target has samples already; a history comes before all of them")]
    NotEmpty,
}

impl Grid {
    /// Lays a history: counters at the warm-up's rates, failures standing still, gauges constant, `up` 1.
    ///
    /// Live counters go on from its last value. Errors: no warm-up, or samples of the target exist.
    pub fn lay_history(&mut self, store: &mut Store, plan: &HistoryPlan<'_>) -> Result<(), HistoryError> {
        if plan.warmup.is_zero() {
            return Err(HistoryError::NoWarmup);
        }
        if self.newest.is_some() {
            return Err(HistoryError::NotEmpty);
        }
        let step = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let steps = plan.length.as_millis() as i64 / step;
        let line = Line { start: Millis(plan.until.0 - steps * step), step, count: steps as usize + 1 };
        let begin: FxHashMap<Labels, f64> = plan.begin.iter().map(|s| (self.labels_of(s), s.value)).collect();
        for sample in plan.end {
            let labels = self.labels_of(sample);
            let increment = match sample.is_counter_like() && !is_failure(&labels, plan.failures) {
                true => {
                    growth(begin.get(&labels).copied(), sample.value, plan.warmup)
                        * self.interval.as_secs_f64()
                }
                false => 0.0,
            };
            self.lay_series(store, labels, sample.value, increment, &line);
        }
        let values = own_values(true, Duration::ZERO, plan.end.len(), 0);
        for (id, (_, value)) in self.own_ids(store).into_iter().zip(values) {
            store.samples_mut(id).push_line(line.start, line.step, line.count, value, 0.0).ok();
        }
        self.newest = Some(plan.until);
        Ok(())
    }

    fn lay_series(&mut self, store: &mut Store, labels: Labels, raw: f64, increment: f64, line: &Line) {
        if self.by_labels.contains_key(&labels) {
            return;
        }
        let id = store.series_id(&labels);
        // Refused only if the caller wrote to the target's series before; then that is its past.
        store.samples_mut(id).push_line(line.start, line.step, line.count, raw, increment).ok();
        let stored = raw + increment * (line.count - 1) as f64;
        // A constant past leaves the target's own numbers as they are.
        self.by_labels.insert(labels, self.tracked.len());
        self.tracked.push(Tracked { id, raw, stored, plain: stored == raw, seen: 0 });
    }
}

/// Where the samples of a history lie.
struct Line {
    start: Millis,
    step: i64,
    count: usize,
}

/// Growth per second of a counter over the warm-up. Born or reset in it, it counts from zero.
fn growth(begin: Option<f64>, end: f64, warmup: Duration) -> f64 {
    let from = begin.filter(|begin| *begin <= end).unwrap_or(0.0);
    let rate = (end - from) / warmup.as_secs_f64();
    if rate.is_finite() { rate } else { 0.0 }
}

fn is_failure(labels: &Labels, failures: &[Selector]) -> bool {
    failures.iter().any(|selector| {
        let named = selector.name.as_deref().is_none_or(|name| labels.get(METRIC_NAME) == name);
        named && selector.matchers.iter().all(|matcher| matcher.matches(labels))
    })
}
