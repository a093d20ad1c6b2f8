//! The way back: all that a fault can leave behind, as plain data that outlives whoever put it in.
//!
//! An [`Undo`] is in the [`crate::journal`] before its fault is put in. The run, its guardian and `loadgen recover` all heal
//! through [`Undo::heal`], which may be done any number of times, by several at once, and after the target has gone.

use crate::active::FaultError;
use crate::faults::gateway;
use crate::faults::process::{Process, ProcessError, ProcessId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What has to be put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Undo {
    /// A fault inside a gateway.
    GatewayFault {
        /// Where the gateway is asked for it.
        url: String,
        /// The gateway's process, where it is known: the fault ends with it, whoever listens there later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<ProcessId>,
    },
    /// A process that stands still.
    PausedProcess {
        /// Which.
        process: ProcessId,
    },
    /// A child of the run that was killed. The run starts it again; if the run is dead too, nothing is left to be put back, for
    /// its children end with it.
    KilledChild {
        /// Which.
        process: ProcessId,
    },
}

impl Undo {
    /// Puts it back and reads the state. Gives the proof. A target that has gone took the fault with it.
    pub async fn heal(&self, http: &reqwest::Client) -> Result<String, FaultError> {
        match self {
            Undo::GatewayFault { url, process } => {
                if let Some(process) = process
                    && Process::find(process)?.is_none()
                {
                    return Ok(format!("{process} is gone, and the fault with it"));
                }
                match gateway::heal(http, url).await {
                    // A known process that does not listen is about to end, or to begin: it is asked again.
                    Err(error) if process.is_none() && error.nobody_listens() => {
                        Ok(format!("nobody listens at {url}: the gateway is gone, and the fault with it"))
                    }
                    answered => Ok(answered?),
                }
            }
            Undo::PausedProcess { process } => {
                let Some(found) = Process::find(process)? else { return Ok(format!("{process} is gone")) };
                match found.resume().await {
                    Err(ProcessError::Gone { source: rustix::io::Errno::SRCH, .. }) => {
                        Ok(format!("{process} is gone"))
                    }
                    resumed => Ok(resumed?),
                }
            }
            Undo::KilledChild { process } => Ok(match Process::find(process)? {
                Some(_) => format!("{process} runs: it was not killed"),
                None => format!("{process} is gone, as is the run that it was part of"),
            }),
        }
    }

    /// What it is about, for people: an address or a process.
    pub fn target(&self) -> String {
        match self {
            Undo::GatewayFault { url, .. } => url.clone(),
            Undo::PausedProcess { process } | Undo::KilledChild { process } => process.to_string(),
        }
    }
}

/// Exactly what [`Undo::heal`] would do.
impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undo::GatewayFault { url, process: None } => write!(f, "DELETE {url}?asked=NOW, then GET {url}"),
            Undo::GatewayFault { url, process: Some(process) } => {
                write!(f, "DELETE {url}?asked=NOW, then GET {url}, unless {process} is gone")
            }
            Undo::PausedProcess { process } => {
                write!(f, "SIGCONT to {process}, then read /proc/{}/stat, unless it is gone", process.pid)
            }
            Undo::KilledChild { process } => write!(f, "nothing but look whether {process} is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::process::{Child, Command};

    fn http() -> reqwest::Client {
        // Built with the whole workspace, reqwest wants one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn child() -> (Child, ProcessId) {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = Process::open(child.id()).unwrap().id().clone();
        (child, id)
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_paused_process_goes_on_however_often_and_is_healed_when_gone() {
        let (child, process) = child();
        Process::open(child.id()).unwrap().pause().await.unwrap();
        let (undo, http) = (Undo::PausedProcess { process: process.clone() }, http());
        for _ in 0..2 {
            let proof = undo.heal(&http).await.unwrap();
            assert_eq!(proof, format!("/proc/{}/stat: running", process.pid));
        }
        Process::open(child.id()).unwrap().pause().await.unwrap();
        let another = ProcessId { started: process.started + 1, ..process.clone() };
        let gone = Undo::PausedProcess { process: another }.heal(&http).await.unwrap();
        assert_eq!(gone, format!("process {} is gone", process.pid));
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
        assert!(stat.contains(") T "), "a process that has the number now is left alone: {stat}");
        end(child);
        assert!(undo.heal(&http).await.unwrap().ends_with("is gone"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_killed_child_is_nothing_to_put_back() {
        let (child, process) = child();
        let undo = Undo::KilledChild { process };
        assert!(undo.heal(&http()).await.unwrap().ends_with("it was not killed"));
        end(child);
        assert!(undo.heal(&http()).await.unwrap().contains("is gone"));
    }

    /// Somebody who answers every request with a status and a body.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_gateway_fault_is_healed_by_proof_or_with_its_gateway() {
        let http = http();
        let fault =
            |address, process| Undo::GatewayFault { url: format!("http://{address}/test/latency"), process };
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proof = fault(nobody, None).heal(&http).await.unwrap();
        assert!(proof.starts_with("nobody listens at"), "{proof}");
        let (child, process) = child();
        fault(nobody, Some(process.clone())).heal(&http).await.unwrap_err();
        end(child);
        let other = answering("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let proof = fault(other, Some(process.clone())).heal(&http).await.unwrap();
        assert_eq!(proof, format!("process {} is gone, and the fault with it", process.pid));
        let error = fault(other, None).heal(&http).await.unwrap_err();
        assert!(error.to_string().contains("answered 404"), "who answers otherwise proves nothing: {error}");
    }

    #[test]
    fn is_written_as_it_will_be_read_in_years() {
        let process = ProcessId { pid: 7, started: 99, boot: "b".into() };
        let lines = [
            (
                Undo::GatewayFault { url: "http://127.0.0.1:1/test/latency".into(), process: None },
                r#"{"kind":"gateway_fault","url":"http://127.0.0.1:1/test/latency"}"#,
            ),
            (
                Undo::PausedProcess { process: process.clone() },
                r#"{"kind":"paused_process","process":{"pid":7,"started":99,"boot":"b"}}"#,
            ),
            (
                Undo::KilledChild { process },
                r#"{"kind":"killed_child","process":{"pid":7,"started":99,"boot":"b"}}"#,
            ),
        ];
        for (undo, line) in lines {
            assert_eq!(serde_json::to_string(&undo).unwrap(), line);
            assert_eq!(serde_json::from_str::<Undo>(line).unwrap(), undo);
        }
    }
}
