//! What is about to be broken, on disk before it is, and what became of it: JSON lines in a fixed folder per user.
//!
//! A journal's file is locked by whoever answers for its faults: the run together with its guardian, later `loadgen recover`. So
//! whether a run is alive is the kernel's answer. The file goes when every fault in it is proven healed. The same lines stand in
//! the run's own folder, where they stay: who did what, when, to what end, with which proof.

use crate::undo::Undo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use wire::time::Time;

/// The form of the lines, for those who read them later.
const VERSION: u32 = 1;
/// The audit's file in the run's folder.
const AUDIT: &str = "audit.jsonl";

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The run itself.
    Run,
    /// Its guardian.
    Guardian,
    /// `loadgen recover`, or a later run at its start.
    Recover,
}

/// Something done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
enum Action {
    /// A run begins that will put faults in.
    Begin {
        version: u32,
        /// Where the lines stay.
        audit: PathBuf,
    },
    /// A fault is about to be put in.
    Asked { number: u64, fault: String, target: String, undo: Undo },
    /// It is in force since `at`.
    Effective { number: u64, fault: String },
    /// It is proven to be out.
    Healed { number: u64, fault: String, proof: String },
    /// It could not be put in, or its end not be proven yet.
    Failed { number: u64, fault: String, reason: String },
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// When, RFC 3339 in UTC.
    at: String,
    run: String,
    user: String,
    host: String,
    by: By,
    #[serde(flatten)]
    action: Action,
}

/// A line of the audit, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Who started the run.
    pub user: String,
    /// Where.
    pub host: String,
    /// What acted for them.
    pub by: By,
    /// Which of the run's faults.
    pub number: u64,
    /// Its name in the scenario.
    pub fault: String,
    /// `asked`, `effective`, `healed` or `failed`.
    pub action: &'static str,
    /// The target, the proof or the reason.
    pub detail: String,
}

/// A fault that may be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFault {
    /// Its name in the scenario.
    pub name: String,
    /// The way back.
    pub undo: Undo,
}

/// Why a journal cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said so.
    #[error("{}: {source}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is not one that this version writes.
    #[error("{}:{line}: {source}", path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// The journal of one run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    run: String,
    by: By,
    user: String,
    host: String,
    audit: Option<PathBuf>,
    open: BTreeMap<u64, OpenFault>,
    next: u64,
    /// Where half a line begins, until something is written.
    torn: Option<u64>,
    /// Lines that whoever had the journal before us had no time to keep in the audit.
    unkept: Vec<u8>,
}

/// Whose journal it is.
#[derive(Debug)]
pub enum Found {
    /// Of a run that is alive, or whose guardian is.
    Alive,
    /// Of nobody any more: ours now.
    Left(Journal),
    /// Whoever had it has just brought it to its end.
    Ended,
}

/// `$XDG_STATE_HOME/loadgen/journal`, or `~/.local/state/loadgen/journal`, or the user's own below the system's temporary folder.
pub fn folder() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let user = rustix::process::getuid().as_raw();
    let temporary = || std::env::temp_dir().join(format!("loadgen-{user}"));
    state.or_else(home).unwrap_or_else(temporary).join("loadgen/journal")
}

/// All journals in `folder`, by the names of their runs.
pub fn list(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push((run_of(&path), path));
        }
    }
    found.sort();
    Ok(found)
}

/// What is in the audit of the run whose folder is `run_folder`; nothing where it has put no faults in.
pub fn audit(run_folder: &Path) -> Vec<Act> {
    let text = std::fs::read_to_string(run_folder.join(AUDIT)).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    lines.filter_map(act).collect()
}

fn act(line: Line) -> Option<Act> {
    let Line { at, user, host, by, action, .. } = line;
    let (number, fault, action, detail) = match action {
        Action::Begin { .. } => return None,
        Action::Asked { number, fault, target, .. } => (number, fault, "asked", target),
        Action::Effective { number, fault } => (number, fault, "effective", String::new()),
        Action::Healed { number, fault, proof } => (number, fault, "healed", proof),
        Action::Failed { number, fault, reason } => (number, fault, "failed", reason),
    };
    Some(Act { at, user, host, by, number, fault, action, detail })
}

fn run_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Journal {
    /// Begins the journal of `run` in `folder`, and locks it. Its lines are kept in `run_folder` too.
    pub fn create(folder: &Path, run: &str, run_folder: &Path) -> io::Result<Journal> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(format!("{run}.jsonl"));
        let file = loop {
            let file = File::options().create_new(true).read(true).append(true).open(&path)?;
            file.lock()?;
            // Whoever swept the folder may have had the lock first, and removed an empty file.
            if file.metadata()?.nlink() > 0 {
                break file;
            }
        };
        // The name must survive a crash as well as the lines.
        File::open(folder)?.sync_all()?;
        let mut journal = Journal::new(path, file, By::Run);
        let audit = std::path::absolute(run_folder)?.join(AUDIT);
        journal.write(Action::Begin { version: VERSION, audit: audit.clone() })?;
        journal.audit = Some(audit);
        Ok(journal)
    }

    /// Takes over the journal at `path` if nobody answers for it.
    pub fn take_over(path: &Path) -> Result<Found, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let file = match File::options().read(true).append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Ended),
            file => file.map_err(failed)?,
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(Found::Alive),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Ok(()) => {}
        }
        if file.metadata().map_err(failed)?.nlink() == 0 {
            return Ok(Found::Ended);
        }
        Journal::adopt(path, file, By::Recover).map(Found::Left)
    }

    /// Goes on with a journal whose `file` is locked for us already.
    pub fn adopt(path: &Path, file: File, by: By) -> Result<Journal, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        let length = file.metadata().map_err(failed)?.len();
        let mut text = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        // By place: the run and its guardian share the file's position.
        file.read_exact_at(&mut text, 0).map_err(failed)?;
        // Half a line was never synced, so what it speaks of was never begun.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let mut journal = Journal::new(path.to_owned(), file, by);
        journal.torn = (whole < text.len()).then_some(whole as u64);
        for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(line).map_err(|source| JournalError::Unreadable {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            journal.follow(line.action);
        }
        if let Some(audit) = &journal.audit {
            // The audit has the same lines but the first, each written after the journal's.
            let first = text.iter().position(|byte| *byte == b'\n').map_or(whole, |newline| newline + 1);
            let kept = std::fs::read(audit).unwrap_or_default();
            journal.unkept = text[first..whole].strip_prefix(kept.as_slice()).unwrap_or_default().to_vec();
        }
        Ok(journal)
    }

    fn new(path: PathBuf, file: File, by: By) -> Journal {
        let run = run_of(&path);
        let (user, host) = (user(), host());
        Journal {
            path,
            file,
            run,
            by,
            user,
            host,
            audit: None,
            open: BTreeMap::new(),
            next: 1,
            torn: None,
            unkept: Vec::new(),
        }
    }

    fn follow(&mut self, action: Action) {
        match action {
            Action::Begin { audit, .. } => self.audit = Some(audit),
            Action::Asked { number, fault, undo, .. } => {
                self.open.insert(number, OpenFault { name: fault, undo });
                self.next = self.next.max(number + 1);
            }
            Action::Healed { number, .. } => {
                self.open.remove(&number);
            }
            Action::Effective { .. } | Action::Failed { .. } => {}
        }
    }

    /// Of which run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The locked file, for one who answers for it together with us.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Faults that may be in force by their numbers, in the order of being put in.
    pub fn open(&self) -> &BTreeMap<u64, OpenFault> {
        &self.open
    }

    /// A fault is about to be put in. Gives its number.
    pub fn asked(&mut self, fault: &str, undo: &Undo) -> io::Result<u64> {
        let (number, target) = (self.next, undo.target());
        self.write(Action::Asked { number, fault: fault.into(), target, undo: undo.clone() })?;
        self.next += 1;
        self.open.insert(number, OpenFault { name: fault.into(), undo: undo.clone() });
        Ok(number)
    }

    /// A fault is in force since `since`.
    pub fn effective(&mut self, number: u64, since: Time) -> io::Result<()> {
        let Some(fault) = self.name(number) else { return Ok(()) };
        self.write_at(wall(since), Action::Effective { number, fault })
    }

    /// A fault has been proven healed.
    pub fn healed(&mut self, number: u64, proof: &str) -> io::Result<()> {
        let Some(fault) = self.open.remove(&number).map(|open| open.name) else { return Ok(()) };
        self.write(Action::Healed { number, fault, proof: proof.into() })
    }

    /// A fault could not be put in, or its end not be proven.
    pub fn failed(&mut self, number: u64, reason: &str) -> io::Result<()> {
        let Some(fault) = self.name(number) else { return Ok(()) };
        self.write(Action::Failed { number, fault, reason: reason.into() })
    }

    fn name(&self, number: u64) -> Option<String> {
        self.open.get(&number).map(|open| open.name.clone())
    }

    /// Ends the journal: its file goes if nothing is left to heal.
    pub fn close(self) -> io::Result<()> {
        if !self.open.is_empty() {
            return Ok(());
        }
        if let Some(audit) = self.audit.filter(|_| !self.unkept.is_empty()) {
            keep(&audit, &self.unkept)?;
        }
        match std::fs::remove_file(self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn write(&mut self, action: Action) -> io::Result<()> {
        self.write_at(Timestamp::now(), action)
    }

    fn write_at(&mut self, at: Timestamp, action: Action) -> io::Result<()> {
        let line = Line {
            at: at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
            run: self.run.clone(),
            user: self.user.clone(),
            host: self.host.clone(),
            by: self.by,
            action,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        if let Some(whole) = self.torn {
            self.file.set_len(whole)?;
            self.torn = None;
        }
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line would make the next one unreadable too. If this fails as well, the first failure says enough.
            let _ = self.file.set_len(length);
        }
        written?;
        let mut lines = std::mem::take(&mut self.unkept);
        lines.extend(bytes);
        self.audit.as_ref().map_or(Ok(()), |audit| keep(audit, &lines))
    }
}

/// Adds a line to the audit; where the run's folder is gone nobody wants it any more.
fn keep(audit: &Path, line: &[u8]) -> io::Result<()> {
    match File::options().create(true).append(true).open(audit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file.and_then(|mut file| file.write_all(line)),
    }
}

/// The moment on the wall's clock.
fn wall(at: Time) -> Timestamp {
    let ago = Time::now().since(at);
    Timestamp::now().checked_sub(ago).unwrap_or_else(|_| Timestamp::now())
}

/// The name of the user who runs this, or the number where there is no name.
pub fn user() -> String {
    let number = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let known = fields.find(|fields| fields.get(2) == Some(&number.as_str()));
    known.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or(number)
}

/// The name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
