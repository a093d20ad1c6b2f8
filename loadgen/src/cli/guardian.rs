//! `loadgen guardian`, which only a run starts: heals the run's faults when the run cannot.

use crate::terminal::tell;
use assertions::exit;
use chaos::guardian::Watch;
use std::path::PathBuf;
use wire::sys::Signals;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The run's journal, whose locked file is standard output
    #[arg(long, value_name = "FILE")]
    journal: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    match watch(arguments) {
        Ok(true) => exit::PASSED,
        Ok(false) => exit::NOT_HEALED,
        Err(error) => {
            tell(&format!("error: {error:#}; only a run starts its guardian"));
            exit::TOOL_FAILED
        }
    }
}

/// Whether everything is proven healed in the end.
fn watch(arguments: &Arguments) -> anyhow::Result<bool> {
    // Whoever asks the run to end asks all of its processes; the guardian ends after the run, not before it.
    let _signals = Signals::block()?;
    let watch = Watch::begin()?;
    let lost = watch.until_lost();
    // Only now: as long as the run lives, a guardian costs nothing but its place.
    let http = crate::run::http_client()?;
    let outcomes = super::runtime()?.block_on(watch.heal(lost, &arguments.journal, &http))?;
    Ok(outcomes.iter().all(|outcome| outcome.proof.is_ok()))
}
