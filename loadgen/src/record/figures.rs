//! Load and latencies.

use crate::conduct::Facts;
use crate::fleet::figures::{ConnectFigures, Latencies, PhaseFigures, SecondFigures};
use crate::fleet::ledger::{Class, Counts};
use crate::prepare::Prepared;
use assertions::figures::{ClientFigures, Figures, MessageCounts};
use reports::record::{self, LatencySummary, LoadFigures, MessageClasses, SendLag, SeriesPoint};
use std::time::Duration;
use wire::time::Time;

/// Beyond this 99th percentile of the send lag the run is void.
pub(super) const SEND_LAG_P99_MAX: Duration = Duration::from_millis(10);

pub(super) fn phases(prepared: &Prepared, facts: &Facts, wall: &dyn Fn(Time) -> f64) -> Vec<record::Phase> {
    let first = facts.phases.first().map_or(facts.start, |log| log.begin);
    let origin = facts.clock.rule_time(first);
    let rule = |at: Time| facts.clock.rule_time(at).0.saturating_sub(origin.0) as f64 / 1000.0;
    let planned = prepared.scenario().phases.iter();
    planned
        .zip(&facts.phases)
        .enumerate()
        .map(|(index, (phase, log))| {
            let empty = Default::default();
            let (counts, figures) = facts.figures.phases.get(index + 1).unwrap_or(&empty);
            record::Phase {
                name: phase.name.value.clone(),
                wall_begin_seconds: wall(log.begin),
                wall_end_seconds: wall(log.end),
                rule_begin_seconds: rule(log.begin),
                rule_end_seconds: rule(log.end),
                factor: phase.factor,
                faults: phase
                    .faults
                    .iter()
                    .zip(&log.faults)
                    .map(|(fault, log)| record::Fault {
                        name: fault.name.value.clone(),
                        parameters: crate::faults::parameters(&fault.kind),
                        asked_wall_seconds: wall(log.asked.unwrap_or(facts.start)),
                        effective_wall_seconds: log.effective.map(wall),
                        healed_wall_seconds: log.healed.map(wall),
                        proof: log.proof.clone(),
                    })
                    .collect(),
                load: load(counts, figures, log.end.since(log.begin).as_secs_f64()),
            }
        })
        .collect()
}

pub(super) fn load(counts: &Counts, figures: &PhaseFigures, seconds: f64) -> LoadFigures {
    let messages = classes(counts, figures);
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    LoadFigures {
        planned_per_second: per_second(messages.planned),
        sent_per_second: per_second(messages.sent()),
        latency: summary(&figures.latency),
        latency_uncorrected: summary(&figures.latency_uncorrected),
        send_lag: send_lag(&figures.send_lag),
        messages,
    }
}

fn classes(counts: &Counts, figures: &PhaseFigures) -> MessageClasses {
    MessageClasses {
        planned: counts.planned(),
        missed: counts.of(Class::Missed),
        offline: counts.of(Class::Offline),
        blocked: counts.of(Class::Blocked),
        refused: counts.of(Class::Refused),
        unconfirmed: counts.of(Class::Unconfirmed),
        delivered: counts.of(Class::Delivered),
        expired: 0,
        queued: counts.of(Class::Queued),
        lost: counts.of(Class::Lost),
        duplicates: counts.duplicates,
        reordered: figures.reordered,
        late: figures.late,
    }
}

fn ms(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

fn summary(latencies: &Latencies) -> Option<LatencySummary> {
    let histogram = latencies.histogram();
    (!histogram.is_empty()).then(|| LatencySummary {
        count: histogram.len(),
        average_ms: histogram.mean() / 1000.0,
        min_ms: ms(histogram.min()),
        median_ms: ms(histogram.value_at_quantile(0.5)),
        max_ms: ms(histogram.max()),
        p90_ms: ms(histogram.value_at_quantile(0.9)),
        p95_ms: ms(histogram.value_at_quantile(0.95)),
        p99_ms: ms(histogram.value_at_quantile(0.99)),
        p999_ms: ms(histogram.value_at_quantile(0.999)),
    })
}

fn send_lag(latencies: &Latencies) -> Option<SendLag> {
    let histogram = latencies.histogram();
    (!histogram.is_empty()).then(|| SendLag {
        p99_ms: ms(histogram.value_at_quantile(0.99)),
        max_ms: ms(histogram.max()),
        limit_ms: SEND_LAG_P99_MAX.as_secs_f64() * 1000.0,
    })
}

pub(super) fn series(facts: &Facts) -> Vec<SeriesPoint> {
    let point = |second: &SecondFigures| SeriesPoint {
        wall_seconds: second.until.since(facts.start).as_secs_f64() - 1.0,
        planned_per_second: second.due as f64,
        sent_per_second: second.sent as f64,
        received_per_second: second.delivered as f64,
        latency_p50_ms: second.latency.map(|[p50, _, _]| ms(p50)),
        latency_p99_ms: second.latency.map(|[_, p99, _]| ms(p99)),
        latency_p999_ms: second.latency.map(|[_, _, p999]| ms(p999)),
        connected_clients: second.connected,
        send_lag_p99_ms: second.send_lag.map(ms),
    };
    facts.seconds.iter().map(point).collect()
}

/// The clients' figures as the judge of SLOs and thresholds reads them.
pub(super) fn client_figures(prepared: &Prepared, facts: &Facts) -> ClientFigures {
    let mut phases: Vec<assertions::figures::PhaseFigures> = Vec::new();
    // A phase that was never reached has no figures, and its objectives no data.
    for (index, phase) in prepared.scenario().phases.iter().enumerate() {
        let mut figures = Figures::empty();
        if let Some((counts, measured)) = facts.figures.phases.get(index + 1) {
            fill(&mut figures, counts, measured);
            fill_connects(&mut figures, &measured.connects);
        }
        let length = facts.phases.get(index).map(|log| log.end.since(log.begin));
        figures.wall_seconds = length.unwrap_or_default().as_secs_f64();
        phases.push(assertions::figures::PhaseFigures { name: phase.name.value.clone(), figures });
    }
    let mut total = Figures::empty();
    let (counts, measured) = facts.figures.total();
    fill(&mut total, &counts, &measured);
    total.wall_seconds = phases.iter().map(|phase| phase.figures.wall_seconds).sum();
    fill_connects(&mut total, &facts.figures.connects());
    ClientFigures { phases, total }
}

fn fill_connects(figures: &mut Figures, connects: &ConnectFigures) {
    (figures.connect_attempts, figures.connect_failures) = (connects.attempts, connects.failed);
    // They resize themselves, so nothing can be out of range.
    let _ = figures.connecting.add(connects.connecting.histogram());
    let _ = figures.reconnect.add(connects.reconnect.histogram());
}

fn fill(figures: &mut Figures, counts: &Counts, measured: &PhaseFigures) {
    let classes = classes(counts, measured);
    figures.messages = MessageCounts {
        missed: classes.missed,
        offline: classes.offline,
        blocked: classes.blocked,
        refused: classes.refused,
        unconfirmed: classes.unconfirmed,
        delivered: classes.delivered,
        expired: classes.expired,
        queued: classes.queued,
        lost: classes.lost,
        duplicates: classes.duplicates,
        reordered: classes.reordered,
        late: classes.late,
    };
    // They resize themselves, so nothing can be out of range.
    let _ = figures.latency.add(measured.latency.histogram());
    let _ = figures.latency_uncorrected.add(measured.latency_uncorrected.histogram());
    let _ = figures.send_lag.add(measured.send_lag.histogram());
}
