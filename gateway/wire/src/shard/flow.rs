//! The two ways of a connection apart: input that is left waiting, and sides that end one after the other; and a door that is shut.
//!
//! What an application needs that passes bytes on: it may not read faster than the other side takes them, and an end that comes
//! on one connection must reach the other behind the bytes. Who asks for none of this pays nothing for it.

use super::io::State;
use super::step::{Interest, Sockets, Step};
use super::{Application, Closed, ConnId, Io};
use std::time::Duration;

/// Bits of `Slot::wants`. Input stays with the kernel.
const PAUSED: u8 = 1 << 2;
/// The peer's end leaves our side open.
const HALVES: u8 = 1 << 3;
/// The peer has ended its side.
const INPUT_OVER: u8 = 1 << 4;
/// Our side ends behind what was written.
pub(super) const OUTPUT_ENDS: u8 = 1 << 5;
/// It has.
const OUTPUT_OVER: u8 = 1 << 6;

impl<M> Io<M> {
    /// Leaves what comes on `conn` with the kernel, so that the peer has to wait, until [`Io::resume_input`].
    ///
    /// An end that lies behind it is not seen either; a reset is. Not for connections with TLS, whose session has to read.
    pub fn pause_input(&mut self, conn: ConnId) {
        self.change(conn, |wants| wants | PAUSED);
    }

    /// Takes input again.
    pub fn resume_input(&mut self, conn: ConnId) {
        self.change(conn, |wants| wants & !PAUSED);
    }

    /// Whether newcomers are taken. If no shard takes any, whoever connects is refused by the kernel, and those that wait to be accepted
    /// are reset. From this step's end on; where descriptors are short, a door opens as soon as there is one.
    pub fn accept(&mut self, are_wanted: bool) {
        self.accepts = are_wanted;
    }

    /// From now on the peer's end is told by [`Application::input_ended`] and leaves our side open. The connection is over,
    /// with [`Closed::Eof`], when both sides have ended. With TLS an end stays the end of both.
    pub fn keep_halves(&mut self, conn: ConnId) {
        self.change(conn, |wants| wants | HALVES);
    }

    /// Ends our side of an open connection without TLS behind what was written; nothing can be written after it. Input still comes.
    pub fn end_output(&mut self, conn: ConnId) {
        if self.is_open(conn) {
            self.change(conn, |wants| wants | OUTPUT_ENDS);
            self.mark_dirty(conn);
        }
    }

    /// What the socket is to be watched for once it is open.
    pub(super) fn interest(&self, conn: ConnId) -> Interest {
        let is_blocked = self.is_blocked(conn);
        match (self.takes_input(conn), is_blocked) {
            (true, false) => Interest::Input,
            (true, true) => Interest::InputAndRoom,
            (false, true) => Interest::Room,
            (false, false) => Interest::Failure,
        }
    }

    pub(super) fn takes_input(&self, conn: ConnId) -> bool {
        self.wants(conn) & (PAUSED | INPUT_OVER) == 0
    }

    fn wants(&self, conn: ConnId) -> u8 {
        self.slot(conn).map_or(0, |slot| slot.wants)
    }

    fn change(&mut self, conn: ConnId, change: impl Fn(u8) -> u8) {
        let Some(slot) = self.slot_mut(conn) else { return };
        let (before, after) = (slot.wants, change(slot.wants));
        slot.wants = after;
        if (before ^ after) & (PAUSED | INPUT_OVER) != 0 {
            self.rewatched.push(conn);
        }
    }
}

impl<A: Application, K> Step<A, K> {
    /// Watches for what is wanted now.
    pub(super) fn rewatch<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let is_open =
            self.io.slot(conn).is_some_and(|slot| matches!(slot.state, State::Open | State::Closing));
        if let Some(connection) = self.connection(conn).filter(|_| is_open) {
            sockets.watch(conn, &connection.socket, self.io.interest(conn));
        }
    }

    /// Shows the application again what it has left of the input.
    pub(super) fn show_again(&mut self, conn: ConnId) {
        if self.io.slot(conn).is_none_or(|slot| slot.state != State::Open) {
            return;
        }
        let place = self.connections.get_mut(conn.index as usize).and_then(Option::as_mut);
        if let Some(tail) = place.and_then(|connection| connection.tail.take()) {
            self.receive[..tail.len()].copy_from_slice(&tail);
            self.io.note_arrival(conn, || Duration::ZERO);
            self.deliver(conn, tail.len());
        }
    }

    /// The peer has ended its side.
    pub(super) fn input_over(&mut self, conn: ConnId) {
        let wants = self.io.wants(conn);
        if wants & HALVES == 0 || wants & OUTPUT_OVER != 0 || !self.io.is_open(conn) {
            return self.io.end(conn, Closed::Eof);
        }
        self.io.change(conn, |wants| wants | INPUT_OVER);
        self.application.input_ended(conn, &mut self.io);
    }

    /// All that was written has left: ends our side if that was asked for. True: both sides have ended.
    pub(super) fn end_output<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) -> bool {
        let wants = self.io.wants(conn);
        if wants & OUTPUT_ENDS == 0 || wants & OUTPUT_OVER != 0 {
            return false;
        }
        if let Some(connection) = self.connection(conn) {
            sockets.end_output(&connection.socket);
        }
        self.io.change(conn, |wants| wants | OUTPUT_OVER);
        wants & INPUT_OVER != 0
    }
}
