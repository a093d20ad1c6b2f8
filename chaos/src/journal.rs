//! What is about to be broken, on disk before it is: one JSON line an action, fsynced, in a fixed place per user.

use serde::Serialize;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The journal of one run. Removed when the run ends with every fault healed.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    open_faults: usize,
}

/// One line.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    run: &'a str,
    action: &'a str,
    fault: &'a str,
    target: &'a str,
}

/// `$XDG_STATE_HOME/loadgen/journal`, or `~/.local/state/loadgen/journal`, or below the system's temporary folder.
pub fn folder() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("loadgen/journal")
}

impl Journal {
    /// Begins the journal of `run` in `folder`.
    pub fn create(folder: &Path, run: &str) -> io::Result<Journal> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{run}.jsonl"));
        let file = File::options().create_new(true).append(true).open(&path)?;
        Ok(Journal { path, file, open_faults: 0 })
    }

    /// A fault is about to be put in.
    pub fn inject(&mut self, fault: &str, target: &str) -> io::Result<()> {
        self.write("inject", fault, target)?;
        self.open_faults += 1;
        Ok(())
    }

    /// A fault has been proven healed.
    pub fn healed(&mut self, fault: &str, target: &str) -> io::Result<()> {
        self.open_faults = self.open_faults.saturating_sub(1);
        self.write("healed", fault, target)
    }

    /// Ends the journal: its file goes if nothing is left to heal.
    pub fn close(self) -> io::Result<()> {
        if self.open_faults == 0 { std::fs::remove_file(self.path) } else { Ok(()) }
    }

    fn write(&mut self, action: &str, fault: &str, target: &str) -> io::Result<()> {
        let run = self.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let mut line = serde_json::to_vec(&Entry { run, action, fault, target })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_while_a_fault_is_open_and_goes_when_all_are_healed() {
        let folder = std::env::temp_dir().join(format!("loadgen-journal-test-{}", std::process::id()));
        let mut journal = Journal::create(&folder, "left").unwrap();
        journal.inject("gateway.latency", "http://127.0.0.1:1").unwrap();
        journal.close().unwrap();
        let text = std::fs::read_to_string(folder.join("left.jsonl")).unwrap();
        assert_eq!(
            text,
            "{\"run\":\"left\",\"action\":\"inject\",\"fault\":\"gateway.latency\",\"target\":\"http://127.0.0.1:1\"}\n"
        );
        let mut journal = Journal::create(&folder, "clean").unwrap();
        journal.inject("process.pause", "gateway").unwrap();
        journal.healed("process.pause", "gateway").unwrap();
        journal.close().unwrap();
        assert!(!folder.join("clean.jsonl").exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
