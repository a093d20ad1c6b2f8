//! The world's sockets, as both nodes and the caller use them.

use super::link::{End, Owner, Pipe};
use super::world::{Due, Event, World};
use crate::shard::ConnId;
use crate::shard::step::Interest;
use crate::time::Time;
use rustix::io::Errno;
use std::net::SocketAddr;
use std::time::Duration;

impl World {
    /// Asks for a connection, on the caller's behalf; [`Event::Connected`] or [`Event::Refused`] tells how it went.
    pub fn connect(&mut self, from: SocketAddr, to: SocketAddr) -> End {
        self.begin_connect(Owner::Caller, from, to)
    }

    pub(super) fn begin_connect(&mut self, owner: Owner, from: SocketAddr, to: SocketAddr) -> End {
        let latency = self.random.duration(&self.conditions.latency);
        let end = self.links.open(owner, from, to, latency.as_nanos() as u64);
        self.push(self.now + latency, Due::Syn(end));
        end
    }

    pub(super) fn answer(&mut self, end: End, is_accepted: bool) -> Option<Event> {
        let link = self.links.get(end)?;
        if link.is_severed {
            return None;
        }
        let [side, other] = &mut link.sides;
        if !side.is_open {
            return None;
        }
        let is_callers = side.owner == Owner::Caller;
        if !is_accepted {
            side.incoming.fail(Errno::CONNREFUSED);
            other.is_open = false;
        }
        if !is_callers {
            side.has_room = true;
            self.list(end);
            return None;
        }
        let event = if is_accepted { Event::Connected(end) } else { Event::Refused(end) };
        if !is_accepted {
            self.close(end);
        }
        self.note_event(event);
        Some(event)
    }

    /// Writes; gives how many bytes there was room for. [`Errno::AGAIN`]: none, [`Event::Room`] tells when.
    ///
    /// # Errors
    /// [`Errno::PIPE`] or [`Errno::CONNRESET`] where the connection is over.
    pub fn send(&mut self, end: End, bytes: &[u8]) -> Result<usize, Errno> {
        let room = self.conditions.pipe_bytes;
        let Some(link) = self.links.get(end) else { return Err(Errno::PIPE) };
        let side = &link.sides[usize::from(end.side)];
        match side.incoming.error() {
            Some(error) => return Err(error),
            None if !side.is_open || side.has_ended => return Err(Errno::PIPE),
            None => {}
        }
        let latency = Duration::from_nanos(link.latency_ns);
        let pipe = &mut link.sides[usize::from(1 - end.side)].incoming;
        let count = bytes.len().min(room.saturating_sub(pipe.len()));
        pipe.is_writer_waiting = count < bytes.len();
        if count == 0 {
            return if bytes.is_empty() { Ok(0) } else { Err(Errno::AGAIN) };
        }
        let bytes = &bytes[..count];
        self.note_bytes(bytes);
        let is_cut = self.random.once_in(self.conditions.cuts_in_16, 16);
        let cut = if is_cut { self.random.below(count as u64) as usize } else { 0 };
        for part in [&bytes[..cut], &bytes[cut..]] {
            if !part.is_empty() {
                self.segment(end.peer(), latency, |pipe, at| pipe.send(part, at));
            }
        }
        Ok(count)
    }

    /// Sends a segment on its way to `to`.
    fn segment(&mut self, to: End, latency: Duration, put: impl FnOnce(&mut Pipe, Time)) {
        let at = self.now + latency + self.random.duration(&self.conditions.jitter);
        let Some(side) = self.links.side(to) else { return };
        let at = at.max(side.incoming.last_arrival);
        put(&mut side.incoming, at);
        self.push(at, Due::Arrival(to));
    }

    pub(super) fn arrive(&mut self, end: End) -> Option<Event> {
        let (now, drop_unread) = (self.now, self.random.once_in(1, 2));
        let link = self.links.get(end)?;
        if link.is_severed {
            return None;
        }
        let side = &mut link.sides[usize::from(end.side)];
        if !side.incoming.arrive(now, drop_unread) {
            return None;
        }
        if !side.is_open {
            self.refuse_bytes(end);
            return None;
        }
        if side.owner == Owner::Caller {
            self.note_event(Event::Input(end));
            return Some(Event::Input(end));
        }
        self.list(end);
        None
    }

    /// Bytes have come to a closed socket: the kernel answers with RST. An end or a reset is answered with nothing.
    fn refuse_bytes(&mut self, end: End) {
        let Some(link) = self.links.get(end) else { return };
        let latency = Duration::from_nanos(link.latency_ns);
        let side = &link.sides[usize::from(end.side)];
        let is_answered = side.incoming.has_unread() && !side.lingers;
        if is_answered && link.sides[usize::from(end.peer().side)].is_open {
            self.segment(end.peer(), latency, |pipe, at| pipe.send_reset(pipe.under_way(), at));
        }
    }

    pub(super) fn room(&mut self, end: End) -> Option<Event> {
        let link = self.links.get(end)?;
        let side = &mut link.sides[usize::from(end.side)];
        if link.is_severed || !side.is_open {
            return None;
        }
        if side.owner == Owner::Caller {
            self.note_event(Event::Room(end));
            return Some(Event::Room(end));
        }
        side.has_room = true;
        self.list(end);
        None
    }

    /// Reads to the front of `into`; 0: the peer has ended. [`Errno::AGAIN`]: nothing there.
    ///
    /// # Errors
    /// [`Errno::CONNRESET`] where the connection was cut.
    pub fn receive(&mut self, end: End, into: &mut [u8]) -> Result<usize, Errno> {
        let Some(link) = self.links.get(end) else { return Err(Errno::NOTCONN) };
        let latency = Duration::from_nanos(link.latency_ns);
        let pipe = &mut link.sides[usize::from(end.side)].incoming;
        let received = pipe.receive(into);
        let has_more = pipe.is_readable();
        let makes_room = pipe.is_writer_waiting && pipe.len() * 2 <= self.conditions.pipe_bytes;
        if makes_room {
            pipe.is_writer_waiting = false;
            self.push(self.now + latency, Due::Room(end.peer()));
        }
        // Level-triggered: what was left is ready still.
        if has_more && matches!(received, Ok(1..)) {
            self.list(end);
        }
        received
    }

    /// How long ago bytes last arrived at this end.
    pub(super) fn age(&mut self, end: End) -> Duration {
        let now = self.now;
        self.links.side(end).map_or(Duration::ZERO, |side| now.since(side.incoming.arrived_at))
    }

    /// Ends this side: the peer sees the end behind all bytes, and may go on sending.
    pub fn end_output(&mut self, end: End) {
        let Some(link) = self.links.get(end) else { return };
        let latency = Duration::from_nanos(link.latency_ns);
        let side = &mut link.sides[usize::from(end.side)];
        let is_over = side.incoming.error().is_some() || !side.is_open;
        if !std::mem::replace(&mut side.has_ended, true) && !is_over {
            self.segment(end.peer(), latency, |pipe, at| pipe.send_fin(at));
        }
    }

    /// Makes [`World::close`] cut the connection with RST, and drop what has not left.
    pub fn reset_on_close(&mut self, end: End) {
        if let Some(side) = self.links.side(end) {
            side.resets_on_close = true;
        }
    }

    /// Closes an end. The peer sees the end behind all bytes; RST where bytes were left unread or it was asked for.
    pub fn close(&mut self, end: End) {
        let Some(link) = self.links.get(end) else { return };
        let latency = Duration::from_nanos(link.latency_ns);
        let side = &mut link.sides[usize::from(end.side)];
        if !std::mem::replace(&mut side.is_open, false) {
            return;
        }
        let has_ended = std::mem::replace(&mut side.has_ended, true);
        let (resets, is_over) = (side.resets_on_close, side.incoming.error().is_some());
        let is_unread = side.incoming.has_unread();
        let peer = end.peer();
        let pipe = &link.sides[usize::from(peer.side)].incoming;
        let under_way = pipe.under_way() as u64;
        if !is_over && resets {
            let kept = self.random.below(under_way + 1) as usize;
            self.segment(peer, latency, |pipe, at| pipe.send_reset(kept, at));
        } else if !is_over && is_unread {
            self.segment(peer, latency, |pipe, at| pipe.send_reset(pipe.under_way(), at));
        } else if !is_over && !has_ended {
            self.segment(peer, latency, |pipe, at| pipe.send_fin(at));
        }
        self.links.release(end);
    }

    /// Closes an end whose owner lets the kernel and the driver see to the rest: `unsent` leaves behind what was written, then
    /// the end, and bytes that still come are taken and dropped instead of answered with RST.
    pub(super) fn finish(&mut self, end: End, unsent: &[u8]) {
        let Some(link) = self.links.get(end) else { return };
        let latency = Duration::from_nanos(link.latency_ns);
        let side = &mut link.sides[usize::from(end.side)];
        side.lingers = true;
        side.is_open = false;
        let has_ended = std::mem::replace(&mut side.has_ended, true);
        if side.incoming.error().is_none() && !has_ended {
            self.note_bytes(unsent);
            if !unsent.is_empty() {
                self.segment(end.peer(), latency, |pipe, at| pipe.send(unsent, at));
            }
            self.segment(end.peer(), latency, |pipe, at| pipe.send_fin(at));
        }
        self.links.release(end);
    }

    /// From now on nothing arrives on this link, on either side, and nobody is told: a peer that is half-open.
    pub fn sever(&mut self, end: End) {
        if let Some(link) = self.links.get(end) {
            link.is_severed = true;
        }
    }

    pub(super) fn watch(&mut self, end: End, conn: ConnId, interest: Interest) {
        let Some(side) = self.links.side(end) else { return };
        if let Owner::Shard { watched, .. } = &mut side.owner {
            *watched = Some((conn, interest));
        }
        if side.incoming.is_readable() {
            self.list(end);
        }
    }

    pub(super) fn connect_outcome(&mut self, end: End) -> Result<(), Errno> {
        match self.links.side(end) {
            Some(side) => side.incoming.error().map_or(Ok(()), Err),
            None => Err(Errno::NOTCONN),
        }
    }
}
