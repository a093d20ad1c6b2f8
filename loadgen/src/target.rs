//! The gateway under test as a child process: this program, started again as `loadgen gateway`.
//!
//! Children are started from the main thread only. A child follows us by the end of its standard input, so it outlives no
//! end of ours, `kill -9` included.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wire::time::Time;

/// How soon a gateway must listen, or end.
const START_WITHIN: Duration = Duration::from_secs(10);

/// A gateway that this run has started.
#[derive(Debug)]
pub struct OwnGateway {
    child: Child,
    flags: Vec<String>,
    key: String,
    /// Where it listens; kept when it is started again.
    pub address: SocketAddr,
}

/// Why the gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program could not be run.
    #[error("cannot start the gateway: {0}")]
    Spawn(#[source] io::Error),
    /// It ended at once; it has said why on standard error.
    #[error("the gateway ended at its start ({0}); its reason stands above")]
    Ended(String),
    /// It neither listened nor ended.
    #[error("the gateway did not listen within {START_WITHIN:?}")]
    Silent,
    /// It said something else than that it listens.
    #[error("the gateway said `{0}` instead of where it listens")]
    Unexpected(String),
}

impl OwnGateway {
    /// Starts a gateway on a free port of 127.0.0.1 that checks tokens with `key`; `flags` are added to its command line.
    pub fn start(flags: &[String], key: &str) -> Result<OwnGateway, StartError> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (child, address) = spawn(flags, key, listen)?;
        Ok(OwnGateway { child, flags: flags.to_vec(), key: key.to_owned(), address })
    }

    /// Starts it again at the same address, after it was killed. Gives its process number.
    pub fn start_again(&mut self) -> Result<u32, StartError> {
        // It is dead already; this takes its status so that no zombie is left.
        let _ = self.child.wait();
        let (child, _) = spawn(&self.flags, &self.key, self.address)?;
        self.child = child;
        Ok(self.child.id())
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Lets it drain and end; kills it if it does not within `patience`.
    pub fn stop(mut self, patience: Duration) {
        drop(self.child.stdin.take());
        let until = Time::now() + patience;
        while Time::now() < until {
            if self.ended().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Either it is gone by now, or this ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(flags: &[String], key: &str, listen: SocketAddr) -> Result<(Child, SocketAddr), StartError> {
    let program = std::env::current_exe().map_err(StartError::Spawn)?;
    let mut command = Command::new(program);
    // What the scenario does not say is the gateway's default, whatever the environment holds.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GATEWAY_"))
    {
        command.env_remove(name);
    }
    let mut child = command
        .args(["gateway", "--follow-stdin", "--enable-test-faults", "--listen", &listen.to_string()])
        .args(flags)
        // Its log goes where ours goes, and what a fault makes it say is in the report already.
        .args((!flags.iter().any(|flag| flag.starts_with("--log-level"))).then_some("--log-level=error"))
        .env("GATEWAY_AUTH_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C at a terminal is meant for us; the gateway is needed until every fault is healed.
        .process_group(0)
        .spawn()
        .map_err(StartError::Spawn)?;
    match listening(&mut child) {
        Ok(address) => Ok((child, address)),
        Err(error) => {
            // Nothing of a failed start may stay behind.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Waits for the line in which the gateway says where it listens.
fn listening(child: &mut Child) -> Result<SocketAddr, StartError> {
    let Some(stdout) = child.stdout.take() else { return Err(StartError::Silent) };
    let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    let patience = Timespec { tv_sec: START_WITHIN.as_secs() as i64, tv_nsec: 0 };
    if poll(&mut fds, Some(&patience)).map_err(|error| StartError::Spawn(error.into()))? == 0 {
        return Err(StartError::Silent);
    }
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).map_err(StartError::Spawn)?;
    if line.is_empty() {
        let status = child.wait().map_err(StartError::Spawn)?;
        return Err(StartError::Ended(status.to_string()));
    }
    let said: serde_json::Value =
        serde_json::from_str(&line).map_err(|_| StartError::Unexpected(line.trim().to_owned()))?;
    let address = said["address"].as_str().and_then(|address| address.parse().ok());
    address.ok_or_else(|| StartError::Unexpected(line.trim().to_owned()))
}
