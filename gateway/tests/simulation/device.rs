//! A simulated device: what it says, and what it has seen on its connection.

use crate::settings::Settings;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use wire::shard::virtual_time::{End, Random, World};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event as Frame, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

/// How a device acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    AtOnce,
    After(Duration),
    Never,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) user: usize,
    pub(crate) token: String,
    pub(crate) acks: Acks,
    pub(crate) connection: Option<Connection>,
    /// The life of its session, as last greeted.
    pub(crate) epoch: Option<String>,
    /// The highest number it has processed in that life.
    pub(crate) processed: u64,
    /// How often numbers have begun again.
    pub(crate) lineage: u32,
    /// Messages written and not answered, oldest first.
    pub(crate) unanswered: VecDeque<usize>,
    /// Since when it is away, or does not do its part.
    pub(crate) troubled_since: Option<Time>,
    /// It was away for so long that the gateway may have forgotten it.
    pub(crate) was_long_away: bool,
}

impl Device {
    pub(crate) fn new(user: usize, token: String) -> Device {
        Device {
            user,
            token,
            acks: Acks::AtOnce,
            connection: None,
            epoch: None,
            processed: 0,
            lineage: 0,
            unanswered: VecDeque::new(),
            troubled_since: None,
            was_long_away: false,
        }
    }

    /// What it says that it has processed.
    pub(crate) fn resume(&self) -> Option<(String, u64)> {
        Some((self.epoch.clone()?, self.processed))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Open,
}

/// A delivery as the device has seen it on one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) last: Time,
    pub(crate) times: u8,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) end: End,
    phase: Phase,
    nonce: [u8; 16],
    resume: Option<(String, u64)>,
    /// The number up to which the gateway has taken its word.
    pub(crate) resumed: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    endpoint: Endpoint,
    pub(crate) begun: Time,
    /// When `hello` came, and the number it said.
    pub(crate) hello: Option<(Time, u64)>,
    /// The highest number seen, or said by `hello`.
    pub(crate) highest: u64,
    /// The highest number acknowledged, and when.
    pub(crate) acked: Option<(u64, Time)>,
    /// Seen and not acknowledged.
    pub(crate) unacked: BTreeMap<u64, Seen>,
    /// Messages written on this connection and not answered.
    pub(crate) pending: VecDeque<(usize, Time)>,
    pub(crate) is_reading: bool,
    /// It has read whatever came, as soon as it came, all its life.
    pub(crate) is_steady: bool,
    /// It led to a life of the gateway that is over; what still comes on it says nothing of this one.
    pub(crate) is_of_the_dead: bool,
}

/// What a device is told.
#[derive(Debug)]
pub(crate) enum Told {
    Hello {
        epoch: String,
        seq: u64,
    },
    Sent(usize),
    Message {
        seq: u64,
        message: usize,
    },
    Refused {
        message: Option<usize>,
        code: String,
    },
    Membership {
        group: usize,
        joined: bool,
    },
    /// The connection is over.
    Ended,
}

#[derive(Deserialize)]
struct Text {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    epoch: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    number: usize,
}

impl Connection {
    pub(crate) fn new(end: End, resume: Option<(String, u64)>, now: Time, random: &mut Random) -> Connection {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&random.bits().to_le_bytes());
        Connection {
            end,
            phase: Phase::Connecting,
            nonce,
            resume,
            resumed: 0,
            input: Vec::new(),
            output: Vec::new(),
            endpoint: Endpoint::new(Role::Client),
            begun: now,
            hello: None,
            highest: 0,
            acked: None,
            unacked: BTreeMap::new(),
            pending: VecDeque::new(),
            is_reading: true,
            is_steady: true,
            is_of_the_dead: false,
        }
    }

    /// Asks for the upgrade.
    pub(crate) fn connected(&mut self, token: &str, world: &mut World) {
        let target = match &self.resume {
            Some((epoch, seq)) => format!("/ws?resume={seq}&epoch={epoch}"),
            None => "/ws".to_owned(),
        };
        let authorization = format!("Authorization: Bearer {token}");
        handshake::write_request(&mut self.output, "gateway", &target, self.nonce, &[&authorization]);
        self.phase = Phase::Upgrading;
        self.flush(world);
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.phase == Phase::Connecting
    }

    pub(crate) fn is_upgrading(&self) -> bool {
        self.phase != Phase::Open
    }

    /// Writes one text frame.
    pub(crate) fn say(&mut self, text: &str, world: &mut World) {
        let mask = world.random().bits().to_le_bytes();
        let mask = [mask[0], mask[1], mask[2], mask[3]];
        frame::write(&mut self.output, Opcode::Text, text.as_bytes(), Some(mask));
        self.flush(world);
    }

    pub(crate) fn say_close(&mut self, world: &mut World) {
        frame::write_close(&mut self.output, 1000, "", Some([1, 2, 3, 4]));
        self.flush(world);
    }

    /// Writes what has been said, as far as there is room.
    pub(crate) fn flush(&mut self, world: &mut World) {
        if let Ok(bytes) = world.send(self.end, &self.output) {
            self.output.drain(..bytes);
        }
    }

    /// Whether all that was said has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// The greeting has come.
    pub(crate) fn greeted(&mut self, epoch: &str, seq: u64, now: Time) {
        (self.hello, self.highest) = (Some((now, seq)), seq);
        self.resumed = match &self.resume {
            Some((resumed, seq)) if resumed == epoch => *seq,
            _ => 0,
        };
    }

    /// Reads what has come, and gives it in order.
    pub(crate) fn read(&mut self, world: &mut World) -> Result<Vec<Told>, String> {
        let mut told = Vec::new();
        let mut buffer = [0; 4096];
        let is_over = loop {
            match world.receive(self.end, &mut buffer) {
                Ok(0) => break true,
                Ok(bytes) => self.input.extend_from_slice(&buffer[..bytes]),
                Err(rustix::io::Errno::AGAIN) => break false,
                Err(_) => break true,
            }
        };
        let is_refused = self.phase == Phase::Upgrading && !self.answered()?;
        if self.phase == Phase::Open {
            self.frames(&mut told, world)?;
        }
        if is_over || is_refused {
            told.push(Told::Ended);
        }
        Ok(told)
    }

    /// False: the gateway has refused the upgrade.
    fn answered(&mut self) -> Result<bool, String> {
        match handshake::read_answer(&self.input, self.nonce) {
            Ok(None) => Ok(true),
            Ok(Some(Answer::Accepted(bytes))) => {
                self.input.drain(..bytes);
                self.phase = Phase::Open;
                Ok(true)
            }
            Ok(Some(Answer::Refused(_))) => Ok(false),
            Err(error) => Err(format!("the answer to the upgrade is none: {error}")),
        }
    }

    fn frames(&mut self, told: &mut Vec<Told>, world: &mut World) -> Result<(), String> {
        let mut taken = 0;
        let mut pongs: Vec<Vec<u8>> = Vec::new();
        loop {
            match self.endpoint.next(&mut self.input[taken..], 1 << 20) {
                Ok(Some((event, bytes))) => {
                    taken += bytes;
                    match event {
                        Frame::Text(text) => told.push(parse(text)?),
                        Frame::Ping(payload) => pongs.push(payload.to_vec()),
                        Frame::Close(_) => told.push(Told::Ended),
                        Frame::Fragment => {}
                        other => return Err(format!("the gateway does not send {other:?}")),
                    }
                }
                Ok(None) => break,
                Err(violation) => return Err(format!("the gateway breaks the protocol: {violation}")),
            }
        }
        self.input.drain(..taken);
        for pong in pongs {
            frame::write(&mut self.output, Opcode::Pong, &pong, Some([9, 8, 7, 6]));
            self.flush(world);
        }
        Ok(())
    }

    /// Whether what it is owed must have come by now: it reads, and has done so for all of its life.
    pub(crate) fn is_prompt(&self) -> bool {
        self.is_steady && self.is_reading && self.hello.is_some()
    }

    /// A delivery that should have been written again and was not.
    pub(crate) fn missed_redelivery(&self, now: Time, settings: &Settings) -> Option<u64> {
        let late = settings.ack_timeout + settings.bound(0);
        // What crossed its acknowledgement on the way is not owed again.
        let acked = self.acked.map_or(0, |(seq, _)| seq);
        self.unacked
            .range(acked + 1..)
            .find(|(_, seen)| seen.times < settings.limits.attempts_max && seen.last + late < now)
            .map(|(seq, _)| *seq)
    }
}

fn parse(text: &str) -> Result<Told, String> {
    let read: Text = serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))?;
    let message = || read.id.as_deref().and_then(|id| id.strip_prefix('m')?.parse().ok());
    let unknown = || format!("an unknown id in {text}");
    Ok(match &*read.kind {
        "hello" => Told::Hello { epoch: read.epoch, seq: read.seq },
        "sent" => Told::Sent(message().ok_or_else(unknown)?),
        "message" => {
            let message = message().ok_or_else(unknown)?;
            if read.body.is_none_or(|body| body.number != message) {
                return Err(format!("another message's body: {text}"));
            }
            Told::Message { seq: read.seq, message }
        }
        "error" => Told::Refused { message: message(), code: read.code },
        "joined" | "left" => {
            let group = read.group.strip_prefix('g').and_then(|group| group.parse().ok());
            Told::Membership { group: group.ok_or_else(unknown)?, joined: read.kind == "joined" }
        }
        _ => return Err(format!("an unknown frame: {text}")),
    })
}
