//! One seed: clients that do what clients do, and a check of every promise after every step.

mod hearing;
mod operations;
mod promises;

use crate::device::{Connection, Device};
use crate::disk::Disk;
use crate::life::{Gateway, KEY, Planted, address};
use crate::settings::Settings;
use crate::truth::{To, Truth};
use gateway::auth::{Claims, Signer};
use std::time::Duration;
use wire::shard::virtual_time::{End, Event, Random, World};
use wire::time::Time;

/// What a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: u64,
    pub(crate) messages: usize,
    /// Lives of the gateway.
    pub(crate) lives: u32,
}

/// Runs a seed. `Err`: the promise that was broken.
pub(crate) fn run(seed: u64, planted: Planted, is_told: bool) -> Result<Outcome, String> {
    let mut run = Run::new(seed, planted, is_told)?;
    run.live().map_err(|problem| format!("{problem}, at {:?}", run.world.now().since(Time(0))))?;
    let (trace, messages, lives) = (run.world.trace(), run.truth.messages.len(), run.truth.life + 1);
    Ok(Outcome { trace, messages, lives })
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
    /// So many of the gateway's events from now the machine stops.
    crash_in: Option<u64>,
    /// What this life of the gateway must refuse by now.
    refuses: Refuses,
    /// A latency was injected. What it holds others overtake, and a copy held for a connection that has ended meanwhile may come to
    /// another device of the user as one more.
    was_held: bool,
    /// Deliveries that former lives said to be lost.
    lost_before: u64,
    is_told: bool,
}

/// Why a gateway takes no messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Refuses {
    is_draining: bool,
    is_broken: bool,
}

/// How a device lets its connection go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Politely,
    Ends,
    Resets,
    Vanishes,
}

impl Run {
    fn new(seed: u64, planted: Planted, is_told: bool) -> Result<Run, String> {
        let mut random = Random::new(seed);
        let settings = Settings::draw(&mut random);
        let mut world = World::new(random.bits(), Time(1_000_000_000), settings.conditions.clone());
        let disk = settings.is_durable.then(|| Disk::new(Vec::new()));
        let gateway = Gateway::start(&mut world, &settings, disk, 0, planted)?;
        gateway.settle_disk();
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
        Ok(Run {
            settings,
            random,
            world,
            gateway,
            devices,
            truth,
            quiet_from,
            crash_in: None,
            refuses: Refuses::default(),
            was_held: false,
            lost_before: 0,
            is_told,
        })
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
            } else if let Some(left) = &mut self.crash_in {
                *left -= 1;
                if *left == 0 {
                    self.crash()?;
                }
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
            Event::Alarm(device) if device < self.devices.len() as u64 => self.acknowledge(device as usize),
            // Of a former life of the gateway.
            Event::Alarm(_) | Event::Step { .. } | Event::Mail { .. } => {}
        }
        Ok(())
    }

    fn holder(&self, end: End) -> Option<usize> {
        self.devices.iter().position(|device| device.connection.as_ref().is_some_and(|held| held.end == end))
    }

    fn connect(&mut self, device: usize) {
        let resumes = self.random.once_in(1, 2);
        let now = self.world.now();
        let end = self.world.connect(([10, 1, 0, device as u8], 1).into(), address());
        let held = &mut self.devices[device];
        let resume = held.resume().filter(|_| resumes);
        held.connection = Some(Connection::new(end, resume, now, &mut self.random));
        self.tell(|| format!("device {device} connects, resumes: {resumes}"));
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

    /// Writes a `send` frame.
    fn ask(&mut self, device: usize, message: usize) {
        let now = self.world.now();
        let to = match self.truth.messages[message].to {
            To::User(user) => format!("user:u{user}"),
            To::Group(group) => format!("group:g{group}"),
        };
        let record = &mut self.truth.messages[message];
        (record.life, record.asks) = (self.truth.life, record.asks + 1);
        let held = &mut self.devices[device];
        let Some(connection) = &mut held.connection else { return };
        held.unanswered.push_back(message);
        connection.pending.push_back((message, now));
        // By the number alone, so that who says it again says the same.
        let filling = "x".repeat((message as u64 * 7919 % (self.settings.filling_max + 1)) as usize);
        let body = format!(r#"{{"number":{message},"filling":"{filling}"}}"#);
        let text = format!(r#"{{"type":"send","id":"m{message}","to":"{to}","body":{body}}}"#);
        connection.say(&text, &mut self.world);
        self.tell(|| format!("device {device} asks m{message} {to}"));
    }
}
