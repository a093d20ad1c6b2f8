//! The clock, the queue of what is to come, and the network with its kernel.

use super::link::{End, Links, Owner};
use super::random::Random;
use crate::shard::ConnId;
use crate::shard::step::{Interest, Readiness};
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// A program in the world: a number for each of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(pub(super) u32);

/// How the world behaves. All ranges are drawn from uniformly.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// One way, drawn once for each link.
    pub latency: Range<Duration>,
    /// Added for each segment; segments keep their order.
    pub jitter: Range<Duration>,
    /// Bytes that fit between a writer and a reader who does not read.
    pub pipe_bytes: usize,
    /// How often a write is cut in two segments that arrive apart, in 16.
    pub cuts_in_16: u64,
    /// From something being ready to the step that takes it.
    pub wake: Range<Duration>,
    /// From a step's end to the mail it sent being in the other shard's ring.
    pub mail: Range<Duration>,
    /// Mails that a ring holds.
    pub ring_mails: usize,
    /// Outbox length from which a destination is congested.
    pub congested_from: usize,
}

impl Default for Conditions {
    fn default() -> Conditions {
        let micros = |from, to| Duration::from_micros(from)..Duration::from_micros(to);
        Conditions {
            latency: micros(20, 2_000),
            jitter: micros(0, 500),
            pipe_bytes: 64 * 1024,
            cuts_in_16: 2,
            wake: micros(1, 50),
            mail: micros(1, 300),
            ring_mails: 16 * 1024,
            congested_from: 64 * 1024,
        }
    }
}

/// What has happened, and whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// For the node on `host`: this shard's step is due.
    Step {
        /// Its host.
        host: Host,
        /// The shard.
        shard: usize,
    },
    /// For the node on `host`: mail has arrived in a ring.
    Mail {
        /// Its host.
        host: Host,
        /// The sender.
        from: usize,
        /// The reader.
        to: usize,
    },
    /// For the caller: the connection it asked for is open.
    Connected(End),
    /// For the caller: it could not be opened. The end is closed.
    Refused(End),
    /// For the caller: there is something to read, be it the end. Told once for each arrival.
    Input(End),
    /// For the caller: there is room again for who was told that there is none.
    Room(End),
    /// For the caller: [`World::set_alarm`] was called with this key.
    Alarm(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Step {
        host: Host,
        shard: usize,
    },
    Mail {
        host: Host,
        from: usize,
        to: usize,
    },
    /// Something arrives at this end.
    Arrival(End),
    /// The reader at the other side has made room.
    Room(End),
    /// A request to connect arrives.
    Syn(End),
    /// Its answer arrives.
    Answer {
        end: End,
        is_accepted: bool,
    },
    Alarm(u64),
}

#[derive(Debug)]
struct HostState {
    listens: Option<SocketAddr>,
    shards: Vec<ShardState>,
}

#[derive(Debug, Default)]
struct ShardState {
    /// When its next step is due.
    step_at: Option<Time>,
    /// It stands still until then.
    stalled_until: Time,
    /// It does not listen.
    is_shut: bool,
    backlog: Vec<End>,
    ready: Vec<End>,
}

/// What waits for a shard's step.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) newcomers: Vec<(End, SocketAddr)>,
    pub(super) ready: Vec<(ConnId, Readiness)>,
}

/// The clock, the links and a seed.
#[derive(Debug)]
pub struct World {
    pub(super) now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, Due)>>,
    order: u64,
    pub(super) random: Random,
    trace: u64,
    pub(super) links: Links,
    hosts: Vec<HostState>,
    pub(super) conditions: Conditions,
}

impl World {
    /// An empty world at `now`.
    pub fn new(seed: u64, now: Time, conditions: Conditions) -> World {
        World {
            now,
            queue: BinaryHeap::new(),
            order: 0,
            random: Random::new(seed),
            trace: seed,
            links: Links::default(),
            hosts: Vec::new(),
            conditions,
        }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The world's chance.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// How the world behaves; a change holds from now on.
    pub fn conditions(&mut self) -> &mut Conditions {
        &mut self.conditions
    }

    /// A hash of all that has happened, bytes included. Equal for equal seeds and calls.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// The next event, not later than `until`; `None`: there is none, and the time is `until`.
    pub fn next(&mut self, until: Time) -> Option<Event> {
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= until) {
            let Some(Reverse((at, _, due))) = self.queue.pop() else { break };
            self.now = self.now.max(at);
            if let Some(event) = self.happen(at, due) {
                return Some(event);
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Tells the caller at `at`, with [`Event::Alarm`].
    pub fn set_alarm(&mut self, at: Time, key: u64) {
        self.push(at, Due::Alarm(key));
    }

    fn happen(&mut self, at: Time, due: Due) -> Option<Event> {
        let event = match due {
            Due::Step { host, shard } => {
                let state = self.shard(host, shard)?;
                if state.step_at != Some(at) {
                    // It was put off, or brought forward.
                    return None;
                }
                state.step_at = None;
                Event::Step { host, shard }
            }
            Due::Mail { host, from, to } => {
                self.hosts[host.0 as usize].shards.first()?;
                Event::Mail { host, from, to }
            }
            Due::Arrival(end) => return self.arrive(end),
            Due::Room(end) => return self.room(end),
            Due::Syn(end) => {
                self.syn(end);
                return None;
            }
            Due::Answer { end, is_accepted } => return self.answer(end, is_accepted),
            Due::Alarm(key) => Event::Alarm(key),
        };
        self.note_event(event);
        Some(event)
    }

    pub(super) fn push(&mut self, at: Time, due: Due) {
        self.order += 1;
        self.queue.push(Reverse((at.max(self.now), self.order, due)));
    }

    fn note(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    pub(super) fn note_event(&mut self, event: Event) {
        self.note(self.now.0);
        let (kind, value) = match event {
            Event::Step { host, shard } => (1, u64::from(host.0) << 32 | shard as u64),
            Event::Mail { host, from, to } => (2, u64::from(host.0) << 32 | (from as u64) << 16 | to as u64),
            Event::Connected(end) => (3, u64::from(end.link)),
            Event::Refused(end) => (4, u64::from(end.link)),
            Event::Input(end) => (5, u64::from(end.link)),
            Event::Room(end) => (6, u64::from(end.link)),
            Event::Alarm(key) => (7, key),
        };
        self.note(kind);
        self.note(value);
    }

    pub(super) fn note_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.note(u64::from_le_bytes(*word));
        }
        let tail = rest.iter().fold(bytes.len() as u64, |tail, byte| tail << 8 | u64::from(*byte));
        self.note(tail);
    }
}

/// Hosts: what a node asks for.
impl World {
    /// A new life of a program with `shards` shards, listening on `listens`.
    pub(super) fn begin_host(&mut self, shards: usize, listens: Option<SocketAddr>) -> Host {
        let shards = (0..shards).map(|_| ShardState::default()).collect();
        self.hosts.push(HostState { listens, shards });
        Host((self.hosts.len() - 1) as u32)
    }

    /// The program is gone, and the kernel closes what it had open.
    pub(super) fn end_host(&mut self, host: Host) {
        let state = &mut self.hosts[host.0 as usize];
        state.listens = None;
        let backlogs: Vec<End> = state.shards.drain(..).flat_map(|shard| shard.backlog).collect();
        for end in self.links.ends_of(host) {
            self.close(end);
        }
        for end in backlogs {
            self.reset_on_close(end);
            self.close(end);
        }
    }

    /// Stops the shard's thread for a while, as a paused process or a starved core does.
    pub(super) fn stall(&mut self, host: Host, shard: usize, duration: Duration) {
        let until = self.now + duration;
        let Some(state) = self.shard(host, shard) else { return };
        state.stalled_until = state.stalled_until.max(until);
        if let Some(at) = state.step_at.take() {
            self.wake(host, shard, at);
        }
    }

    /// The shard listens or does not; who waits to be accepted when it ceases to is reset.
    pub(super) fn keep_door(&mut self, host: Host, shard: usize, is_open: bool) {
        let Some(state) = self.shard(host, shard) else { return };
        state.is_shut = !is_open;
        let turned_away = if is_open { Vec::new() } else { std::mem::take(&mut state.backlog) };
        for end in turned_away {
            self.reset_on_close(end);
            self.close(end);
        }
    }

    /// Lets the shard's step run at `at`, or when it no longer stands still, if none is due before.
    pub(super) fn wake(&mut self, host: Host, shard: usize, at: Time) {
        let Some(state) = self.shard(host, shard) else { return };
        let at = at.max(state.stalled_until);
        if state.step_at.is_none_or(|before| at < before) {
            state.step_at = Some(at);
            self.push(at, Due::Step { host, shard });
        }
    }

    /// Lets the shard's step run soon.
    pub(super) fn wake_soon(&mut self, host: Host, shard: usize) {
        let delay = self.random.duration(&self.conditions.wake);
        self.wake(host, shard, self.now + delay);
    }

    pub(super) fn mail_at(&mut self, host: Host, from: usize, to: usize, at: Time) {
        self.push(at, Due::Mail { host, from, to });
    }

    /// Newcomers, and connections that are ready, in the order in which they became so.
    pub(super) fn take_input(&mut self, host: Host, shard: usize) -> Input {
        let Some(state) = self.shard(host, shard) else { return Input::default() };
        let (backlog, ready) = (std::mem::take(&mut state.backlog), std::mem::take(&mut state.ready));
        let mut newcomers = Vec::new();
        for end in backlog {
            if let Some(link) = self.links.get(end) {
                link.sides[1].owner = Owner::Shard { host, shard, watched: None };
                newcomers.push((end, link.addresses.0));
            }
        }
        let ready = ready.into_iter().filter_map(|end| self.readiness(end)).collect();
        Input { newcomers, ready }
    }

    fn readiness(&mut self, end: End) -> Option<(ConnId, Readiness)> {
        let side = self.links.side(end)?;
        side.is_listed = false;
        let Owner::Shard { watched: Some((conn, interest)), .. } = side.owner else { return None };
        let awaits_room = matches!(interest, Interest::Connect | Interest::InputAndRoom | Interest::Room);
        let room = std::mem::take(&mut side.has_room) && awaits_room;
        let failed = side.incoming.error().is_some();
        Some((conn, Readiness { input: side.incoming.is_readable(), room, failed }))
    }

    fn shard(&mut self, host: Host, shard: usize) -> Option<&mut ShardState> {
        self.hosts.get_mut(host.0 as usize)?.shards.get_mut(shard)
    }

    /// Puts the end on its shard's list of what is ready, if it is there for a shard.
    pub(super) fn list(&mut self, end: End) {
        let Some(side) = self.links.side(end) else { return };
        let Owner::Shard { host, shard, watched: Some(_) } = side.owner else { return };
        if !std::mem::replace(&mut side.is_listed, true) {
            if let Some(state) = self.shard(host, shard) {
                state.ready.push(end);
            }
            self.wake_soon(host, shard);
        }
    }

    fn syn(&mut self, end: End) {
        let Some(link) = self.links.get(end) else { return };
        let (to, latency) = (link.addresses.1, Duration::from_nanos(link.latency_ns));
        if link.is_severed || !link.sides[0].is_open {
            // Nobody answers, or nobody waits for the answer.
            link.sides[1].is_open = false;
            return self.links.release(end);
        }
        let host = self.hosts.iter().position(|host| host.listens == Some(to));
        let open: Vec<usize> = host.map_or(Vec::new(), |host| {
            let shards = self.hosts[host].shards.iter().enumerate();
            shards.filter(|(_, shard)| !shard.is_shut).map(|(index, _)| index).collect()
        });
        // As SO_REUSEPORT does by a hash of the addresses.
        let chosen = if open.is_empty() { None } else { self.random.pick(&open).copied() };
        self.push(self.now + latency, Due::Answer { end, is_accepted: chosen.is_some() });
        let (Some(host), Some(shard)) = (host, chosen) else { return };
        self.hosts[host].shards[shard].backlog.push(end.peer());
        self.wake_soon(Host(host as u32), shard);
    }
}
