//! The thread that writes: takes what is ready, commits it, answers.

use super::{DiskError, Store};
use crate::im::ledger::Change;
use crate::im::mail::Mail;
use crate::im::persist::{Op, number_at};
use crate::im::records::Table;
use crate::metrics::store::StoreMetrics;
use crate::push::Pusher;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::ShardIndex;
use wire::shard::mailbox::Mailbox;
use wire::time::Time;

/// How long the ends of deliveries may wait for company: nobody waits for them, and losing them costs a repetition at most.
const UNAWAITED_MAX: Duration = Duration::from_millis(20);
/// How often ids that were sent too long ago are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(1);
/// How soon to come back when a shard's ring is full.
const RETRY: Duration = Duration::from_millis(1);

/// What the thread is given.
#[derive(Debug)]
pub struct Worker {
    /// What to write to.
    pub store: Store,
    /// The edge's mail, which it shares with the main thread: that posts a few times in a process's life.
    pub edge: Arc<Mutex<Mailbox<Mail>>>,
    /// Number of shards.
    pub shards: usize,
    /// Where it counts.
    pub metrics: Arc<StoreMetrics>,
    /// The wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    pub wall_offset_ns: u64,
    /// How long ids are remembered.
    pub dedup_window: Duration,
    /// Where notifications go, which come by the same mail.
    pub pusher: Option<Pusher>,
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
    stop: Arc<OwnedFd>,
}

/// What is written together.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<Change>,
    ops: u64,
    /// Per shard, the last ticket that somebody waits for.
    answers: Vec<Option<u64>>,
    /// When the first came; `None`: it is empty.
    since: Option<Time>,
}

impl Worker {
    /// Starts the thread.
    pub fn start(self) -> io::Result<Running> {
        self.metrics.keeps(self.store.ledger.len());
        let stop = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let doorbell = lock(&self.edge).doorbell().try_clone_to_owned()?;
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || self.run(&doorbell, &stopped))?;
        Ok(Running { thread, stop })
    }

    fn run(mut self, doorbell: &OwnedFd, stop: &OwnedFd) {
        let mut batch = Batch { answers: vec![None; self.shards], ..Batch::default() };
        let mut mail = Vec::new();
        let (mut failed, mut pruned, mut stopping) = (false, Time(0), false);
        loop {
            let has_unsent = {
                let mut edge = lock(&self.edge);
                edge.flush();
                edge.receive(&mut mail);
                edge.has_unsent()
            };
            let now = Time::now();
            let is_quiet = mail.is_empty();
            for (from, mail) in mail.drain(..) {
                match (mail, &self.pusher) {
                    (Mail::Persist { ticket, ops, is_awaited }, _) => {
                        self.add(&mut batch, from, ticket, &ops, is_awaited, now);
                    }
                    (Mail::Push { user, waiting }, Some(pusher)) => pusher.push(user, waiting),
                    _ => {}
                }
            }
            if batch.is_due(now) || (stopping && is_quiet && batch.since.is_some()) {
                if now.since(pruned) > PRUNE_EVERY {
                    pruned = now;
                    self.prune(now, &mut batch.changes);
                }
                failed = failed || !self.commit(&mut batch);
                self.answer(&mut batch, failed);
            } else if stopping && is_quiet {
                return;
            } else if is_quiet {
                let due = batch.since.map(|since| since + UNAWAITED_MAX);
                let due = if has_unsent { Some(now + RETRY) } else { due };
                self.sleep(doorbell, stop, due.map(|due| due.since(now)));
                stopping = rustix::io::read(stop, &mut [0; 8]).is_ok() || stopping;
            }
        }
    }

    fn add(
        &mut self,
        batch: &mut Batch,
        from: ShardIndex,
        ticket: u64,
        ops: &[Op],
        is_awaited: bool,
        now: Time,
    ) {
        for op in ops {
            self.store.ledger.apply(op, &mut batch.changes);
        }
        batch.ops += ops.len() as u64;
        batch.since = batch.since.or(Some(now));
        if is_awaited && let Some(answer) = batch.answers.get_mut(from) {
            *answer = Some(ticket);
        }
    }

    /// Forgets ids that were sent too long ago.
    fn prune(&self, now: Time, changes: &mut Vec<Change>) {
        let wall_ns = self.wall_offset_ns + now.0;
        let before = number_at(wall_ns.saturating_sub(self.dedup_window.as_nanos() as u64));
        changes.push(Change::RemoveRange(Table::SentIds, [0; 8], before.to_be_bytes()));
    }

    /// False: the store has failed. It takes nothing more until the next start, for after a failed fsync nobody can say what is
    /// on the disk but who reads it anew.
    fn commit(&mut self, batch: &mut Batch) -> bool {
        let begin = Time::now();
        self.store.ledger.take_marks(&mut batch.changes);
        match self.store.disk.commit(&batch.changes) {
            Ok(()) => {
                self.metrics.committed(batch.ops, Time::now().since(begin), self.store.ledger.len());
                true
            }
            Err(error) => {
                self.metrics.failed();
                report(&error);
                false
            }
        }
    }

    fn answer(&self, batch: &mut Batch, failed: bool) {
        let mut edge = lock(&self.edge);
        for (shard, answer) in batch.answers.iter_mut().enumerate() {
            // Every shard must know that nothing more is kept, whatever it asks until it does.
            let answer = if failed { Some(u64::MAX) } else { answer.take() };
            if let Some(up_to) = answer {
                edge.post(shard, Mail::Persisted { up_to, is_kept: !failed });
            }
        }
        batch.answers.fill(None);
        batch.changes.clear();
        batch.ops = 0;
        batch.since = None;
    }

    fn sleep(&self, doorbell: &OwnedFd, stop: &OwnedFd, timeout: Option<Duration>) {
        if lock(&self.edge).may_sleep() {
            let mut fds = [
                PollFd::from_borrowed_fd(doorbell.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
            ];
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            // Interrupted or timed out: look again.
            let _ = poll(&mut fds, timeout.as_ref());
        }
        lock(&self.edge).awake();
    }
}

/// The thread has panicked, which is said on standard error: the shards must not wait for it.
impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.metrics.failed();
            let mut edge = lock(&self.edge);
            for shard in 0..self.shards {
                edge.post(shard, Mail::Persisted { up_to: u64::MAX, is_kept: false });
            }
            edge.flush();
        }
    }
}

impl Batch {
    fn is_due(&self, now: Time) -> bool {
        let is_awaited = self.answers.iter().any(Option::is_some);
        self.since.is_some_and(|since| is_awaited || now.since(since) >= UNAWAITED_MAX)
    }
}

impl Running {
    /// Writes what has been posted, closes the store and waits for that. Call when the shards have ended.
    pub fn stop(self) {
        // Fails only when it is full, and then it has been told already.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        // A thread that panicked has said so on standard error.
        let _ = self.thread.join();
    }
}

/// What a mutex guards; a thread that panicked with it in hand has said so, and left it whole.
pub(crate) fn lock<T>(guarded: &Mutex<T>) -> MutexGuard<'_, T> {
    guarded.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(error: &DiskError) {
    let text = serde_json::json!({
        "level": "error",
        "event": "database_error",
        "message": "the store has failed: messages are refused until the gateway is started again",
        "error": error.to_string(),
    });
    eprintln!("{text}");
}
