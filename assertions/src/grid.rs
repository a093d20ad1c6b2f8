//! Scrapes onto the grid of rule time: stretched counters, `up`, staleness, and the synthetic past before the first scrape.
//!
//! A run's samples all lie on one grid, the past included: a mixed spacing would falsify every average over time. In a
//! stretched run rule time passes k times faster than the wall, so a counter must grow k times faster too: stretched value =
//! previous stretched value + k × (raw − previous raw). What rules see are then production's rates over production's windows.

use crate::exposition::{Kind, Sample};
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::series::{OutOfOrder, stale_marker};
use crate::store::Store;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::time::Duration;

/// Labels that are added to everything scraped from the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLabels {
    /// `job`.
    pub job: String,
    /// `instance`.
    pub instance: String,
}

/// Why a scrape could not be stored: its stamp is not newer than what is there. A fault of the caller's schedule.
pub type GridError = OutOfOrder;

/// What a counter was at the last scrape.
#[derive(Debug, Clone, Copy)]
struct Counter {
    raw: f64,
    stretched: f64,
}

/// Puts scrapes into a [`Store`].
#[derive(Debug)]
pub struct Grid {
    target: TargetLabels,
    counters: BTreeMap<Labels, Counter>,
    /// Series that the last scrape had.
    present: Vec<Labels>,
    /// Scrapes that failed.
    pub failed: u64,
}

/// The healthy past: how long, how dense, and what it is laid from.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// Its last sample; the first live one is one `step` later.
    pub until: Millis,
    /// Its length.
    pub length: Duration,
    /// Distance of samples; the scrape interval.
    pub step: Duration,
    /// The target at the warm-up's begin.
    pub begin: &'a [Sample],
    /// The target at its end: what it does not show here has no past.
    pub end: &'a [Sample],
    /// Wall time between the two; rates are taken over it.
    pub span: Duration,
    /// Metrics that count failures: they did not grow in the past.
    pub failures: &'a [Matcher],
}

impl Grid {
    /// A grid for one target.
    pub fn new(target: TargetLabels) -> Grid {
        Grid { target, counters: BTreeMap::new(), present: Vec::new(), failed: 0 }
    }

    fn labelled(&self, labels: &Labels) -> Labels {
        labels.with("job", &self.target.job).with("instance", &self.target.instance)
    }

    fn up(&self) -> Labels {
        self.labelled(&Labels::from_pairs([("__name__", "up")]))
    }

    /// Lays the past of every series that the target shows at the warm-up's end: counters at the warm-up's rate, failures
    /// at none, levels as they are.
    pub fn lay_history(&mut self, store: &mut Store, history: &History<'_>) -> Result<(), GridError> {
        let step_ms = i64::try_from(history.step.as_millis()).unwrap_or(i64::MAX).max(1);
        let steps = i64::try_from(history.length.as_millis()).unwrap_or(i64::MAX) / step_ms;
        let count = usize::try_from(steps).unwrap_or(0) + 1;
        let first = Millis(history.until.0 - steps * step_ms);
        let before: BTreeMap<&Labels, f64> =
            history.begin.iter().map(|sample| (&sample.labels, sample.value)).collect();
        let span = history.span.as_secs_f64().max(1e-9);
        let mut lay = |labels: &Labels, value: f64, increment: f64| {
            let id = store.series_id(labels);
            store.samples_mut(id).push_line(first, step_ms, count, value, increment)
        };
        for sample in history.end {
            let labels = self.labelled(&sample.labels);
            match sample.kind {
                Kind::Gauge => lay(&labels, sample.value, 0.0)?,
                Kind::Counter => {
                    let is_failure = history.failures.iter().any(|matcher| matcher.matches(&sample.labels));
                    let grown = sample.value - before.get(&sample.labels).copied().unwrap_or(0.0);
                    let rate = if is_failure { 0.0 } else { (grown / span).max(0.0) };
                    let increment = rate * history.step.as_secs_f64();
                    // A counter begins at zero, so the past lifts what is live: the last sample of the past is where it goes on.
                    let stretched = increment * (count - 1) as f64;
                    lay(&labels, 0.0, increment)?;
                    self.counters.insert(labels.clone(), Counter { raw: sample.value, stretched });
                }
            }
        }
        lay(&self.up(), 1.0, 0.0)?;
        self.present = history.end.iter().map(|sample| self.labelled(&sample.labels)).collect();
        Ok(())
    }

    /// A scrape that answered, stamped `at`; `factor` is how many seconds of rule time one second of wall time stood for since
    /// the last scrape.
    pub fn scraped(
        &mut self,
        store: &mut Store,
        at: Millis,
        samples: &[Sample],
        factor: f64,
    ) -> Result<(), GridError> {
        let resets = self.resets(samples);
        let mut present = Vec::with_capacity(samples.len());
        for sample in samples {
            let labels = self.labelled(&sample.labels);
            let reset = resets.contains(&self.instance_of(sample));
            let id = store.series_id(&labels);
            let series = store.samples_mut(id);
            match (sample.kind, self.counters.get_mut(&labels)) {
                (Kind::Gauge, _) => series.push(at, sample.value)?,
                (Kind::Counter, None) => {
                    // Newborn: it begins at its raw value.
                    self.counters
                        .insert(labels.clone(), Counter { raw: sample.value, stretched: sample.value });
                    series.push(at, sample.value)?;
                }
                (Kind::Counter, Some(counter)) if reset => {
                    *counter = Counter { raw: sample.value, stretched: sample.value * factor };
                    series.push_reset(at, counter.stretched)?;
                }
                (Kind::Counter, Some(counter)) => {
                    counter.stretched += factor * (sample.value - counter.raw);
                    counter.raw = sample.value;
                    series.push(at, counter.stretched)?;
                }
            }
            present.push(labels);
        }
        self.forget_absent(store, at, &present)?;
        self.present = present;
        store.append(&self.up(), at, 1.0)
    }

    /// A scrape that failed: `up` is 0, and everything else of the target is unknown from now on.
    pub fn failed(&mut self, store: &mut Store, at: Millis) -> Result<(), GridError> {
        self.failed += 1;
        self.forget_absent(store, at, &[])?;
        self.present.clear();
        store.append(&self.up(), at, 0.0)
    }

    fn forget_absent(&self, store: &mut Store, at: Millis, present: &[Labels]) -> Result<(), GridError> {
        let present: std::collections::BTreeSet<&Labels> = present.iter().collect();
        for labels in self.present.iter().filter(|labels| !present.contains(labels)) {
            store.append(labels, at, stale_marker())?;
        }
        Ok(())
    }

    /// What a sample's buckets, sum and count have in common: they are reset together.
    fn instance_of(&self, sample: &Sample) -> (String, Labels) {
        (
            sample.family.clone(),
            self.labelled(&sample.labels).filter(|name| name != "le" && name != "__name__"),
        )
    }

    /// Families of which any part is below its last raw value: the target has started anew. Seen on raw values only, because a
    /// stretched value may grow across a reset.
    fn resets(&self, samples: &[Sample]) -> std::collections::BTreeSet<(String, Labels)> {
        samples
            .iter()
            .filter(|sample| sample.kind == Kind::Counter)
            .filter(|sample| {
                let last = self.counters.get(&self.labelled(&sample.labels));
                last.is_some_and(|last| sample.value < last.raw)
            })
            .map(|sample| self.instance_of(sample))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition;
    use crate::promql::ast::Dialect;
    use crate::promql::eval::{Query, Settings};
    use crate::promql::parse::{ParseOptions, parse};

    const STEP: Duration = Duration::from_secs(15);

    fn samples(total: f64, failed: f64) -> Vec<Sample> {
        let text = format!(
            "# TYPE a counter\na_total {total}\n# TYPE f counter\nf_total {failed}\n# TYPE g gauge\ng 7\n\
             # TYPE h histogram\nh_bucket{{le=\"1\"}} {total}\nh_bucket{{le=\"+Inf\"}} {total}\nh_sum 1\nh_count {total}\n# EOF\n"
        );
        exposition::parse(&text).unwrap()
    }

    fn eval(store: &Store, text: &str, at: i64) -> f64 {
        let expr = parse(text, ParseOptions { dialect: Dialect::V2, experimental: false }).unwrap();
        let query = Query::instant(store, Settings::default(), Millis(at));
        match query.elements(&expr, Millis(at)).unwrap().as_slice() {
            [only] => only.value,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// History of one hour at 100/s, then live scrapes every 250 ms that stand for 15 s each.
    fn stretched(live: &[(f64, f64)]) -> Store {
        let mut store = Store::default();
        let mut grid = Grid::new(TargetLabels { job: "im".into(), instance: "i".into() });
        let failures = [Matcher::new("__name__", crate::matcher::Op::Equal, "f_total").unwrap()];
        grid.lay_history(
            &mut store,
            &History {
                until: Millis(3_600_000),
                length: Duration::from_secs(3600),
                step: STEP,
                begin: &samples(1000.0, 3.0),
                end: &samples(1500.0, 5.0),
                span: Duration::from_secs(5),
                failures: &failures,
            },
        )
        .unwrap();
        for (index, (total, failed)) in live.iter().enumerate() {
            let at = Millis(3_600_000 + 15_000 * (index as i64 + 1));
            grid.scraped(&mut store, at, &samples(*total, *failed), 60.0).unwrap();
        }
        store
    }

    #[test]
    fn rates_go_on_where_the_past_ends() {
        // 100/s for real: 25 in each quarter of a second.
        let store = stretched(&[(1525.0, 5.0), (1550.0, 5.0), (1575.0, 5.0)]);
        for at in [3_000_000, 3_600_000, 3_615_000, 3_645_000] {
            assert!((eval(&store, "rate(a_total[5m])", at) - 100.0).abs() < 1e-9, "{at}");
            assert_eq!(eval(&store, "rate(f_total[5m])", at), 0.0);
            assert_eq!((eval(&store, "g", at), eval(&store, "up", at)), (7.0, 1.0));
        }
        assert!((eval(&store, "histogram_quantile(0.5, rate(h_bucket[5m]))", 3_645_000) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn failures_show_at_their_true_share() {
        // 1 of 25 fails in the last step: over an hour that is 1 x 60 of 100 x 3600.
        let store = stretched(&[(1525.0, 5.0), (1550.0, 6.0)]);
        let ratio = eval(&store, "sum(increase(f_total[1h])) / sum(increase(a_total[1h]))", 3_630_000);
        assert!((ratio - 60.0 / 360_000.0).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn a_restart_is_one_reset_even_where_the_stretched_value_grows() {
        let store = stretched(&[(1525.0, 5.0), (20.0, 0.0), (45.0, 0.0)]);
        assert_eq!(eval(&store, "resets(a_total[5m])", 3_645_000), 1.0);
        // 25 + 20 + 25 raw events, each standing for 60.
        let grown = eval(&store, "increase(a_total[45s])", 3_645_000);
        assert!((grown - 60.0 * 70.0).abs() < 1e-6, "{grown}");
    }

    #[test]
    fn a_failed_scrape_is_down_and_hides_the_rest() {
        let mut store = Store::default();
        let mut grid = Grid::new(TargetLabels { job: "im".into(), instance: "i".into() });
        grid.scraped(&mut store, Millis(15_000), &samples(1.0, 0.0), 1.0).unwrap();
        grid.failed(&mut store, Millis(30_000)).unwrap();
        assert_eq!(eval(&store, "up", 30_000), 0.0);
        assert_eq!(eval(&store, "count(up)", 30_000), 1.0);
        assert_eq!(eval(&store, "absent(g)", 30_000), 1.0);
        grid.scraped(&mut store, Millis(45_000), &samples(2.0, 0.0), 1.0).unwrap();
        assert_eq!(eval(&store, "g", 45_000), 7.0);
        assert_eq!(eval(&store, "absent(newborn)", 45_000), 1.0);
    }
}
