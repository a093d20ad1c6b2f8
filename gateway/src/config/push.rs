//! What can be set on the push notifier.

use super::protection::share;
use super::{Secret, duration, positive};
use std::time::Duration;

/// Notifications of users who are not connected, over HTTP. Without a URL there are none.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Push notifications")]
pub struct Push {
    /// Where to POST a notification when a message waits for a user who is not connected; by default nowhere
    #[arg(long, env = "GATEWAY_PUSH_URL", value_name = "URL")]
    pub push_url: Option<String>,
    /// Bearer token for it; from the environment rather than here, so that no process list shows it
    #[arg(long, env = "GATEWAY_PUSH_TOKEN", hide = true, hide_env_values = true)]
    pub push_token: Option<Secret>,
    /// A user is notified at most once in this time
    #[arg(long, env = "GATEWAY_PUSH_INTERVAL", default_value = "30s", value_parser = duration)]
    pub push_interval: Duration,
    /// How long one attempt may take
    #[arg(long, env = "GATEWAY_PUSH_TIMEOUT", default_value = "2s", value_parser = positive)]
    pub push_timeout: Duration,
    /// Attempts for one notification; what fails by time, connection, 429 or 5xx is tried again
    #[arg(long, env = "GATEWAY_PUSH_ATTEMPTS", default_value_t = 3, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub push_attempts: u32,
    /// Wait before the second attempt; doubled before each further one, at most 10s, half of it by chance
    #[arg(long, env = "GATEWAY_PUSH_BACKOFF", default_value = "200ms", value_parser = duration)]
    pub push_backoff: Duration,
    /// Connections to the provider, and so notifications under way at once
    #[arg(long, env = "GATEWAY_PUSH_CONNECTIONS", default_value_t = 8, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub push_connections: u32,
    /// Notifications that may wait for a connection; beyond it they are dropped and counted
    #[arg(long, env = "GATEWAY_PUSH_QUEUE", default_value_t = 10_000, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub push_queue: u32,
    /// Share of failed attempts from which no more are made for a while
    #[arg(long, env = "GATEWAY_PUSH_BREAKER", default_value = "50%", value_parser = share, value_name = "SHARE")]
    pub push_breaker: f64,
    /// How far back attempts are looked at
    #[arg(long, env = "GATEWAY_PUSH_BREAKER_WINDOW", default_value = "10s", value_parser = positive)]
    pub push_breaker_window: Duration,
    /// Attempts in that time below which nothing is concluded
    #[arg(long, env = "GATEWAY_PUSH_BREAKER_MIN_EVENTS", default_value_t = 10, value_name = "NUMBER")]
    pub push_breaker_min_events: u64,
    /// How long none are made before some try again
    #[arg(long, env = "GATEWAY_PUSH_BREAKER_OPEN_FOR", default_value = "5s", value_parser = positive)]
    pub push_breaker_open_for: Duration,
    /// Attempts that try again; if too few of them fail, all are made
    #[arg(long, env = "GATEWAY_PUSH_BREAKER_PROBES", default_value_t = 3, value_name = "NUMBER",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub push_breaker_probes: u64,
}
