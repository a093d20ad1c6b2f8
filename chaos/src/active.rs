//! A fault in force, and the way back.

use crate::faults::gateway::{GatewayError, GatewayFault};
use crate::faults::process::{Process, ProcessError};
use std::io;
use std::time::Duration;
use wire::time::Time;

/// A fault, ready to be put in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Inside the gateway.
    Gateway(GatewayFault),
    /// The process is killed, and started again to heal.
    Kill,
    /// The process stands still, and goes on to heal.
    Pause,
}

/// What faults act on.
#[derive(Debug, Clone)]
pub struct Target {
    /// Of the gateway's HTTP side, without a slash at the end.
    pub base_url: String,
    /// Its process, where we started it.
    pub pid: Option<u32>,
    /// Speaks HTTP to it.
    pub http: reqwest::Client,
}

/// Why a fault could not be put in or taken out.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The gateway did not do as asked.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The process did not do as told.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The process could not be started again.
    #[error("the process could not be started again: {0}")]
    Start(#[source] io::Error),
    /// A process fault on a gateway that this run did not start.
    #[error("only a process that the run has started can be killed or paused")]
    NoProcess,
}

impl FaultError {
    /// Whether a fault that could not be put in may act all the same, or act later.
    pub fn may_be_in_force(&self) -> bool {
        match self {
            FaultError::Gateway(_) | FaultError::Process(ProcessError::Unproven { .. }) => true,
            FaultError::Process(ProcessError::Gone { .. }) | FaultError::Start(_) | FaultError::NoProcess => {
                false
            }
        }
    }
}

/// A fault in force. It must be healed; dropping it heals nothing.
#[derive(Debug)]
#[must_use = "a fault in force must be healed"]
pub struct Active {
    fault: Fault,
    process: Option<Process>,
    /// When it was asked for: from then on it may act.
    pub asked: Time,
    /// When it was acknowledged: from then on it acts.
    pub effective: Time,
}

/// A fault that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healed {
    /// When that was proven.
    pub at: Time,
    /// By what.
    pub proof: String,
}

impl Fault {
    /// Its name in scenarios and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Gateway(GatewayFault::Latency { .. }) => "gateway.latency",
            Fault::Gateway(GatewayFault::FailureRate { .. }) => "gateway.failure_rate",
            Fault::Kill => "process.kill",
            Fault::Pause => "process.pause",
        }
    }

    /// Puts it in. `lease`: after this time it ends by itself where it can, whatever becomes of us.
    pub async fn inject(self, target: &Target, lease: Duration) -> Result<Active, FaultError> {
        let asked = Time::now();
        let process = match self {
            Fault::Gateway(fault) => {
                fault.inject(&target.http, &target.base_url, lease).await?;
                None
            }
            Fault::Kill | Fault::Pause => {
                let process = Process::open(target.pid.ok_or(FaultError::NoProcess)?)?;
                if self == Fault::Kill {
                    process.kill().await?
                } else {
                    process.pause().await?
                }
                Some(process)
            }
        };
        Ok(Active { fault: self, process, asked, effective: Time::now() })
    }

    /// Takes out what [`Fault::inject`] may have left in force when it failed. `start` as in [`Active::heal`].
    pub async fn undo(
        self,
        target: &Target,
        start: impl FnOnce() -> io::Result<u32>,
    ) -> Result<Healed, FaultError> {
        let process = match self {
            Fault::Pause => Some(Process::open(target.pid.ok_or(FaultError::NoProcess)?)?),
            Fault::Gateway(_) | Fault::Kill => None,
        };
        let now = Time::now();
        Active { fault: self, process, asked: now, effective: now }.heal(target, start).await
    }
}

impl Active {
    /// Whether the process is gone because of this fault, and not by itself.
    pub fn has_killed(&self) -> bool {
        self.fault == Fault::Kill
    }

    /// Takes it out and proves it. `start` starts a killed process again and gives its number when it serves.
    pub async fn heal(
        &self,
        target: &Target,
        start: impl FnOnce() -> io::Result<u32>,
    ) -> Result<Healed, FaultError> {
        let proof = match (&self.fault, &self.process) {
            (Fault::Gateway(fault), _) => fault.heal(&target.http, &target.base_url).await?,
            (Fault::Pause, Some(process)) => process.resume().await?,
            (Fault::Kill, _) => {
                let pid = start().map_err(FaultError::Start)?;
                format!("process {pid} listens at {}", target.base_url)
            }
            (Fault::Pause, None) => return Err(FaultError::NoProcess),
        };
        Ok(Healed { at: Time::now(), proof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_pause_that_was_not_seen_in_time_is_undone() {
        // Built with the whole workspace, reqwest wants one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        process.pause().await.unwrap();
        let target = Target {
            base_url: "http://127.0.0.1:1".into(),
            pid: Some(child.id()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let healed = Fault::Pause.undo(&target, || panic!("it was not killed")).await.unwrap();
        assert!(healed.proof.ends_with("running"), "{}", healed.proof);
        process.kill().await.unwrap();
        child.wait().unwrap();
        let gone = Fault::Pause.undo(&target, || panic!("it was not killed")).await.unwrap_err();
        assert!(!gone.may_be_in_force());
        let unproven = ProcessError::Unproven { pid: 1, wanted: "stopped", found: "in state D".into() };
        assert!(FaultError::from(unproven).may_be_in_force());
    }
}
