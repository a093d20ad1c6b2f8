//! What a seed decides before anything happens.

use gateway::config::Limits;
use std::time::Duration;
use wire::shard::virtual_time::{Conditions, Random};

/// A gateway, its users and the world they live in.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) shards: usize,
    /// Devices of each user.
    pub(crate) devices: Vec<usize>,
    pub(crate) groups: usize,
    pub(crate) limits: Limits,
    pub(crate) ack_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) message_ttl: Duration,
    pub(crate) cache_size: usize,
    pub(crate) conditions: Conditions,
    /// Limits so narrow that queues overflow and messages fail, which is then no violation.
    pub(crate) is_tight: bool,
    /// The gateway has a store.
    pub(crate) is_durable: bool,
    /// Longest filling of a message's body, bytes.
    pub(crate) filling_max: u64,
    pub(crate) operations: usize,
    /// Between two operations.
    pub(crate) pace: Duration,
}

impl Settings {
    pub(crate) fn draw(random: &mut Random) -> Settings {
        let is_tight = random.once_in(1, 4);
        let users = 2 + random.below(3) as usize;
        let devices: Vec<usize> = (0..users).map(|_| 1 + random.below(3) as usize).collect();
        let micros = |random: &mut Random, choices: &[u64]| {
            Duration::from_micros(random.pick(choices).copied().unwrap_or_default())
        };
        let latency = micros(random, &[50, 500, 5_000, 40_000]);
        let mail = micros(random, &[5, 100, 3_000, 20_000]);
        let limits = Limits {
            session_ttl: Duration::from_secs(60),
            dedup_window: Duration::from_secs(600),
            ..if is_tight { tight(random) } else { Limits::default() }
        };
        Settings {
            shards: 1 + random.below(4) as usize,
            devices,
            groups: 1 + random.below(2) as usize,
            limits,
            ack_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(4),
            message_ttl: Duration::from_secs(if is_tight { 20 } else { 3600 }),
            cache_size: if random.once_in(1, 4) { 1 } else { 100 },
            conditions: Conditions {
                latency: Duration::from_micros(10)..latency + Duration::from_micros(20),
                jitter: Duration::ZERO..micros(random, &[1, 300, 4_000]),
                pipe_bytes: if random.once_in(1, 3) { 2048 } else { 64 * 1024 },
                cuts_in_16: random.below(8),
                wake: Duration::from_micros(1)..micros(random, &[2, 50, 2_000]),
                mail: Duration::from_micros(1)..mail + Duration::from_micros(2),
                // A ring holds less than the outbox that counts as congested, as in reality.
                ring_mails: if random.once_in(1, 4) || is_tight { 2 } else { 1024 },
                congested_from: if is_tight { 3 } else { 1 << 20 },
            },
            is_tight,
            is_durable: random.once_in(1, 3),
            filling_max: random.pick(&[0, 0, 600]).copied().unwrap_or_default(),
            operations: 20 + random.below(100) as usize,
            pace: micros(random, &[300, 3_000, 30_000, 300_000]),
        }
    }

    /// Longest that something takes which needs `hops` pieces of mail one after the other, there and back to a client.
    pub(crate) fn bound(&self, hops: u32) -> Duration {
        let Conditions { latency, jitter, wake, mail, ring_mails, .. } = &self.conditions;
        // A full ring is looked at again every millisecond.
        let retry = Duration::from_millis(if *ring_mails < 100 { 40 } else { 1 });
        // A commit may have to wait for the one before.
        let store = if self.is_durable { Duration::from_millis(20) } else { Duration::ZERO };
        store
            + (latency.end + jitter.end) * 2
            + (wake.end + mail.end + retry) * (hops + 2)
            + Duration::from_millis(3)
    }
}

fn tight(random: &mut Random) -> Limits {
    Limits {
        window: 1 + random.below(4) as usize,
        waiting_max: 1 + random.below(4) as usize,
        offline_per_user_max: 1 + random.below(6) as usize,
        offline_max: 10,
        dedup_ids: 64,
        parked_max: 1 + random.below(3) as usize,
        devices_max: 2,
        backlog_bytes_max: 300,
        frame_bytes_max: 1024,
        group_members_max: 2,
        ..Limits::default()
    }
}
