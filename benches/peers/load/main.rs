//! The same work at the gateway and at other WebSocket servers, in one run, interleaved: benches/README.md says how it is read.

mod cell;
mod client;
mod clients;
mod process;
mod rows;
mod table;

use anyhow::Context as _;
use clap::Parser as _;
use rows::{Row, Server};
use std::path::PathBuf;
use std::time::Duration;

/// Drives the gateway and its peers, and writes a table.
#[derive(clap::Parser)]
struct Cli {
    /// Folder with the binaries of gateway and peers; by default where this one is
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// A uWebSockets server made from peers/servers/uws.cpp
    #[arg(long)]
    uws: Option<PathBuf>,
    /// Runs of which each figure is the median
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Length of a measurement, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rows to run, by name; all if none is given
    #[arg(long = "row")]
    rows: Vec<String>,
    /// Most connections of any row, to try the program out
    #[arg(long, default_value_t = 100_000)]
    connections_max: u32,
    /// What the run was made from, for the table's head
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Where the table goes; standard output by default
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let binaries = match &cli.binaries {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("no folder")?.to_owned(),
    };
    let wanted = |row: &Row| cli.rows.is_empty() || cli.rows.iter().any(|name| name == row.name);
    let rows: Vec<Row> =
        rows::all().into_iter().filter(wanted).map(|row| row.at_most(cli.connections_max)).collect();
    anyhow::ensure!(!rows.is_empty(), "no such row; there are {}", rows::names());
    let bench = cell::Bench { binaries, uws: cli.uws.clone(), time: Duration::from_secs_f64(cli.seconds) };
    let mut results = table::Results::default();
    for round in 0..cli.repeat {
        for row in &rows {
            for &server in row.servers.iter().filter(|server| **server != Server::Uws || cli.uws.is_some()) {
                let figures = bench
                    .run(row, server)
                    .with_context(|| format!("failed to measure {} of {}", row.name, server.name()))?;
                eprintln!("{}/{} {:>28} {:>18}: {figures}", round + 1, cli.repeat, row.name, server.name());
                results.add(row.name, server, figures);
            }
        }
    }
    let head = table::Head { commit: cli.commit, repeat: cli.repeat, seconds: cli.seconds };
    let text = table::write(&head, &rows, &results)?;
    match cli.out {
        Some(path) => std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}
