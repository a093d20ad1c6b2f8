//! Figures of the store; its thread is their single writer.

use super::Metrics;
use super::cell::Distribution;
use super::cell::{Counter, Gauge, Histogram};
use super::snapshot::Families;
use std::time::Duration;

/// Upper bounds of the commit buckets, seconds.
const COMMIT_BOUNDS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds of the group buckets, operations.
const GROUP_BOUNDS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 65_536.0];

/// What the store has done.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    commit_seconds: Histogram<{ COMMIT_BOUNDS.len() }>,
    group_size: Histogram<{ GROUP_BOUNDS.len() }>,
    operations: Counter,
    errors: Counter,
    messages: Gauge,
}

impl StoreMetrics {
    /// Counts a commit of `operations`, after which `messages` are kept.
    pub(crate) fn committed(&self, operations: u64, took: Duration, messages: usize) {
        self.commit_seconds.observe(took.as_secs_f64(), &COMMIT_BOUNDS);
        self.group_size.observe(operations as f64, &GROUP_BOUNDS);
        self.operations.add(operations);
        self.messages.set(messages);
    }

    /// Counts a commit that failed.
    pub(crate) fn failed(&self) {
        self.errors.increment();
    }

    /// Whether a commit has failed; then nothing more is taken.
    pub fn has_failed(&self) -> bool {
        self.errors.get() > 0
    }

    /// Says how many messages are kept.
    pub(crate) fn keeps(&self, messages: usize) {
        self.messages.set(messages);
    }
}

impl Metrics {
    /// The store's families; all at zero where there is none.
    pub(super) fn store_families(&self, families: &mut Families) {
        let store = &self.store;
        let asked = self.total(|shard| shard.persist_asked.get());
        families.gauge(
            "im_service_offline_worker_lag",
            "Operations that the store's thread is behind",
            asked.saturating_sub(store.operations.get()) as i64,
        );
        families.gauge("im_gateway_store_messages", "Messages on the disk", store.messages.get());
        families.gauge(
            "im_gateway_store_failed",
            "1 since a commit has failed: no message is taken until the next start; else 0",
            i64::from(store.has_failed()),
        );
        families.counter("im_gateway_store_errors", "Commits that failed", store.errors.get());
        families.counter(
            "im_gateway_messages_recovered",
            "Deliveries recovered from the store at the start; they count as accepted",
            self.total(|shard| shard.recovered.get()),
        );
        families.histogram(
            "im_gateway_store_commit_seconds",
            "Time that commits took",
            Distribution::merge(&COMMIT_BOUNDS, [&store.commit_seconds].into_iter()),
        );
        families.histogram(
            "im_gateway_store_commit_operations",
            "Operations written together",
            Distribution::merge(&GROUP_BOUNDS, [&store.group_size].into_iter()),
        );
    }
}
