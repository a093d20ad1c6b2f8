//! One step of a shard: what every driver does with the application and its connections, whatever carries the bytes.
//!
//! A driver finds out what is ready and calls, in this order: [`Step::accept`] and [`Step::ready`] for all input,
//! [`Step::take_mail`], [`Step::expire_timers`], [`Step::finish`]. [`Sockets`] is what it lends for that.

use super::io::{Connect, State};
use super::mailbox::Outboxes;
use super::tls::Tls;
use super::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex};
use crate::time::Time;
use rustix::io::Errno;
use std::net::SocketAddr;
use std::time::Duration;

/// Shared receive buffer of a shard: idle connections own none. Also the longest run of bytes an application can ask to see at once.
pub const RECEIVE_BYTES: usize = 256 * 1024;
/// Output that may leave after [`Io::close`]. Who has let more pile up is reset.
const LAST_BYTES_MAX: usize = 64 * 1024;
/// Reads of one connection in a row before others get their turn.
pub(super) const READS_IN_A_ROW_MAX: usize = 16;

/// What a socket is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// The outcome of a connect.
    Connect,
    /// Bytes, or the peer's end.
    Input,
    /// The same, and room to write.
    InputAndRoom,
    /// Room to write; input is left where it is.
    Room,
    /// Only that the peer or the network has cut it, as with all others.
    Failure,
}

/// What a socket is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readiness {
    /// There are bytes, or an end or error to be read.
    pub(super) input: bool,
    /// There is room to write.
    pub(super) room: bool,
    /// The peer or the network has cut it.
    pub(super) failed: bool,
}

/// The sockets of a driver: the kernel's, or simulated ones. A type parameter of each call, so that it costs nothing.
pub(super) trait Sockets {
    /// One end of a connection.
    type Socket;

    /// Begins to open a connection, not watched yet.
    fn connect(&mut self, connect: &Connect) -> std::io::Result<Self::Socket>;

    /// Whether a connect that was just begun is over already, and well: nobody will be told.
    fn is_connected(&mut self, connect: &Connect, socket: &Self::Socket) -> bool {
        let _ = (connect, socket);
        false
    }

    /// How a connect has ended.
    fn connect_outcome(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// Begins to watch. False: it cannot be watched, and so not be used.
    fn add(&mut self, conn: ConnId, socket: &Self::Socket, interest: Interest) -> bool;

    /// Changes what is watched for.
    fn watch(&mut self, conn: ConnId, socket: &Self::Socket, interest: Interest);

    /// Moves received bytes to the front of `into`; 0: the peer has ended; [`Errno::AGAIN`]: none at present.
    fn receive(&mut self, socket: &Self::Socket, into: &mut [u8]) -> Result<usize, Errno>;

    /// How long ago the last bytes arrived that were there to be received; zero where nobody can say.
    fn age(&mut self, socket: &Self::Socket) -> Duration {
        let _ = socket;
        Duration::ZERO
    }

    /// Sends from the front of `bytes`; gives how many were taken. [`Errno::AGAIN`]: none at present.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> Result<usize, Errno>;

    /// Ends our side; the peer sees the end behind all bytes.
    fn end_output(&mut self, socket: &Self::Socket);

    /// Makes [`Sockets::close`] cut the connection with RST.
    fn reset_on_close(&mut self, socket: &Self::Socket);

    /// Gives the socket up.
    fn close(&mut self, socket: Self::Socket);

    /// Gives the socket up once `unsent` has left and the peer has seen it. True: that is done; false: the driver keeps the
    /// socket for a while, and gives its seat back if it has one.
    fn finish(&mut self, socket: Self::Socket, unsent: &[u8], is_seated: bool) -> bool {
        let _ = (unsent, is_seated);
        self.close(socket);
        true
    }
}

/// An application with its connections on sockets of type `K`.
pub(super) struct Step<A: Application, K> {
    pub(super) application: A,
    pub(super) io: Io<A::Mail>,
    seats: Seats,
    pub(super) connections: Vec<Option<Connection<K>>>,
    pub(super) receive: Box<[u8]>,
    /// What a TLS session makes of its input, and what it must send by itself; kept for their capacity only.
    pub(super) plain: Vec<u8>,
    pub(super) records: Vec<u8>,
    due: Vec<u64>,
}

pub(super) struct Connection<K> {
    pub(super) socket: K,
    /// It was accepted and so takes a seat.
    is_seated: bool,
    /// `None`: what is sent is what the application wrote.
    pub(super) tls: Option<Box<Tls>>,
    /// An incomplete frame, until the rest of it comes.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 on each idle connection")]
    pub(super) tail: Option<Box<Vec<u8>>>,
}

impl<A: Application, K> Step<A, K> {
    pub(super) fn new(now: Time, mail: Outboxes<A::Mail>, seats: Seats, application: A) -> Step<A, K> {
        Step {
            application,
            io: Io::new(now, mail),
            seats,
            connections: Vec::new(),
            receive: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            plain: Vec::new(),
            records: Vec::new(),
            due: Vec::new(),
        }
    }

    /// When the next step is due even if nothing comes in.
    pub(super) fn deadline(&self) -> Option<Time> {
        [self.io.timers.next(), self.application.deadline()].into_iter().flatten().min()
    }

    /// Takes a newcomer in, or resets it at the door.
    pub(super) fn accept<S: Sockets<Socket = K>>(&mut self, socket: K, peer: SocketAddr, sockets: &mut S) {
        if !self.seats.take() {
            return self.turn_away(socket, sockets);
        }
        let Ok(tls) = self.io.acceptor.clone().map(Tls::server).transpose() else {
            self.seats.give_back();
            return self.turn_away(socket, sockets);
        };
        let conn = self.io.allocate(State::Open);
        if self.register(conn, socket, tls, Interest::Input, sockets) {
            if let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) {
                connection.is_seated = true;
            }
            self.application.opened(conn, Origin::Accepted(peer), &mut self.io);
        } else {
            self.seats.give_back();
            self.io.release(conn);
        }
    }

    /// Resets a newcomer for whom there is no room.
    pub(super) fn turn_away<S: Sockets<Socket = K>>(&mut self, socket: K, sockets: &mut S) {
        sockets.reset_on_close(&socket);
        sockets.close(socket);
        self.application.turned_away(&mut self.io);
    }

    /// A socket is ready: writes what waited for room, and takes all input there is.
    pub(super) fn ready<S: Sockets<Socket = K>>(
        &mut self,
        conn: ConnId,
        readiness: Readiness,
        sockets: &mut S,
    ) {
        match self.io.slot(conn).map(|slot| slot.state) {
            Some(State::Connecting) => self.connected(conn, sockets),
            Some(State::Open | State::Closing) => {
                if readiness.room {
                    self.write(conn, sockets);
                }
                if !self.io.takes_input(conn) {
                    if readiness.failed {
                        self.io.end(conn, Closed::Reset);
                    }
                } else if readiness.input {
                    self.read(conn, sockets);
                }
            }
            Some(State::Free | State::Ended) | None => {}
        }
    }

    /// Hands over mail from other nodes, and then what the application has written to itself.
    pub(super) fn take_mail(&mut self, mail: &mut Vec<(ShardIndex, A::Mail)>) {
        for (from, mail) in mail.drain(..) {
            self.application.mail(from, mail, &mut self.io);
        }
        self.take_local_mail();
    }

    fn take_local_mail(&mut self) {
        while let Some(mail) = self.io.mail.take_local() {
            let from = self.io.shard();
            self.application.mail(from, mail, &mut self.io);
        }
    }

    pub(super) fn expire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.io.timers.expire(self.io.now(), &mut due);
        for key in due.drain(..) {
            self.application.timer(key, &mut self.io);
        }
        self.due = due;
    }

    /// Ends the step and carries out what it asked for: connects, resets, writes, ends. An end may ask for more.
    pub(super) fn finish<S: Sockets<Socket = K>>(&mut self, sockets: &mut S) {
        self.application.step_done(&mut self.io);
        loop {
            for connect in std::mem::take(&mut self.io.connects) {
                self.connect(connect, sockets);
            }
            for conn in std::mem::take(&mut self.io.resets) {
                if let Some(connection) = self.connection(conn) {
                    sockets.reset_on_close(&connection.socket);
                }
                self.io.end(conn, Closed::Local);
            }
            for conn in std::mem::take(&mut self.io.again) {
                self.show_again(conn);
            }
            for conn in std::mem::take(&mut self.io.rewatched) {
                self.rewatch(conn, sockets);
            }
            let mut dirty = std::mem::take(&mut self.io.dirty);
            for conn in dirty.drain(..) {
                self.write(conn, sockets);
            }
            if self.io.dirty.is_empty() {
                self.io.dirty = dirty;
            }
            let ended = std::mem::take(&mut self.io.ended);
            for (conn, how) in ended {
                self.forget(conn, sockets);
                self.application.closed(conn, how, &mut self.io);
                self.io.release(conn);
            }
            self.take_local_mail();
            let io = &self.io;
            let is_done = io.dirty.is_empty() && io.ended.is_empty() && io.connects.is_empty();
            if is_done && io.resets.is_empty() && io.again.is_empty() && io.rewatched.is_empty() {
                return;
            }
        }
    }

    /// The shard is over: cuts what is still open.
    pub(super) fn reset_all<S: Sockets<Socket = K>>(&mut self, sockets: &mut S) {
        for connection in self.connections.drain(..).flatten() {
            sockets.reset_on_close(&connection.socket);
            sockets.close(connection.socket);
        }
    }

    fn forget<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let place = self.connections.get_mut(conn.index as usize);
        let Some(connection) = place.and_then(Option::take) else { return };
        if connection.is_seated {
            self.seats.give_back();
        }
        sockets.close(connection.socket);
    }

    pub(super) fn connection(&self, conn: ConnId) -> Option<&Connection<K>> {
        self.io.slot(conn)?;
        self.connections.get(conn.index as usize)?.as_ref()
    }

    fn register<S: Sockets<Socket = K>>(
        &mut self,
        conn: ConnId,
        socket: K,
        tls: Option<Tls>,
        interest: Interest,
        sockets: &mut S,
    ) -> bool {
        let index = conn.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, || None);
        }
        let is_added = sockets.add(conn, &socket, interest);
        if is_added {
            self.connections[index] =
                Some(Connection { socket, is_seated: false, tls: tls.map(Box::new), tail: None });
        } else {
            sockets.close(socket);
        }
        is_added
    }

    fn connect<S: Sockets<Socket = K>>(&mut self, mut connect: Connect, sockets: &mut S) {
        let Ok(tls) = connect.tls.take().map(Tls::client).transpose() else {
            return self.io.end(connect.conn, Closed::Tls);
        };
        let begun = sockets.connect(&connect).map(|socket| {
            let is_over = sockets.is_connected(&connect, &socket);
            let interest = if is_over { self.io.interest(connect.conn) } else { Interest::Connect };
            (self.register(connect.conn, socket, tls, interest, sockets), is_over)
        });
        match begun {
            Ok((true, true)) => self.opened(connect.conn),
            Ok((true, false)) => {}
            Ok((false, _)) => self.io.end(connect.conn, Closed::ConnectFailed(std::io::ErrorKind::Other)),
            Err(error) => self.io.end(connect.conn, Closed::ConnectFailed(error.kind())),
        }
    }

    fn connected<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let Some(connection) = self.connection(conn) else { return };
        match sockets.connect_outcome(&connection.socket) {
            Ok(()) => {
                sockets.watch(conn, &connection.socket, self.io.interest(conn));
                self.opened(conn);
            }
            Err(error) => self.io.end(conn, Closed::ConnectFailed(std::io::Error::from(error).kind())),
        }
    }

    /// A connect has succeeded.
    fn opened(&mut self, conn: ConnId) {
        if let Some(slot) = self.io.slot_mut(conn) {
            slot.state = State::Open;
        }
        self.begin_handshake(conn);
        self.application.opened(conn, Origin::Connected, &mut self.io);
    }

    fn read<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        for _ in 0..READS_IN_A_ROW_MAX {
            let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) else { return };
            if connection.tls.is_some() {
                return self.read_sealed(conn, sockets);
            }
            let kept = connection.tail.take().map_or(0, |tail| {
                self.receive[..tail.len()].copy_from_slice(&tail);
                tail.len()
            });
            let room = self.receive.len() - kept;
            match sockets.receive(&connection.socket, &mut self.receive[kept..]) {
                Ok(0) => return self.input_over(conn),
                Ok(bytes) => {
                    self.io.note_arrival(conn, || sockets.age(&connection.socket));
                    if !self.deliver(conn, kept + bytes) || bytes < room || !self.io.takes_input(conn) {
                        return;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return self.keep_tail(conn, 0, kept),
                Err(_) => return self.io.end(conn, Closed::Reset),
            }
        }
    }

    /// Shows the first `filled` bytes of the receive buffer to the application. False: the connection is over.
    pub(super) fn deliver(&mut self, conn: ConnId, filled: usize) -> bool {
        let taken = self.application.received(conn, &mut self.receive[..filled], &mut self.io).min(filled);
        if self.io.slot(conn).is_none_or(|slot| slot.state != State::Open) {
            return false;
        }
        if taken == 0 && filled == self.receive.len() {
            // The application wants to see more at once than there ever is room for.
            self.io.reset(conn);
            return false;
        }
        self.keep_tail(conn, taken, filled);
        true
    }

    fn keep_tail(&mut self, conn: ConnId, from: usize, to: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(conn.index as usize) {
            connection.tail = (from < to).then(|| Box::new(self.receive[from..to].to_vec()));
        }
    }

    fn write<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        self.write_unsent(conn, sockets);
        if self.io.take_drained(conn) {
            self.application.drained(conn, &mut self.io);
        }
    }

    fn write_unsent<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let Some(slot) = self.io.slot(conn) else { return };
        let (was_blocked, closing) = (slot.blocked, slot.state == State::Closing);
        let Some(Some(connection)) = self.connections.get(conn.index as usize) else { return };
        let flushed = if connection.tls.is_some() {
            match self.flush_sealed(conn, closing, sockets) {
                Ok(flushed) => flushed,
                Err(how) => return self.io.end(conn, how),
            }
        } else {
            let bytes = self.io.unsent(conn);
            let sent = if bytes.is_empty() { Ok(0) } else { sockets.send(&connection.socket, bytes) };
            match sent {
                Ok(bytes) => self.io.sent(conn, bytes),
                Err(Errno::AGAIN | Errno::INTR) => false,
                Err(_) => return self.io.end(conn, Closed::Reset),
            }
        };
        if flushed && self.end_output(conn, sockets) {
            return self.io.end(conn, Closed::Eof);
        }
        if !closing && was_blocked != flushed {
            return;
        }
        let Some(Some(connection)) = self.connections.get(conn.index as usize) else { return };
        if closing {
            if self.io.unsent(conn).len() > LAST_BYTES_MAX {
                sockets.reset_on_close(&connection.socket);
            } else {
                self.hang_up(conn, sockets);
            }
            return self.io.end(conn, Closed::Local);
        }
        if let Some(slot) = self.io.slot_mut(conn) {
            slot.blocked = !flushed;
        }
        sockets.watch(conn, &connection.socket, self.io.interest(conn));
    }

    /// The application is done with it; the peer may not be.
    pub(super) fn hang_up<S: Sockets<Socket = K>>(&mut self, conn: ConnId, sockets: &mut S) {
        let place = self.connections.get_mut(conn.index as usize);
        let Some(connection) = place.and_then(Option::take) else { return };
        let is_over = sockets.finish(connection.socket, self.io.unsent(conn), connection.is_seated);
        if is_over && connection.is_seated {
            self.seats.give_back();
        }
    }
}
