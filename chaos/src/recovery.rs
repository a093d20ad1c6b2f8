//! Healing what a journal says is open, for those who did not put it in.

use crate::journal::{Journal, OpenFault};
use std::io;
use std::time::Duration;
use wire::time::Time;

/// Between one attempt at all that is open and the next.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What became of a fault that was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which.
    pub fault: OpenFault,
    /// The proof that it is healed, or why there is none.
    pub proof: Result<String, String>,
}

/// Heals what is open in `journal`, what was put in last first. What cannot be proven is tried again for at most `patience`: one
/// fault may wait for another, for a paused gateway answers nobody. Gives what became of each, and the first failure to write
/// that down.
pub async fn heal(
    journal: &mut Journal,
    http: &reqwest::Client,
    patience: Duration,
) -> (Vec<Outcome>, io::Result<()>) {
    let until = Time::now() + patience;
    let (mut outcomes, mut written) = (Vec::new(), Ok(()));
    loop {
        let open: Vec<_> = journal.open().iter().map(|(number, fault)| (*number, fault.clone())).collect();
        let is_last = Time::now() >= until;
        for (number, fault) in open.into_iter().rev() {
            match fault.undo.heal(http).await {
                Ok(proof) => {
                    written = written.and(journal.healed(number, &proof));
                    outcomes.push(Outcome { fault, proof: Ok(proof) });
                }
                Err(error) if is_last => {
                    written = written.and(journal.failed(number, &error.to_string()));
                    outcomes.push(Outcome { fault, proof: Err(error.to_string()) });
                }
                Err(_) => {}
            }
        }
        if journal.open().is_empty() || is_last {
            return (outcomes, written);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::process::Process;
    use crate::journal::Found;
    use crate::undo::Undo;

    #[tokio::test(flavor = "current_thread")]
    async fn all_is_healed_that_can_be_and_the_rest_stays_written_down() {
        // Built with the whole workspace, reqwest wants one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let folder = std::env::temp_dir().join(format!("loadgen-recovery-{}", std::process::id()));
        let mut journal = Journal::create(&folder, "r", &folder).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        let id = process.id().clone();
        // Nobody listens there, and the process that should is alive: this proves nothing.
        let url = "http://127.0.0.1:1/test/latency".to_owned();
        journal.asked("latency", &Undo::GatewayFault { url, process: Some(id.clone()) }).unwrap();
        journal.asked("pause", &Undo::PausedProcess { process: id }).unwrap();
        process.pause().await.unwrap();
        let path = journal.path().to_owned();
        drop(journal);
        let left = || match Journal::take_over(&path) {
            Ok(Found::Left(journal)) => journal,
            other => panic!("not left behind: {other:?}"),
        };
        let told = |outcomes: &[Outcome]| -> Vec<(String, bool)> {
            outcomes.iter().map(|outcome| (outcome.fault.name.clone(), outcome.proof.is_ok())).collect()
        };
        let mut journal = left();
        let (outcomes, written) = heal(&mut journal, &http, Duration::from_millis(250)).await;
        written.unwrap();
        assert_eq!(told(&outcomes), [("pause".to_owned(), true), ("latency".to_owned(), false)]);
        journal.close().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mut journal = left();
        let (outcomes, _) = heal(&mut journal, &http, Duration::ZERO).await;
        assert_eq!(told(&outcomes), [("latency".to_owned(), true)], "the other was written down as healed");
        journal.close().unwrap();
        assert!(!path.exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
