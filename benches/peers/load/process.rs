//! A server process: started, asked what it uses, and ended.

use anyhow::Context as _;
use benches::usage;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a server to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    /// Starts `program` on the CPUs of this list (`0`, `0-1`), and waits until it listens at `address`.
    pub(crate) fn start(
        program: &Path,
        arguments: &[String],
        key: &str,
        cpus: &str,
        address: SocketAddr,
    ) -> anyhow::Result<Process> {
        anyhow::ensure!(TcpStream::connect(address).is_err(), "{address} is in use");
        let child = Command::new("taskset")
            .args(["-c", cpus])
            .arg(program)
            .args(arguments)
            .env("GATEWAY_AUTH_KEY", key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut process = Process(child);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.0.try_wait()? {
                anyhow::bail!("{} ended with {status}", program.display());
            }
            anyhow::ensure!(Instant::now() < until, "{} does not listen", program.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    /// CPU time of all its threads so far, user and system.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        usage::cpu(self.0.id())
    }

    /// Memory that is its own and written to, bytes.
    pub(crate) fn private_dirty(&self) -> anyhow::Result<u64> {
        Ok(usage::memory(self.0.id())?.private)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
