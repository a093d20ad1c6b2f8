//! A process killed, paused or restarted. Acts through a pidfd, so that a number used again is never hit.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant};

/// How soon a signal must have shown its effect.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A process as no other ever is: its number is used again, but not with this start on this boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the boot.
    pub started: u64,
    /// The boot.
    pub boot: String,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

/// A process that faults may act on.
#[derive(Debug)]
pub struct Process {
    id: ProcessId,
    handle: OwnedFd,
}

/// Why a process did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there, or not for us.
    #[error("process {pid} cannot be reached: {source}")]
    Gone {
        /// Its number.
        pid: u32,
        /// The cause.
        #[source]
        source: Errno,
    },
    /// It is in another state than it was put into.
    #[error("process {pid} is {found}, not {wanted}")]
    Unproven {
        /// Its number.
        pid: u32,
        /// The state wanted.
        wanted: &'static str,
        /// The state seen.
        found: String,
    },
}

impl Process {
    /// The running process `pid`.
    pub fn open(pid: u32) -> Result<Process, ProcessError> {
        let gone = |source| ProcessError::Gone { pid, source };
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(gone(Errno::SRCH))?;
        let handle = pidfd_open(number, PidfdFlags::empty()).map_err(gone)?;
        // Read after the handle is held: what has this number now is what the handle is of, or dead.
        let stat = Stat::read(pid).filter(Stat::is_alive).ok_or(gone(Errno::SRCH))?;
        Ok(Process { id: ProcessId { pid, started: stat.started, boot: boot() }, handle })
    }

    /// The process `id`, if it is still there.
    pub fn find(id: &ProcessId) -> Result<Option<Process>, ProcessError> {
        match Process::open(id.pid) {
            Ok(process) => Ok(Some(process).filter(|process| process.id == *id)),
            Err(ProcessError::Gone { source: Errno::SRCH, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which it is.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Kills it; returns when it is dead (its parent may not have noticed yet).
    pub async fn kill(&self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)?;
        self.until("dead", |stat| stat.is_none_or(|stat| !stat.is_alive())).await
    }

    /// Stops it; returns when every thread stands still.
    pub async fn pause(&self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)?;
        self.until("stopped", |stat| stat.is_some_and(|stat| stat.state == 'T')).await
    }

    /// Lets it go on; returns when it does, with the proof.
    pub async fn resume(&self) -> Result<String, ProcessError> {
        self.signal(Signal::CONT)?;
        self.until("running", |stat| stat.is_some_and(|stat| matches!(stat.state, 'R' | 'S' | 'D'))).await?;
        Ok(format!("/proc/{}/stat: running", self.id.pid))
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let pid = self.id.pid;
        pidfd_send_signal(&self.handle, signal).map_err(|source| ProcessError::Gone { pid, source })
    }

    /// Waits until the process is as wanted.
    async fn until(
        &self,
        wanted: &'static str,
        is: impl Fn(Option<&Stat>) -> bool,
    ) -> Result<(), ProcessError> {
        let begin = Instant::now();
        let pid = self.id.pid;
        loop {
            let stat = Stat::read(pid).filter(|stat| stat.started == self.id.started);
            if is(stat.as_ref()) {
                return Ok(());
            }
            if stat.as_ref().is_none_or(|stat| !stat.is_alive()) {
                return Err(ProcessError::Gone { pid, source: Errno::SRCH });
            }
            if begin.elapsed() > EFFECT_WITHIN {
                let found = stat.map_or("gone".to_owned(), |stat| format!("in state {}", stat.state));
                return Err(ProcessError::Unproven { pid, wanted, found });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What `/proc/PID/stat` says of a process.
struct Stat {
    state: char,
    started: u64,
}

impl Stat {
    /// `None`: there is none of this number.
    fn read(pid: u32) -> Option<Stat> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in brackets, and may itself hold brackets and blanks. The state is the third, the start
        // the 22nd.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Stat { state, started: fields.nth(18)?.parse().ok()? })
    }

    /// Not dead, whether its parent has noticed or not.
    fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// Which boot of the machine this is; where the kernel does not say, all are one.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn pause_resume_and_kill_are_proven() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        process.pause().await.unwrap();
        assert_eq!(Stat::read(child.id()).unwrap().state, 'T');
        process.resume().await.unwrap();
        process.kill().await.unwrap();
        assert!(matches!(process.resume().await, Err(ProcessError::Gone { .. })), "a zombie does not run");
        child.wait().unwrap();
        assert!(matches!(process.resume().await, Err(ProcessError::Gone { .. })));
        assert!(Process::open(u32::MAX).is_err());
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = Process::open(child.id()).unwrap().id().clone();
        let found = |id: &ProcessId| Process::find(id).unwrap().is_some();
        assert!(found(&id));
        assert!(!found(&ProcessId { started: id.started + 1, ..id.clone() }), "started later");
        assert!(!found(&ProcessId { boot: "another".into(), ..id.clone() }), "before the machine went down");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found(&id));
    }
}
