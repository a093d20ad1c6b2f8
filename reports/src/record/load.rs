//! Load and what became of it: message classes, latencies, the generator's own figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the population came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Connect {
    /// Clients that were to connect.
    pub clients: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// From the first attempt to the last client in.
    pub connect_seconds: f64,
    /// Established connections per second over that time.
    pub connects_per_second: f64,
    /// Warm-up after it, before the first phase.
    pub warmup_seconds: f64,
}

/// What did not come about, by its reason, over the whole run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Failures {
    /// Attempts to connect that failed: `refused`, `reset`, `timeout` ….
    pub connects: BTreeMap<String, u64>,
    /// Messages refused, by the target's code.
    pub messages: BTreeMap<String, u64>,
}

/// Planned and achieved load over a phase or the run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LoadFigures {
    /// Messages the plan wanted per wall second.
    pub planned_per_second: f64,
    /// Messages sent per wall second.
    pub sent_per_second: f64,
    /// What became of every planned message.
    pub messages: MessageClasses,
    /// From the intended send time to the receiver; `None` if nothing was delivered.
    pub latency: Option<LatencySummary>,
    /// From the actual send to the receiver: hides what the sender waited.
    pub latency_uncorrected: Option<LatencySummary>,
    /// From the intended send time to the generator's attempt; `None` if nothing was attempted.
    pub send_lag: Option<SendLag>,
}

/// Every planned message is in exactly one of the first nine classes; the rest is counted beside them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MessageClasses {
    /// The plan's messages: the sum of the nine classes.
    pub planned: u64,
    /// Not attempted: the generator was late or had stopped.
    pub missed: u64,
    /// Not attempted: the sender was not connected.
    pub offline: u64,
    /// Not sent: the socket was full.
    pub blocked: u64,
    /// Sent and refused by the target.
    pub refused: u64,
    /// Sent; the connection ended before the target confirmed.
    pub unconfirmed: u64,
    /// Arrived.
    pub delivered: u64,
    /// Confirmed and given up by the target with notice.
    pub expired: u64,
    /// Confirmed; waiting for an absent recipient.
    pub queued: u64,
    /// Confirmed and never delivered.
    pub lost: u64,
    /// Arrivals beyond the first.
    pub duplicates: u64,
    /// First arrivals overtaken by a later message of the same sender.
    pub reordered: u64,
    /// Delivered after the scenario's `late_after`.
    pub late: u64,
}

impl MessageClasses {
    /// Messages that went into a socket.
    pub fn sent(&self) -> u64 {
        self.planned.saturating_sub(self.missed).saturating_sub(self.offline).saturating_sub(self.blocked)
    }

    /// Whether the nine classes add up to the plan.
    pub fn is_conserved(&self) -> bool {
        let classes = [
            self.missed,
            self.offline,
            self.blocked,
            self.refused,
            self.unconfirmed,
            self.delivered,
            self.expired,
            self.queued,
            self.lost,
        ];
        classes.into_iter().try_fold(0_u64, u64::checked_add) == Some(self.planned)
    }
}

/// A latency distribution; all in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySummary {
    /// Values in it.
    pub count: u64,
    /// Mean.
    pub average_ms: f64,
    /// Smallest.
    pub min_ms: f64,
    /// 50 % are at or under it.
    pub median_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// 90 % are at or under it.
    pub p90_ms: f64,
    /// 95 % are at or under it.
    pub p95_ms: f64,
    /// 99 % are at or under it.
    pub p99_ms: f64,
    /// 99.9 % are at or under it.
    pub p999_ms: f64,
}

/// How late the generator was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SendLag {
    /// 99 % of attempts were at most this late.
    pub p99_ms: f64,
    /// The latest.
    pub max_ms: f64,
    /// Beyond this p99 the run is void.
    pub limit_ms: f64,
}

/// What the generator cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// CPU seconds per wall second; 1 is one core.
    pub cpu_cores: f64,
    /// User-space memory per client; `None` where there are no clients.
    pub bytes_per_client: Option<f64>,
}

/// One second of the run, for the charts. Rates are of that second.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SeriesPoint {
    /// Begin of the second.
    pub wall_seconds: f64,
    /// Messages the plan wanted.
    pub planned_per_second: f64,
    /// Messages sent.
    pub sent_per_second: f64,
    /// Messages that arrived.
    pub received_per_second: f64,
    /// Latency of messages intended in this second; `None` if none of them arrived.
    pub latency_p50_ms: Option<f64>,
    /// As before, 99 %.
    pub latency_p99_ms: Option<f64>,
    /// As before, 99.9 %.
    pub latency_p999_ms: Option<f64>,
    /// Clients connected at its end.
    pub connected_clients: u64,
    /// 99 % of its attempts were at most this late; `None` without attempts.
    pub send_lag_p99_ms: Option<f64>,
}
