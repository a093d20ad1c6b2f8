//! Every metric: name, unit, labels; counted per shard without locks, summed at scrape.
//!
//! Each counter has one writer, its shard, so an update is a plain load and store; a scrape reads all shards and waits for none.

mod protection;
mod push;
pub mod store;

use crate::auth::TokenError;
pub use push::{PushMetrics, PushResult};

use crate::breaker::Published;
use crate::im::protocol::Refusal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the delivery latency buckets, seconds. 0.2 and 0.5 are the operators' thresholds.
pub const LATENCY_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the group fan-out buckets, members.
pub const FANOUT_BOUNDS: [f64; 7] = [1.0, 10.0, 50.0, 100.0, 1000.0, 10_000.0, 100_000.0];

/// A counter with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level with a single writer. A shard's share may be negative where another shard's is positive.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the level.
    pub fn set(&self, level: usize) {
        self.0.store(i64::try_from(level).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram with `BOUNDS` finite buckets and a single writer. The count is derived from the buckets.
#[derive(Debug)]
pub struct Histogram<const BOUNDS: usize> {
    buckets: [Counter; BOUNDS],
    above: Counter,
    /// In millionths of the unit, so that it is an integer.
    sum_millionths: Counter,
}

impl<const BOUNDS: usize> Default for Histogram<BOUNDS> {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| Counter::default());
        Histogram { buckets, above: Counter::default(), sum_millionths: Counter::default() }
    }
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// Counts `value` in the first bucket of `bounds` that holds it.
    pub fn observe(&self, value: f64, bounds: &[f64; BOUNDS]) {
        match bounds.iter().position(|bound| value <= *bound) {
            Some(index) => self.buckets[index].increment(),
            None => self.above.increment(),
        }
        self.sum_millionths.add((value * 1e6) as u64);
    }
}

/// What a message is addressed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A user.
    Direct,
    /// A group.
    Group,
}

impl Kind {
    const ALL: [(Kind, &'static str); 2] = [(Kind::Direct, "direct"), (Kind::Group, "group")];
}

/// Why a delivery is lost after its message was confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// An injected fault.
    Test,
    /// The recipient's offline queue, or the shard's, is full.
    QueueFull,
}

impl FailReason {
    const ALL: [(FailReason, &'static str); 2] =
        [(FailReason::Test, "test"), (FailReason::QueueFull, "queue_full")];
}

/// Why a connection never became a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// No token, or a bad one.
    Auth,
    /// The shard is at its cap.
    Limit,
    /// Not a valid upgrade.
    Protocol,
    /// No complete request in time.
    Timeout,
    /// The gateway is shutting down.
    Draining,
    /// A head above its limit.
    TooLarge,
    /// The TLS handshake failed, or was none.
    Tls,
}

impl ConnectError {
    const ALL: [(ConnectError, &'static str); 7] = [
        (ConnectError::Auth, "auth"),
        (ConnectError::Limit, "limit"),
        (ConnectError::Protocol, "protocol"),
        (ConnectError::Timeout, "timeout"),
        (ConnectError::Draining, "draining"),
        (ConnectError::TooLarge, "too_large"),
        (ConnectError::Tls, "tls"),
    ];
}

/// Why a session's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The client closed it.
    Client,
    /// The connection was cut.
    Reset,
    /// No sign of life for two heartbeats.
    Heartbeat,
    /// The client broke the protocol.
    Protocol,
    /// The client does not take its deliveries.
    SlowReader,
    /// The same device connected again.
    Replaced,
    /// The gateway shut down.
    Drain,
    /// The token's time was over.
    TokenExpired,
    /// Too many control frames, or empty fragments.
    Flood,
    /// The client does not complete its messages.
    SlowSender,
}

impl CloseReason {
    const ALL: [(CloseReason, &'static str); 10] = [
        (CloseReason::Client, "client"),
        (CloseReason::Reset, "reset"),
        (CloseReason::Heartbeat, "heartbeat"),
        (CloseReason::Protocol, "protocol"),
        (CloseReason::SlowReader, "slow_reader"),
        (CloseReason::Replaced, "replaced"),
        (CloseReason::Drain, "drain"),
        (CloseReason::TokenExpired, "token_expired"),
        (CloseReason::Flood, "flood"),
        (CloseReason::SlowSender, "slow_sender"),
    ];
}

impl TokenError {
    const ALL: [(TokenError, &'static str); 11] = [
        (TokenError::Missing, "missing"),
        (TokenError::Malformed, "malformed"),
        (TokenError::Algorithm, "algorithm"),
        (TokenError::UnknownKey, "unknown_key"),
        (TokenError::Signature, "signature"),
        (TokenError::Claims, "claims"),
        (TokenError::Expired, "expired"),
        (TokenError::NotYet, "not_yet"),
        (TokenError::Audience, "audience"),
        (TokenError::Issuer, "issuer"),
        (TokenError::Names, "names"),
    ];
}

/// What is read again on SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// Key and JWKS files.
    Keys,
    /// Certificate and its key.
    Certificate,
}

impl Reloaded {
    const ALL: [(Reloaded, &'static str); 2] =
        [(Reloaded::Keys, "keys"), (Reloaded::Certificate, "certificate")];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        Reloaded::ALL[self as usize].1
    }
}

/// Whose limit a message was above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// The connection's.
    Connection,
    /// The user's, over all connections.
    User,
}

impl LimitScope {
    const ALL: [(LimitScope, &'static str); 2] =
        [(LimitScope::Connection, "connection"), (LimitScope::User, "user")];
}

/// What a circuit breaker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Accepting messages, while they are not lost.
    Messages,
    /// Push notifications.
    Push,
}

impl Service {
    const ALL: [(Service, &'static str); 2] = [(Service::Messages, "messages"), (Service::Push, "push")];
}

/// One shard's figures.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    /// Open sessions.
    pub active_connections: Gauge,
    /// Sessions begun.
    pub established: Counter,
    /// Sessions ended, by [`CloseReason`].
    pub closed: [Counter; CloseReason::ALL.len()],
    /// Failed connects, by [`ConnectError`].
    pub connect_errors: [Counter; ConnectError::ALL.len()],
    /// Good tokens.
    pub tokens_accepted: Counter,
    /// Refused tokens, by [`TokenError`].
    pub tokens_refused: [Counter; 11],
    /// Deliveries acknowledged, by [`Kind`].
    pub delivered: [Counter; 2],
    /// Deliveries lost, by [`Kind`] and [`FailReason`].
    pub failed: [[Counter; 2]; 2],
    /// Seconds from accepting a message to its acknowledgement, by [`Kind`].
    pub latency: [Histogram<14>; 2],
    /// Deliveries not acknowledged in time.
    pub ack_timeouts: Counter,
    /// Repeated message ids.
    pub duplicates: Counter,
    /// Route cache hits.
    pub cache_hits: Counter,
    /// Route cache misses.
    pub cache_misses: Counter,
    /// Routes in the cache.
    pub cache_size: Gauge,
    /// Messages waiting for absent users.
    pub offline_queue: Gauge,
    /// Deliveries owed: one per recipient's device, or one for an absent user.
    pub accepted: Counter,
    /// Deliveries whose time ran out in a queue.
    pub expired: Counter,
    /// Deliveries on their way in this shard: held, waiting or unacknowledged.
    pub in_flight: Gauge,
    /// Deliveries to users with more than one connected device.
    pub multi_device: Counter,
    /// Deliveries of group messages.
    pub group_delivered: Counter,
    /// Members a group message went to.
    pub group_fanout: Histogram<7>,
    /// Members that group messages are still on their way to.
    pub fanout_backlog: Gauge,
    /// Deliveries recovered from the store at the start; they are among those accepted.
    pub recovered: Counter,
    /// Operations handed to the store.
    pub persist_asked: Counter,
    /// Requests that wait for the store's answer.
    pub persist_waiting: Gauge,
    /// Frames refused, by [`Refusal`].
    pub refused: [Counter; Refusal::ALL.len()],
    /// Frames that a rate limit let through.
    pub rate_allowed: Counter,
    /// Frames that a rate limit refused, by [`LimitScope`].
    pub rate_limited: [Counter; LimitScope::ALL.len()],
    /// Messages that the breaker on loss let through.
    pub breaker_allowed: Counter,
    /// Messages that the breaker on loss refused.
    pub breaker_rejected: Counter,
    /// Notifications that the edge was too busy to take.
    pub push_dropped: Counter,
}

impl ShardMetrics {
    /// Counts a failed connect.
    pub fn connect_error(&self, error: ConnectError) {
        self.connect_errors[error as usize].increment();
    }

    /// Counts a token that was checked.
    pub fn token_validation(&self, result: Result<(), TokenError>) {
        match result {
            Ok(()) => self.tokens_accepted.increment(),
            Err(error) => self.tokens_refused[error as usize].increment(),
        }
    }

    /// Counts a lost delivery.
    pub fn fail(&self, kind: Kind, reason: FailReason) {
        self.failed[kind as usize][reason as usize].increment();
    }
}

/// Figures of the process, kept up to date by the edge: a shard opens no file.
#[derive(Debug, Default)]
pub struct ProcessMetrics {
    /// CPU time used, milliseconds.
    pub cpu_ms: AtomicU64,
    /// Resident memory, bytes.
    pub resident_bytes: AtomicU64,
    /// Most address space the process may use, bytes; `u64::MAX` where it is not limited.
    pub virtual_bytes_max: AtomicU64,
    /// Runtime tasks of the edge.
    pub live_tasks: AtomicU64,
    /// Reloads that failed and that took effect, by [`Reloaded`].
    pub reloads: [[Counter; 2]; 2],
}

impl ProcessMetrics {
    /// Counts a reload.
    pub fn reloaded(&self, what: Reloaded, is_ok: bool) {
        self.reloads[what as usize][usize::from(is_ok)].increment();
    }
}

/// All figures of a gateway, and its name.
#[derive(Debug, Clone)]
pub struct Metrics {
    node: Arc<str>,
    shards: Arc<[Arc<ShardMetrics>]>,
    process: Arc<ProcessMetrics>,
    store: Arc<store::StoreMetrics>,
    breakers: Arc<[Published; Service::ALL.len()]>,
    push: Arc<PushMetrics>,
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
    pub fn store(&self) -> &Arc<store::StoreMetrics> {
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

    /// The exposition, OpenMetrics text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        let mut text = String::new();
        text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.gauge(encoder, "im_gateway_active_connections", "Open WebSocket sessions", |s| {
            s.active_connections.get()
        })?;
        self.counters(
            encoder,
            "im_gateway_connections_established",
            "Sessions begun",
            vec![(vec![], self.total(|s| s.established.get()))],
        )?;
        let closed = CloseReason::ALL
            .iter()
            .map(|&(reason, name)| (vec![("reason", name)], self.total(|s| s.closed[reason as usize].get())));
        self.counters(encoder, "im_gateway_connections_closed", "Sessions ended", closed.collect())?;
        let errors = ConnectError::ALL.iter().map(|&(error, name)| {
            (vec![("error_type", name)], self.total(|s| s.connect_errors[error as usize].get()))
        });
        self.counters(
            encoder,
            "im_gateway_connection_errors",
            "Connects that did not become a session",
            errors.collect(),
        )?;
        let refused = TokenError::ALL.iter().map(|&(error, name)| {
            (vec![("result", name)], self.total(|s| s.tokens_refused[error as usize].get()))
        });
        let mut validations = vec![(vec![("result", "ok")], self.total(|s| s.tokens_accepted.get()))];
        validations.extend(refused);
        self.counters(encoder, "auth_token_validations", "Tokens checked", validations)?;
        self.messages(encoder)?;
        self.counters(
            encoder,
            "im_gateway_ack_timeout",
            "Deliveries not acknowledged in time",
            vec![(vec![], self.total(|s| s.ack_timeouts.get()))],
        )?;
        self.counters(
            encoder,
            "im_gateway_message_duplication",
            "Repeated message ids, confirmed and not delivered again",
            vec![(vec![], self.total(|s| s.duplicates.get()))],
        )?;
        self.counters(
            encoder,
            "im_gateway_cache_hits",
            "Routes found in the cache",
            vec![(vec![], self.total(|s| s.cache_hits.get()))],
        )?;
        self.counters(
            encoder,
            "im_gateway_cache_misses",
            "Routes asked of the user's home shard",
            vec![(vec![], self.total(|s| s.cache_misses.get()))],
        )?;
        self.gauge(encoder, "im_gateway_cache_size", "Routes in the cache", |s| s.cache_size.get())?;
        self.gauge(encoder, "im_service_offline_queue_size", "Messages waiting for absent users", |s| {
            s.offline_queue.get()
        })?;
        self.store_families(encoder)?;
        self.conservation(encoder)?;
        self.protection(encoder)?;
        self.push_families(encoder)?;
        self.counters(
            encoder,
            "im_gateway_multi_device_deliveries",
            "Deliveries to users with several connected devices",
            vec![(vec![], self.total(|s| s.multi_device.get()))],
        )?;
        self.counters(
            encoder,
            "im_gateway_group_messages_delivered",
            "Deliveries of group messages",
            vec![(vec![], self.total(|s| s.group_delivered.get()))],
        )?;
        self.histograms(
            encoder,
            "im_gateway_group_fanout_size",
            "Members a group message went to",
            &FANOUT_BOUNDS,
            &[(vec![], &|s| &s.group_fanout)],
        )?;
        self.gauge(
            encoder,
            "im_gateway_group_fanout_backlog",
            "Members that accepted group messages are still on their way to",
            |s| s.fanout_backlog.get(),
        )?;
        self.process_families(encoder)
    }
}

impl Metrics {
    fn messages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let delivered = Kind::ALL
            .iter()
            .map(|&(kind, name)| (vec![("type", name)], self.total(|s| s.delivered[kind as usize].get())));
        self.counters(
            encoder,
            "im_gateway_messages_delivered",
            "Deliveries acknowledged",
            delivered.collect(),
        )?;
        // All label sets are exposed from the start: a counter born at its first failure hides that failure from `rate`.
        let failed = Kind::ALL.iter().flat_map(|&(kind, name)| {
            FailReason::ALL.iter().map(move |&(reason, why)| {
                (
                    vec![("type", name), ("reason", why)],
                    self.total(|s| s.failed[kind as usize][reason as usize].get()),
                )
            })
        });
        self.counters(
            encoder,
            "im_gateway_messages_failed",
            "Deliveries lost after confirmation",
            failed.collect(),
        )?;
        let name = "im_gateway_message_delivery_latency_seconds";
        let help = "From accepting a message to its acknowledgement";
        self.histograms(
            encoder,
            name,
            help,
            &LATENCY_BOUNDS,
            &[
                (vec![("type", "direct")], &|s| &s.latency[Kind::Direct as usize]),
                (vec![("type", "group")], &|s| &s.latency[Kind::Group as usize]),
            ],
        )
    }

    /// accepted = delivered + queued + expired + failed + in flight (what travels between shards is counted in none).
    fn conservation(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.counters(
            encoder,
            "im_gateway_messages_accepted",
            "Deliveries owed",
            vec![(vec![], self.total(|s| s.accepted.get()))],
        )?;
        self.counters(
            encoder,
            "im_gateway_messages_expired",
            "Deliveries whose time ran out in a queue",
            vec![(vec![], self.total(|s| s.expired.get()))],
        )?;
        self.gauge(
            encoder,
            "im_gateway_messages_in_flight",
            "Deliveries held, waiting or unacknowledged",
            |s| s.in_flight.get(),
        )
    }

    fn process_families(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let reloads = Reloaded::ALL.iter().flat_map(|&(what, name)| {
            ["failed", "ok"].iter().enumerate().map(move |(index, result)| {
                (vec![("part", name), ("result", result)], self.process.reloads[what as usize][index].get())
            })
        });
        self.counters(encoder, "im_gateway_config_reloads", "Files read again on SIGHUP", reloads.collect())?;
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let cpu = get(&self.process.cpu_ms) as f64 / 1000.0;
        ConstCounter::new(cpu).encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time used",
            None,
            MetricType::Counter,
        )?)?;
        let max = match get(&self.process.virtual_bytes_max) {
            u64::MAX => -1.0,
            bytes => bytes as f64,
        };
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory", get(&self.process.resident_bytes) as f64),
            (
                "process_virtual_memory_max_bytes",
                "Most address space the process may use; -1: not limited",
                max,
            ),
            ("im_gateway_runtime_live_tasks", "Live runtime tasks", get(&self.process.live_tasks) as f64),
            ("im_gateway_telemetry_instruments_registered", "Metric families exported", INSTRUMENTS as f64),
        ] {
            ConstGauge::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Gauge,
            )?)?;
        }
        let errors = encoder.encode_descriptor(
            "im_gateway_telemetry_export_errors",
            "Failed exports",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(0u64).encode(errors)
    }

    fn with_node<'a>(&'a self, mut labels: Labels<'a>) -> Labels<'a> {
        labels.insert(0, ("node", &self.node));
        labels
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        level: impl Fn(&ShardMetrics) -> i64,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let labels = self.with_node(vec![]);
        ConstGauge::new(self.level(level)).encode(family.encode_family(&labels.as_slice())?)
    }

    fn counters(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        values: Vec<(Labels<'_>, u64)>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut all = vec![("node", &*self.node)];
            all.extend(labels);
            ConstCounter::new(value).encode(family.encode_family(&all.as_slice())?)?;
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "a table of label sets and the histogram each one names")]
    fn histograms<const BOUNDS: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        bounds: &[f64; BOUNDS],
        families: &[(Labels<'_>, &dyn Fn(&ShardMetrics) -> &Histogram<BOUNDS>)],
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in families {
            let mut all = vec![("node", &*self.node)];
            all.extend(labels.iter().copied());
            let mut buckets: Vec<(f64, u64)> = bounds
                .iter()
                .enumerate()
                .map(|(index, bound)| (*bound, self.total(|s| histogram(s).buckets[index].get())))
                .collect();
            buckets.push((f64::INFINITY, self.total(|s| histogram(s).above.get())));
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = self.total(|s| histogram(s).sum_millionths.get()) as f64 / 1e6;
            let labels = all.as_slice();
            let mut encoder: MetricEncoder<'_> = family.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabels>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// Buckets carry no exemplars.
type NoLabels = [(&'static str, &'static str); 0];

/// Metric families that [`Metrics::render`] writes.
const INSTRUMENTS: u64 = 34 + protection::INSTRUMENTS + push::INSTRUMENTS;

/// Seconds, for a histogram.
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_family_once_and_sums_shards() {
        let metrics = Metrics::new("n1", 2);
        metrics.shard(0).established.add(2);
        metrics.shard(1).established.add(3);
        metrics.shard(0).active_connections.add(-1);
        metrics.shard(1).active_connections.add(4);
        metrics.shard(1).latency[0].observe(0.2, &LATENCY_BOUNDS);
        metrics.shard(0).latency[0].observe(99.0, &LATENCY_BOUNDS);
        let text = metrics.render().unwrap();
        for line in [
            "im_gateway_connections_established_total{node=\"n1\"} 5",
            "im_gateway_active_connections{node=\"n1\"} 3",
            "im_gateway_messages_failed_total{node=\"n1\",type=\"direct\",reason=\"test\"} 0",
            "im_gateway_message_delivery_latency_seconds_bucket{le=\"0.1\",node=\"n1\",type=\"direct\"} 0",
            "im_gateway_message_delivery_latency_seconds_bucket{le=\"0.2\",node=\"n1\",type=\"direct\"} 1",
            "im_gateway_message_delivery_latency_seconds_bucket{le=\"+Inf\",node=\"n1\",type=\"direct\"} 2",
            "im_gateway_message_delivery_latency_seconds_count{node=\"n1\",type=\"direct\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches("# TYPE").count() as u64, INSTRUMENTS);
        assert!(text.ends_with("# EOF\n"));
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
                let text = metrics.render().unwrap();
                let count = value(&text, format!("{name}_count{{node=\"n1\",type=\"direct\"}}"));
                let all = value(&text, format!("{name}_bucket{{le=\"+Inf\",node=\"n1\",type=\"direct\"}}"));
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
