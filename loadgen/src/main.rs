//! Parse, do, exit code.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    loadgen::cli::main(loadgen::cli::Cli::parse()).into()
}
