//! The measured series as charts over the shared time axis: load against plan, latency, clients.
//!
//! A chart is made of paths in a box of 1000 by 100 units that the page stretches to its width; they hold
//! numbers only, so nothing of the user's can get into the drawing.

use super::scale::{Tick, TimeAxis, ValueScale};
use crate::figures;
use crate::record::{LatencyBound, RunRecord, SeriesPoint};
use std::fmt::Write;

/// Most points drawn; a longer run is thinned to it.
const POINTS_MAX: usize = 600;

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// Its style in the stylesheet.
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    /// SVG path data.
    pub(super) path: String,
}

/// A bound drawn over the phases it holds in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limit {
    pub(super) left: f64,
    pub(super) width: f64,
    pub(super) top: f64,
    pub(super) label: String,
}

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chart {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) curves: Vec<Curve>,
    pub(super) ticks: Vec<Tick>,
    pub(super) limits: Vec<Limit>,
}

/// The series with at most [`POINTS_MAX`] points, and how many seconds one stands for. A thinned point has the mean of
/// the rates, the worst of the latencies and the last number of clients, so that no peak of latency disappears.
pub(super) fn thinned(series: &[SeriesPoint]) -> (Vec<SeriesPoint>, usize) {
    let group = series.len().div_ceil(POINTS_MAX).max(1);
    (series.chunks(group).map(merged).collect(), group)
}

fn merged(points: &[SeriesPoint]) -> SeriesPoint {
    let mean = |pick: fn(&SeriesPoint) -> f64| points.iter().map(pick).sum::<f64>() / points.len() as f64;
    let worst = |pick: fn(&SeriesPoint) -> Option<f64>| points.iter().filter_map(pick).reduce(f64::max);
    SeriesPoint {
        wall_seconds: points.first().map_or(0.0, |point| point.wall_seconds),
        planned_per_second: mean(|point| point.planned_per_second),
        sent_per_second: mean(|point| point.sent_per_second),
        received_per_second: mean(|point| point.received_per_second),
        latency_p50_ms: worst(|point| point.latency_p50_ms),
        latency_p99_ms: worst(|point| point.latency_p99_ms),
        latency_p999_ms: worst(|point| point.latency_p999_ms),
        connected_clients: points.last().map_or(0, |point| point.connected_clients),
        send_lag_p99_ms: worst(|point| point.send_lag_p99_ms),
    }
}

/// All charts of a record; none without a series.
pub(super) fn charts(record: &RunRecord, points: &[SeriesPoint], axis: &TimeAxis) -> Vec<Chart> {
    if points.is_empty() {
        return Vec::new();
    }
    vec![load(points, axis), latency(record, points, axis), clients(points, axis)]
}

fn load(points: &[SeriesPoint], axis: &TimeAxis) -> Chart {
    let rates = |point: &SeriesPoint| {
        point.planned_per_second.max(point.sent_per_second).max(point.received_per_second)
    };
    let scale = ValueScale::linear(points.iter().map(rates).fold(0.0, f64::max));
    Chart {
        name: "Load",
        unit: "messages/s",
        curves: vec![
            steps("plan", "planned", points, axis, scale, |point| point.planned_per_second),
            line("received", "received", points, axis, scale, |point| Some(point.received_per_second)),
            line("sent", "sent", points, axis, scale, |point| Some(point.sent_per_second)),
        ],
        ticks: scale.ticks(figures::quantity),
        limits: Vec::new(),
    }
}

fn latency(record: &RunRecord, points: &[SeriesPoint], axis: &TimeAxis) -> Chart {
    let bounds: Vec<&LatencyBound> = bounds(record).collect();
    let measured = points.iter().flat_map(|point| {
        [point.latency_p50_ms, point.latency_p99_ms, point.latency_p999_ms].into_iter().flatten()
    });
    let scale = ValueScale::log(measured.chain(bounds.iter().map(|bound| bound.limit_ms)));
    Chart {
        name: "Latency",
        unit: "from intended send time, log scale",
        curves: vec![
            line("p50", "p50", points, axis, scale, |point| point.latency_p50_ms),
            line("p99", "p99", points, axis, scale, |point| point.latency_p99_ms),
            line("p999", "p99.9", points, axis, scale, |point| point.latency_p999_ms),
        ],
        ticks: scale.ticks(figures::milliseconds),
        limits: bounds.into_iter().flat_map(|bound| limits(record, bound, axis, scale)).collect(),
    }
}

fn clients(points: &[SeriesPoint], axis: &TimeAxis) -> Chart {
    let number = |point: &SeriesPoint| point.connected_clients as f64;
    let scale = ValueScale::linear(points.iter().map(number).fold(0.0, f64::max));
    Chart {
        name: "Clients",
        unit: "connected",
        curves: vec![steps("clients", "connected", points, axis, scale, number)],
        ticks: scale.ticks(figures::quantity),
        limits: Vec::new(),
    }
}

/// Latency bounds of SLOs and thresholds.
fn bounds(record: &RunRecord) -> impl Iterator<Item = &LatencyBound> {
    let slos = record.checks.slos.iter().filter_map(|slo| slo.latency_bound.as_ref());
    let thresholds = record.checks.thresholds.iter().filter_map(|one| one.latency_bound.as_ref());
    slos.chain(thresholds)
}

/// A bound's line in each phase it holds in; neighbours share one.
fn limits(record: &RunRecord, bound: &LatencyBound, axis: &TimeAxis, scale: ValueScale) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    let mut joins = false;
    for phase in &record.phases {
        let holds = bound.phases.is_empty() || bound.phases.contains(&phase.name);
        if holds {
            let (left, right) =
                (axis.percent(phase.wall_begin_seconds), axis.percent(phase.wall_end_seconds));
            match limits.last_mut().filter(|_| joins) {
                Some(last) => last.width = right - last.left,
                None => limits.push(Limit {
                    left,
                    width: right - left,
                    top: scale.percent(bound.limit_ms),
                    label: format!("{} limit {}", bound.percentile, figures::milliseconds(bound.limit_ms)),
                }),
            }
        }
        joins = holds;
    }
    limits
}

/// A curve through the middle of each point's time; broken where there is no value.
fn line(
    class: &'static str,
    name: &'static str,
    points: &[SeriesPoint],
    axis: &TimeAxis,
    scale: ValueScale,
    value: impl Fn(&SeriesPoint) -> Option<f64>,
) -> Curve {
    let mut path = String::new();
    let mut broken = true;
    for (index, point) in points.iter().enumerate() {
        let Some(value) = value(point) else {
            broken = true;
            continue;
        };
        let middle = (point.wall_seconds + end_of(points, index, axis)) / 2.0;
        // A lone point gets a length of zero, which a round cap makes a dot.
        let command = if broken { ("M", "h0") } else { ("L", "") };
        push(&mut path, command.0, axis.percent(middle), scale.percent(value), command.1);
        broken = false;
    }
    Curve { class, name, path }
}

/// A curve that holds each value for the point's time.
fn steps(
    class: &'static str,
    name: &'static str,
    points: &[SeriesPoint],
    axis: &TimeAxis,
    scale: ValueScale,
    value: impl Fn(&SeriesPoint) -> f64,
) -> Curve {
    let mut path = String::new();
    for (index, point) in points.iter().enumerate() {
        let top = scale.percent(value(point));
        let command = if index == 0 { "M" } else { "L" };
        push(&mut path, command, axis.percent(point.wall_seconds), top, "");
        push(&mut path, "L", axis.percent(end_of(points, index, axis)), top, "");
    }
    Curve { class, name, path }
}

fn end_of(points: &[SeriesPoint], index: usize, axis: &TimeAxis) -> f64 {
    points.get(index + 1).map_or(axis.end(), |next| next.wall_seconds)
}

fn push(path: &mut String, command: &str, left: f64, top: f64, then: &str) {
    // Writing to a string cannot fail.
    let _ = write!(path, "{command}{:.1} {top:.1}{then}", left * 10.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(length: u32) -> Vec<SeriesPoint> {
        let point = |second| SeriesPoint {
            wall_seconds: f64::from(second),
            sent_per_second: 10.0,
            latency_p99_ms: (second != 5).then_some(if second == 777 { 900.0 } else { 3.0 }),
            connected_clients: u64::from(second),
            ..SeriesPoint::default()
        };
        (0..length).map(point).collect()
    }

    #[test]
    fn thinning_keeps_peaks_and_means() {
        let (points, group) = thinned(&series(1_800));
        assert_eq!((points.len(), group), (600, 3));
        assert_eq!(points.iter().filter(|point| point.latency_p99_ms == Some(900.0)).count(), 1);
        assert!(points.iter().all(|point| point.sent_per_second == 10.0));
        assert_eq!(points.last().map(|point| point.connected_clients), Some(1_799));
        assert_eq!(thinned(&series(600)).1, 1);
        assert_eq!(thinned(&[]), (Vec::new(), 1));
    }

    #[test]
    fn a_curve_is_broken_where_there_is_no_value() {
        let record = crate::json::read(include_str!("../../tests/data/smallest.json"));
        let axis = TimeAxis::of(&record.expect("a record"));
        let scale = ValueScale::linear(10.0);
        let curve = line("p99", "p99", &series(10), &axis, scale, |point| point.latency_p99_ms);
        assert_eq!(curve.path.matches('M').count(), 2);
        assert_eq!(curve.path.matches('L').count(), 7);
    }
}
