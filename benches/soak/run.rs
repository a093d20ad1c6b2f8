//! The course of a soak: all come, messages flow, samples are taken, everything settles, all leave.

use crate::gateway::{Gateway, Metrics, Usage};
use crate::plan::Plan;
use crate::shard::{Mail, Report, Soak};
use anyhow::Context as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::shard::Seats;
use wire::shard::event_loop::{self, Config};
use wire::shard::mailbox::{self, Mailbox};

const KEY: &str = "a key for a soak, and for nothing else";
/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(40);
const GLANCE: Duration = Duration::from_millis(50);

/// What is to be done.
pub(crate) struct Orders {
    pub(crate) program: PathBuf,
    pub(crate) flags: Vec<String>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) plan: Plan,
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) every: Duration,
    /// Of the deliveries, lost on purpose.
    pub(crate) loss: f64,
    pub(crate) samples: Option<PathBuf>,
}

/// The gateway at a moment of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Seconds since the load began.
    pub(crate) at: f64,
    pub(crate) usage: Usage,
    /// Connections that it counts.
    pub(crate) connections: f64,
    pub(crate) queued: f64,
    pub(crate) in_flight: f64,
}

/// What was seen.
pub(crate) struct Outcome {
    pub(crate) samples: Vec<Sample>,
    /// CPU time of the gateway over the load, and what the load took.
    pub(crate) cpu: Duration,
    pub(crate) took: Duration,
    pub(crate) report: Report,
    pub(crate) balance: Balance,
    /// The gateway's counters of failed deliveries that are not zero.
    pub(crate) failures: Vec<String>,
    /// Descriptors before anybody came, and after all had left.
    pub(crate) descriptors: (u64, u64),
    /// Connections that it counts after all had left.
    pub(crate) connections_left: f64,
    pub(crate) ended_well: bool,
}

/// The gateway's own account at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Balance {
    pub(crate) accepted: f64,
    pub(crate) delivered: f64,
    pub(crate) queued: f64,
    pub(crate) expired: f64,
    pub(crate) failed: f64,
    pub(crate) in_flight: f64,
}

impl Balance {
    fn of(metrics: &Metrics) -> Balance {
        Balance {
            accepted: metrics.sum("im_gateway_messages_accepted_total"),
            delivered: metrics.sum("im_gateway_messages_delivered_total"),
            queued: metrics.sum("im_service_offline_queue_size"),
            expired: metrics.sum("im_gateway_messages_expired_total"),
            failed: metrics.sum("im_gateway_messages_failed_total"),
            in_flight: metrics.sum("im_gateway_messages_in_flight"),
        }
    }

    /// What was accepted is accounted for.
    pub(crate) fn is_even(&self) -> bool {
        self.accepted == self.delivered + self.queued + self.expired + self.failed + self.in_flight
    }
}

/// The clients, on a thread of their own.
struct Clients {
    edge: Mailbox<Mail>,
    thread: JoinHandle<()>,
    report: Report,
}

impl Clients {
    fn start(orders: &Orders, gateway: &Gateway) -> anyhow::Result<Clients> {
        let mut mailboxes = mailbox::network(2)?;
        let edge = mailboxes.pop().context("no mailbox")?;
        let mailbox = mailboxes.pop().context("no mailbox")?;
        let soak = Soak::new(orders.plan, orders.rate, gateway.address, KEY);
        let config = Config {
            listen: None,
            seats: Seats::unlimited(),
            tls: None,
            timer_slack: Duration::from_micros(50),
            steering: None,
        };
        let (ready, readiness) = mpsc::channel();
        let thread = std::thread::Builder::new().name("clients".into()).spawn(move || {
            // Fails only if the start was given up.
            event_loop::run(&config, mailbox, || soak, |begun| drop(ready.send(begun)));
        })?;
        readiness.recv()??;
        Ok(Clients { edge, thread, report: Report::default() })
    }

    fn tell(&mut self, mail: Mail) {
        self.edge.post(0, mail);
        self.edge.flush();
    }

    /// The newest report.
    fn look(&mut self) -> anyhow::Result<&Report> {
        anyhow::ensure!(!self.thread.is_finished(), "the clients' thread ended");
        let mut mail = Vec::new();
        self.edge.receive(&mut mail);
        for (_, mail) in mail {
            if let Mail::Report(report) = mail {
                self.report = *report;
            }
        }
        Ok(&self.report)
    }

    /// Whether a report was `wanted` in time.
    fn wait(&mut self, wanted: impl Fn(&Report) -> bool) -> anyhow::Result<bool> {
        let until = Instant::now() + PATIENCE;
        while !wanted(self.look()?) {
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(GLANCE);
        }
        Ok(true)
    }

    fn stop(mut self) {
        self.tell(Mail::Stop);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }
}

/// Runs a soak.
pub(crate) fn run(orders: &Orders) -> anyhow::Result<Outcome> {
    let mut flags = orders.flags.clone();
    if orders.loss > 0.0 {
        flags.push("--enable-test-faults".into());
    }
    let gateway = Gateway::start(&orders.program, &flags, orders.data.clone(), KEY)?;
    let descriptors_before = descriptors_at_rest(&gateway)?;
    let mut clients = Clients::start(orders, &gateway)?;
    clients.tell(Mail::Connect);
    let all = orders.plan.users();
    let came = clients.wait(|report| report.connected == all)?;
    anyhow::ensure!(came, "only {} of {all} clients have a session", clients.report.connected);
    if orders.loss > 0.0 {
        gateway.ask("POST", &format!("/test/failure-rate?rate={}&for=1h", orders.loss))?;
    }

    let (cpu, begin) = (gateway.usage()?.cpu, Instant::now());
    clients.tell(Mail::Begin);
    let samples = watch(orders, &gateway, &mut clients, begin)?;
    let (cpu, took) = (gateway.usage()?.cpu.saturating_sub(cpu), begin.elapsed());

    clients.tell(Mail::Settle);
    let settled = clients.wait(|report| report.open == 0 && report.connected == all)?;
    if !settled {
        eprintln!("soak: {} messages did not settle", clients.report.open);
    }
    let balance = balance(&gateway)?;
    let failures = gateway.metrics()?.above_zero("im_gateway_messages_failed_total");
    let report = clients.look()?.clone();
    clients.tell(Mail::Leave);
    let (descriptors_after, connections_left) = all_gone(&gateway, descriptors_before)?;
    clients.stop();
    let ended_well = gateway.stop()?;
    let descriptors = (descriptors_before, descriptors_after);
    Ok(Outcome { samples, cpu, took, report, balance, failures, descriptors, connections_left, ended_well })
}

/// Samples until the load is over.
fn watch(
    orders: &Orders,
    gateway: &Gateway,
    clients: &mut Clients,
    begin: Instant,
) -> anyhow::Result<Vec<Sample>> {
    let mut file = orders.samples.as_ref().map(std::fs::File::create).transpose()?;
    if let Some(file) = &mut file {
        writeln!(
            file,
            "seconds,resident,private,cpu_seconds,descriptors,stored,connections,queued,in_flight,sent,open,missed"
        )?;
    }
    let mut samples = Vec::new();
    for turn in 1.. {
        let due = begin + orders.every * turn;
        if due > begin + orders.length {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sample = sample(gateway, begin)?;
        let report = clients.look()?;
        if let Some(file) = &mut file {
            let Sample { at, usage, connections, queued, in_flight } = sample;
            writeln!(
                file,
                "{at:.1},{},{},{:.2},{},{},{connections},{queued},{in_flight},{},{},{}",
                usage.memory.resident,
                usage.memory.private,
                usage.cpu.as_secs_f64(),
                usage.descriptors,
                usage.stored,
                report.totals.sent,
                report.open,
                report.missed
            )?;
        }
        samples.push(sample);
    }
    Ok(samples)
}

fn sample(gateway: &Gateway, begin: Instant) -> anyhow::Result<Sample> {
    let usage = gateway.usage()?;
    let metrics = gateway.metrics()?;
    Ok(Sample {
        at: begin.elapsed().as_secs_f64(),
        usage,
        connections: metrics.sum("im_gateway_active_connections"),
        queued: metrics.sum("im_service_offline_queue_size"),
        in_flight: metrics.sum("im_gateway_messages_in_flight"),
    })
}

/// The account once nothing is under way; the last one seen if that does not come.
fn balance(gateway: &Gateway) -> anyhow::Result<Balance> {
    let until = Instant::now() + PATIENCE;
    loop {
        let balance = Balance::of(&gateway.metrics()?);
        if (balance.is_even() && balance.in_flight == 0.0) || Instant::now() > until {
            return Ok(balance);
        }
        std::thread::sleep(GLANCE);
    }
}

/// The fewest descriptors seen in a second: a scrape has one, too.
fn descriptors_at_rest(gateway: &Gateway) -> anyhow::Result<u64> {
    gateway.metrics()?;
    let mut fewest = u64::MAX;
    for _ in 0..20 {
        fewest = fewest.min(gateway.usage()?.descriptors);
        std::thread::sleep(GLANCE);
    }
    Ok(fewest)
}

/// Descriptors and connections once all have left.
fn all_gone(gateway: &Gateway, before: u64) -> anyhow::Result<(u64, f64)> {
    let until = Instant::now() + PATIENCE;
    loop {
        let connections = gateway.metrics()?.sum("im_gateway_active_connections");
        let descriptors = gateway.usage()?.descriptors;
        if (connections == 0.0 && descriptors <= before) || Instant::now() > until {
            return Ok((descriptors, connections));
        }
        std::thread::sleep(GLANCE);
    }
}
