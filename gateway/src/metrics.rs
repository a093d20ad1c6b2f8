//! Every metric: name, unit, labels; counted per shard without locks, summed at an export.
//!
//! Each counter has one writer, its shard, so an update is a plain load and store; an export reads all shards and waits for none.
//! [`Metrics::snapshot`] is the one walk over all families; [`Snapshot::text`] and what pushes are made from it.

mod cell;
mod http;
mod labels;
mod log;
mod process;
mod protection;
mod push;
mod shard;
mod snapshot;
mod store;
mod telemetry;
mod text;

pub use cell::{Counter, Distribution, Gauge, Histogram};
pub use http::{Endpoint, HttpMetrics, Method, Status};
pub use labels::{
    AuthMethod, CloseReason, ConnectError, Dropped, ExportError, FailReason, Fate, Frame, Kind, LimitScope,
    PushResult, ReloadResult, Reloaded, Service, Signal,
};
pub use process::ProcessMetrics;
pub use push::PushMetrics;
pub use shard::ShardMetrics;
pub use snapshot::{Family, Point, Points, Snapshot};
pub use store::StoreMetrics;
pub use telemetry::TelemetryMetrics;
pub use text::Format;

use crate::breaker::Published;
use crate::log::Gate;
use labels::LabelValue as _;
use snapshot::Families;
use std::sync::{Arc, atomic};
use std::time::Duration;

/// Upper bounds of the delivery latency buckets, seconds. 0.2 and 0.5 are the operators' thresholds.
pub const LATENCY_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the group fan-out buckets, members.
pub const FANOUT_BOUNDS: [f64; 7] = [1.0, 10.0, 50.0, 100.0, 1000.0, 10_000.0, 100_000.0];

/// All figures of a gateway, and its name.
#[derive(Debug, Clone)]
pub struct Metrics {
    node: Arc<str>,
    shards: Arc<[Arc<ShardMetrics>]>,
    process: Arc<ProcessMetrics>,
    store: Arc<StoreMetrics>,
    breakers: Arc<[Published; Service::ALL.len()]>,
    push: Arc<PushMetrics>,
    telemetry: Arc<TelemetryMetrics>,
    log: Arc<Gate>,
}

impl Metrics {
    /// Figures for `shards` shards of `node`.
    pub fn new(node: &str, shards: usize) -> Metrics {
        let shards = (0..shards).map(|_| Arc::default()).collect();
        Metrics {
            node: node.into(),
            shards,
            process: Arc::default(),
            store: Arc::default(),
            breakers: Arc::default(),
            push: Arc::default(),
            telemetry: Arc::default(),
            log: Arc::default(),
        }
    }

    /// One shard's figures.
    pub fn shard(&self, index: usize) -> Arc<ShardMetrics> {
        Arc::clone(&self.shards[index])
    }

    /// The process's figures.
    pub fn process(&self) -> &ProcessMetrics {
        &self.process
    }

    /// The store's figures.
    pub fn store(&self) -> &Arc<StoreMetrics> {
        &self.store
    }

    /// This node's name.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The push notifier's figures.
    pub fn push(&self) -> &PushMetrics {
        &self.push
    }

    /// The figures of telemetry's export.
    pub fn telemetry(&self) -> &TelemetryMetrics {
        &self.telemetry
    }

    /// What the log lets through, and what it dropped.
    pub fn log(&self) -> &Arc<Gate> {
        &self.log
    }

    /// What the breaker of `service` says.
    pub fn breaker(&self, service: Service) -> &Published {
        &self.breakers[service as usize]
    }

    /// The sum of one counter over all shards.
    pub fn total(&self, counter: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.shards.iter().map(|shard| counter(shard)).sum()
    }

    /// The sum of one gauge over all shards.
    pub fn level(&self, gauge: impl Fn(&ShardMetrics) -> i64) -> i64 {
        self.shards.iter().map(|shard| gauge(shard)).sum()
    }

    fn distribution<const BOUNDS: usize>(
        &self,
        bounds: &'static [f64; BOUNDS],
        histogram: impl Fn(&ShardMetrics) -> &Histogram<BOUNDS>,
    ) -> Distribution {
        Distribution::merge(bounds, self.shards.iter().map(|shard| histogram(shard)))
    }

    /// All figures as they are now. Shards are read in the middle of their work, so two figures may be some microseconds apart.
    pub fn snapshot(&self) -> Snapshot {
        let mut families = Families::default();
        self.connections(&mut families);
        self.messages(&mut families);
        self.conservation(&mut families);
        self.routes(&mut families);
        self.fan_out(&mut families);
        self.store_families(&mut families);
        self.http(&mut families);
        self.websockets(&mut families);
        self.authentication(&mut families);
        self.rate_limits(&mut families);
        self.security(&mut families);
        self.breakers(&mut families);
        self.push_families(&mut families);
        self.telemetry_families(&mut families);
        self.log_families(&mut families);
        self.process_families(&mut families);
        Snapshot { node: Arc::clone(&self.node), families: families.0 }
    }
}

/// Seconds, for a histogram.
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn renders_every_family_once_and_sums_shards() {
        let metrics = Metrics::new("n1", 2);
        metrics.shard(0).established.add(2);
        metrics.shard(1).established.add(3);
        metrics.shard(0).active_connections.add(-1);
        metrics.shard(1).active_connections.add(4);
        metrics.shard(1).latency[0].observe(0.2, &LATENCY_BOUNDS);
        metrics.shard(0).latency[0].observe(99.0, &LATENCY_BOUNDS);
        let text = metrics.snapshot().text(Format::OpenMetrics);
        for line in [
            "im_gateway_connections_established_total{node=\"n1\"} 5",
            "im_gateway_active_connections{node=\"n1\"} 3",
            "im_gateway_messages_failed_total{node=\"n1\",type=\"direct\",reason=\"test\"} 0",
            "im_gateway_message_delivery_latency_seconds_bucket{node=\"n1\",type=\"direct\",le=\"0.1\"} 0",
            "im_gateway_message_delivery_latency_seconds_bucket{node=\"n1\",type=\"direct\",le=\"0.2\"} 1",
            "im_gateway_message_delivery_latency_seconds_bucket{node=\"n1\",type=\"direct\",le=\"+Inf\"} 2",
            "im_gateway_message_delivery_latency_seconds_count{node=\"n1\",type=\"direct\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        let instruments =
            format!("im_gateway_telemetry_instruments_registered {}\n", text.matches("# TYPE").count());
        assert!(text.contains(&instruments), "{text}");
    }

    /// A scrape meets shards in the middle of their updates: buckets and count must agree all the same, and nothing may fall.
    #[test]
    fn a_scrape_never_sees_a_count_that_is_not_the_sum_of_its_buckets() {
        const WRITERS: usize = 3;
        let metrics = Metrics::new("n1", WRITERS);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for index in 0..WRITERS {
                let (shard, done) = (metrics.shard(index), &done);
                scope.spawn(move || {
                    for step in (0u32..).take_while(|_| !done.load(Ordering::Relaxed)) {
                        shard.latency[0].observe(f64::from(step % 97) / 10.0, &LATENCY_BOUNDS);
                        shard.accepted.increment();
                    }
                });
            }
            let name = "im_gateway_message_delivery_latency_seconds";
            let value = |text: &str, start: String| -> u64 {
                let line = text.lines().find(|line| line.starts_with(&start)).unwrap();
                line.rsplit(' ').next().unwrap().parse().unwrap()
            };
            let (mut count_before, mut accepted_before) = (0, 0);
            for _ in 0..200 {
                let text = metrics.snapshot().text(Format::OpenMetrics);
                let count = value(&text, format!("{name}_count{{node=\"n1\",type=\"direct\"}}"));
                let all = value(&text, format!("{name}_bucket{{node=\"n1\",type=\"direct\",le=\"+Inf\"}}"));
                let accepted = value(&text, "im_gateway_messages_accepted_total".to_owned());
                assert!(count == all && count >= count_before && accepted >= accepted_before);
                (count_before, accepted_before) = (count, accepted);
            }
            done.store(true, Ordering::Relaxed);
        });
        let total: u64 = (0..WRITERS).map(|index| metrics.shard(index).accepted.get()).sum();
        assert_eq!(metrics.total(|shard| shard.accepted.get()), total);
    }
}
