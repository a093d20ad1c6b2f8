//! What can be set on the log.

use crate::log::{Format, Level};

/// What the gateway says of itself, on standard error.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct Logging {
    /// How lines on standard error look
    #[arg(long, env = "GATEWAY_LOG_FORMAT", value_enum, default_value_t = Format::Json)]
    pub log_format: Format,
    /// How much is said; lines that nobody takes in time are dropped and counted, the gateway waits for none
    #[arg(long, env = "GATEWAY_LOG_LEVEL", value_enum, default_value_t = Level::Info)]
    pub log_level: Level,
}
