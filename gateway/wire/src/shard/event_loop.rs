//! The production driver: one thread, one epoll, one descriptor table.

use super::io::{Connect, State};
use super::mailbox::Mailbox;
use super::table::ShardFd;
use super::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex};
use crate::sys;
use crate::time::Time;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use std::io as stdio;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

/// Shared receive buffer of a shard: idle connections own none. Also the longest run of bytes an application can ask to see at once.
pub const RECEIVE_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 1024;
/// Reads of one connection in a row before others get their turn.
const READS_IN_A_ROW_MAX: usize = 16;
/// Polls in a row before timers and mail get their turn.
const POLLS_IN_A_ROW_MAX: usize = 64;
const ACCEPTS_IN_A_ROW_MAX: usize = 256;
/// How soon to come back when another shard's ring is full.
const RETRY: Duration = Duration::from_millis(1);

const DOORBELL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// What a shard is given.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on, shared with the other shards by SO_REUSEPORT; `None`: this shard only connects.
    pub listen: Option<SocketAddr>,
    /// Where none is free newcomers are reset at the door.
    pub seats: Seats,
    /// The kernel's slack on this thread's timeouts; the default of 50 µs is too coarse for a load schedule.
    pub timer_slack: Duration,
}

/// Whether shards could be given descriptor tables of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Each shard has its own: the process limit holds per shard.
    Split,
    /// Kernel or seccomp refused: all shards share one limit.
    Shared,
}

/// Runs a shard on the calling thread until the application stops it. Its first act is to split the descriptor table.
///
/// `ready` is called once, when the listener takes connections or when it could not be made.
pub fn run<A: Application>(
    config: &Config,
    mailbox: Mailbox<A::Mail>,
    application: impl FnOnce() -> A,
    ready: impl FnOnce(stdio::Result<Tables>),
) {
    let keep: Vec<_> = mailbox.doorbell_fds().map(|fd| fd.as_raw_fd()).collect();
    let tables = match sys::split_descriptor_table(&keep) {
        Ok(()) => Tables::Split,
        Err(_) => Tables::Shared,
    };
    // Zero is not a slack the kernel takes; a refusal only makes timeouts coarser, which the send lag then shows.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(config.timer_slack.as_nanos() as u64));
    match Loop::new(config, mailbox, application()) {
        Ok(mut event_loop) => {
            ready(Ok(tables));
            event_loop.run();
        }
        Err(error) => ready(Err(error)),
    }
}

struct Loop<A: Application> {
    application: A,
    io: Io<A::Mail>,
    epoll: ShardFd,
    listener: Option<ShardFd>,
    /// Given up for a moment to accept, and reset, a connection when the table is full.
    spare: Option<ShardFd>,
    seats: Seats,
    sockets: Vec<Option<Socket>>,
    receive: Box<[u8]>,
    mail: Vec<(ShardIndex, A::Mail)>,
    due: Vec<u64>,
}

struct Socket {
    fd: ShardFd,
    /// It was accepted and so takes a seat.
    is_seated: bool,
    /// An incomplete frame, until the rest of it comes.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 on each idle connection")]
    tail: Option<Box<Vec<u8>>>,
}

impl<A: Application> Loop<A> {
    fn new(config: &Config, mailbox: Mailbox<A::Mail>, application: A) -> stdio::Result<Loop<A>> {
        let epoll = ShardFd::from(epoll::create(CreateFlags::CLOEXEC)?);
        epoll::add(&epoll, mailbox.doorbell(), EventData::new_u64(DOORBELL), EventFlags::IN)?;
        let listener = config.listen.map(listen).transpose()?;
        if let Some(listener) = &listener {
            epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        }
        Ok(Loop {
            application,
            io: Io::new(Time::now(), mailbox),
            epoll,
            listener,
            spare: Some(spare()?),
            seats: config.seats.clone(),
            sockets: Vec::new(),
            receive: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            mail: Vec::new(),
            due: Vec::new(),
        })
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.io.stopping {
            self.io.mailbox.flush();
            let timeout = self.timeout();
            self.poll(&mut events, timeout);
            self.io.mailbox.awake();
            self.io.set_now(Time::now());
            self.take_input(&mut events);
            self.take_mail();
            self.expire_timers();
            self.application.step_done(&mut self.io);
            self.carry_out();
        }
        self.io.mailbox.flush();
        for socket in self.sockets.drain(..).flatten() {
            set_reset_on_close(&socket.fd);
        }
    }

    /// How long nothing is due. Zero if mail is already there.
    fn timeout(&mut self) -> Option<Duration> {
        let unsent = self.io.mailbox.has_unsent().then(|| self.io.now() + RETRY);
        let next = [self.io.timers.next(), self.application.deadline(), unsent].into_iter().flatten().min();
        let timeout = next.map(|next| next.since(Time::now()));
        if timeout == Some(Duration::ZERO) || self.io.mailbox.may_sleep() {
            timeout
        } else {
            Some(Duration::ZERO)
        }
    }

    fn poll(&self, events: &mut Vec<epoll::Event>, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| rustix::event::Timespec::try_from(timeout).ok());
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => unreachable!("epoll_wait on our own descriptor: {error}"),
        }
    }

    /// Takes all input that is ready, so that no timer fires for something that has already arrived.
    fn take_input(&mut self, events: &mut Vec<epoll::Event>) {
        for _ in 0..POLLS_IN_A_ROW_MAX {
            for event in events.iter() {
                match event.data.u64() {
                    DOORBELL => {}
                    LISTENER => self.accept(),
                    bits => self.socket_event(ConnId::from_bits(bits), event.flags),
                }
            }
            if events.len() < EVENTS_MAX {
                return;
            }
            self.poll(events, Some(Duration::ZERO));
        }
    }

    fn take_mail(&mut self) {
        let mut mail = std::mem::take(&mut self.mail);
        self.io.mailbox.receive(&mut mail);
        for (from, mail) in mail.drain(..) {
            self.application.mail(from, mail, &mut self.io);
        }
        self.mail = mail;
        while let Some(mail) = self.io.mailbox.take_local() {
            let from = self.io.shard();
            self.application.mail(from, mail, &mut self.io);
        }
    }

    fn expire_timers(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.io.timers.expire(self.io.now(), &mut due);
        for key in due.drain(..) {
            self.application.timer(key, &mut self.io);
        }
        self.due = due;
    }

    /// Carries out what the step asked for: connects, resets, writes, ends. An end may ask for more.
    fn carry_out(&mut self) {
        loop {
            for connect in std::mem::take(&mut self.io.connects) {
                self.connect(&connect);
            }
            for conn in std::mem::take(&mut self.io.resets) {
                if let Some(socket) = self.socket(conn) {
                    set_reset_on_close(&socket.fd);
                }
                self.io.end(conn, Closed::Local);
            }
            let mut dirty = std::mem::take(&mut self.io.dirty);
            for conn in dirty.drain(..) {
                self.write(conn);
            }
            if self.io.dirty.is_empty() {
                self.io.dirty = dirty;
            }
            let ended = std::mem::take(&mut self.io.ended);
            for (conn, how) in ended {
                if self.sockets[conn.index as usize].take().is_some_and(|socket| socket.is_seated) {
                    self.seats.give_back();
                }
                self.application.closed(conn, how, &mut self.io);
                self.io.release(conn);
            }
            while let Some(mail) = self.io.mailbox.take_local() {
                let from = self.io.shard();
                self.application.mail(from, mail, &mut self.io);
            }
            let io = &self.io;
            if io.dirty.is_empty() && io.ended.is_empty() && io.connects.is_empty() && io.resets.is_empty() {
                return;
            }
        }
    }

    fn socket(&self, conn: ConnId) -> Option<&Socket> {
        self.io.slot(conn)?;
        self.sockets.get(conn.index as usize)?.as_ref()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_IN_A_ROW_MAX {
            let Some(listener) = &self.listener else { return };
            match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, _)) if !self.seats.take() => {
                    set_reset_on_close(&ShardFd::from(fd));
                    self.application.turned_away(&mut self.io);
                }
                Ok((fd, address)) => {
                    let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
                    self.accepted(ShardFd::from(fd), peer.unwrap_or(([0, 0, 0, 0], 0).into()));
                }
                Err(Errno::MFILE | Errno::NFILE) => {
                    self.turn_away();
                    return;
                }
                // Nothing more to accept, or a connection that was gone before it was accepted.
                Err(Errno::AGAIN) => return,
                Err(_) => {}
            }
        }
    }

    /// The descriptor table is full: nobody may be left in the backlog, so the spare descriptor makes room for a refusal.
    fn turn_away(&mut self) {
        self.spare = None;
        if let Some(listener) = &self.listener
            && let Ok(fd) = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
        {
            set_reset_on_close(&ShardFd::from(fd));
            self.application.turned_away(&mut self.io);
        }
        self.spare = spare().ok();
    }

    fn accepted(&mut self, fd: ShardFd, peer: SocketAddr) {
        let conn = self.io.allocate(State::Open);
        if self.register(conn, fd, EventFlags::IN | EventFlags::RDHUP) {
            if let Some(Some(socket)) = self.sockets.get_mut(conn.index as usize) {
                socket.is_seated = true;
            }
            self.application.opened(conn, Origin::Accepted(peer), &mut self.io);
        } else {
            self.seats.give_back();
            self.io.release(conn);
        }
    }

    fn register(&mut self, conn: ConnId, fd: ShardFd, flags: EventFlags) -> bool {
        let index = conn.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let added = epoll::add(&self.epoll, &fd, EventData::new_u64(conn.to_bits()), flags).is_ok();
        if added {
            self.sockets[index] = Some(Socket { fd, tail: None, is_seated: false });
        }
        added
    }

    fn connect(&mut self, connect: &Connect) {
        let index = connect.conn.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let begun = begin_connect(connect.to, connect.from)
            .map(|fd| self.register(connect.conn, fd, EventFlags::OUT));
        match begun {
            Ok(true) => {}
            Ok(false) => self.io.end(connect.conn, Closed::ConnectFailed(stdio::ErrorKind::Other)),
            Err(error) => self.io.end(connect.conn, Closed::ConnectFailed(error.kind())),
        }
    }

    fn socket_event(&mut self, conn: ConnId, flags: EventFlags) {
        match self.io.slot(conn).map(|slot| slot.state) {
            Some(State::Connecting) => self.connected(conn),
            Some(State::Open | State::Closing) => {
                if flags.contains(EventFlags::OUT) {
                    self.write(conn);
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
                    self.read(conn);
                }
            }
            Some(State::Free | State::Ended) | None => {}
        }
    }

    fn connected(&mut self, conn: ConnId) {
        let Some(socket) = self.socket(conn) else { return };
        match rustix::net::sockopt::socket_error(&socket.fd) {
            Ok(Ok(())) => {
                self.watch(conn, EventFlags::IN | EventFlags::RDHUP);
                if let Some(slot) = self.io.slot_mut(conn) {
                    slot.state = State::Open;
                }
                self.application.opened(conn, Origin::Connected, &mut self.io);
            }
            Ok(Err(error)) | Err(error) => {
                self.io.end(conn, Closed::ConnectFailed(stdio::Error::from(error).kind()));
            }
        }
    }

    fn watch(&self, conn: ConnId, flags: EventFlags) {
        if let Some(socket) = self.socket(conn) {
            // The descriptor is registered for as long as it is in the table.
            let _ = epoll::modify(&self.epoll, &socket.fd, EventData::new_u64(conn.to_bits()), flags);
        }
    }

    fn read(&mut self, conn: ConnId) {
        for _ in 0..READS_IN_A_ROW_MAX {
            let Some(Some(socket)) = self.sockets.get_mut(conn.index as usize) else { return };
            let kept = socket.tail.take().map_or(0, |tail| {
                self.receive[..tail.len()].copy_from_slice(&tail);
                tail.len()
            });
            let room = self.receive.len() - kept;
            match rustix::net::recv(&socket.fd, &mut self.receive[kept..], RecvFlags::empty()) {
                Ok((0, _)) => return self.io.end(conn, Closed::Eof),
                Ok((bytes, _)) => {
                    if !self.deliver(conn, kept + bytes) || bytes < room {
                        return;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return self.keep_tail(conn, 0, kept),
                Err(_) => return self.io.end(conn, Closed::Reset),
            }
        }
    }

    /// Shows the first `filled` bytes of the receive buffer to the application. False: the connection is over.
    fn deliver(&mut self, conn: ConnId, filled: usize) -> bool {
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
        if let Some(Some(socket)) = self.sockets.get_mut(conn.index as usize) {
            socket.tail = (from < to).then(|| Box::new(self.receive[from..to].to_vec()));
        }
    }

    fn write(&mut self, conn: ConnId) {
        let Some(slot) = self.io.slot(conn) else { return };
        let (was_blocked, closing) = (slot.blocked, slot.state == State::Closing);
        let Some(Some(socket)) = self.sockets.get(conn.index as usize) else { return };
        let bytes = self.io.unsent(conn);
        let sent =
            if bytes.is_empty() { Ok(0) } else { rustix::net::send(&socket.fd, bytes, SendFlags::NOSIGNAL) };
        let flushed = match sent {
            Ok(bytes) => self.io.sent(conn, bytes),
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => return self.io.end(conn, Closed::Reset),
        };
        if closing {
            if !flushed {
                set_reset_on_close(&socket.fd);
            }
            return self.io.end(conn, Closed::Local);
        }
        if was_blocked == flushed {
            let out = if flushed { EventFlags::empty() } else { EventFlags::OUT };
            self.watch(conn, EventFlags::IN | EventFlags::RDHUP | out);
            if let Some(slot) = self.io.slot_mut(conn) {
                slot.blocked = !flushed;
            }
        }
    }
}

fn spare() -> stdio::Result<ShardFd> {
    Ok(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).map(ShardFd::from)?)
}

fn listen(address: SocketAddr) -> stdio::Result<ShardFd> {
    let socket = reusable(address)?;
    socket.set_reuse_port(true)?;
    // Inherited by every accepted socket.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(ShardFd::from(std::os::fd::OwnedFd::from(socket)))
}

fn reusable(address: SocketAddr) -> stdio::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A port held for shards to listen on.
#[derive(Debug)]
pub struct Reserved {
    /// The address with its port, also where port 0 was asked for.
    pub address: SocketAddr,
    _held: socket2::Socket,
}

/// Reserves `address`, so that all shards can share a port chosen by the kernel, and a busy port is an error.
///
/// SO_REUSEPORT alone would share the port silently with another gateway of the same user.
pub fn reserve(address: SocketAddr) -> stdio::Result<Reserved> {
    let alone = reusable(address)?;
    alone.bind(&address.into())?;
    let unroutable = || stdio::Error::other("the kernel gave an address that is not IP");
    let address = alone.local_addr()?.as_socket().ok_or_else(unroutable)?;
    drop(alone);
    let held = reusable(address)?;
    held.set_reuse_port(true)?;
    held.bind(&address.into())?;
    Ok(Reserved { address, _held: held })
}

fn begin_connect(to: SocketAddr, from: Option<IpAddr>) -> stdio::Result<ShardFd> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(from) = from {
        sys::bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(ShardFd::from(std::os::fd::OwnedFd::from(socket)))
}

fn set_reset_on_close(fd: &ShardFd) {
    // If the peer is gone already there is nothing left to reset.
    let _ = rustix::net::sockopt::set_socket_linger(fd, Some(Duration::ZERO));
}
