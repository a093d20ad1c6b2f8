//! The thread that writes: takes what is ready, commits it, answers.

use super::{DiskError, Writer};
use crate::im::mail::Mail;
use crate::log::{Event, Logger};
use crate::metrics::StoreMetrics;
use crate::push::Pusher;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::mailbox::Mailbox;
use wire::time::Time;

/// How soon to come back when a shard's ring is full.
const RETRY: Duration = Duration::from_millis(1);

/// What the thread is given.
#[derive(Debug)]
pub struct Worker {
    /// What writes.
    pub writer: Writer,
    /// The edge's mail, which it shares with the main thread: that posts a few times in a process's life.
    pub edge: Arc<Mutex<Mailbox<Mail>>>,
    /// Number of shards.
    pub shards: usize,
    /// Where it counts.
    pub metrics: Arc<StoreMetrics>,
    /// Where notifications go, which come by the same mail.
    pub pusher: Option<Pusher>,
    /// Where it says that the store has failed, and what shards say, which comes by the same mail.
    pub logger: Logger,
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<()>,
    stop: Arc<OwnedFd>,
}

impl Worker {
    /// Starts the thread.
    pub fn start(self) -> io::Result<Running> {
        let stop = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let doorbell = lock(&self.edge).doorbell().try_clone_to_owned()?;
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || self.run(&doorbell, &stopped))?;
        Ok(Running { thread, stop })
    }

    fn run(mut self, doorbell: &OwnedFd, stop: &OwnedFd) {
        let (mut mail, mut stopping) = (Vec::new(), false);
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
                        self.writer.take(from, ticket, &ops, is_awaited, now);
                    }
                    (Mail::Log(records), _) => self.logger.take(records),
                    (Mail::Push { user, waiting }, Some(pusher)) => pusher.push(user, waiting),
                    _ => {}
                }
            }
            let due = self.writer.due();
            if due.is_some_and(|due| due <= now || (stopping && is_quiet)) {
                self.commit();
            } else if stopping && is_quiet {
                return;
            } else if is_quiet {
                let due = if has_unsent { Some(now + RETRY) } else { due };
                self.sleep(doorbell, stop, due.map(|due| due.since(now)));
                stopping = rustix::io::read(stop, &mut [0; 8]).is_ok() || stopping;
            }
        }
    }

    fn commit(&mut self) {
        if let Err(error) = self.writer.commit(Time::now) {
            self.report(&error);
        }
        let mut edge = lock(&self.edge);
        for (shard, mail) in self.writer.answers() {
            edge.post(shard, mail);
        }
    }

    fn report(&self, error: &DiskError) {
        let message = "the store has failed: messages are refused until the gateway is started again, for only who reads the \
                       disk anew can say what is on it";
        self.logger.say(Event::DatabaseError, message, |record| record.text("error", error.to_string()));
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
