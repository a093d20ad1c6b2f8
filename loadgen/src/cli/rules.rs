//! `loadgen rules …`: rule files without a run.

mod data;
mod eval;
mod files;
mod replay;
mod test;

use crate::terminal;
use assertions::promql::ast::Dialect;
use assertions::promql::parse::ParseOptions;
use scenarios::problem::Problem;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Run promtool's rule unit test files
    Test(test::Arguments),
    /// Try an expression on saved samples
    Eval(eval::Arguments),
    /// Play rules over saved samples: what fires when, also if Prometheus restarts or reloads meanwhile
    Replay(Box<replay::Arguments>),
}

/// Whose answers are given.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Version {
    /// Prometheus 2.x
    #[value(name = "2")]
    Two,
    /// Prometheus 3.x
    #[value(name = "3")]
    Three,
}

impl Version {
    fn other(self) -> Version {
        match self {
            Version::Two => Version::Three,
            Version::Three => Version::Two,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Version::Two => "2",
            Version::Three => "3",
        }
    }

    fn options(self) -> ParseOptions {
        let dialect = match self {
            Version::Two => Dialect::V2,
            Version::Three => Dialect::V3,
        };
        ParseOptions { dialect, experimental: false }
    }
}

pub(super) fn rules(command: &Command) -> u8 {
    match command {
        Command::Test(arguments) => test::test(arguments),
        Command::Eval(arguments) => eval::eval(arguments),
        Command::Replay(arguments) => replay::replay(arguments),
    }
}

/// Prints problems on standard error.
fn tell(problems: &[Problem]) {
    let colour = terminal::wants_colour(&std::io::stderr());
    for problem in problems {
        terminal::tell(problem.render(colour).trim_end());
    }
}
