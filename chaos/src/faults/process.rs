//! A process killed, paused or restarted. Acts through a pidfd, so that a number used again is never hit.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::time::{Duration, Instant};

/// How soon a signal must have shown its effect.
const EFFECT_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A process that faults may act on.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    handle: OwnedFd,
}

/// Why a process did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there.
    #[error("process {pid} cannot be reached: {source}")]
    Gone {
        /// Its number.
        pid: u32,
        /// The cause.
        #[source]
        source: rustix::io::Errno,
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
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(gone(rustix::io::Errno::SRCH))?;
        pidfd_open(number, PidfdFlags::empty()).map(|handle| Process { pid, handle }).map_err(gone)
    }

    /// Kills it; returns when it is dead (its parent may not have noticed yet).
    pub async fn kill(&self) -> Result<(), ProcessError> {
        self.signal(Signal::KILL)?;
        self.until("dead", |state| matches!(state, None | Some('Z' | 'X'))).await
    }

    /// Stops it; returns when every thread stands still.
    pub async fn pause(&self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)?;
        self.until("stopped", |state| state == Some('T')).await
    }

    /// Lets it go on; returns when it does.
    pub async fn resume(&self) -> Result<String, ProcessError> {
        self.signal(Signal::CONT)?;
        self.until("running", |state| matches!(state, Some('R' | 'S' | 'D'))).await?;
        Ok(format!("/proc/{}/stat: running", self.pid))
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        pidfd_send_signal(&self.handle, signal).map_err(|source| ProcessError::Gone { pid: self.pid, source })
    }

    /// Waits until the process's state (third field of its stat) is as wanted.
    async fn until(
        &self,
        wanted: &'static str,
        is: impl Fn(Option<char>) -> bool,
    ) -> Result<(), ProcessError> {
        let begin = Instant::now();
        loop {
            let state = state(self.pid);
            if is(state) {
                return Ok(());
            }
            if begin.elapsed() > EFFECT_WITHIN {
                let found = state.map_or("gone".to_owned(), |state| format!("in state {state}"));
                return Err(ProcessError::Unproven { pid: self.pid, wanted, found });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets, and may itself hold brackets and blanks.
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn pause_resume_and_kill_are_proven() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        process.pause().await.unwrap();
        assert_eq!(state(child.id()), Some('T'));
        process.resume().await.unwrap();
        process.kill().await.unwrap();
        child.wait().unwrap();
        assert!(matches!(process.resume().await, Err(ProcessError::Gone { .. })));
        assert!(Process::open(u32::MAX).is_err());
    }
}
