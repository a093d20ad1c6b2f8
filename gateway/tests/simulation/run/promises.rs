//! What must have happened by now, and what must have happened in the end.

use super::{Leave, Run};
use crate::device::{Acks, Device};
use crate::life::Gateway;

impl Run {
    /// What must have happened by now.
    pub(super) fn check_promises(&mut self) -> Result<(), String> {
        let (now, quiet_from) = (self.world.now(), self.quiet_from);
        if self.gateway.is_none() {
            return Ok(());
        }
        for (index, device) in self.devices.iter().enumerate() {
            let Some(connection) =
                device.connection.as_ref().filter(|held| held.is_steady && held.is_reading)
            else {
                continue;
            };
            // The connect and the upgrade go to and fro twice more.
            let greeting =
                connection.begun.max(quiet_from) + self.settings.bound(120) + self.settings.bound(0) * 2;
            if connection.hello.is_none() && greeting < now {
                return Err(format!("device {index} is not greeted"));
            }
            let greeted = connection.hello.map_or(now, |(at, _)| at);
            // Each may have to wait for room on the way.
            let answer = self.settings.bound(6) + self.settings.bound(0) * connection.pending.len() as u32;
            if let Some((message, asked)) = connection.pending.front()
                && (*asked).max(quiet_from).max(greeted) + answer < now
            {
                return Err(format!("device {index} asked m{message} and is not answered"));
            }
            if quiet_from + self.settings.ack_timeout * 2 < now
                && let Some(seq) = connection.missed_redelivery(now, &self.settings)
            {
                return Err(format!("device {index} has not acknowledged {seq} and does not get it again"));
            }
        }
        let devices = &self.devices;
        let end_of = |device: usize| {
            let device: &Device = &devices[device];
            let held = device.connection.as_ref().filter(|held| held.is_prompt())?;
            (device.acks == Acks::AtOnce).then_some(held.end)
        };
        self.truth.overdue(now, quiet_from, self.settings.bound(40), end_of)
    }

    /// Everybody comes, reads and acknowledges, until nothing is owed any more.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.tell(|| "the end: everybody does their part".to_owned());
        let attempts = u32::from(self.settings.limits.attempts_max) + 1;
        let patience = self.settings.heartbeat * 3 + self.settings.ack_timeout * attempts;
        let patience = patience + self.quiet_from.since(self.world.now());
        for round in 0..12 {
            for device in 0..self.devices.len() {
                self.devices[device].acks = Acks::AtOnce;
                // In the first round who is there stays, so that what it is owed must come without another greeting.
                if round > 0 {
                    self.leave(device, Leave::Politely);
                    self.pass(self.settings.bound(8))?;
                }
                if self.devices[device].connection.is_none() {
                    self.connect(device);
                } else if let Some(connection) = &mut self.devices[device].connection {
                    connection.is_reading = true;
                    self.read(device)?;
                    self.acknowledge(device);
                }
            }
            for _ in 0..10 {
                self.pass(patience / 10)?;
                self.check_promises()?;
            }
            let owed = self.gateway.as_ref().map_or(0, |gateway| {
                let on_their_way = gateway.under_way() as i64 + gateway.unsettled();
                gateway.in_flight() + gateway.queued() + on_their_way
            });
            self.tell(|| format!("after round {round} {owed} are owed"));
            if owed == 0 && round > 0 {
                let lost = self.lost_before + self.gateway.as_ref().map_or(0, Gateway::lost);
                if lost > 0 && !self.settings.is_tight {
                    return Err(format!("{lost} deliveries are said to be lost"));
                }
                let users: Vec<usize> = self.devices.iter().map(|device| device.user).collect();
                let is_durable = self.settings.is_durable;
                return self.truth.settled(&users, lost, is_durable, |device| self.may_forget(device));
            }
        }
        Err("deliveries are owed still, although everybody reads and acknowledges".to_owned())
    }
}
