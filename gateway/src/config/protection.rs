//! What can be set to protect the gateway from its clients.

use super::{Limits, positive};
use crate::breaker;
use crate::im::limits::Rate;
use std::time::Duration;

/// Limits of what one client may do. What is 0 has no limit.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Protection")]
pub struct Protection {
    /// Frames a second from one connection, acks apart; a second's worth may come at once. 0: no limit
    #[arg(long, env = "GATEWAY_MAX_MESSAGES_PER_SECOND", default_value_t = 0, value_name = "NUMBER")]
    pub max_messages_per_second: u32,
    /// The same over all connections of a user
    #[arg(long, env = "GATEWAY_MAX_USER_MESSAGES_PER_SECOND", default_value_t = 0, value_name = "NUMBER")]
    pub max_user_messages_per_second: u32,
    /// Pings and pongs a second from one connection; above it is closed with 1008. 0: no limit
    #[arg(long, env = "GATEWAY_MAX_CONTROL_FRAMES_PER_SECOND", default_value_t = 100, value_name = "NUMBER")]
    pub max_control_frames_per_second: u32,
    /// Time from accept to the last byte of the request
    #[arg(long, env = "GATEWAY_HANDSHAKE_TIMEOUT", default_value = "10s", value_parser = positive)]
    pub handshake_timeout: Duration,
    /// Time from the first to the last byte of a message
    #[arg(long, env = "GATEWAY_MESSAGE_TIMEOUT", default_value = "30s", value_parser = positive)]
    pub message_timeout: Duration,
    /// Silence after which a client is disconnected, pongs are no silence; by default twice the heartbeat
    #[arg(long, env = "GATEWAY_IDLE_TIMEOUT", value_parser = positive, value_name = "DURATION")]
    pub idle_timeout: Option<Duration>,
    /// Longest message from a client, also when put together from fragments, bytes
    #[arg(long, env = "GATEWAY_MAX_MESSAGE_BYTES", default_value_t = 64 * 1024, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(256..=1024 * 1024))]
    pub max_message_bytes: u32,
    /// Longest head of a request, bytes
    #[arg(long, env = "GATEWAY_MAX_HEADER_BYTES", default_value_t = 16 * 1024, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(256..=16 * 1024))]
    pub max_header_bytes: u32,
    /// Most levels of lists and objects in the body of a message
    #[arg(long, env = "GATEWAY_MAX_JSON_DEPTH", default_value_t = 64, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_json_depth: u32,
    /// What happens to a client whose deliveries wait because it does not read or acknowledge
    #[arg(long, env = "GATEWAY_SLOW_READER", value_enum, default_value_t = SlowReader::Close)]
    pub slow_reader: SlowReader,
    /// Share of messages lost, such as 2% or 0.02, from which new ones are refused with `circuit_open`; by default never
    #[arg(long, env = "GATEWAY_LOSS_BREAKER", value_parser = share, value_name = "SHARE")]
    pub loss_breaker: Option<f64>,
    /// How far back the loss is looked at
    #[arg(long, env = "GATEWAY_LOSS_BREAKER_WINDOW", default_value = "10s", value_parser = positive)]
    pub loss_breaker_window: Duration,
    /// Deliveries and losses in that time below which nothing is concluded
    #[arg(long, env = "GATEWAY_LOSS_BREAKER_MIN_EVENTS", default_value_t = 100, value_name = "NUMBER")]
    pub loss_breaker_min_events: u64,
    /// How long messages are refused before some are let through to try
    #[arg(long, env = "GATEWAY_LOSS_BREAKER_OPEN_FOR", default_value = "5s", value_parser = positive)]
    pub loss_breaker_open_for: Duration,
    /// Messages let through to try; if too few of them are lost, all are
    #[arg(long, env = "GATEWAY_LOSS_BREAKER_PROBES", default_value_t = 20, value_name = "NUMBER",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub loss_breaker_probes: u64,
}

/// What becomes of a client that takes its deliveries too slowly, once as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SlowReader {
    /// It is closed with 1013; what it is owed waits for it.
    Close,
    /// It stays, and as much more waits as an offline queue holds; what comes beyond that is lost.
    Queue,
}

/// A share above 0 and at most 1, as people write it: `2%` or `0.02`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse::<f64>(),
    };
    match number {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err(format!("`{text}` is no share; write for example 2% or 0.02")),
    }
}

impl Protection {
    /// The core's bounds with these flags; clients are pinged every `heartbeat`.
    pub fn limits(&self, heartbeat: Duration) -> Limits {
        Limits {
            frame_bytes_max: self.max_message_bytes as usize,
            head_bytes_max: self.max_header_bytes as usize,
            json_depth_max: self.max_json_depth as usize,
            messages: Rate::per_second(self.max_messages_per_second),
            user_messages: Rate::per_second(self.max_user_messages_per_second),
            control_frames: Rate::per_second(self.max_control_frames_per_second),
            handshake_timeout: self.handshake_timeout,
            message_timeout: self.message_timeout,
            idle_timeout: self.idle_timeout.unwrap_or(heartbeat * 2),
            slow_reader: self.slow_reader,
            loss_breaker: self.loss_breaker.map(|ratio| breaker::Settings {
                ratio,
                window: self.loss_breaker_window,
                events_min: self.loss_breaker_min_events,
                open_for: self.loss_breaker_open_for,
                probes: self.loss_breaker_probes,
            }),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_percent_or_fractions() {
        assert_eq!((share("2%"), share("0.02"), share("100%")), (Ok(0.02), Ok(0.02), Ok(1.0)));
        for bad in ["", "%", "0", "0%", "-1%", "101%", "1.01", "NaN", "two"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
