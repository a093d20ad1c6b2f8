//! What became of push notifications.

use super::Metrics;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Metric families of this file.
pub(super) const INSTRUMENTS: u64 = 3;

/// How a notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushResult {
    /// The provider has taken it.
    Delivered,
    /// The provider does not want it.
    Refused,
    /// All attempts failed.
    Failed,
    /// The breaker was open.
    Rejected,
    /// Too many waited.
    Dropped,
}

impl PushResult {
    const ALL: [(PushResult, &'static str); 5] = [
        (PushResult::Delivered, "delivered"),
        (PushResult::Refused, "refused"),
        (PushResult::Failed, "failed"),
        (PushResult::Rejected, "rejected"),
        (PushResult::Dropped, "dropped"),
    ];
}

/// The push notifier's figures; written by the main thread and the notifier's.
#[derive(Debug, Default)]
pub struct PushMetrics {
    results: [AtomicU64; PushResult::ALL.len()],
    /// Attempts beyond each notification's first.
    pub retries: AtomicU64,
    /// Notifications in the queue or under way.
    pub waiting: AtomicI64,
    /// Attempts that the breaker let through.
    pub breaker_allowed: AtomicU64,
    /// Attempts that the breaker did not let through.
    pub breaker_rejected: AtomicU64,
}

impl PushMetrics {
    /// Counts a notification.
    pub fn count(&self, result: PushResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(super) fn push_families(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let results = PushResult::ALL.iter().map(|&(result, name)| {
            let mut count = self.push.results[result as usize].load(Ordering::Relaxed);
            if result == PushResult::Dropped {
                count += self.total(|s| s.push_dropped.get());
            }
            (vec![("result", name)], count)
        });
        let help = "Push notifications by how they ended";
        self.counters(encoder, "im_gateway_push_notifications", help, results.collect())?;
        let retries = self.push.retries.load(Ordering::Relaxed);
        let help = "Attempts to push beyond a notification's first";
        self.counters(encoder, "im_gateway_push_retries", help, vec![(vec![], retries)])?;
        let (name, help) = ("im_gateway_push_queue_size", "Push notifications waiting or under way");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = self.with_node(vec![]);
        let waiting = self.push.waiting.load(Ordering::Relaxed);
        ConstGauge::new(waiting).encode(family.encode_family(&labels.as_slice())?)
    }
}
