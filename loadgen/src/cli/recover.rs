//! `loadgen recover`.

use crate::recover::{Mode, recover};
use crate::terminal::tell;
use assertions::exit;
use chaos::journal;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this run's faults; its name is that of its folder and its journal
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Say exactly what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let folder = journal::folder();
    let mode = if arguments.dry_run { Mode::DryRun } else { Mode::Heal };
    let found = super::runtime().and_then(|runtime| {
        let http = crate::run::http_client()?;
        Ok(runtime.block_on(recover(&folder, arguments.run.as_deref(), mode, &http))?)
    });
    let findings = match found {
        Ok(findings) => findings,
        Err(error) => {
            tell(&format!("error: cannot go through the journals in {}: {error}", folder.display()));
            return exit::TOOL_FAILED;
        }
    };
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    if findings.is_empty() {
        let whose = arguments.run.as_ref().map(|run| format!(" of {run}")).unwrap_or_default();
        text = format!("nothing to heal: no open fault{whose} in {}\n", folder.display());
    }
    let code = super::print(&text);
    if findings.iter().any(|finding| finding.is_unhealed()) { exit::NOT_HEALED } else { code }
}
