//! The command line. One file a subcommand; each gives an exit code.

mod check;
mod explain;
mod guardian;
mod proxy;
mod recover;
mod rules;
mod run;

use crate::preflight::{self, Needs};
use crate::terminal;
use assertions::exit;
use clap::CommandFactory as _;
use scenarios::{Options, units};
use std::path::PathBuf;

/// Proves that alerts fire: loads a WebSocket gateway, breaks it on time, and judges its alerts and SLOs.
#[derive(Debug, clap::Parser)]
#[command(name = "loadgen", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a scenario and judge it
    Run(run::Arguments),
    /// Print every value in force and where it comes from; start nothing
    Explain(ScenarioArguments),
    /// Find what is wrong with rules, routes, tests and dashboards; start nothing
    Check(Box<check::Arguments>),
    /// Print the JSON Schema of scenario files, for editors
    Schema {
        /// The schema of result.json instead
        #[arg(long)]
        result: bool,
    },
    /// Test rule files, and try expressions, without a run
    Rules {
        #[command(subcommand)]
        command: rules::Command,
    },
    /// Put back what runs that died have left broken
    ///
    /// A run does this by itself when the next one begins, and its guardian does when it dies; this is for when neither could.
    /// Runs that are alive are left alone. It may be done any number of times.
    Recover(recover::Arguments),
    /// Say what this machine can run
    Doctor {
        /// Clients at the same time, such as 500, 10k or 1.5k
        #[arg(long, default_value = "10k", value_parser = clients)]
        clients: u32,
    },
    /// Put a proxy with faults in front of a server, without a run
    Proxy(proxy::Arguments),
    /// Heal a run's faults when it dies
    #[command(hide = true)]
    Guardian(guardian::Arguments),
    /// Run the gateway alone
    Gateway {
        #[command(flatten)]
        flags: Box<gateway::config::Flags>,
    },
}

/// A scenario and what changes it.
#[derive(Debug, Clone, clap::Args)]
struct ScenarioArguments {
    /// The scenario's file
    file: PathBuf,
    /// Use this overlay of the scenario's `environments`
    #[arg(long)]
    env: Option<String>,
    /// Change a value: phases.slow.faults[gateway.latency].delay=650ms, alerts.rules+=extra.yml
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,
    /// Start of every random choice; short for --set seed=N
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The control run: all but the faults, so every expected alert must be missed
    #[arg(long)]
    no_faults: bool,
}

impl ScenarioArguments {
    fn options(&self) -> Options {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        let sets = self.sets.iter().cloned().chain(seed).collect();
        Options { env: self.env.clone(), sets, no_faults: self.no_faults }
    }
}

/// Does what the command line says. Call on the main thread, before any other is started.
pub fn main(cli: Cli) -> u8 {
    match cli.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Schema { result: false } => print(&format!("{:#}\n", scenarios::keys::json_schema())),
        Command::Schema { result: true } => print(&format!("{}\n", reports::json::schema())),
        Command::Rules { command } => rules::rules(&command),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Guardian(arguments) => guardian::run(&arguments),
        Command::Doctor { clients } => doctor(clients),
        Command::Proxy(arguments) => proxy::run(&arguments),
        Command::Gateway { flags } => gateway::server::start(*flags, Cli::command(), Some("gateway")),
    }
}

/// What waits for answers, on this thread.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Prints what was asked for. Gives the exit code.
fn print(text: &str) -> u8 {
    if terminal::print(text) { exit::PASSED } else { exit::TOOL_FAILED }
}

/// A number of clients as scenarios have it.
fn clients(text: &str) -> Result<u32, String> {
    let count = units::count(text).map_err(|error| format!("{}; {}", error.summary, error.hint))?;
    match u32::try_from(count) {
        Ok(0) => Err("nobody needs nothing; write how many clients there are".into()),
        Ok(clients) => Ok(clients),
        Err(_) => Err(format!("{} at most", u32::MAX)),
    }
}

fn doctor(clients: u32) -> u8 {
    preflight::raise_descriptor_limit();
    let mut findings = vec![preflight::cpu()];
    findings.extend(preflight::findings(Needs { clients, own_gateway: true }));
    let mut text = String::new();
    for finding in &findings {
        let mark = if finding.refusal.is_some() { "✗" } else { "✓" };
        text += &format!("{mark} {:<12} {}\n", finding.name, finding.found);
        if let Some(refusal) = &finding.refusal {
            text += &format!("  {:<12} hint: {refusal}\n", "");
        }
    }
    let refused = findings.iter().any(|finding| finding.refusal.is_some());
    if refused {
        terminal::print(&text);
        return exit::PREFLIGHT;
    }
    print(&text)
}
