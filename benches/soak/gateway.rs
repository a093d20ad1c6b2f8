//! The gateway under test: started, looked at from outside, and ended.

use anyhow::Context as _;
use benches::usage::{self, Memory};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// What it uses at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) memory: Memory,
    /// CPU time so far.
    pub(crate) cpu: Duration,
    /// Descriptors in all its tables.
    pub(crate) descriptors: u64,
    /// Bytes that its data folder takes on the disk.
    pub(crate) stored: u64,
}

/// Ends with its owner.
pub(crate) struct Gateway {
    child: Child,
    data: Option<PathBuf>,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    pub(crate) fn start(
        program: &Path,
        flags: &[String],
        data: Option<PathBuf>,
        key: &str,
    ) -> anyhow::Result<Gateway> {
        let mut command = Command::new(program);
        if let Some(folder) = &data {
            command.arg("--data-dir").arg(folder);
        }
        let mut child = command
            .args(["--listen=127.0.0.1:0", "--follow-stdin"])
            .args(flags)
            .env("GATEWAY_AUTH_KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.split_once(r#""address":""#).and_then(|(_, rest)| rest.split('"').next());
        let address = address.and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("the gateway did not start: {line}"))?;
        Ok(Gateway { child, data, address })
    }

    /// An HTTP request; the answer's body.
    pub(crate) fn ask(&self, method: &str, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: soak\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        // By its length: not every answer is followed by the end of the connection.
        let mut answer = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            anyhow::ensure!(
                answer.read_line(&mut head)? > 0,
                "{method} {path}: the answer ends early: {head}"
            );
            let line = head[begin..].to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {head} {body}");
        Ok(body)
    }

    /// All metrics now.
    pub(crate) fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics(self.ask("GET", "/metrics")?))
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.child.id();
        Ok(Usage {
            memory: usage::memory(pid)?,
            cpu: usage::cpu(pid)?,
            descriptors: descriptors(pid)?,
            stored: self.data.as_deref().map_or(Ok(0), stored)?,
        })
    }

    /// Ends it politely; whether it ended well.
    pub(crate) fn stop(mut self) -> anyhow::Result<bool> {
        drop(self.child.stdin.take());
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A scrape.
pub(crate) struct Metrics(String);

impl Metrics {
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let ours = self.0.lines().filter_map(move |line| line.strip_prefix(name));
        let values =
            ours.filter(|rest| rest.starts_with(['{', ' '])).filter_map(|rest| rest.rsplit_once(' '));
        values.filter_map(|(labels, value)| Some((labels, value.parse().ok()?)))
    }

    /// The sum of a metric over its label sets.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.of(name).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Labels and values of a metric that are above zero.
    pub(crate) fn above_zero(&self, name: &str) -> Vec<String> {
        self.of(name)
            .filter(|(_, value)| *value > 0.0)
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect()
    }
}

/// Each shard has a table of its own; threads that show the same entries share one.
fn descriptors(pid: u32) -> anyhow::Result<u64> {
    let mut tables = BTreeSet::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let folder = task?.path().join("fd");
        // A thread may have ended meanwhile.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let mut numbers: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        numbers.sort();
        // The first entries are what a thread starts with, and tell two tables with the same numbers apart.
        let start = numbers.iter().take(16).filter_map(|number| fs::read_link(folder.join(number)).ok());
        tables.insert((start.collect::<Vec<_>>(), numbers));
    }
    Ok(tables.iter().map(|(_, numbers)| numbers.len() as u64).sum())
}

fn stored(folder: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let files = fs::read_dir(folder)?;
    files.map(|file| Ok(file?.metadata()?.blocks() * 512)).sum()
}
