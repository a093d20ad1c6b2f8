//! What can be set on the export of telemetry, beside the standard OTEL_… variables that no flag is for.

use super::duration;
use super::protection::share;
use std::time::Duration;

/// Metrics, traces and logs by OTLP over HTTP. Without an endpoint nothing is sent.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry (OTLP over HTTP, protobuf)")]
pub struct Telemetry {
    /// Where to send metrics, traces and logs, such as http://localhost:4318; by default nowhere. Headers, resource attributes and what is set for
    /// one signal alone come from the standard OTEL_… variables
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How long one attempt to send may take; a bare number is milliseconds
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", default_value = "10s", value_parser = milliseconds)]
    pub otlp_timeout: Duration,
    /// How often metrics are sent; a bare number is milliseconds
    #[arg(long, env = "OTEL_METRIC_EXPORT_INTERVAL", default_value = "60s", value_parser = milliseconds)]
    pub otlp_interval: Duration,
    /// Share of the connections that are traced, with their messages, where the upgrade request does not decide it by its
    /// `traceparent`; 0: none
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1%", value_parser = ratio, value_name = "SHARE")]
    pub trace_ratio: f64,
    /// Spans, or log records, in one request
    #[arg(long, env = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default_value_t = 512, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub otlp_batch: u32,
    /// How long a span or log record may wait for others; a bare number is milliseconds
    #[arg(long, env = "OTEL_BSP_SCHEDULE_DELAY", default_value = "5s", value_parser = milliseconds)]
    pub otlp_delay: Duration,
    /// Spans that may wait, over all shards, and as many log records; beyond it they are dropped and counted
    #[arg(long, env = "OTEL_BSP_MAX_QUEUE_SIZE", default_value_t = 2048, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub otlp_queue: u32,
    /// Attempts for one request; what fails by time, connection, 429, 502, 503 or 504 is tried again
    #[arg(long, env = "GATEWAY_OTLP_ATTEMPTS", default_value_t = 6, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=20))]
    pub otlp_attempts: u32,
    /// Wait before the second attempt; doubled before each further one, at most 30s, half of it by chance
    #[arg(long, env = "GATEWAY_OTLP_BACKOFF", default_value = "1s", value_parser = duration)]
    pub otlp_backoff: Duration,
}

/// A positive duration, as people write it or, as the standard variables have it, in milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse() {
        Ok(number) => Duration::from_millis(number),
        Err(_) => duration(text)?,
    };
    if parsed.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(parsed) }
}

/// As [`share`], or nothing.
fn ratio(text: &str) -> Result<f64, String> {
    if text.parse() == Ok(0.0) { Ok(0.0) } else { share(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_milliseconds() {
        assert_eq!(milliseconds("1500"), Ok(Duration::from_millis(1500)));
        assert_eq!(milliseconds("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "0", "0s", "-1", "1.5", "soon"] {
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
    }
}
