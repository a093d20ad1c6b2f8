//! What can be set on a gateway, with its bounds.

mod logging;
mod protection;
mod push;
pub(crate) mod telemetry;

pub use effective::Effective;
pub use logging::Logging;
pub use protection::{Protection, SlowReader};
pub use push::Push;
pub use telemetry::Telemetry;

mod effective;
pub mod file;

use crate::auth::Algorithm;
use crate::breaker;
use crate::im::limits::Rate;
use clap::builder::RangedU64ValueParser;
use clap::{Arg, ArgAction};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Command line of `gateway` and of `loadgen gateway`. Each can be given as an environment variable or in a file
/// ([`mod@file`]) too; a flag wins over the environment, the environment over the file.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// TOML file that sets flags by their names without dashes (`ack-timeout = "8s"`); flags and environment win over it
    #[arg(long, env = "GATEWAY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print what is in force, each value with where it comes from, as a file that `--config` reads, without secrets; start nothing
    #[arg(long)]
    pub print_config: bool,
    /// Address of everything: /ws, /health, /ready, /metrics
    #[arg(long, env = "GATEWAY_LISTEN", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address for operators: /metrics, /health, /ready, /connections, /log-level, /drain; served beside the shards, without TLS or
    /// token, so for loopback or a private network; by default there is none
    #[arg(long, env = "GATEWAY_ADMIN", value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// This node's name, in every metric and in `hello`
    #[arg(long, env = "GATEWAY_NODE", default_value = "gateway-1")]
    pub node: String,
    /// Number of shards; 0: as many as there are cores, or more where connections-max needs more descriptor tables
    #[arg(long, env = "GATEWAY_SHARDS", default_value_t = 0)]
    pub shards: usize,
    /// Sessions, over all shards, at which newcomers are reset; by default what one shard per core can hold. 64 places more are
    /// kept for scrapes, health checks and handshakes; --admin answers even where these are taken
    #[arg(long, env = "GATEWAY_CONNECTIONS_MAX", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub connections_max: Option<usize>,
    /// Which shard takes a connection: one on the CPU where it arrives, each shard staying on its CPU; or any, by the kernel's hash
    #[arg(long, env = "GATEWAY_STEERING", value_enum, default_value_t = Steering::Hash)]
    pub steering: Steering,
    /// Whose tokens are accepted.
    #[command(flatten)]
    pub auth: AuthFlags,
    /// Serve TLS (https, wss) with this certificate chain in PEM, the server's own first. Read again on SIGHUP, as is the key
    #[arg(long, env = "GATEWAY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, env = "GATEWAY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Answer each WebSocket message with itself instead of serving im.v1, and ask for no token: for conformance suites and measurements
    #[arg(long, env = "GATEWAY_ECHO", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = switch())]
    pub echo: bool,
    /// Agree to compress messages (permessage-deflate) with clients that offer it: less to carry, for more CPU time
    #[arg(long, env = "GATEWAY_DEFLATE", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = switch())]
    pub deflate: bool,
    /// How long a delivery may stay unacknowledged before it is sent again
    #[arg(long, env = "GATEWAY_ACK_TIMEOUT", default_value = "5s", value_parser = positive)]
    pub ack_timeout: Duration,
    /// Silence after which a client is pinged
    #[arg(long, env = "GATEWAY_HEARTBEAT", default_value = "30s", value_parser = positive)]
    pub heartbeat: Duration,
    /// How long newcomers are still taken after SIGTERM, while /ready says 503 already: as long as load balancers take to see it
    #[arg(long, env = "GATEWAY_DRAIN_GRACE", default_value = "0s", value_parser = duration)]
    pub drain_grace: Duration,
    /// Longest wait for acknowledgements when shutting down
    #[arg(long, env = "GATEWAY_DRAIN_TIMEOUT", default_value = "5s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// How long messages for absent users are kept
    #[arg(long, env = "GATEWAY_MESSAGE_TTL", default_value = "168h", value_parser = duration)]
    pub message_ttl: Duration,
    /// Folder in which every accepted message is kept until it is acknowledged; without it they live as long as the process
    #[arg(long, env = "GATEWAY_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Users whose route a shard remembers
    #[arg(long, env = "GATEWAY_CACHE_SIZE", default_value_t = 200_000)]
    pub cache_size: usize,
    /// Take faults by POST /test/latency and /test/failure-rate, from loopback peers only
    #[arg(long, env = "GATEWAY_ENABLE_TEST_FAULTS", num_args = 0..=1, require_equals = true,
          default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_parser = switch())]
    pub enable_test_faults: bool,
    /// Drain and exit when standard input ends; for a gateway that must not outlive who started it
    #[arg(long, hide = true)]
    pub follow_stdin: bool,
    /// Limits of what one client may do.
    #[command(flatten)]
    pub protection: Protection,
    /// Notifications of users who are not connected.
    #[command(flatten)]
    pub push: Push,
    /// Metrics by OTLP.
    #[command(flatten)]
    pub telemetry: Telemetry,
    /// What the gateway says of itself.
    #[command(flatten)]
    pub logging: Logging,
}

/// What a switch takes: alone it is on, `=false` turns off what the environment or the file turned on.
fn switch() -> clap::builder::BoolishValueParser {
    clap::builder::BoolishValueParser::new()
}

/// Whether this flag is a switch.
pub fn is_switch(arg: &Arg) -> bool {
    arg.get_default_values() == ["false"]
}

/// Whose tokens are accepted. Key and JWKS files are read again on SIGHUP.
#[derive(Debug, Clone, clap::Args)]
pub struct AuthFlags {
    /// File with the key that tokens are signed with: an RSA or Ed25519 public key in PEM, or else an HS256 secret. Or give the
    /// key itself in the environment, as GATEWAY_AUTH_KEY
    #[arg(long, env = "GATEWAY_AUTH_KEY_FILE", value_name = "FILE")]
    pub auth_key_file: Option<PathBuf>,
    /// The key itself; from the environment rather than here, so that no process list shows it
    #[arg(
        long,
        env = "GATEWAY_AUTH_KEY",
        hide = true,
        hide_env_values = true,
        conflicts_with = "auth_key_file"
    )]
    pub auth_key: Option<Secret>,
    /// What the key is for; a key for anything else is refused. By default its form decides
    #[arg(long, env = "GATEWAY_AUTH_ALGORITHM", value_name = "ALGORITHM")]
    pub auth_algorithm: Option<Algorithm>,
    /// JWKS file with the keys that tokens are signed with, found by the token's `kid`; may be given beside a key file
    #[arg(long, env = "GATEWAY_AUTH_JWKS_FILE", value_name = "FILE")]
    pub auth_jwks_file: Option<PathBuf>,
    /// Tolerated difference between the clocks of the tokens' issuer and of this machine
    #[arg(long, env = "GATEWAY_AUTH_LEEWAY", default_value = "5s", value_parser = duration)]
    pub auth_leeway: Duration,
    /// Accept only tokens whose `aud` is, or contains, this
    #[arg(long, env = "GATEWAY_AUTH_AUDIENCE", value_name = "TEXT")]
    pub auth_audience: Option<String>,
    /// Accept only tokens with this `iss`
    #[arg(long, env = "GATEWAY_AUTH_ISSUER", value_name = "TEXT")]
    pub auth_issuer: Option<String>,
}

/// Text that no `Debug` form shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How connections are spread over shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Steering {
    /// By the CPU where a connection arrives, and by hash among the shards there. Given up where the kernel refuses, or
    /// where CPUs get very different numbers of connections.
    Cpu,
    /// By the kernel's hash.
    Hash,
}

/// Bounds of the core. Nothing in it grows without one.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest text frame from a client, bytes.
    pub frame_bytes_max: usize,
    /// Longest head of a request, bytes.
    pub head_bytes_max: usize,
    /// Most levels of lists and objects in a body.
    pub json_depth_max: usize,
    /// Frames from a connection, acks apart; `None`: no limit.
    pub messages: Option<Rate>,
    /// The same over all connections of a user.
    pub user_messages: Option<Rate>,
    /// Pings and pongs from a connection.
    pub control_frames: Option<Rate>,
    /// Longest message id, user name or group name, bytes.
    pub name_bytes_max: usize,
    /// Deliveries of a session that may be unacknowledged at once.
    pub window: usize,
    /// Deliveries of a session that may wait behind a full window.
    pub waiting_max: usize,
    /// Messages kept for an absent user.
    pub offline_per_user_max: usize,
    /// Messages kept for absent users, per shard.
    pub offline_max: usize,
    /// What becomes of a session with more waiting than that.
    pub slow_reader: SlowReader,
    /// Bytes written to a connection that the peer has not taken, but for the last delivery.
    pub backlog_bytes_max: usize,
    /// Message ids of a session remembered against repetition.
    pub dedup_ids: usize,
    /// How long an id is remembered.
    pub dedup_window: Duration,
    /// Times a delivery is sent on one connection.
    pub attempts_max: u8,
    /// Members of a group.
    pub group_members_max: usize,
    /// Deliveries of group messages under way from the groups at home on a shard; beyond it they refuse new messages.
    pub fanout_max: usize,
    /// Messages that wait for a route, per user and shard.
    pub parked_max: usize,
    /// Deliveries held by an injected latency, per shard.
    pub held_max: usize,
    /// Devices of a user.
    pub devices_max: usize,
    /// How long a disconnected session is kept for its device to come back.
    pub session_ttl: Duration,
    /// Time for a connection to complete its request.
    pub handshake_timeout: Duration,
    /// Time for a message to become complete.
    pub message_timeout: Duration,
    /// Silence after which a client is disconnected.
    pub idle_timeout: Duration,
    /// How often the edge is told that messages wait for an absent user; `None`: never.
    pub push_interval: Option<Duration>,
    /// When so many messages are lost that new ones are refused; `None`: never.
    pub loss_breaker: Option<breaker::Settings>,
    /// Longest injected latency.
    pub fault_delay_max: Duration,
    /// An injected fault ends by itself after this time, also where none was given.
    pub fault_for_max: Duration,
}

impl Limits {
    /// Deliveries that one device may be owed while it is away or on its way out.
    pub fn device_owed_max(&self) -> usize {
        self.window + self.waiting_max + self.offline_per_user_max
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: 64 * 1024,
            head_bytes_max: 16 * 1024,
            json_depth_max: 64,
            messages: None,
            user_messages: None,
            control_frames: Rate::per_second(100),
            name_bytes_max: 256,
            window: 1024,
            waiting_max: 1024,
            slow_reader: SlowReader::Close,
            offline_per_user_max: 1000,
            offline_max: 1_000_000,
            backlog_bytes_max: 1024 * 1024,
            dedup_ids: 128,
            dedup_window: Duration::from_secs(120),
            attempts_max: 3,
            group_members_max: 100_000,
            fanout_max: 400_000,
            parked_max: 1024,
            held_max: 1_000_000,
            devices_max: 16,
            session_ttl: Duration::from_secs(600),
            handshake_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            push_interval: None,
            loss_breaker: None,
            fault_delay_max: Duration::from_secs(60),
            fault_for_max: Duration::from_secs(3600),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is no IP address with a port; write for example 127.0.0.1:8080, [::1]:8080 or, for all, 0.0.0.0:8080")
    })
}

/// A duration as people write it: `600ms`, `5s`, `2m`, `168h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` is no duration; write for example 600ms, 5s, 2m or 1h")),
    };
    let number: u64 =
        text[..digits].parse().map_err(|_| format!("`{text}` is no duration; write for example 5s"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

/// A [`duration`] in which something can happen.
fn positive(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("`{text}` is no time; it must be longer than nothing, such as 5s")),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port() {
        assert_eq!(address("[::1]:80").map(|address| address.port()), Ok(80));
        for bad in ["", ":8080", "8080", "localhost:8080", "127.0.0.1", "127.0.0.1:99999"] {
            let told = address(bad).unwrap_err();
            assert!(
                told.starts_with(&format!("`{bad}` is no IP address")) && told.contains("127.0.0.1:8080"),
                "{told}"
            );
        }
    }

    fn parse(words: &[&str]) -> Result<Flags, clap::Error> {
        use clap::{Args as _, FromArgMatches as _};
        let words = ["gateway"].iter().chain(words);
        Flags::from_arg_matches(
            &Flags::augment_args(clap::Command::new("gateway")).try_get_matches_from(words)?,
        )
    }

    #[test]
    fn what_would_fail_every_client_is_no_setting() {
        for flag in [
            "--ack-timeout",
            "--heartbeat",
            "--idle-timeout",
            "--handshake-timeout",
            "--message-timeout",
            "--loss-breaker-window",
            "--loss-breaker-open-for",
            "--push-timeout",
            "--push-breaker-window",
            "--push-breaker-open-for",
        ] {
            let told = parse(&[flag, "0s"]).unwrap_err().to_string();
            assert!(told.contains("longer than nothing") && told.contains(flag), "{told}");
            assert!(parse(&[flag, "1ms"]).is_ok(), "{flag}");
        }
        assert!(parse(&["--connections-max", "0"]).is_err());
        assert!(parse(&["--drain-grace", "0s", "--drain-timeout", "0s"]).is_ok());
    }

    #[test]
    fn no_debug_form_shows_a_secret() {
        let flags = parse(&["--auth-key", "hidden-1", "--push-token", "hidden-2"]).unwrap();
        assert!(!format!("{flags:?}").contains("hidden"), "{flags:?}");
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("600ms"), Ok(Duration::from_millis(600)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "5x", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
