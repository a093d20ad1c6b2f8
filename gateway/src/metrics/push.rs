//! What became of push notifications.

use super::Metrics;
use super::labels::{LabelValue as _, PushResult};
use super::snapshot::{Families, by};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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
    pub(super) fn push_families(&self, families: &mut Families) {
        let ended = |result: PushResult| {
            let at_the_edge = self.push.results[result as usize].load(Ordering::Relaxed);
            let in_shards = match result {
                PushResult::Dropped => self.total(|s| s.push_dropped.get()),
                _ => 0,
            };
            at_the_edge + in_shards
        };
        let help = "Push notifications by how they ended";
        families.counters("im_gateway_push_notifications", help, by("result", ended));
        let retries = self.push.retries.load(Ordering::Relaxed);
        let help = "Attempts to push beyond a notification's first";
        families.counter("im_gateway_push_retries", help, retries);
        let waiting = self.push.waiting.load(Ordering::Relaxed);
        families.gauge("im_gateway_push_queue_size", "Push notifications waiting or under way", waiting);
    }
}
