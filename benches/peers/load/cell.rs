//! One measurement: a server, its clients, a figure.

use crate::client::{Dialect, Order, Plan};
use crate::clients::Clients;
use crate::process::Process;
use crate::rows::{Figure, Row, Server, Work};
use benches::bare::Mode;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9000);
const KEY: &str = "a key for benches, and for nothing else";
/// Longest wait for all connections.
const CONNECT_PATIENCE: Duration = Duration::from_secs(120);
/// Before a measurement begins: caches warm up, buffers reach their size.
const WARM_UP: Duration = Duration::from_millis(500);

/// Where the programs are, and how long to measure.
pub(crate) struct Bench {
    pub(crate) binaries: PathBuf,
    pub(crate) uws: Option<PathBuf>,
    pub(crate) time: Duration,
}

/// What one measurement gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) value: f64,
    /// Of the server, microseconds per message or connect.
    pub(crate) cpu_us: f64,
    /// Messages or connects per second of wall time.
    pub(crate) per_second: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ({:.2} us of server CPU each, {:.0}/s)", self.value, self.cpu_us, self.per_second)
    }
}

impl Bench {
    pub(crate) fn run(&self, row: &Row, server: Server) -> anyhow::Result<Figures> {
        let cpus = if row.is_pinned { "0" } else { "0-1" };
        let (program, arguments) = self.command(row, server)?;
        let process = Process::start(&program, &arguments, KEY, cpus, ADDRESS)?;
        let dialect = match server {
            Server::Gateway => Dialect::Im,
            _ if row.mode() == Mode::Echo => Dialect::Echo,
            _ => Dialect::Bare,
        };
        let plan = Plan {
            target: ADDRESS,
            dialect,
            work: row.work,
            connections: row.connections,
            threads: row.threads as u32,
            cpu: row.is_pinned.then_some(1),
        };
        let clients = Clients::start(plan, KEY)?;
        let result = self.measure(row, &process, &clients);
        clients.stop();
        result
    }

    fn measure(&self, row: &Row, process: &Process, clients: &Clients) -> anyhow::Result<Figures> {
        let (memory, cpu, begin) = (process.private_dirty()?, process.cpu()?, Instant::now());
        clients.order(Order::Connect);
        clients.wait_ready(row.connections, CONNECT_PATIENCE)?;
        let took = begin.elapsed();
        match row.figure {
            Figure::ConnectsPerSecond => {
                let count = f64::from(row.connections);
                let per_second = count / took.as_secs_f64();
                let cpu_us = (process.cpu()? - cpu).as_secs_f64() * 1e6 / count;
                Ok(Figures { value: per_second, cpu_us, per_second })
            }
            Figure::BytesPerConnection => {
                std::thread::sleep(WARM_UP);
                let grown = process.private_dirty()?.saturating_sub(memory);
                let value = grown as f64 / f64::from(row.connections);
                Ok(Figures { value, cpu_us: 0.0, per_second: 0.0 })
            }
            Figure::PerCpuSecond | Figure::PerSecond => self.rate(row, process, clients),
        }
    }

    fn rate(&self, row: &Row, process: &Process, clients: &Clients) -> anyhow::Result<Figures> {
        clients.order(Order::Work);
        std::thread::sleep(WARM_UP);
        let (received, cpu, begin) = (clients.received(), process.cpu()?, Instant::now());
        std::thread::sleep(self.time);
        let count = (clients.received() - received) as f64;
        let cpu = (process.cpu()? - cpu).as_secs_f64();
        let per_second = count / begin.elapsed().as_secs_f64();
        anyhow::ensure!(count > 0.0 && cpu > 0.0, "nothing came back");
        anyhow::ensure!(clients.failed() == 0, "{} connections failed", clients.failed());
        let value = if row.figure == Figure::PerSecond { per_second } else { count / cpu };
        Ok(Figures { value, cpu_us: cpu * 1e6 / count, per_second })
    }

    fn command(&self, row: &Row, server: Server) -> anyhow::Result<(PathBuf, Vec<String>)> {
        let gateway = |flags: &[&str]| {
            let shards = if row.is_pinned { 1 } else { row.threads };
            let mut arguments = vec![format!("--listen={ADDRESS}"), format!("--shards={shards}")];
            // An idle client would be pinged meanwhile.
            arguments.extend(["--heartbeat=10m".to_owned(), "--drain-timeout=1s".to_owned()]);
            if row.work == Work::Hold {
                arguments.push(format!("--connections-max={}", row.connections + 100));
            }
            arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
            (self.binaries.join("gateway"), arguments)
        };
        let bare =
            |program: PathBuf| (program, vec![row.mode().name().to_owned(), ADDRESS.port().to_string()]);
        Ok(match server {
            Server::Gateway => gateway(&[]),
            Server::GatewayEcho => gateway(&["--echo"]),
            Server::GatewaySteered => gateway(&["--echo", "--steering=cpu"]),
            Server::Wire => bare(self.binaries.join("peer-wire")),
            Server::Tungstenite => bare(self.binaries.join("peer-tungstenite")),
            Server::TungsteniteEager => {
                let (program, mut arguments) = bare(self.binaries.join("peer-tungstenite"));
                arguments.push("each".into());
                (program, arguments)
            }
            Server::TokioWebsockets => bare(self.binaries.join("peer-tokio-websockets")),
            Server::Uws => bare(self.uws.clone().ok_or_else(|| anyhow::anyhow!("no --uws"))?),
        })
    }
}
