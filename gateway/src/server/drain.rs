//! The end: first load balancers are told, and newcomers served all the same; then there is no new work, time for what is under way,
//! and a close frame for everybody.

use super::Server;
use crate::im::mail::Mail;
use crate::log::Event;
use crate::metrics::ShardMetrics;
use crate::stage::Stage;
use crate::store::lock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd as _;
use std::time::Duration;
use wire::sys::{Signal, Signals};
use wire::time::Time;

/// How long clients get to take the close frame when draining ends.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(20);

/// Who wants the gateway to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Who sent SIGTERM or SIGINT.
    Signal,
    /// Who asked at the operators' address.
    Operator,
    /// Who started it is gone, and with it everybody who might be told.
    Parent,
}

impl Server {
    /// Waits for such a wish, at most for `wait`; does what other signals ask for.
    pub(super) fn asked_to_end(&mut self, signals: &Signals, wait: Duration) -> Option<Wish> {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        if self.follow_stdin {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let mut wait = wait;
        if let Some((_, admin)) = &self.admin {
            fds.push(PollFd::from_borrowed_fd(admin.bell(), PollFlags::IN));
        }
        if let Some(doorbell) = &self.doorbell {
            fds.push(PollFd::from_borrowed_fd(doorbell.as_fd(), PollFlags::IN));
            // Announced, so that who posts rings; or there is mail already.
            if !lock(&self.edge).may_sleep() {
                wait = Duration::ZERO;
            }
        }
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        // Interrupted or timed out: nothing to see.
        let _ = poll(&mut fds, Some(&wait));
        let ended = self.follow_stdin
            && fds.get(1).is_some_and(|fd| !fd.revents().is_empty())
            && !matches!(rustix::io::read(stdin, &mut [0; 64]), Ok(1..));
        let signal = signals.next();
        if signal == Some(Signal::Hangup) {
            self.reload();
        }
        let was_asked = self.admin.as_ref().is_some_and(|(_, admin)| admin.takes_drain());
        if ended {
            Some(Wish::Parent)
        } else if matches!(signal, Some(Signal::Interrupt | Signal::Terminate)) {
            Some(Wish::Signal)
        } else {
            was_asked.then_some(Wish::Operator)
        }
    }

    /// Says that newcomers should look elsewhere; gives the time until which they are served all the same.
    pub(super) fn leave(&mut self) -> Time {
        if !self.drain_grace.is_zero() {
            self.tell_all(|| Mail::Leave);
            if let Some((_, admin)) = &self.admin {
                admin.is_at(Stage::Leaving);
            }
            let message = "not ready any more: newcomers are still taken until they know";
            self.logger.say(Event::Leaving, message, |record| {
                record.number("grace_seconds", self.drain_grace.as_secs_f64())
            });
        }
        Time::now() + self.drain_grace
    }

    /// Takes no new work, waits until everything is acknowledged or time is up, then closes all sessions.
    pub(super) fn drain(&mut self, signals: &Signals) {
        self.tell_all(|| Mail::Drain);
        if let Some((_, admin)) = &self.admin {
            admin.is_at(Stage::Draining);
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
