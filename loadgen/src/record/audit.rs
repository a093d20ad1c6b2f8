//! What was done to the target, by the run's own audit: what the guardian wrote while the run stood still is in it too.

use chaos::journal::{self, Act};
use reports::record::AuditLine;
use std::path::Path;

/// The audit of the run whose folder is `folder`; empty where nothing was done.
pub(super) fn audit(folder: &Path) -> Vec<AuditLine> {
    journal::audit(folder).into_iter().map(line).collect()
}

fn line(act: Act) -> AuditLine {
    let Act { at, user, host, by, number, fault, action, detail } = act;
    let by = match by {
        journal::By::Run => "run",
        journal::By::Guardian => "guardian",
        journal::By::Recover => "recover",
    };
    AuditLine { at, user, host, by: by.into(), number, fault, action: action.into(), detail }
}
