//! What the targets export, and what is known of a metric without asking them.

use crate::exposition::{self, ExpositionError, FamilyType, Format, Sample};
use std::collections::{BTreeMap, BTreeSet};

/// What targets export: names, types, labels, bucket bounds.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Clone, Default)]
struct Family {
    kind: FamilyType,
    labels: BTreeSet<String>,
    /// The first value seen of each label, and the labels with more than one.
    first: BTreeMap<String, String>,
    varying: BTreeSet<String>,
    bounds: Vec<f64>,
}

impl Metrics {
    /// Adds what one target answers. Errors: a line that cannot be read.
    pub fn add(&mut self, text: &str) -> Result<(), ExpositionError> {
        let format = match text.trim_end().ends_with("# EOF") {
            true => Format::OpenMetrics,
            false => Format::Text,
        };
        exposition::parse(text, format)?.iter().for_each(|sample| self.sample(sample));
        Ok(())
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        let family = self.families.entry(sample.name.to_string()).or_default();
        family.kind = sample.family;
        for (name, value) in &sample.labels {
            family.labels.insert(name.to_string());
            let first = family.first.entry(name.to_string()).or_insert_with(|| value.to_string());
            if *first != **value {
                family.varying.insert(name.to_string());
            }
        }
        if sample.name.ends_with("_bucket")
            && let Ok(bound) = sample.label("le").parse::<f64>()
            && bound.is_finite()
            && !family.bounds.contains(&bound)
        {
            family.bounds.push(bound);
            family.bounds.sort_by(f64::total_cmp);
        }
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    /// The labels of a metric; `None` if it was not there.
    pub(super) fn labels(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.families.get(name).map(|family| &family.labels)
    }

    /// The finite bounds of `NAME_bucket`, in order; `None` if there are none.
    pub(super) fn bounds(&self, bucket: &str) -> Option<&[f64]> {
        let family = self.families.get(bucket)?;
        (!family.bounds.is_empty()).then_some(family.bounds.as_slice())
    }

    /// Whether a label of a metric had several values.
    pub(super) fn varies(&self, name: &str, label: &str) -> bool {
        self.families.get(name).is_some_and(|family| family.varying.contains(label))
    }
}

/// What a series is, as far as `rate` cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeriesKind {
    Counter,
    Gauge,
}

/// What a series is and how that is known.
pub(super) struct Known {
    pub(super) kind: SeriesKind,
    pub(super) from: &'static str,
}

/// What the series of that name are; `None` if neither targets nor documentation nor the name say so.
pub(super) fn kind_of(name: &str, metrics: Option<&Metrics>) -> Option<Known> {
    let exported = metrics.and_then(|metrics| metrics.families.get(name));
    let typed = exported.and_then(|family| match family.kind {
        FamilyType::Counter => Some(SeriesKind::Counter),
        FamilyType::Gauge | FamilyType::Info => Some(SeriesKind::Gauge),
        FamilyType::Histogram | FamilyType::Summary => {
            let is_counted = ["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
            Some(if is_counted { SeriesKind::Counter } else { SeriesKind::Gauge })
        }
        FamilyType::GaugeHistogram | FamilyType::Unknown => None,
    });
    if let Some(kind) = typed {
        return Some(Known { kind, from: "its `# TYPE` says so" });
    }
    if let Some(kind) = documented(name) {
        return Some(Known { kind, from: "its exporter's documentation says so" });
    }
    // A recorded series has the type of nothing.
    if name.contains(':') {
        return None;
    }
    // What there is of something is called a total, too.
    let is_amount = |counted: &str| AMOUNTS.contains(&counted.rsplit('_').next().unwrap_or_default());
    let is_total = name.strip_suffix("_total").is_some_and(|counted| !is_amount(counted));
    if is_total || name.ends_with("_bucket") {
        return Some(Known { kind: SeriesKind::Counter, from: BY_NAME });
    }
    let is_gauge = GAUGE_ENDS.iter().any(|end| name.ends_with(end));
    is_gauge.then_some(Known { kind: SeriesKind::Gauge, from: BY_NAME })
}

/// What a kind is known from that only the name gives away.
pub(super) const BY_NAME: &str = "by its name";

/// Words before `_total` in names of what there is, not of what has been counted.
const AMOUNTS: &[&str] = &[
    "capacity",
    "cores",
    "cpus",
    "devices",
    "disk",
    "hosts",
    "inodes",
    "instances",
    "members",
    "memory",
    "nodes",
    "partitions",
    "peers",
    "pods",
    "quota",
    "replicas",
    "shards",
    "slots",
    "space",
    "swap",
    "threads",
    "volumes",
    "workers",
];

/// Ends of names that only gauges have. `_seconds` and `_bytes` are not among them: old exporters count in both.
const GAUGE_ENDS: &[&str] = &[
    "_active",
    "_celsius",
    "_connections",
    "_depth",
    "_free",
    "_in_flight",
    "_info",
    "_lag",
    "_length",
    "_limit",
    "_memory_bytes",
    "_memory_usage_bytes",
    "_percent",
    "_pool_size",
    "_queue_size",
    "_ratio",
    "_remaining",
    "_sessions",
    "_state",
    "_status",
    "_temperature",
    "_timestamp_seconds",
    "_utilization",
];

/// Metrics of common exporters whose name does not say, or misleads about, what they are. A `*` ends a prefix.
const DOCUMENTED: &[(&str, SeriesKind)] = &[
    ("container_memory_failcnt", SeriesKind::Counter),
    ("container_memory_*", SeriesKind::Gauge),
    ("go_goroutines", SeriesKind::Gauge),
    ("go_memstats_alloc_bytes", SeriesKind::Gauge),
    ("go_memstats_heap_*", SeriesKind::Gauge),
    ("haproxy_backend_current_*", SeriesKind::Gauge),
    ("haproxy_frontend_current_*", SeriesKind::Gauge),
    ("kong_http_status", SeriesKind::Counter),
    ("mysql_global_status_connections", SeriesKind::Counter),
    ("node_filesystem_*", SeriesKind::Gauge),
    ("node_load1", SeriesKind::Gauge),
    ("node_load15", SeriesKind::Gauge),
    ("node_load5", SeriesKind::Gauge),
    ("node_memory_*", SeriesKind::Gauge),
    ("node_netstat_Ip_Forwarding", SeriesKind::Gauge),
    ("node_netstat_Tcp_CurrEstab", SeriesKind::Gauge),
    ("node_netstat_*", SeriesKind::Counter),
    ("node_vmstat_*", SeriesKind::Counter),
    ("pg_database_size_bytes", SeriesKind::Gauge),
    ("pg_locks_count", SeriesKind::Gauge),
    ("pg_replication_lag*", SeriesKind::Gauge),
    ("pg_settings_*", SeriesKind::Gauge),
    ("pg_stat_activity_count", SeriesKind::Gauge),
    ("pg_stat_activity_max_tx_duration", SeriesKind::Gauge),
    ("pg_stat_database_numbackends", SeriesKind::Gauge),
    ("pg_up", SeriesKind::Gauge),
    ("process_max_fds", SeriesKind::Gauge),
    ("process_open_fds", SeriesKind::Gauge),
    ("process_resident_memory_bytes", SeriesKind::Gauge),
    ("process_virtual_memory_bytes", SeriesKind::Gauge),
    ("redis_blocked_clients", SeriesKind::Gauge),
    ("redis_connected_clients", SeriesKind::Gauge),
    ("redis_connected_slaves", SeriesKind::Gauge),
    ("redis_db_keys*", SeriesKind::Gauge),
    ("redis_memory_*", SeriesKind::Gauge),
    ("redis_up", SeriesKind::Gauge),
    ("up", SeriesKind::Gauge),
];

/// Metrics whose documentation names a label with a value for each user or client.
const DOCUMENTED_LABELS: &[(&str, &str)] =
    &[("messenger_prekeys_remaining", "user"), ("rate_limit_violations_total", "client")];

/// The labels that a metric is known to have, from the targets or its documentation.
pub(super) fn known_labels(name: &str, metrics: Option<&Metrics>) -> BTreeSet<String> {
    let exported = metrics.and_then(|metrics| metrics.labels(name)).cloned();
    let documented = DOCUMENTED_LABELS.iter().filter(|(metric, _)| name.ends_with(metric));
    exported.unwrap_or_else(|| documented.map(|(_, label)| (*label).to_owned()).collect())
}

fn documented(name: &str) -> Option<SeriesKind> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    DOCUMENTED.iter().find(|(pattern, _)| fits(pattern)).map(|(_, kind)| *kind)
}
