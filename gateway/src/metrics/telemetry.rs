//! What became of telemetry that was to be exported.

use super::Metrics;
use super::labels::{ExportError, Fate, LabelValue as _, Signal};
use super::snapshot::{Families, by, by_both};
use std::sync::atomic::{AtomicU64, Ordering};

/// The export's own figures, by [`Signal`]; written by the exporter's thread.
#[derive(Debug, Default)]
pub struct TelemetryMetrics {
    errors: [[AtomicU64; ExportError::ALL.len()]; Signal::ALL.len()],
    items: [[AtomicU64; Fate::ALL.len()]; Signal::ALL.len()],
    retries: [AtomicU64; Signal::ALL.len()],
    taken: [AtomicU64; Signal::ALL.len()],
    left: [AtomicU64; Signal::ALL.len()],
}

impl TelemetryMetrics {
    /// Counts an attempt that failed.
    pub fn error(&self, signal: Signal, error: ExportError) {
        self.errors[signal as usize][error as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what became of `items`.
    pub fn count(&self, signal: Signal, fate: Fate, items: u64) {
        self.items[signal as usize][fate as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items that wait from now on; spans are counted by the shards that leave them.
    pub fn left(&self, signal: Signal, items: u64) {
        self.left[signal as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts items that are taken from where they waited, to be sent.
    pub fn took(&self, signal: Signal, items: u64) {
        self.taken[signal as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts an attempt beyond a request's first.
    pub fn retried(&self, signal: Signal) {
        self.retries[signal as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(super) fn telemetry_families(&self, families: &mut Families) {
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        families.counters(
            "im_gateway_telemetry_export_errors",
            "Attempts to export that failed",
            by_both(("signal", "reason"), |signal: Signal, error: ExportError| {
                get(&self.telemetry.errors[signal as usize][error as usize])
            }),
        );
        families.counters(
            "im_gateway_telemetry_items",
            "Data points, spans and log records by what became of them",
            by_both(("signal", "result"), |signal: Signal, fate: Fate| {
                let in_shards = match (signal, fate) {
                    (Signal::Traces, Fate::Dropped) => self.total(|s| s.spans_dropped.get()),
                    _ => 0,
                };
                get(&self.telemetry.items[signal as usize][fate as usize]) + in_shards
            }),
        );
        families.counters(
            "im_gateway_telemetry_export_retries",
            "Attempts to export beyond a request's first",
            by("signal", |signal: Signal| get(&self.telemetry.retries[signal as usize])),
        );
        families.gauges(
            "im_gateway_telemetry_queue_size",
            "Items that wait to be exported",
            by("signal", |signal: Signal| {
                // First what was taken, so that nothing is taken that was not left.
                let taken = get(&self.telemetry.taken[signal as usize]);
                let left = match signal {
                    Signal::Traces => self.total(|s| s.spans_left.get()),
                    Signal::Logs => get(&self.telemetry.left[Signal::Logs as usize]),
                    Signal::Metrics => taken,
                };
                left.saturating_sub(taken) as f64
            }),
        );
    }
}
