//! `loadgen run FILE`.

use super::ScenarioArguments;
use crate::prepare::prepare;
use crate::run::{Settings, run as run_prepared};
use crate::terminal::tell;
use assertions::exit;
use scenarios::problem::{Problems, Severity};
use std::path::PathBuf;
use wire::sys::Signals;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    scenario: ScenarioArguments,
    /// Folder that gets a folder for each run
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Print no summary; the exit code says how it went
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    // Before the first thread starts, so that all threads inherit the mask.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => {
            tell(&format!("error: cannot read signals: {error}"));
            return exit::TOOL_FAILED;
        }
    };
    let colour = crate::terminal::wants_colour(&std::io::stderr());
    let scenario = &arguments.scenario;
    let prepared = match prepare(&scenario.file, &scenario.options()) {
        Ok(prepared) => prepared,
        Err(problems) => return refuse(&problems, colour),
    };
    for warning in &prepared.warnings {
        tell(warning.render(colour).trim_end());
    }
    let mut sets = scenario.sets.clone();
    sets.extend(scenario.seed.map(|seed| format!("seed={seed}")));
    let settings = Settings {
        path: scenario.file.clone(),
        env: scenario.env.clone(),
        sets,
        no_faults: scenario.no_faults,
        out: arguments.out.clone(),
        quiet: arguments.quiet,
    };
    match run_prepared(&prepared, &settings, signals) {
        Ok(code) => code,
        Err(refusal) => {
            tell(&format!("error: {}\nexit {}", refusal.text, refusal.code));
            refusal.code
        }
    }
}

/// Prints everything that is wrong. Nothing was started.
pub(super) fn refuse(problems: &Problems, colour: bool) -> u8 {
    tell(problems.render(colour).trim_end());
    let count = problems.0.iter().filter(|problem| problem.severity == Severity::Error).count();
    let noun = if count == 1 { "problem" } else { "problems" };
    tell(&format!("{count} {noun}; nothing was started. exit {}", exit::INVALID));
    exit::INVALID
}
