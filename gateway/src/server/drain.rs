//! The end: no new work, time for what is under way, and a close frame for everybody.

use super::Server;
use crate::im::mail::Mail;
use crate::log::Event;
use crate::metrics::ShardMetrics;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd as _;
use std::time::Duration;
use wire::sys::{Signal, Signals};
use wire::time::Time;

/// How long clients get to take the close frame when draining ends.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);

impl Server {
    /// Takes no new work, waits until everything is acknowledged or time is up, then closes all sessions.
    pub(super) fn drain(&mut self, signals: &Signals) {
        self.tell_all(|| Mail::Drain);
        if let Some((_, admin)) = &self.admin {
            admin.is_draining();
        }
        self.logger.say(Event::Draining, "no new work is taken", |record| record);
        let until = Time::now() + self.drain_timeout;
        // Twice in a row, because what travels between shards is counted by none.
        let mut idle_before = false;
        loop {
            let busy = |shard: &ShardMetrics| {
                shard.in_flight.get() + shard.fanout_backlog.get() + shard.persist_waiting.get()
            };
            let idle = self.metrics.level(busy) <= 0;
            if (idle && idle_before) || Time::now() >= until || self.impatient(signals) {
                break;
            }
            idle_before = idle;
        }
        self.tell_all(|| Mail::CloseAll);
        let until = Time::now() + CLOSE_GRACE;
        while self.metrics.level(|shard| shard.active_connections.get()) > 0 && Time::now() < until {
            let _ = self.impatient(signals);
        }
    }

    /// Waits a moment. True: a second signal came, don't wait any longer.
    fn impatient(&mut self, signals: &Signals) -> bool {
        self.take_mail();
        let mut fds = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as i64 }));
        matches!(signals.next(), Some(Signal::Interrupt | Signal::Terminate))
    }
}
