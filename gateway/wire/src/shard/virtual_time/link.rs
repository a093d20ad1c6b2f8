//! Simulated TCP connections: what is under way, what has arrived, and how either side may end.
//!
//! Modelled as the kernel shows it: bounded buffers, ends in order behind the bytes, RST for who writes to a closed socket or
//! closes with bytes unread, and silence for who is cut off.

use super::world::Host;
use crate::shard::ConnId;
use crate::shard::step::Interest;
use crate::time::Time;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// One side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    pub(super) link: u32,
    pub(super) generation: u32,
    pub(super) side: u8,
}

impl End {
    pub(super) fn peer(self) -> End {
        End { side: 1 - self.side, ..self }
    }
}

/// Who holds an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A shard; the connection's number there, once it is watched.
    Shard { host: Host, shard: usize, watched: Option<(ConnId, Interest)> },
    /// Whoever drives the world.
    Caller,
    /// Nobody yet: it waits to be accepted.
    Backlog,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Bytes(usize),
    Fin,
    Reset,
}

/// One direction of a link, as its reader sees it.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Bytes that have arrived and were not read, then bytes under way.
    bytes: VecDeque<u8>,
    arrived: usize,
    segments: VecDeque<(Time, Segment)>,
    /// When the last segment arrives: nothing overtakes.
    pub(super) last_arrival: Time,
    /// When bytes last arrived.
    pub(super) arrived_at: Time,
    fin: bool,
    error: Option<Errno>,
    /// The writer was told that there is no room.
    pub(super) is_writer_waiting: bool,
}

impl Pipe {
    fn new() -> Pipe {
        Pipe {
            bytes: VecDeque::new(),
            arrived: 0,
            segments: VecDeque::new(),
            last_arrival: Time(0),
            arrived_at: Time(0),
            fin: false,
            error: None,
            is_writer_waiting: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a read would give anything: bytes, the end or an error.
    pub(super) fn is_readable(&self) -> bool {
        self.arrived > 0 || self.fin || self.error.is_some()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.arrived > 0
    }

    pub(super) fn send(&mut self, bytes: &[u8], at: Time) {
        self.bytes.extend(bytes);
        self.push(at, Segment::Bytes(bytes.len()));
    }

    pub(super) fn send_fin(&mut self, at: Time) {
        self.push(at, Segment::Fin);
    }

    /// A reset takes along what had not left yet: all but the first `kept` bytes under way.
    pub(super) fn send_reset(&mut self, kept: usize, at: Time) {
        self.bytes.truncate(self.arrived + kept);
        let mut left = kept;
        for (_, segment) in &mut self.segments {
            if let Segment::Bytes(bytes) = segment {
                *bytes = (*bytes).min(left);
                left -= *bytes;
            }
        }
        self.segments.retain(|(_, segment)| *segment != Segment::Fin);
        self.push(at, Segment::Reset);
    }

    pub(super) fn under_way(&self) -> usize {
        self.bytes.len() - self.arrived
    }

    fn push(&mut self, at: Time, segment: Segment) {
        self.last_arrival = self.last_arrival.max(at);
        self.segments.push_back((self.last_arrival, segment));
    }

    /// Takes in what has arrived by `now`. `drop_unread`: a reset discards what was not read yet.
    /// Gives whether the reader has anything new to see.
    pub(super) fn arrive(&mut self, now: Time, drop_unread: bool) -> bool {
        let mut is_news = false;
        while let Some((at, segment)) = self.segments.pop_front_if(|(at, _)| *at <= now) {
            is_news = true;
            match segment {
                Segment::Bytes(bytes) => {
                    self.arrived += bytes;
                    self.arrived_at = at;
                }
                Segment::Fin => self.fin = true,
                Segment::Reset => {
                    if drop_unread {
                        self.bytes.clear();
                        self.arrived = 0;
                    }
                    self.error = Some(Errno::CONNRESET);
                }
            }
        }
        is_news
    }

    /// As `recv` does: bytes first, then the error, then the end.
    pub(super) fn receive(&mut self, into: &mut [u8]) -> Result<usize, Errno> {
        let count = self.arrived.min(into.len());
        if count > 0 {
            let (front, back) = self.bytes.as_slices();
            let in_front = count.min(front.len());
            into[..in_front].copy_from_slice(&front[..in_front]);
            into[in_front..count].copy_from_slice(&back[..count - in_front]);
            self.bytes.drain(..count);
            self.arrived -= count;
            return Ok(count);
        }
        match self.error {
            Some(error) => Err(error),
            None if self.fin => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    pub(super) fn fail(&mut self, error: Errno) {
        self.error = Some(error);
    }

    pub(super) fn error(&self) -> Option<Errno> {
        self.error
    }
}

/// One side of a link.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) owner: Owner,
    pub(super) is_open: bool,
    /// What comes to this side.
    pub(super) incoming: Pipe,
    pub(super) resets_on_close: bool,
    /// It has told its end and sends no more.
    pub(super) has_ended: bool,
    /// Closed, and what still comes is taken and dropped.
    pub(super) lingers: bool,
    /// The owner's shard has it in its list of what is ready.
    pub(super) is_listed: bool,
    /// There is room to write again.
    pub(super) has_room: bool,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u32,
    pub(super) sides: [Side; 2],
    /// Side 0 comes from here, and goes there.
    pub(super) addresses: (SocketAddr, SocketAddr),
    pub(super) latency_ns: u64,
    /// Nothing arrives any more, on either side, and nobody is told.
    pub(super) is_severed: bool,
}

/// All links, by number.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Link>,
    free: Vec<u32>,
}

impl Links {
    pub(super) fn open(&mut self, owner: Owner, from: SocketAddr, to: SocketAddr, latency_ns: u64) -> End {
        let side = |owner| Side {
            owner,
            is_open: true,
            incoming: Pipe::new(),
            resets_on_close: false,
            has_ended: false,
            lingers: false,
            is_listed: false,
            has_room: false,
        };
        let link = Link {
            generation: 0,
            sides: [side(owner), side(Owner::Backlog)],
            addresses: (from, to),
            latency_ns,
            is_severed: false,
        };
        let number = match self.free.pop() {
            Some(number) => {
                let place = &mut self.links[number as usize];
                *place = Link { generation: place.generation, ..link };
                number
            }
            None => {
                self.links.push(link);
                (self.links.len() - 1) as u32
            }
        };
        End { link: number, generation: self.links[number as usize].generation, side: 0 }
    }

    /// `None` if both sides are closed.
    pub(super) fn get(&mut self, end: End) -> Option<&mut Link> {
        self.links.get_mut(end.link as usize).filter(|link| link.generation == end.generation)
    }

    pub(super) fn side(&mut self, end: End) -> Option<&mut Side> {
        self.get(end).map(|link| &mut link.sides[usize::from(end.side)])
    }

    /// Forgets the link if nobody holds an end of it.
    pub(super) fn release(&mut self, end: End) {
        if let Some(link) = self.get(end)
            && link.sides.iter().all(|side| !side.is_open)
        {
            link.generation = link.generation.wrapping_add(1);
            self.free.push(end.link);
        }
    }

    /// The open ends that belong to shards of `host`.
    pub(super) fn ends_of(&self, host: Host) -> Vec<End> {
        let mut ends = Vec::new();
        for (number, link) in self.links.iter().enumerate() {
            for (index, side) in link.sides.iter().enumerate() {
                if side.is_open && matches!(side.owner, Owner::Shard { host: owner, .. } if owner == host) {
                    ends.push(End { link: number as u32, generation: link.generation, side: index as u8 });
                }
            }
        }
        ends
    }
}
