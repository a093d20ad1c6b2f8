//! The threads of clients: started, given orders, counted, ended.

use crate::client::{Counts, Dialect, Load, Order, Plan};
use anyhow::Context as _;
use gateway::auth::{Claims, Signer};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::shard::event_loop::{self, Config};
use wire::shard::mailbox::{self, Mailbox};

/// All clients, on threads of their own.
pub(crate) struct Clients {
    edge: std::cell::RefCell<Mailbox<Order>>,
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(plan: Plan, key: &str) -> anyhow::Result<Clients> {
        let mut mailboxes = mailbox::network(plan.threads as usize + 1)?;
        let edge = mailboxes.pop().context("no mailbox")?;
        let counts = Arc::<Counts>::default();
        let (ready, readiness) = mpsc::channel();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut threads = Vec::new();
        for (thread, mailbox) in mailboxes.into_iter().enumerate() {
            let tokens = tokens(&plan, thread as u32, key)?;
            let (counts, ready) = (Arc::clone(&counts), ready.clone());
            threads.push(std::thread::spawn(move || {
                pin(plan.cpu.unwrap_or(thread % cpus));
                let config = Config { timer_slack: Duration::from_micros(1), ..Config::default() };
                let load = Load::new(plan, thread as u32, tokens, counts);
                // Fails only if the start was given up.
                event_loop::run(&config, mailbox, || load, |begun| drop(ready.send(begun)));
            }));
        }
        drop(ready);
        for _ in 0..threads.len() {
            readiness.recv()??;
        }
        Ok(Clients { edge: edge.into(), counts, threads })
    }

    pub(crate) fn order(&self, order: Order) {
        let mut edge = self.edge.borrow_mut();
        for thread in 0..self.threads.len() {
            edge.post(thread, order);
        }
        edge.flush();
    }

    /// Waits until all are connected, and known where the server must know them.
    pub(crate) fn wait_ready(&self, connections: u32, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        while self.counts.ready.load(Ordering::Relaxed) < u64::from(connections) {
            let failed = self.failed();
            anyhow::ensure!(failed == 0, "{failed} connections failed");
            let ready = self.counts.ready.load(Ordering::Relaxed);
            anyhow::ensure!(Instant::now() < until, "only {ready} of {connections} connections are ready");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(crate) fn received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(self) {
        self.order(Order::Stop);
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Signed beforehand: a generator that signs would measure itself.
fn tokens(plan: &Plan, thread: u32, key: &str) -> anyhow::Result<Vec<String>> {
    if plan.dialect != Dialect::Im {
        return Ok(Vec::new());
    }
    let signer = Signer::new(key.as_bytes());
    (thread..plan.connections)
        .step_by(plan.threads as usize)
        .map(|client| {
            let claims = Claims { sub: format!("u{client}"), device: "phone".into(), exp: 1 << 40 };
            Ok(format!("Authorization: Bearer {}", signer.sign(&claims)?))
        })
        .collect()
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    // Refused where that CPU is not ours; the figures then say less.
    let _ = rustix::thread::sched_setaffinity(None, &set);
}
