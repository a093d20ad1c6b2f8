//! Seeded random series: gauges, counters with resets, histograms, gaps, stale markers, infinities.

use crate::dice::Dice;
use assertions::labels::Labels;
use assertions::notation;
use assertions::series::{is_stale, stale_marker};
use assertions::store::Store;
use assertions::time::Millis;

/// Points a series.
const POINTS: usize = 40;

/// Series with points one step apart.
pub(crate) struct World {
    pub(crate) step_ms: i64,
    pub(crate) series: Vec<Series>,
}

pub(crate) struct Series {
    /// As written, `metric{label="value"}`.
    pub(crate) name: String,
    pub(crate) points: Vec<Option<f64>>,
}

impl World {
    pub(crate) fn random(dice: &mut Dice) -> World {
        let step_ms = [15_000, 20_000, 30_000, 60_000][dice.below(4) as usize];
        let mut series = Vec::new();
        for job in ["a", "b"] {
            for instance in ["1", "2", "10"] {
                let labels = format!("{{job=\"{job}\", instance=\"{instance}\"}}");
                let mut add = |metric: &str, points: Vec<Option<f64>>| {
                    series.push(Series { name: format!("{metric}{labels}"), points });
                };
                add("g", gauge(dice, false));
                if instance != "10" {
                    add("h", gauge(dice, false));
                }
                add("w", gauge(dice, true));
                add("c_total", counter(dice));
                add("u", gauge(dice, false));
            }
            series.push(Series { name: format!("d_total{{job=\"{job}\"}}"), points: counter(dice) });
            series
                .push(Series { name: format!("when{{job=\"{job}\", zone=\"x y\"}}"), points: moments(dice) });
            series.extend(histogram(dice, job));
        }
        make_unique(&mut series);
        World { step_ms, series }
    }

    pub(crate) fn store(&self) -> Store {
        let mut store = Store::new();
        for series in &self.series {
            let labels: Labels = notation::labels(&series.name).expect("a series of this file");
            for (index, value) in series.points.iter().enumerate() {
                if let Some(value) = value {
                    store.append(&labels, Millis(self.step_ms * index as i64), *value).expect("in order");
                }
            }
        }
        store
    }

    /// The moment of the last point.
    pub(crate) fn end_ms(&self) -> i64 {
        self.step_ms * (POINTS as i64 - 1)
    }
}

impl Series {
    /// Its points in the notation of test files.
    pub(crate) fn notation(&self) -> String {
        let text = |point: &Option<f64>| match point {
            None => "_".to_string(),
            Some(value) if is_stale(*value) => "stale".into(),
            Some(value) if value.is_infinite() => if *value > 0.0 { "Inf" } else { "-Inf" }.into(),
            Some(value) => format!("{value}"),
        };
        self.points.iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

/// Eighths, so that sums are exact in any order.
fn eighth(dice: &mut Dice, bound: u64) -> f64 {
    dice.below(bound * 8) as f64 / 8.0
}

fn gauge(dice: &mut Dice, wild: bool) -> Vec<Option<f64>> {
    let mut level = eighth(dice, 40) - 20.0;
    let calm = dice.one_in(4);
    let points = (0..POINTS).map(|_| {
        if !calm || dice.one_in(5) {
            level += eighth(dice, 20) - 10.0;
        }
        match dice.below(12) {
            0 if wild => f64::NAN,
            1 if wild => f64::INFINITY,
            2 if wild => f64::NEG_INFINITY,
            3 if wild => 0.0,
            _ => level,
        }
    });
    let points = points.collect();
    with_gaps(dice, points)
}

fn counter(dice: &mut Dice) -> Vec<Option<f64>> {
    let mut count = if dice.one_in(2) { 0.0 } else { eighth(dice, 500) };
    let points = (0..POINTS).map(|_| {
        count = if dice.one_in(15) { eighth(dice, 5) } else { count + eighth(dice, 30) };
        count
    });
    let points = points.collect();
    with_gaps(dice, points)
}

/// Unix times for calendars, some before 1970.
fn moments(dice: &mut Dice) -> Vec<Option<f64>> {
    let points = (0..POINTS).map(|_| match dice.below(8) {
        0 => -(dice.below(4_000_000_000) as f64),
        1 => dice.below(200_000_000_000) as f64,
        _ => 1_500_000_000.0 + dice.below(400_000_000) as f64,
    });
    let points = points.collect();
    with_gaps(dice, points)
}

fn histogram(dice: &mut Dice, job: &str) -> Vec<Series> {
    let bounds = ["0.1", "0.5", "1", "2.5", "+Inf"];
    let mut below = [0.0_f64; POINTS];
    let mut counts = Vec::new();
    for _ in bounds {
        let mut count = 0.0;
        for lower in &mut below {
            count += eighth(dice, 10);
            *lower += count;
        }
        counts.push(below);
    }
    let broken = dice.one_in(3);
    let series = bounds.iter().zip(counts).map(|(bound, counts)| {
        let points = counts.map(|count| if broken && dice.one_in(10) { count / 2.0 } else { count });
        Series {
            name: format!("b_bucket{{job=\"{job}\", le=\"{bound}\"}}"),
            points: points.map(Some).to_vec(),
        }
    });
    series.collect()
}

fn with_gaps(dice: &mut Dice, points: Vec<f64>) -> Vec<Option<f64>> {
    let start = if dice.one_in(3) { dice.below(POINTS as u64 / 2) as usize } else { 0 };
    let mut gap = 0;
    let keep = |(index, value): (usize, f64)| {
        if gap == 0 && dice.one_in(12) {
            gap = 1 + dice.below(8);
            return dice.one_in(2).then(stale_marker);
        }
        gap = u64::saturating_sub(gap, 1);
        (index >= start && gap == 0).then_some(value)
    };
    points.into_iter().enumerate().map(keep).collect()
}

/// `u` never has the same value twice: which of equal elements topk takes is nobody's promise.
fn make_unique(series: &mut [Series]) {
    let values = series.iter_mut().filter(|s| s.name.starts_with("u{")).flat_map(|s| &mut s.points).flatten();
    for (index, value) in values.filter(|value| !is_stale(**value)).enumerate() {
        *value += index as f64 / 1024.0;
    }
}
