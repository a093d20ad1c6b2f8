//! The gateway as a binary; `loadgen gateway` is the same thing.

use clap::{CommandFactory as _, Parser as _};

/// A sharded WebSocket gateway for instant messages.
#[derive(clap::Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    flags: gateway::config::Flags,
}

fn main() -> std::process::ExitCode {
    gateway::server::start(Cli::parse().flags, Cli::command(), None).into()
}
