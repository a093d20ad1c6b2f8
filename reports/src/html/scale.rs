//! Where a value stands in a drawing: the shared time axis, value scales, and their ticks.

use crate::figures;
use crate::record::RunRecord;

/// Most ticks on a time axis; more crowd it at 800 pixels.
const TIME_TICKS: f64 = 8.0;
/// Ticks nearer than this share of the axis, in percent, would overlap.
const TICK_DISTANCE_PERCENT: f64 = 6.0;
/// Smallest latency the log scale goes down to.
const LATENCY_MS_MIN: f64 = 0.001;

/// A labelled place on an axis, in percent of its length.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) percent: f64,
    pub(super) label: String,
}

/// Wall seconds onto the width of all lanes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TimeAxis {
    begin: f64,
    end: f64,
}

impl TimeAxis {
    /// From the start of the run to the last thing that happened in it.
    pub(super) fn of(record: &RunRecord) -> TimeAxis {
        let phases =
            record.phases.iter().flat_map(|phase| [phase.wall_begin_seconds, phase.wall_end_seconds]);
        let series = record.series.iter().map(|point| point.wall_seconds);
        let steps = record.alerts.iter().flat_map(|alert| &alert.instances).flat_map(|one| &one.transitions);
        let told = record.notifications.iter().map(|one| one.wall_seconds);
        let moments = phases.chain(series).chain(steps.map(|step| step.wall_seconds)).chain(told);
        let (begin, end) = moments
            .filter(|moment| moment.is_finite())
            .fold((0.0, record.wall_seconds.max(0.0)), |(least, most): (f64, f64), moment| {
                (least.min(moment), most.max(moment))
            });
        let end = if end.is_finite() && end > begin { end } else { begin + 1.0 };
        TimeAxis { begin, end }
    }

    /// The end of the axis.
    pub(super) fn end(&self) -> f64 {
        self.end
    }

    /// Percent of the width; what lies outside is at the edge.
    pub(super) fn percent(&self, wall_seconds: f64) -> f64 {
        let share = (wall_seconds - self.begin) / (self.end - self.begin);
        if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 }
    }

    /// Ticks on the wall clock.
    pub(super) fn wall_ticks(&self) -> Vec<Tick> {
        let step = time_step((self.end - self.begin) / TIME_TICKS);
        let ticks = multiples(self.begin, self.end, step)
            .map(|at| Tick { percent: self.percent(at), label: figures::duration(at) });
        spread(ticks.collect())
    }

    /// Ticks in rule time, inside the phases; none where nothing is stretched.
    pub(super) fn rule_ticks(&self, record: &RunRecord) -> Vec<Tick> {
        if record.phases.iter().all(|phase| phase.factor == 1.0) {
            return Vec::new();
        }
        let length: f64 =
            record.phases.iter().map(|phase| phase.rule_end_seconds - phase.rule_begin_seconds).sum();
        let step = time_step(length / TIME_TICKS);
        let inside = record.phases.iter().filter(|phase| phase.factor > 0.0).flat_map(|phase| {
            multiples(phase.rule_begin_seconds, phase.rule_end_seconds, step).map(|at| Tick {
                percent: self
                    .percent(phase.wall_begin_seconds + (at - phase.rule_begin_seconds) / phase.factor),
                label: figures::duration(at),
            })
        });
        spread(inside.collect())
    }
}

/// The whole multiples of `step` in a range, at most a hundred.
fn multiples(begin: f64, end: f64, step: f64) -> impl Iterator<Item = f64> {
    let first = (begin / step - 1e-9).ceil();
    (0..100_u32)
        .map(move |index| (first + f64::from(index)) * step)
        .take_while(move |at| *at <= end + step * 1e-9)
}

/// Drops ticks too near to the one before.
fn spread(ticks: Vec<Tick>) -> Vec<Tick> {
    let mut kept: Vec<Tick> = Vec::new();
    for tick in ticks {
        if kept.last().is_none_or(|last| tick.percent - last.percent >= TICK_DISTANCE_PERCENT) {
            kept.push(tick);
        }
    }
    kept
}

/// The least step that people count time in and that is at least `least` seconds.
fn time_step(least: f64) -> f64 {
    const DAY: f64 = 86_400.0;
    const STEPS: [f64; 24] = [
        0.1,
        0.2,
        0.5,
        1.0,
        2.0,
        5.0,
        10.0,
        15.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        10_800.0,
        21_600.0,
        43_200.0,
        DAY,
        2.0 * DAY,
        5.0 * DAY,
        10.0 * DAY,
    ];
    STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| (least / DAY).ceil() * DAY)
}

/// Values onto the height of a chart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ValueScale {
    /// From zero to a top.
    Linear { top: f64, step: f64 },
    /// Between two powers of ten, given as exponents.
    Log { low: i32, high: i32 },
}

impl ValueScale {
    /// A linear scale that holds `most`, with ticks at round values.
    pub(super) fn linear(most: f64) -> ValueScale {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let raw = most / 2.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        ValueScale::Linear { top: step * 2.0, step }
    }

    /// A log scale over whole decades that holds all positive values given.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> ValueScale {
        let held = values.filter(|value| value.is_finite() && *value > 0.0);
        let range = held.fold(None, |range: Option<(f64, f64)>, value| {
            let value = value.max(LATENCY_MS_MIN);
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (least, most) = range.unwrap_or((1.0, 10.0));
        // The casts saturate; decades of any float are far inside an i32.
        let (low, high) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        ValueScale::Log { low, high: high.max(low + 1) }
    }

    /// Percent of the height from the top.
    pub(super) fn percent(self, value: f64) -> f64 {
        let share = match self {
            ValueScale::Linear { top, .. } => value / top,
            ValueScale::Log { low, high } => {
                (value.max(LATENCY_MS_MIN).log10() - f64::from(low)) / f64::from(high - low)
            }
        };
        if share.is_finite() { (1.0 - share.clamp(0.0, 1.0)) * 100.0 } else { 100.0 }
    }

    /// Ticks, from the bottom, labelled by `label`.
    pub(super) fn ticks(self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let values: Vec<f64> = match self {
            ValueScale::Linear { top, step } => vec![0.0, step, top],
            ValueScale::Log { low, high } => {
                // A single decade would have ticks at its edges only.
                let factors: &[f64] = if high - low < 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let decade = |exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent));
                (low..high).flat_map(decade).chain([10_f64.powi(high)]).collect()
            }
        };
        values.into_iter().map(|value| Tick { percent: self.percent(value), label: label(value) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_people_count_in() {
        let check = |least: f64, expected: f64| assert_eq!(time_step(least), expected);
        check(0.0, 0.1);
        check(7.75, 10.0);
        check(31.0, 60.0);
        check(4_500.0, 7_200.0);
        check(86_400.0 * 11.0, 86_400.0 * 11.0);
    }

    #[test]
    fn linear_scales_hold_their_values() {
        let check = |most: f64, expected: [&str; 3]| {
            let scale = ValueScale::linear(most);
            let labels: Vec<String> =
                scale.ticks(figures::quantity).into_iter().map(|tick| tick.label).collect();
            assert_eq!(labels, expected);
            assert!(scale.percent(most) >= 0.0 && scale.percent(0.0) == 100.0);
        };
        check(5_000.0, ["0", "5,000", "10,000"]);
        check(10_000.0, ["0", "5,000", "10,000"]);
        check(0.3, ["0", "0.2", "0.4"]);
        check(f64::NAN, ["0", "0.5", "1"]);
        check(0.0, ["0", "0.5", "1"]);
    }

    #[test]
    fn log_scales_hold_whole_decades() {
        let check = |values: &[f64], low, high| {
            assert_eq!(ValueScale::log(values.iter().copied()), ValueScale::Log { low, high });
        };
        check(&[1.6, 604.0], 0, 3);
        check(&[100.0], 2, 3);
        check(&[], 0, 1);
        check(&[0.0, f64::NAN, f64::INFINITY], 0, 1);
        check(&[1e-30], -3, -2);
        let labels = |low, high| -> Vec<String> {
            ValueScale::Log { low, high }
                .ticks(figures::milliseconds)
                .into_iter()
                .map(|tick| tick.label)
                .collect()
        };
        assert_eq!(labels(0, 1), ["1ms", "2ms", "5ms", "10ms"]);
        assert_eq!(labels(0, 2), ["1ms", "10ms", "100ms"]);
        assert_eq!(ValueScale::Log { low: 0, high: 2 }.percent(10.0), 50.0);
        assert_eq!(ValueScale::Log { low: 0, high: 2 }.percent(f64::NAN), 100.0);
    }
}
