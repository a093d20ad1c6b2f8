//! One seed: clients that do what clients do, and a check of every promise after every step.

use crate::device::{Acks, Connection, Device, Seen, Told};
use crate::life::{Gateway, KEY, Planted, address};
use crate::settings::Settings;
use crate::truth::{Answer, To, Truth};
use gateway::auth::{Claims, Signer};
use std::time::Duration;
use wire::shard::virtual_time::{End, Event, Random, World};
use wire::time::Time;

/// What a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) messages: usize,
}

/// Runs a seed. `Err`: the promise that was broken.
pub(crate) fn run(seed: u64, planted: Planted, is_told: bool) -> Result<Outcome, String> {
    let mut run = Run::new(seed, planted, is_told)?;
    run.live().map_err(|problem| format!("{problem}, at {:?}", run.world.now().since(Time(0))))?;
    Ok(Outcome { trace: run.world.trace(), messages: run.truth.messages.len() })
}

struct Run {
    settings: Settings,
    random: Random,
    world: World,
    gateway: Option<Gateway>,
    devices: Vec<Device>,
    truth: Truth,
    /// The last moment at which the gateway was known to stand still, or to be away.
    quiet_from: Time,
    is_told: bool,
}

impl Run {
    fn new(seed: u64, planted: Planted, is_told: bool) -> Result<Run, String> {
        let mut random = Random::new(seed);
        let settings = Settings::draw(&mut random);
        let mut world = World::new(random.bits(), Time(1_000_000_000), settings.conditions.clone());
        let gateway = Gateway::start(&mut world, &settings, planted);
        let signer = Signer::new(KEY);
        let mut devices = Vec::new();
        for (user, count) in settings.devices.iter().enumerate() {
            for device in 0..*count {
                let claims = Claims {
                    sub: format!("u{user}"),
                    device: format!("d{device}"),
                    exp: u64::from(u32::MAX),
                };
                let token = signer.sign(&claims).map_err(|error| error.to_string())?;
                devices.push(Device::new(user, token));
            }
        }
        let (gateway, truth, quiet_from) = (Some(gateway), Truth::default(), world.now());
        Ok(Run { settings, random, world, gateway, devices, truth, quiet_from, is_told })
    }

    fn live(&mut self) -> Result<(), String> {
        if self.is_told {
            println!("{:#?}", self.settings);
        }
        for device in 0..self.devices.len() {
            self.connect(device);
        }
        for _ in 0..self.settings.operations {
            self.operate()?;
            let pace = self.settings.pace;
            let pause = self.random.duration(&(Duration::ZERO..pace * 2));
            self.pass(pause)?;
            self.check_promises()?;
        }
        self.settle()
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.is_told {
            println!("{:>12.6} {}", self.world.now().since(Time(0)).as_secs_f64(), what());
        }
    }

    /// Lets time pass.
    fn pass(&mut self, duration: Duration) -> Result<(), String> {
        let until = self.world.now() + duration;
        while let Some(event) = self.world.next(until) {
            let is_gateways = match &mut self.gateway {
                Some(gateway) => gateway.handle(event, &mut self.world)?,
                None => false,
            };
            if !is_gateways {
                self.handle(event)?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Connected(end) => {
                if let Some(device) = self.holder(end) {
                    let device = &mut self.devices[device];
                    if let Some(connection) = &mut device.connection {
                        connection.connected(&device.token, &mut self.world);
                    }
                }
            }
            Event::Refused(end) => {
                if let Some(device) = self.holder(end) {
                    self.lost(device);
                }
            }
            Event::Input(end) => {
                if let Some(device) = self.holder(end) {
                    self.read(device)?;
                }
            }
            Event::Room(end) => {
                if let Some(device) = self.holder(end)
                    && let Some(connection) = &mut self.devices[device].connection
                {
                    connection.flush(&mut self.world);
                }
            }
            Event::Alarm(device) => self.acknowledge(device as usize),
            Event::Step { .. } | Event::Mail { .. } => {}
        }
        Ok(())
    }

    fn holder(&self, end: End) -> Option<usize> {
        self.devices.iter().position(|device| device.connection.as_ref().is_some_and(|held| held.end == end))
    }

    fn connect(&mut self, device: usize) {
        // Where devices are forgotten a number may be of the former session, and would acknowledge what the new one gave out unseen:
        // PROTOCOL.md section 6 says so.
        let resumes = self.random.once_in(1, 2) && !self.settings.is_tight;
        let now = self.world.now();
        let end = self.world.connect(([10, 1, 0, device as u8], 1).into(), address());
        let held = &mut self.devices[device];
        let resume = resumes.then_some(held.processed);
        held.connection = Some(Connection::new(end, resume, now, &mut self.random));
        self.tell(|| format!("device {device} connects, resume {resume:?}"));
    }

    /// Lets the connection go; `how` says what the gateway sees of it.
    fn leave(&mut self, device: usize, how: Leave) {
        let Some(mut connection) = self.devices[device].connection.take() else { return };
        self.tell(|| format!("device {device} leaves: {how:?}"));
        match how {
            Leave::Politely => connection.say_close(&mut self.world),
            Leave::Ends => {}
            Leave::Resets => self.world.reset_on_close(connection.end),
            Leave::Vanishes => self.world.sever(connection.end),
        }
        self.world.close(connection.end);
        self.devices[device].connection = Some(connection);
        self.lost(device);
    }

    /// The connection is over. What was not answered may be asked again on the next.
    fn lost(&mut self, device: usize) {
        let now = self.world.now();
        self.tell(|| format!("device {device} has no connection any more"));
        let Some(connection) = self.devices[device].connection.take() else { return };
        self.world.close(connection.end);
        self.devices[device].troubled_since.get_or_insert(now);
    }

    fn read(&mut self, device: usize) -> Result<(), String> {
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
            Told::Hello(seq) => self.hello(device, seq),
            Told::Sent(message) => {
                self.answered(device, message)?;
                let users = self.settings.devices.len();
                self.truth.confirmed(message, self.devices[device].user, users)?;
                self.owe(message);
                Ok(())
            }
            Told::Refused { message: Some(message), code } => {
                self.answered(device, message)?;
                self.truth.refused(message);
                self.may_refuse(message, &code)
            }
            Told::Refused { message: None, code } => match &*code {
                "bad_frame" | "group_full" => Ok(()),
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

    fn hello(&mut self, device: usize, seq: u64) -> Result<(), String> {
        let now = self.world.now();
        let held = &mut self.devices[device];
        if held.connection.as_ref().is_some_and(|connection| connection.is_of_the_dead) {
            return Ok(());
        }
        if seq < held.processed {
            (held.processed, held.lineage) = (0, held.lineage + 1);
        }
        if let Some(since) = held.troubled_since.take() {
            self.truth.troubles.entry(device).or_default().push((since, now));
        }
        let Some(connection) = &mut held.connection else { return Ok(()) };
        if connection.hello.is_some() {
            return Err(format!("device {device} is greeted twice"));
        }
        (connection.hello, connection.highest) = (Some((now, seq)), seq);
        // Asked again before anything new, so that the order of acceptance stays the order of asking; so who was quicker than
        // the greeting lets the old ones be.
        let pending = connection.pending.iter().map(|(message, _)| *message).collect();
        let again = std::mem::replace(&mut held.unanswered, pending);
        let is_first = held.unanswered.is_empty();
        for message in again {
            let is_same_life = self.truth.messages[message].life == self.truth.life;
            if is_first && is_same_life && self.random.once_in(1, 2) {
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
                let routed_by = now.max(self.quiet_from) + self.settings.bound(40);
                self.truth.owe(message, index, connection.end, (now, routed_by));
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
        if seq <= connection.resumed() {
            return Err(format!(
                "device {device} resumed after {:?} and gets {seq} again",
                connection.resumed()
            ));
        }
        let times = connection.unacked.get(&seq).map_or(0, |seen| seen.times);
        if let Some(seen) = connection.unacked.get(&seq) {
            let soonest = self.settings.ack_timeout.saturating_sub(self.settings.bound(0));
            if connection.is_steady && now.since(seen.last) < soonest {
                return Err(format!("device {device} gets {seq} again after {:?}", now.since(seen.last)));
            }
            if times >= self.settings.limits.attempts_max {
                return Err(format!("device {device} gets {seq} for the {}. time", times + 1));
            }
        }
        connection.unacked.insert(seq, Seen { last: now, times: times + 1 });
        connection.highest = connection.highest.max(seq);
        held.processed = held.processed.max(seq);
        let (who, number) = ((device, held.user), (held.lineage, seq));
        match held.acks {
            Acks::AtOnce => self.acknowledge(device),
            Acks::After(delay) => self.world.set_alarm(now + delay, device as u64),
            Acks::Never => {}
        }
        self.truth.arrived(who, number, message, now, &self.settings)
    }

    fn acknowledge(&mut self, device: usize) {
        let now = self.world.now();
        let Some(connection) = &mut self.devices[device].connection else { return };
        let highest = connection.highest;
        if connection.unacked.is_empty() || !connection.is_reading {
            return;
        }
        connection.unacked.clear();
        connection.say(&format!(r#"{{"type":"ack","seq":{highest}}}"#), &mut self.world);
        if connection.is_flushed() {
            connection.acked = Some((highest, now));
        }
    }

    /// Writes a `send` frame.
    fn ask(&mut self, device: usize, message: usize) {
        let now = self.world.now();
        let to = match self.truth.messages[message].to {
            To::User(user) => format!("user:u{user}"),
            To::Group(group) => format!("group:g{group}"),
        };
        let record = &mut self.truth.messages[message];
        (record.life, record.asks) = (self.truth.life, record.asks + 1);
        record.on = self.devices[device].connection.as_ref().map(|connection| connection.end);
        let held = &mut self.devices[device];
        let Some(connection) = &mut held.connection else { return };
        held.unanswered.push_back(message);
        connection.pending.push_back((message, now));
        let text = format!(r#"{{"type":"send","id":"m{message}","to":"{to}","body":{message}}}"#);
        connection.say(&text, &mut self.world);
        self.tell(|| format!("device {device} asks m{message} {to}"));
    }

    /// What must have happened by now.
    fn check_promises(&mut self) -> Result<(), String> {
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
                connection.begun.max(quiet_from) + self.settings.bound(60) + self.settings.bound(0) * 2;
            if connection.hello.is_none() && greeting < now {
                return Err(format!("device {index} is not greeted"));
            }
            let greeted = connection.hello.map_or(now, |(at, _)| at);
            if let Some((message, asked)) = connection.pending.front()
                && (*asked).max(quiet_from).max(greeted) + self.settings.bound(6) < now
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
}

/// How a device lets its connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Politely,
    Ends,
    Resets,
    Vanishes,
}

/// What may happen to devices and gateway.
impl Run {
    fn operate(&mut self) -> Result<(), String> {
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
            95 if self.random.once_in(1, 2) => self.restart()?,
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
        let life = self.truth.life;
        let is_open = self.devices[device].connection.as_ref().is_some_and(|held| held.hello.is_some());
        let last = self.truth.messages.iter().rposition(|message| {
            message.from == device && message.answer == Answer::Sent && message.life == life
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
            self.truth.stalled(self.world.now(), self.quiet_from + self.settings.bound(40));
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

    /// The process is killed and started again; what it had in memory is gone.
    fn restart(&mut self) -> Result<(), String> {
        let Some(gateway) = self.gateway.take() else { return Ok(()) };
        self.tell(|| "the gateway is killed".to_owned());
        gateway.kill(&mut self.world);
        let away = self.random.duration(&(Duration::ZERO..Duration::from_millis(500)));
        self.pass(away)?;
        self.truth.restarted();
        for device in &mut self.devices {
            // Numbers begin again; and a device that resumed with one of the former life would acknowledge what it has not seen.
            (device.processed, device.lineage) = (0, device.lineage + 1);
            if let Some(connection) = &mut device.connection {
                connection.is_of_the_dead |= !connection.is_connecting();
            }
        }
        self.gateway = Some(Gateway::start(&mut self.world, &self.settings, Planted::Nothing));
        self.quiet_from = self.quiet_from.max(self.world.now() + self.settings.bound(20));
        Ok(())
    }

    /// Everybody comes, reads and acknowledges, until nothing is owed any more.
    fn settle(&mut self) -> Result<(), String> {
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
            let owed = self
                .gateway
                .as_ref()
                .map_or(0, |gateway| gateway.in_flight() + gateway.queued() + gateway.under_way() as i64);
            self.tell(|| format!("after round {round} {owed} are owed"));
            if owed == 0 && round > 0 {
                let lost = self.gateway.as_ref().map_or(0, Gateway::lost);
                if lost > 0 && !self.settings.is_tight {
                    return Err(format!("{lost} deliveries are said to be lost"));
                }
                let users: Vec<usize> = self.devices.iter().map(|device| device.user).collect();
                return self.truth.settled(&users, lost, &self.settings);
            }
        }
        Err("deliveries are owed still, although everybody reads and acknowledges".to_owned())
    }
}
