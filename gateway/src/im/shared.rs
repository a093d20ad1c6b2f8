//! What the shards of a gateway have in common.

use crate::auth::Verifier;
use crate::config::Limits;
use crate::metrics::Metrics;
use std::time::Duration;
use wire::shard::Seats;
use wire::time::Time;

/// What all shards of a gateway have in common.
#[derive(Debug)]
pub struct Shared {
    /// This node's name.
    pub node: String,
    /// Bounds.
    pub limits: Limits,
    /// Room for sessions.
    pub sessions: Seats,
    /// How long a delivery may stay unacknowledged.
    pub ack_timeout: Duration,
    /// Silence after which a client is pinged.
    pub heartbeat: Duration,
    /// How long messages for absent users are kept.
    pub message_ttl: Duration,
    /// Routes a shard remembers.
    pub cache_size: usize,
    /// Whether faults may be injected.
    pub test_faults: bool,
    /// Whether compression is agreed to.
    pub deflate: bool,
    /// Checks tokens, until the edge sends other keys.
    pub verifier: Verifier,
    /// Figures of all shards.
    pub metrics: Metrics,
    /// Wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    pub wall_offset_ns: u64,
    /// Of all randomness and hashing.
    pub seed: u64,
}

impl Shared {
    /// With the defaults of the command line, no faults, no compression and room for any number of sessions; its wall clock and its seed are zero.
    pub fn new(node: &str, verifier: Verifier, metrics: Metrics) -> Shared {
        Shared {
            node: node.to_owned(),
            limits: Limits::default(),
            sessions: Seats::unlimited(),
            ack_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(30),
            message_ttl: Duration::from_secs(7 * 24 * 3600),
            cache_size: 200_000,
            test_faults: false,
            deflate: false,
            verifier,
            metrics,
            wall_offset_ns: 0,
            seed: 0,
        }
    }

    /// The wall clock at `now`, milliseconds since the Unix epoch.
    pub(crate) fn wall_ms(&self, now: Time) -> u64 {
        (self.wall_offset_ns + now.0) / 1_000_000
    }

    /// The inverse of [`Shared::wall_ms`]; the end of time where that is beyond it.
    pub(crate) fn at_wall_ms(&self, wall_ms: u64) -> Time {
        Time(wall_ms.saturating_mul(1_000_000).saturating_sub(self.wall_offset_ns))
    }
}
