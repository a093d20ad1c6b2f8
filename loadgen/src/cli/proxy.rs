//! `loadgen proxy`: a proxy with faults in front of any server, controlled over HTTP.

use crate::preflight;
use crate::terminal;
use assertions::exit;
use chaos::proxy::control;
use chaos::proxy::registry::{Limits, Proxies, Refusal};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use wire::sys::{Signal, Signals};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where clients connect, host:port; port 0: any free one
    #[arg(long, value_name = "ADDRESS", requires = "upstream")]
    listen: Option<String>,
    /// Where their connections lead, host:port
    #[arg(long, value_name = "ADDRESS", requires = "listen")]
    upstream: Option<String>,
    /// The name of that proxy in the control
    #[arg(long, default_value = "main")]
    name: String,
    /// Proxies to begin with: a JSON file as Toxiproxy's -config takes it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the control listens: Toxiproxy's HTTP API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8474")]
    control: SocketAddr,
    /// Connections of clients at once, for each proxy, such as 500, 10k or 110k
    #[arg(long, default_value = "8k", value_parser = super::clients)]
    connections_max: u32,
    /// Start of every random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Why it could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("cannot read signals: {0}")]
    Signals(#[source] io::Error),
    #[error("{0}: {1}")]
    Config(PathBuf, String),
    #[error("--listen, --upstream: {0}")]
    Proxy(#[source] Refusal),
    #[error(
        "cannot listen on {0} for the control: {1}; choose another with --control (port 0: any free one)"
    )]
    Control(SocketAddr, #[source] io::Error),
}

/// Runs until SIGINT or SIGTERM. Gives the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    match serve(arguments) {
        Ok(()) => exit::PASSED,
        Err(error) => {
            terminal::tell(&format!("error: {error}"));
            exit::PREFLIGHT
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), StartError> {
    // Before the first thread starts, so that all threads inherit the mask and none is interrupted.
    let signals = Signals::block().map_err(StartError::Signals)?;
    preflight::raise_descriptor_limit();
    let mut proxies = Proxies::new(Limits {
        connections_max: arguments.connections_max as usize,
        sockets: preflight::descriptors_per_table(),
        seed: arguments.seed,
    });
    if let Some(file) = &arguments.config {
        populate(&mut proxies, file)?;
    }
    let mut address = None;
    if let (Some(listen), Some(upstream)) = (&arguments.listen, &arguments.upstream) {
        address = Some(proxies.add(&arguments.name, listen, upstream).map_err(StartError::Proxy)?);
    }
    let no_control = |error| StartError::Control(arguments.control, error);
    let listener = TcpListener::bind(arguments.control).map_err(no_control)?;
    let control = control::serve(listener, proxies).map_err(no_control)?;
    let listening = json!({
        "event": "listening",
        "control": control.to_string(),
        "address": address.map(|address| address.to_string()),
    });
    terminal::print(&format!("{listening}\n"));
    until_ended(&signals);
    Ok(())
}

fn populate(proxies: &mut Proxies, file: &Path) -> Result<(), StartError> {
    let wrong = |reason: String| StartError::Config(file.to_owned(), reason);
    let text = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    proxies.populate(&text).map(drop).map_err(|refusal| wrong(refusal.to_string()))
}

/// Connections end with the process, and all faults with them.
fn until_ended(signals: &Signals) {
    loop {
        match signals.next() {
            Some(Signal::Interrupt | Signal::Terminate) => return,
            Some(Signal::Hangup) => {}
            None => {
                // An interruption only lets us look sooner.
                let _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], None);
            }
        }
    }
}
