//! What may happen to devices and gateway.

use super::{Leave, Refuses, Run};
use crate::device::Acks;
use crate::disk::Disk;
use crate::life::{Gateway, Planted};
use crate::truth::{Answer, To};
use gateway::im::faults::{Change, Failure, Latency, Pick, Setting};
use gateway::im::mail::{Mail, SessionRef};
use std::time::Duration;
use wire::shard::ConnId;

/// Asks for a fault and hears no answer.
const NOBODY: SessionRef = SessionRef { shard: 0, conn: ConnId { index: u32::MAX, generation: u32::MAX } };

impl Run {
    pub(super) fn operate(&mut self) -> Result<(), String> {
        let device = self.random.below(self.devices.len() as u64) as usize;
        match self.random.below(100) {
            0..42 => self.send(device),
            42..56 => self.join_or_leave(device),
            56..66 => self.come_or_go(device),
            66..72 => {
                // The same device again, before the gateway has seen that the old connection is over.
                self.let_go(device);
                self.connect(device);
            }
            72..80 => self.change_habit(device),
            80..86 => self.change_reading(device)?,
            86..90 => self.repeat(device),
            90..93 => self.stall(),
            93..95 => self.blunder(device),
            95 if self.random.once_in(1, 2) => self.crash()?,
            96 if self.random.once_in(1, 2) => self.crash_in = Some(1 + self.random.below(60)),
            97 if self.random.once_in(1, 2) => self.drain()?,
            98 if self.random.once_in(1, 4) => self.break_disk(),
            98 if self.settings.is_tight => self.inject(),
            99 => self.cut_off(device),
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, device: usize) {
        let is_open = self.devices[device].connection.as_ref().is_some_and(|held| !held.is_upgrading());
        if !is_open {
            return;
        }
        let to = if self.random.once_in(1, 3) {
            To::Group(self.random.below(self.settings.groups as u64) as usize)
        } else {
            To::User(self.random.below(self.settings.devices.len() as u64) as usize)
        };
        for _ in 0..1 + self.random.below(3) {
            let message = self.truth.asked(device, to, self.world.now());
            self.ask(device, message);
        }
    }

    fn join_or_leave(&mut self, device: usize) {
        let group = self.random.below(self.settings.groups as u64) as usize;
        let leaves = self.random.once_in(1, 5);
        let user = self.devices[device].user;
        let Some(connection) = &mut self.devices[device].connection else { return };
        if connection.hello.is_none() {
            return;
        }
        if leaves {
            self.truth.leaves(group, user);
        } else {
            self.truth.joins(group, user);
        }
        let kind = if leaves { "leave" } else { "join" };
        connection.say(&format!(r#"{{"type":"{kind}","group":"g{group}"}}"#), &mut self.world);
        self.tell(|| format!("device {device} asks to {kind} g{group}"));
    }

    fn come_or_go(&mut self, device: usize) {
        if self.devices[device].connection.is_some() {
            self.let_go(device);
        } else {
            self.connect(device);
        }
    }

    fn let_go(&mut self, device: usize) {
        let ways = [Leave::Politely, Leave::Ends, Leave::Resets, Leave::Vanishes];
        let how = self.random.pick(&ways).copied().unwrap_or(Leave::Ends);
        self.leave(device, how);
    }

    fn change_habit(&mut self, device: usize) {
        let late = self.random.duration(&(Duration::ZERO..self.settings.ack_timeout * 2));
        let habits = [Acks::AtOnce, Acks::After(late), Acks::Never];
        let acks = self.random.pick(&habits).copied().unwrap_or(Acks::AtOnce);
        self.tell(|| format!("device {device} acknowledges {acks:?}"));
        let now = self.world.now();
        let held = &mut self.devices[device];
        held.acks = acks;
        if acks == Acks::AtOnce {
            self.acknowledge(device);
        } else {
            held.troubled_since.get_or_insert(now);
        }
    }

    fn change_reading(&mut self, device: usize) -> Result<(), String> {
        let now = self.world.now();
        let held = &mut self.devices[device];
        let Some(connection) = &mut held.connection else { return Ok(()) };
        connection.is_reading = !connection.is_reading;
        connection.is_steady = false;
        held.troubled_since.get_or_insert(now);
        let is_reading = connection.is_reading;
        self.tell(|| format!("device {device} reads: {is_reading}"));
        self.read(device)
    }

    /// Says an id again that was confirmed: it must be confirmed again and not be delivered twice.
    fn repeat(&mut self, device: usize) {
        let (life, is_durable) = (self.truth.life, self.settings.is_durable);
        let is_open = self.devices[device].connection.as_ref().is_some_and(|held| held.hello.is_some());
        let last = self.truth.messages.iter().rposition(|message| {
            message.from == device && message.answer == Answer::Sent && (message.life == life || is_durable)
        });
        if let Some(message) = last.filter(|_| is_open) {
            self.ask(device, message);
        }
    }

    fn stall(&mut self) {
        let longest = self.settings.ack_timeout * 7;
        let duration = self.random.duration(&(Duration::ZERO..longest));
        let shard = self.random.below(self.settings.shards as u64) as usize;
        if let Some(gateway) = &self.gateway {
            gateway.stall(shard, duration, &mut self.world);
            self.quiet_from = self.quiet_from.max(self.world.now() + duration + self.settings.bound(20));
            self.tell(|| format!("shard {shard} stands still for {duration:?}"));
        }
    }

    /// Frames that no client should write.
    fn blunder(&mut self, device: usize) {
        let frames = [r#"{"type":"ack","seq":99999}"#, "{", r#"{"type":"send","id":7,"to":"user:u0"}"#];
        let text = self.random.pick(&frames).copied().unwrap_or_default();
        if let Some(connection) = &mut self.devices[device].connection
            && connection.hello.is_some()
        {
            connection.say(text, &mut self.world);
        }
    }

    /// Nothing comes through any more, either way, and neither side is told.
    fn cut_off(&mut self, device: usize) {
        let now = self.world.now();
        let held = &mut self.devices[device];
        if let Some(connection) = &mut held.connection {
            connection.is_steady = false;
            held.troubled_since.get_or_insert(now);
            self.world.sever(connection.end);
            self.tell(|| format!("device {device} is cut off"));
        }
    }

    /// From now on the gateway's disk fails.
    fn break_disk(&mut self) {
        if let Some(gateway) = self.gateway.as_ref().filter(|_| self.settings.is_durable) {
            self.tell(|| "the disk breaks".to_owned());
            gateway.break_disk();
            self.refuses.is_broken = true;
        }
    }

    /// A fault for drills, which ends by itself.
    fn inject(&mut self) {
        let until = self.world.now() + self.random.duration(&(Duration::ZERO..Duration::from_secs(3)));
        let delay = self.random.duration(&(Duration::ZERO..Duration::from_millis(500)));
        let share = if self.random.once_in(1, 2) { 1.0 } else { 0.3 };
        let pick = if self.random.once_in(1, 2) { Pick::Random } else { Pick::Even };
        let to = if self.random.once_in(1, 2) {
            self.was_held = true;
            Setting::Latency(Some(Latency { delay, share, until }))
        } else {
            Setting::Failure(Some(Failure { share, pick, until }))
        };
        self.tell(|| format!("injected: {to:?}"));
        let change = Change { to, asked_us: u64::MAX };
        if let Some(gateway) = &mut self.gateway {
            let mail = || Mail::Fault { asker: NOBODY, change: Some(change) };
            gateway.tell_all(mail, &mut self.world);
        }
    }

    /// The machine stops, and starts again; what the gateway had in memory is gone.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        let Some(gateway) = self.gateway.take() else { return Ok(()) };
        self.tell(|| "the gateway is killed".to_owned());
        self.lost_before += gateway.lost();
        let disk = gateway.kill(&mut self.world);
        self.begin_again(disk)
    }

    /// The process is asked to end, and goes about it as `gateway::server` does.
    fn drain(&mut self) -> Result<(), String> {
        let (life, patience) = (self.truth.life, self.random.below(200));
        let tick = self.settings.bound(8);
        self.tell(|| "the gateway drains".to_owned());
        self.refuses.is_draining = true;
        self.tell_gateway(|| Mail::Drain);
        let mut idle_before = false;
        for _ in 0..patience {
            self.pass(tick)?;
            let is_idle = self.gateway.as_ref().is_none_or(|gateway| !gateway.is_busy());
            if self.truth.life != life || (is_idle && idle_before) {
                break;
            }
            idle_before = is_idle;
        }
        for last in [|| Mail::CloseAll, || Mail::Stop] {
            // It may have died meanwhile.
            if self.truth.life == life {
                self.tell_gateway(last);
                self.pass(tick)?;
            }
        }
        match self.gateway.take_if(|_| self.truth.life == life) {
            Some(gateway) => {
                self.lost_before += gateway.lost();
                let disk = gateway.end(&mut self.world);
                self.begin_again(disk)
            }
            None => Ok(()),
        }
    }

    fn tell_gateway(&mut self, mail: impl Fn() -> Mail) {
        if let Some(gateway) = &mut self.gateway {
            gateway.tell_all(mail, &mut self.world);
        }
    }

    /// The next life of the gateway, with what the former has left on its disk.
    fn begin_again(&mut self, mut disk: Option<Disk>) -> Result<(), String> {
        self.crash_in = None;
        let away = self.random.duration(&(Duration::ZERO..Duration::from_millis(500)));
        self.pass(away)?;
        let is_durable = self.settings.is_durable;
        self.truth.restarted(is_durable);
        self.refuses = Refuses::default();
        for device in &mut self.devices {
            if let Some(connection) = &mut device.connection {
                connection.is_of_the_dead |= !connection.is_connecting();
            }
        }
        let mut gateway = self.start(disk)?;
        // It dies again while its start is being written.
        while is_durable && self.random.once_in(1, 4) {
            disk = gateway.kill(&mut self.world);
            gateway = self.start(disk)?;
        }
        gateway.settle_disk();
        self.gateway = Some(gateway);
        self.quiet_from = self.quiet_from.max(self.world.now() + self.settings.bound(20));
        Ok(())
    }

    fn start(&mut self, disk: Option<Disk>) -> Result<Gateway, String> {
        Gateway::start(&mut self.world, &self.settings, disk, self.truth.life, Planted::Nothing)
    }
}
