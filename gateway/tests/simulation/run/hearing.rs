//! What devices are told, and what follows from it.

use super::Run;
use crate::device::{Acks, Seen, Told};
use crate::truth::To;
use wire::time::Time;

impl Run {
    pub(super) fn read(&mut self, device: usize) -> Result<(), String> {
        let told = match &mut self.devices[device].connection {
            Some(connection) if connection.is_reading => connection.read(&mut self.world)?,
            _ => return Ok(()),
        };
        for told in told {
            self.told(device, told)?;
        }
        Ok(())
    }

    fn told(&mut self, device: usize, told: Told) -> Result<(), String> {
        self.tell(|| format!("device {device} is told {told:?}"));
        match told {
            Told::Hello { epoch, seq } => self.hello(device, &epoch, seq),
            Told::Sent(message) => {
                self.answered(device, message)?;
                let users = self.settings.devices.len();
                self.truth.confirmed(message, self.devices[device].user, users)?;
                // What a life that is over has said binds the next one to keep it, and nobody to be quick.
                if !self.is_of_the_dead(device) {
                    self.owe(message);
                }
                Ok(())
            }
            Told::Refused { message: Some(message), code } => {
                self.answered(device, message)?;
                // After a disk has failed nobody can say what is on it but who reads it anew.
                if code != "unavailable" {
                    self.truth.refused(message);
                }
                self.may_refuse(message, &code)
            }
            Told::Refused { message: None, code } => match &*code {
                "bad_frame" | "group_full" => Ok(()),
                "unavailable" if self.refuses.is_broken || self.is_of_the_dead(device) => Ok(()),
                _ => Err(format!("device {device} is told {code}")),
            },
            Told::Message { seq, message } => self.delivered(device, seq, message),
            Told::Membership { group, joined } => {
                let held = &self.devices[device];
                let is_alive = held.connection.as_ref().is_some_and(|connection| !connection.is_of_the_dead);
                let user = held.user;
                if joined && is_alive {
                    self.truth.joined(group, user, self.world.now());
                }
                Ok(())
            }
            Told::Ended => {
                self.lost(device);
                Ok(())
            }
        }
    }

    fn is_of_the_dead(&self, device: usize) -> bool {
        self.devices[device].connection.as_ref().is_none_or(|connection| connection.is_of_the_dead)
    }

    fn hello(&mut self, device: usize, epoch: &str, seq: u64) -> Result<(), String> {
        let now = self.world.now();
        let held = &mut self.devices[device];
        if held.connection.as_ref().is_some_and(|connection| connection.is_of_the_dead) {
            return Ok(());
        }
        if held.epoch.as_deref() != Some(epoch) {
            (held.epoch, held.processed, held.lineage) = (Some(epoch.to_owned()), 0, held.lineage + 1);
        }
        if seq < held.processed {
            return Err(format!(
                "device {device} has processed {} and is greeted with {seq}",
                held.processed
            ));
        }
        let since = held.troubled_since.take();
        held.was_long_away |= since.is_some_and(|since| now.since(since) >= self.settings.limits.session_ttl);
        let Some(connection) = &mut held.connection else { return Ok(()) };
        if connection.hello.is_some() {
            return Err(format!("device {device} is greeted twice"));
        }
        connection.greeted(epoch, seq, now);
        // Asked again before anything new, so that the order of acceptance stays the order of asking; so who was quicker than
        // the greeting lets the old ones be.
        let pending = connection.pending.iter().map(|(message, _)| *message).collect();
        let again = std::mem::replace(&mut held.unanswered, pending);
        let is_first = held.unanswered.is_empty();
        for message in again {
            let is_known = self.settings.is_durable || self.truth.messages[message].life == self.truth.life;
            if is_first && is_known && self.random.once_in(1, 2) {
                self.ask(device, message);
            }
        }
        Ok(())
    }

    /// A `sent` or an `error` for a message: exactly one for each time it was asked.
    fn answered(&mut self, device: usize, message: usize) -> Result<(), String> {
        let held = &mut self.devices[device];
        held.unanswered.retain(|unanswered| *unanswered != message);
        let Some(connection) = &mut held.connection else { return Ok(()) };
        match connection.pending.iter().position(|(pending, _)| *pending == message) {
            Some(place) => {
                connection.pending.remove(place);
                Ok(())
            }
            None => Err(format!("m{message} is answered more often than it was asked")),
        }
    }

    fn may_refuse(&self, message: usize, code: &str) -> Result<(), String> {
        let message = &self.truth.messages[message];
        if message.life != self.truth.life || message.asks > 1 {
            // Another life of the gateway knows nothing of the membership.
            return Ok(());
        }
        let is_right = match (code, message.to) {
            ("overloaded", _) => self.settings.is_tight,
            ("draining", _) => self.refuses.is_draining,
            ("unavailable", _) => self.refuses.is_broken,
            ("not_member", To::Group(group)) => {
                !self.truth.is_member(group, self.devices[message.from].user)
                    || !self.truth.was_member(group, self.devices[message.from].user, message.asked)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err(format!("{message:?} is refused as {code}")) }
    }

    /// Whoever is connected, reads and acknowledges must have the message soon.
    fn owe(&mut self, message: usize) {
        let (asked, now) = (self.truth.messages[message].asked, self.world.now());
        let owed = self.truth.messages[message].owed.clone();
        for (index, device) in self.devices.iter().enumerate() {
            let Some(connection) = device.connection.as_ref().filter(|held| held.is_prompt()) else {
                continue;
            };
            let was_there = connection.hello.is_some_and(|(at, _)| at <= asked);
            if owed.contains(&device.user)
                && was_there
                && device.acks == Acks::AtOnce
                && !self.settings.is_tight
            {
                self.truth.owe(message, index, connection.end, now);
            }
        }
    }

    fn delivered(&mut self, device: usize, seq: u64, message: usize) -> Result<(), String> {
        let now = self.world.now();
        let held = &mut self.devices[device];
        let Some(connection) = &mut held.connection else { return Ok(()) };
        if connection.is_of_the_dead {
            return Ok(());
        }
        if connection.hello.is_none() {
            return Err(format!("device {device} gets m{message} before its greeting"));
        }
        if seq > connection.highest + 1 {
            return Err(format!("device {device}: number {seq} follows {}", connection.highest));
        }
        if let Some((acked, at)) = connection.acked
            && seq <= acked
            && connection.is_steady
            && at + self.settings.bound(0) < now
        {
            return Err(format!("device {device} acknowledged {acked} and gets {seq} again"));
        }
        if seq <= connection.resumed {
            return Err(format!("device {device} resumed after {} and gets {seq} again", connection.resumed));
        }
        let times = connection.unacked.get(&seq).map_or(0, |seen| seen.times);
        if let Some(seen) = connection.unacked.get(&seq) {
            let soonest = self.settings.ack_timeout.saturating_sub(self.settings.bound(0));
            // What a shard wrote before it stood still comes together with what it writes afterwards.
            let is_timely = self.quiet_from + self.settings.ack_timeout < now;
            if connection.is_steady && is_timely && now.since(seen.last) < soonest {
                return Err(format!("device {device} gets {seq} again after {:?}", now.since(seen.last)));
            }
            if times >= self.settings.limits.attempts_max {
                return Err(format!("device {device} gets {seq} for the {}. time", times + 1));
            }
        }
        // What crosses its acknowledgement needs no other.
        if connection.acked.is_none_or(|(acked, _)| acked < seq) {
            connection.unacked.insert(seq, Seen { last: now, times: times + 1 });
        }
        connection.highest = connection.highest.max(seq);
        held.processed = held.processed.max(seq);
        let (who, number) = ((device, held.user), (held.lineage, seq));
        match held.acks {
            Acks::AtOnce => self.acknowledge(device),
            Acks::After(delay) => self.world.set_alarm(now + delay, device as u64),
            Acks::Never => {}
        }
        let is_exact = !self.was_held
            && !self.may_forget(device)
            && self.truth.messages.get(message).is_none_or(|known| !self.may_forget(known.from));
        self.truth.arrived(who, number, message, is_exact)
    }

    /// Whether the gateway may have forgotten a device of this one's user. Then another may get what it was owed, and what it has sent
    /// is new again.
    pub(super) fn may_forget(&self, device: usize) -> bool {
        let (user, now) = (self.devices[device].user, self.world.now());
        let is_long = |since: Time| now.since(since) >= self.settings.limits.session_ttl;
        self.settings.devices[user] > self.settings.limits.devices_max
            || self.devices.iter().any(|device| {
                device.user == user && (device.was_long_away || device.troubled_since.is_some_and(is_long))
            })
    }

    pub(super) fn acknowledge(&mut self, device: usize) {
        let now = self.world.now();
        let Some(connection) = &mut self.devices[device].connection else { return };
        // Not `highest`: what the greeting counts may still wait for room to be written again.
        let Some((&highest, _)) = connection.unacked.last_key_value() else { return };
        if !connection.is_reading {
            return;
        }
        connection.unacked.clear();
        connection.say(&format!(r#"{{"type":"ack","seq":{highest}}}"#), &mut self.world);
        if connection.is_flushed() {
            connection.acked = Some((highest, now));
        }
    }
}
