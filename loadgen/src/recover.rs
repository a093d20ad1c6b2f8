//! What dead runs have left in force, healed: `loadgen recover`, and the first act of every run.

use chaos::journal::{self, Found, Journal, JournalError};
use chaos::recovery;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For how long one run's faults are taken out again and again until that is proven.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to do with a run's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Put everything back.
    Heal,
    /// Say what would be done.
    DryRun,
}

/// What was found, or done.
#[derive(Debug)]
pub enum Finding {
    /// The run answers for its faults itself.
    Alive {
        /// Its name.
        run: String,
    },
    /// This would be done.
    Planned {
        /// Of which run.
        run: String,
        /// Which fault.
        fault: String,
        /// Exactly what.
        what: String,
    },
    /// A fault is out.
    Healed {
        /// Of which run.
        run: String,
        /// Which fault.
        fault: String,
        /// What proves it.
        proof: String,
    },
    /// A fault is not proven to be out.
    Unproven {
        /// Of which run.
        run: String,
        /// Which fault.
        fault: String,
        /// Why not.
        reason: String,
        /// Where it is written down.
        journal: PathBuf,
    },
    /// A journal cannot be read, or not be written.
    Unreadable(JournalError),
}

impl Finding {
    /// Whether something may still be in force.
    pub fn is_unhealed(&self) -> bool {
        matches!(self, Finding::Unproven { .. } | Finding::Unreadable(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Alive { run } => write!(f, "{run}: alive, left alone"),
            Finding::Planned { run, fault, what } => write!(f, "{run}: {fault}: would {what}"),
            Finding::Healed { run, fault, proof } => write!(f, "{run}: {fault} healed: {proof}"),
            Finding::Unproven { run, fault, reason, journal } => write!(
                f,
                "{run}: {fault} is NOT proven healed: {reason}\n  hint: look at the target; `loadgen recover` tries again; once it is in order, remove {}",
                journal.display()
            ),
            Finding::Unreadable(error) => write!(
                f,
                "{error}\n  hint: a journal that this version cannot read may speak of faults in force; use the version that wrote it, or look at the target and remove the file"
            ),
        }
    }
}

/// Goes through the journals in `folder`, or that of the run `only`.
pub async fn recover(
    folder: &Path,
    only: Option<&str>,
    mode: Mode,
    http: &reqwest::Client,
) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (run, path) in journal::list(folder)? {
        if only.is_some_and(|only| only != run) {
            continue;
        }
        match Journal::take_over(&path) {
            Ok(Found::Alive) => findings.push(Finding::Alive { run }),
            Ok(Found::Ended) => {}
            Ok(Found::Left(journal)) if mode == Mode::DryRun => {
                let planned = |fault: &journal::OpenFault| Finding::Planned {
                    run: run.clone(),
                    fault: fault.name.clone(),
                    what: fault.undo.to_string(),
                };
                findings.extend(journal.open().values().rev().map(planned));
            }
            Ok(Found::Left(journal)) => findings.extend(heal(journal, http).await),
            Err(error) => findings.push(Finding::Unreadable(error)),
        }
    }
    Ok(findings)
}

async fn heal(mut journal: Journal, http: &reqwest::Client) -> Vec<Finding> {
    let (outcomes, written) = recovery::heal(&mut journal, http, PATIENCE).await;
    let (run, path) = (journal.run().to_owned(), journal.path().to_owned());
    let told = outcomes.into_iter().map(|outcome| {
        let (run, fault) = (run.clone(), outcome.fault.name);
        match outcome.proof {
            Ok(proof) => Finding::Healed { run, fault, proof },
            Err(reason) => Finding::Unproven { run, fault, reason, journal: path.clone() },
        }
    });
    let mut findings: Vec<Finding> = told.collect();
    if let Err(source) = written.and(journal.close()) {
        findings.push(Finding::Unreadable(JournalError::Io { path, source }));
    }
    findings
}
