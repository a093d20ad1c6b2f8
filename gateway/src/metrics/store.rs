//! Figures of the store; its thread is their single writer.

use super::{Counter, Gauge, Histogram, Metrics, NoLabels};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::time::Duration;

/// Upper bounds of the commit buckets, seconds.
const COMMIT_BOUNDS: [f64; 11] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];
/// Upper bounds of the group buckets, operations.
const GROUP_BOUNDS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 65_536.0];

/// What the store has done.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    commit_seconds: Histogram<11>,
    group_size: Histogram<8>,
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

    /// Says how many messages are kept.
    pub(crate) fn keeps(&self, messages: usize) {
        self.messages.set(messages);
    }
}

impl Metrics {
    /// The store's families; all at zero where there is none.
    pub(super) fn store_families(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = self.store();
        let asked = self.total(|shard| shard.persist_asked.get());
        let labels = self.with_node(vec![]);
        for (name, help, value) in [
            (
                "im_service_offline_worker_lag",
                "Operations that the store's thread is behind",
                asked.saturating_sub(store.operations.get()) as i64,
            ),
            ("im_gateway_store_messages", "Messages on the disk", store.messages.get()),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(family.encode_family(&labels.as_slice())?)?;
        }
        for (name, help, value) in [
            ("im_gateway_store_errors", "Commits that failed", store.errors.get()),
            (
                "im_gateway_messages_recovered",
                "Deliveries recovered from the store at the start; they count as accepted",
                self.total(|shard| shard.recovered.get()),
            ),
        ] {
            self.counters(encoder, name, help, vec![(vec![], value)])?;
        }
        self.one_histogram(
            encoder,
            "im_gateway_store_commit_seconds",
            "Time that commits took",
            &COMMIT_BOUNDS,
            &store.commit_seconds,
        )?;
        self.one_histogram(
            encoder,
            "im_gateway_store_commit_operations",
            "Operations written together",
            &GROUP_BOUNDS,
            &store.group_size,
        )
    }

    fn one_histogram<const BOUNDS: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        bounds: &[f64; BOUNDS],
        histogram: &Histogram<BOUNDS>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let counts = histogram.buckets.iter().map(Counter::get);
        let mut buckets: Vec<(f64, u64)> = bounds.iter().copied().zip(counts).collect();
        buckets.push((f64::INFINITY, histogram.above.get()));
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = histogram.sum_millionths.get() as f64 / 1e6;
        let labels = self.with_node(vec![]);
        family.encode_family(&labels.as_slice())?.encode_histogram::<NoLabels>(sum, count, &buckets, None)
    }
}
