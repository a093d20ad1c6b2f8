//! A gateway for hours under load with churn: memory, descriptors and disk stay flat, and nothing that was confirmed is lost.
//! `ci/soak` runs it; benches/README.md says how it is read.

mod client;
mod frames;
mod gateway;
mod judge;
mod ledger;
mod plan;
mod run;
mod shard;
mod verdict;

use clap::Parser as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Drives a gateway and judges what it uses.
#[derive(clap::Parser)]
#[command(args_override_self = true)]
struct Cli {
    /// The gateway's program; by default the one beside this
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Length of the load, seconds
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Messages per second, a group's counted once
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Users: of ten, six stay, three come and go, and the rest are absent, slow or both
    #[arg(long, default_value_t = 2000)]
    users: u32,
    /// Seconds between samples
    #[arg(long, default_value_t = 10.0)]
    every: f64,
    /// Samples of so many seconds are not judged; by default a quarter of the load
    #[arg(long)]
    warm_up: Option<u64>,
    /// Growth allowed, as a share
    #[arg(long, default_value_t = 0.01)]
    growth: f64,
    /// Over so many seconds
    #[arg(long, default_value_t = 3600)]
    growth_over: u64,
    /// The gateway keeps its messages here; must be empty or new
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Samples go here, as CSV
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Of a million messages, so many go to users who never come: memory then grows, and the run must fail
    #[arg(long, default_value_t = 0)]
    plant_leak_ppm: u32,
    /// The gateway loses this share of deliveries after it confirmed them; the run must fail
    #[arg(long, default_value_t = 0.0)]
    plant_loss: f64,
    /// A flag for the gateway, such as --flag=--shards=2
    #[arg(long = "flag", allow_hyphen_values = true)]
    flags: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("gateway"));
    let orders = run::Orders {
        program: cli.gateway.map_or_else(beside, Ok)?,
        flags: cli.flags,
        data: cli.data_dir,
        plan: plan(cli.users, cli.plant_leak_ppm),
        rate: f64::from(cli.rate),
        length: Duration::from_secs(cli.seconds),
        warm_up: Duration::from_secs(cli.warm_up.unwrap_or(cli.seconds / 4)),
        every: Duration::from_secs_f64(cli.every),
        loss: cli.plant_loss,
        samples: cli.samples,
    };
    let bound = judge::Bound { share: cli.growth, over: Duration::from_secs(cli.growth_over) };
    let result = run::run(&orders)?;
    let checks = verdict::checks(&orders, &result, bound);
    print!("{}", verdict::table(&orders, &result, &checks));
    let failed = checks.iter().any(|check| !check.holds);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn plan(users: u32, leak_ppm: u32) -> plan::Plan {
    let (churners, slow) = (users * 3 / 10, (users / 500).max(1));
    let sleepers = users / 20;
    plan::Plan {
        steady: users - churners - sleepers - slow,
        churners,
        sleepers,
        slow,
        visitors: 5,
        groups: users / 100,
        leak_ppm,
    }
}
