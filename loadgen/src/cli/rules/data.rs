//! Saved samples as a store: an exposition with or without times.

use assertions::exposition::{self, Format, Sample};
use assertions::labels::Labels;
use assertions::store::{METRIC_NAME, Store};
use assertions::time::Millis;
use scenarios::problem::Problem;
use scenarios::span::{Source, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last moment that a sample may have, ms: the end of the year 9999, as behind `@`.
const MOMENT_MAX: u64 = 253_402_300_800_000;

/// Samples of a file.
pub(super) struct Data {
    series: BTreeMap<Labels, BTreeMap<Option<i64>, f64>>,
    /// The oldest time that stands in the file.
    pub(super) oldest: Option<Millis>,
    /// The newest.
    pub(super) newest: Option<Millis>,
}

impl Data {
    /// Reads Prometheus text or OpenMetrics; the latter ends with `# EOF`. Errors: the place of what cannot be read, or of the
    /// second of two samples of a series at the same time.
    pub(super) fn read(source: &Arc<Source>) -> Result<Data, Problem> {
        let is_open_metrics =
            source.text.trim_end().lines().last().is_some_and(|line| line.trim() == "# EOF");
        let format = if is_open_metrics { Format::OpenMetrics } else { Format::Text };
        let samples = exposition::parse(&source.text, format).map_err(|error| {
            let line = source.text.lines().nth(error.line - 1).unwrap_or_default();
            let start = line.as_ptr() as usize - source.text.as_ptr() as usize;
            let offset = line.char_indices().nth(error.column - 1).map_or(line.len(), |(at, _)| at);
            let start = if line.is_empty() { source.text.len() } else { start };
            Problem::error(error.reason, Span::new(source.clone(), start + offset, start + line.len()))
                .hint("Prometheus text (times in ms), or OpenMetrics (times in s, `# EOF` at the end)")
        })?;
        let mut data = Data { series: BTreeMap::new(), oldest: None, newest: None };
        for sample in &samples {
            let (labels, at) = (labels(sample), sample.timestamp);
            if let Some(at) = at.filter(|at| at.unsigned_abs() > MOMENT_MAX) {
                let whole = Span::new(source.clone(), 0, 0);
                let problem =
                    Problem::error(format!("{labels} has a sample at {at} ms, which is no time"), whole);
                return Err(problem.hint("Prometheus text has milliseconds since 1970, OpenMetrics seconds"));
            }
            data.oldest = at.map(Millis).into_iter().chain(data.oldest).min();
            data.newest = data.newest.max(at.map(Millis));
            let points = data.series.entry(labels.clone()).or_default();
            if points.insert(at, sample.value).is_some() {
                let when = at.map_or("without a time".into(), |at| format!("at {at} ms"));
                let whole = Span::new(source.clone(), 0, 0);
                let problem = Problem::error(format!("{labels} has two samples {when}"), whole);
                return Err(problem.hint("of a series each sample has its own time"));
            }
        }
        Ok(data)
    }

    /// All series.
    pub(super) fn series(&self) -> impl Iterator<Item = &Labels> {
        self.series.keys()
    }

    /// A store of it; samples without a time are as of `untimed`.
    pub(super) fn store(&self, untimed: Millis) -> Store {
        self.store_of(untimed, |_, _| true)
    }

    /// A store of the samples that `wanted` wants.
    pub(super) fn store_of(&self, untimed: Millis, wanted: impl Fn(&Labels, Millis) -> bool) -> Store {
        let mut store = Store::new();
        for (labels, points) in &self.series {
            let timed: BTreeMap<i64, f64> =
                points.iter().map(|(at, value)| (at.unwrap_or(untimed.0), *value)).collect();
            for (at, value) in timed.into_iter().filter(|(at, _)| wanted(labels, Millis(*at))) {
                // In the order of time, so that none can be refused.
                store.append(labels, Millis(at), value).ok();
            }
        }
        store
    }
}

fn labels(sample: &Sample<'_>) -> Labels {
    let pairs = sample.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Labels::from_pairs(pairs.chain([(METRIC_NAME.to_string(), sample.name.to_string())]))
}
