//! Who heals when the run cannot: a process in a session of its own, with a lease on the run's life.
//!
//! The guardian's standard input is the lease, a socket over which the run says how long it may be silent; its end, or a longer
//! silence, means that the run is dead or stands still. Its standard output is the run's journal, locked for both of them. The
//! run counts its lease too, and less generously, so a run that comes back from a standstill knows that its faults may be out.

use crate::journal::{By, Journal, JournalError};
use crate::recovery::{self, Outcome};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wire::time::Time;

/// How soon a guardian must watch.
const START_WITHIN: Duration = Duration::from_secs(10);
/// What it says then.
const READY: &str = "ready";
/// How often a lease of the same length is renewed at most.
const RENEW_EVERY: Duration = Duration::from_millis(250);
/// The guardian waits this much longer than the run thinks, so that it is the run that knows first.
const GRACE: Duration = Duration::from_millis(500);
/// For how long the guardian of a dead run goes on trying.
const HEAL_WITHIN: Duration = Duration::from_secs(60);
/// A lease while nothing is in force: silence is no matter then, only the run's end is.
pub const IDLE: Duration = Duration::from_millis(u32::MAX as u64);

/// Why a guardian does not watch.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not be started.
    #[error("the guardian could not be started: {0}")]
    Spawn(#[source] io::Error),
    /// It ended or said something else.
    #[error("the guardian does not watch: {0}")]
    Refused(String),
}

/// Why nobody guards the run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unguarded {
    /// The lease ran out before it was renewed: the guardian has healed, or is about to.
    #[error("the run stood still for longer than its guardian waits, which has healed for it")]
    StoodStill,
    /// The guardian is dead.
    #[error("its guardian has ended")]
    GuardianEnded,
}

/// The run's end of the lease.
#[derive(Debug)]
pub struct Guardian {
    child: Child,
    lease: UnixStream,
    until: Time,
    length: Duration,
    renewed: Time,
    lost: Option<Unguarded>,
}

impl Guardian {
    /// Starts `program`, which is to watch by [`Watch::begin`]. Returns when it does. Call on the main thread.
    pub fn start(mut program: Command, journal: &Journal) -> Result<Guardian, StartError> {
        let (lease, theirs) = UnixStream::pair().map_err(StartError::Spawn)?;
        let child = program
            .stdin(OwnedFd::from(theirs))
            .stdout(journal.share().map_err(StartError::Spawn)?)
            // It outlives us, and must not keep open what others read to its end.
            .stderr(Stdio::null())
            .spawn()
            .map_err(StartError::Spawn)?;
        // It holds the guardian's end too, whose closing tells that the guardian has ended.
        drop(program);
        let now = Time::now();
        let mut guardian =
            Guardian { child, lease, until: now + IDLE, length: IDLE, renewed: now, lost: None };
        match guardian.greeting() {
            Ok(line) if line.trim() == READY => Ok(guardian),
            answer => {
                // Nothing of a failed start may stay behind.
                let _ = guardian.child.kill();
                let ended = guardian.child.wait().map(|status| status.to_string()).unwrap_or_default();
                Err(StartError::Refused(match answer {
                    Ok(line) if line.is_empty() => format!("it ended at its start ({ended})"),
                    Ok(line) => line.trim().to_owned(),
                    Err(error) => error.to_string(),
                }))
            }
        }
    }

    fn greeting(&mut self) -> io::Result<String> {
        self.lease.set_read_timeout(Some(START_WITHIN))?;
        let mut line = String::new();
        BufReader::new(&self.lease).read_line(&mut line)?;
        self.lease.set_nonblocking(true)?;
        Ok(line)
    }

    /// The run is alive, and may be silent for `length` from now on. What is lost stays lost.
    pub fn renew(&mut self, length: Duration) -> Result<(), Unguarded> {
        let now = Time::now();
        if self.lost.is_none() && now >= self.until {
            self.lost = Some(Unguarded::StoodStill);
        }
        if let Some(lost) = self.lost {
            return Err(lost);
        }
        if length == self.length && now.since(self.renewed) < RENEW_EVERY {
            return Ok(());
        }
        let length = length.min(IDLE);
        let message = u32::try_from(length.as_millis()).unwrap_or(u32::MAX).to_le_bytes();
        // Also where its buffer is full: a guardian that reads nothing guards nothing.
        if !matches!(self.lease.write(&message), Ok(4)) {
            self.lost = Some(Unguarded::GuardianEnded);
            return Err(Unguarded::GuardianEnded);
        }
        (self.until, self.length, self.renewed) = (now + length, length, now);
        Ok(())
    }

    /// The run is over. The guardian looks once more whether anything is open, and ends; waits for that at most `patience`.
    pub fn dismiss(mut self, patience: Duration) {
        let _ = self.lease.shutdown(Shutdown::Both);
        let until = Time::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) && Time::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How a lease was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The run is dead, or has dismissed its guardian.
    Ended,
    /// The run has been silent for too long, and may come back.
    Silent,
}

/// The guardian's end of the lease.
#[derive(Debug)]
pub struct Watch {
    lease: UnixStream,
    file: File,
}

impl Watch {
    /// Begins to watch over a run: standard input is the lease, standard output the journal.
    pub fn begin() -> io::Result<Watch> {
        let lease = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // Started by hand it has no lease, and must not take what is standard output then for a journal.
        lease.set_read_timeout(None)?;
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        // Whoever ends the run's session or process group leaves us out. Who leads a session already, needs none.
        let _ = rustix::process::setsid();
        (&lease).write_all(format!("{READY}\n").as_bytes())?;
        Ok(Watch { lease, file })
    }

    /// Waits until the lease is lost.
    pub fn until_lost(&self) -> Lost {
        let mut until = Time::now() + IDLE;
        let (mut message, mut length) = ([0; 4], 0);
        loop {
            let left = until.since(Time::now()).max(Duration::from_millis(1));
            if self.lease.set_read_timeout(Some(left)).is_err() {
                return Lost::Ended;
            }
            match (&self.lease).read(&mut message[length..]) {
                Ok(0) => return Lost::Ended,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Time::now() >= until {
                        return Lost::Silent;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Lost::Ended,
            }
            if length == message.len() {
                until = Time::now() + Duration::from_millis(u32::from_le_bytes(message).into()) + GRACE;
                length = 0;
            }
        }
    }

    /// Heals what is open in the journal at `path` and writes that down. The journal goes with the last fault, unless the run may
    /// come back to it. Gives what became of each.
    pub async fn heal(
        self,
        lost: Lost,
        path: &Path,
        http: &reqwest::Client,
    ) -> Result<Vec<Outcome>, JournalError> {
        // A run that comes back must see at once that it is guarded no more; one that is dead does not mind.
        let _ = self.lease.shutdown(Shutdown::Both);
        let mut journal = Journal::adopt(path, self.file, By::Guardian)?;
        let (outcomes, written) = recovery::heal(&mut journal, http, HEAL_WITHIN).await;
        let closed = if lost == Lost::Ended { journal.close() } else { Ok(()) };
        written.and(closed).map_err(|source| JournalError::Io { path: path.to_owned(), source })?;
        Ok(outcomes)
    }
}
