//! A fault, from being ready with its way back to being proven out.

use crate::faults::gateway::{GatewayError, GatewayFault};
use crate::faults::process::{Process, ProcessError};
use crate::undo::Undo;
use std::io;
use std::time::Duration;
use wire::time::Time;

/// A fault, as one asks for it.
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

/// A fault that can be put in, and taken out. Once put in it must be healed; dropping it heals nothing.
#[derive(Debug)]
#[must_use = "a fault in force must be healed"]
pub struct Prepared {
    fault: Fault,
    process: Option<Process>,
    undo: Undo,
}

/// When a fault took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
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

    /// Finds out what it would act on and how that is undone. Nothing is changed yet.
    pub fn prepare(self, target: &Target) -> Result<Prepared, FaultError> {
        let process = target.pid.map(Process::open).transpose()?;
        let id = process.as_ref().map(|process| process.id().clone());
        let undo = match self {
            Fault::Gateway(fault) => Undo::GatewayFault { url: fault.url(&target.base_url), process: id },
            Fault::Kill => Undo::KilledChild { process: id.ok_or(FaultError::NoProcess)? },
            Fault::Pause => Undo::PausedProcess { process: id.ok_or(FaultError::NoProcess)? },
        };
        Ok(Prepared { fault: self, process, undo })
    }
}

impl Prepared {
    /// The way back, to be written down before [`Prepared::inject`].
    pub fn undo(&self) -> &Undo {
        &self.undo
    }

    /// Whether the process goes because of this fault, and not by itself.
    pub fn kills(&self) -> bool {
        self.fault == Fault::Kill
    }

    /// Puts it in. `lease`: after this time it ends by itself where it can, whatever becomes of us.
    pub async fn inject(&self, target: &Target, lease: Duration) -> Result<InForce, FaultError> {
        let asked = Time::now();
        match (self.fault, &self.process) {
            (Fault::Gateway(fault), _) => fault.inject(&target.http, &target.base_url, lease).await?,
            (Fault::Kill, Some(process)) => process.kill().await?,
            (Fault::Pause, Some(process)) => process.pause().await?,
            (Fault::Kill | Fault::Pause, None) => return Err(FaultError::NoProcess),
        }
        Ok(InForce { asked, effective: Time::now() })
    }

    /// Takes it out and proves it, whether it was put in wholly, in part, or not. `start` starts a killed process again and gives
    /// its number when it serves.
    pub async fn heal(
        &self,
        target: &Target,
        start: impl FnOnce() -> io::Result<u32>,
    ) -> Result<Healed, FaultError> {
        let proof = if self.kills() {
            let pid = start().map_err(FaultError::Start)?;
            format!("process {pid} listens at {}", target.base_url)
        } else {
            self.undo.heal(&target.http).await?
        };
        Ok(Healed { at: Time::now(), proof })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_pause_is_undone_whatever_became_of_it() {
        // Built with the whole workspace, reqwest wants one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let target = Target {
            base_url: "http://127.0.0.1:1".into(),
            pid: Some(child.id()),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let pause = Fault::Pause.prepare(&target).unwrap();
        let start = || panic!("it was not killed");
        let healed = pause.heal(&target, start).await.unwrap();
        assert!(healed.proof.ends_with("running"), "not put in yet: {}", healed.proof);
        let in_force = pause.inject(&target, Duration::ZERO).await.unwrap();
        assert!(in_force.effective >= in_force.asked);
        let healed = pause.heal(&target, start).await.unwrap();
        assert!(healed.proof.ends_with("running"), "{}", healed.proof);
        Fault::Kill.prepare(&target).unwrap().inject(&target, Duration::ZERO).await.unwrap();
        child.wait().unwrap();
        assert!(pause.heal(&target, start).await.unwrap().proof.ends_with("is gone"));
        assert!(!Fault::Pause.prepare(&target).unwrap_err().may_be_in_force());
        let unproven = ProcessError::Unproven { pid: 1, wanted: "stopped", found: "in state D".into() };
        assert!(FaultError::from(unproven).may_be_in_force());
    }
}
