//! The production driver: one thread, one epoll, one descriptor table.

use super::io::Connect;
use super::linger::Linger;
use super::mailbox::{Mailbox, Rings};
use super::steering::Steering;
use super::step::{Interest, Readiness, Sockets, Step};
use super::table::ShardFd;
use super::{Application, ConnId, Seats, ShardIndex};
use crate::sys;
use crate::time::Time;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};
use std::io as stdio;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::Duration;

pub use super::step::RECEIVE_BYTES;

/// Sockets served in one step. The rest have their turn in the next, so that who has a schedule to keep is not held up by ten
/// thousand connections that end at once.
const EVENTS_MAX: usize = 1024;
/// Steps in a row that leave input unread, and so timers unexpired, before timers get their turn all the same.
const STEPS_WITHOUT_TIMERS_MAX: usize = 64;
const ACCEPTS_IN_A_ROW_MAX: usize = 256;
/// The kernel counts the age of input in ticks of its own clock, of at most 10 ms. What is younger has not waited.
const AGE_MIN: Duration = Duration::from_millis(20);
/// How soon to come back when another shard's ring is full.
const RETRY: Duration = Duration::from_millis(1);
/// How long the peers of connections that were closed last get to end, after the application has stopped.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

const DOORBELL: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// What a shard is given.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on, shared with the other shards by SO_REUSEPORT; `None`: this shard only connects.
    pub listen: Option<SocketAddr>,
    /// Where none is free newcomers are reset at the door.
    pub seats: Seats,
    /// With what newcomers must speak TLS at first; [`super::Io::accept_tls`] changes it. `None`: they speak plainly.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The kernel's slack on this thread's timeouts; the default of 50 µs is too coarse for a load schedule.
    pub timer_slack: Duration,
    /// Which shard takes a newcomer; `None`: the kernel spreads them by a hash.
    pub steering: Option<Steering>,
}

/// A shard that only connects, to what it likes, with the kernel's usual slack.
impl Default for Config {
    fn default() -> Config {
        Config {
            listen: None,
            seats: Seats::unlimited(),
            tls: None,
            timer_slack: Duration::from_micros(50),
            steering: None,
        }
    }
}

/// Whether this kernel gives a thread a descriptor table of its own: tried on a thread that ends at once.
pub fn tables() -> Tables {
    let probe = std::thread::spawn(|| sys::split_descriptor_table(&[]).is_ok());
    if probe.join().unwrap_or(false) { Tables::Split } else { Tables::Shared }
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
    step: Step<A, ShardFd>,
    sockets: Epoll,
    rings: Rings<A::Mail>,
    /// Where to listen.
    listen: Option<SocketAddr>,
    listener: Option<ShardFd>,
    steering: Option<Steering>,
    seats: Seats,
    /// Given up for a moment to accept, and reset, a connection when the table is full.
    spare: Option<ShardFd>,
    mail: Vec<(ShardIndex, A::Mail)>,
}

impl<A: Application> Loop<A> {
    fn new(config: &Config, mailbox: Mailbox<A::Mail>, application: A) -> stdio::Result<Loop<A>> {
        let epoll = ShardFd::from(epoll::create(CreateFlags::CLOEXEC)?);
        epoll::add(&epoll, mailbox.doorbell(), EventData::new_u64(DOORBELL), EventFlags::IN)?;
        let (outboxes, rings) = mailbox.into_parts();
        let mut step = Step::new(Time::now(), outboxes, config.seats.clone(), application);
        step.io.acceptor.clone_from(&config.tls);
        step.io.set_clock(Time::now);
        let mut event_loop = Loop {
            step,
            sockets: Epoll { epoll, linger: Linger::new(config.seats.clone()) },
            rings,
            listen: config.listen,
            listener: None,
            steering: config.steering.clone(),
            seats: config.seats.clone(),
            spare: Some(spare()?),
            mail: Vec::new(),
        };
        event_loop.open_door()?;
        Ok(event_loop)
    }

    /// Begins to listen, if there is where.
    fn open_door(&mut self) -> stdio::Result<()> {
        let Some(address) = self.listen else { return Ok(()) };
        let listener = match &self.steering {
            Some(steering) => steering.join(self.rings.index(), || listen(address))?,
            None => listen(address)?,
        };
        epoll::add(&self.sockets.epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn shut_door(&mut self) {
        let listener = self.listener.take();
        if let (Some(steering), Some(listener)) = (&self.steering, listener) {
            steering.leave(self.rings.index(), listener);
        }
    }

    /// Whether the door is shut and should not be.
    fn awaits_door(&self) -> bool {
        self.step.io.accepts && self.listen.is_some() && self.listener.is_none()
    }

    /// Opens or shuts the door as the application wants it.
    fn keep_door(&mut self) {
        if !self.step.io.accepts {
            self.shut_door();
        } else if self.awaits_door() {
            // Fails for want of descriptors, and is tried again.
            let _ = self.open_door();
        }
    }

    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut steps_in_a_row = 0_usize;
        while !self.step.io.stopping {
            self.rings.flush(&mut self.step.io.mail);
            let timeout = self.timeout();
            self.sockets.poll(&mut events, timeout);
            self.rings.awake();
            self.step.io.set_now(Time::now());
            self.take_input(&events);
            self.rings.receive(&mut self.mail);
            self.step.take_mail(&mut self.mail);
            // No timer may fire for something that has already arrived, so timers wait until all input is taken.
            steps_in_a_row = if events.len() < EVENTS_MAX { 0 } else { steps_in_a_row + 1 };
            if steps_in_a_row.is_multiple_of(STEPS_WITHOUT_TIMERS_MAX) {
                self.step.expire_timers();
            }
            self.step.finish(&mut self.sockets);
            self.keep_door();
            self.sockets.linger.expire(self.step.io.now());
        }
        self.rings.flush(&mut self.step.io.mail);
        self.step.reset_all(&mut self.sockets);
        self.linger_out(&mut events);
    }

    /// Waits, with nothing else to do, until all last words have been heard or patience is over.
    fn linger_out(&mut self, events: &mut Vec<epoll::Event>) {
        self.shut_door();
        // Fails only if it was never added. It would wake us for nothing.
        let _ = epoll::delete(&self.sockets.epoll, self.rings.doorbell());
        let until = Time::now() + LAST_PATIENCE;
        while !self.sockets.linger.is_empty() && Time::now() < until {
            self.sockets.poll(events, Some(until.since(Time::now())));
            for event in events.iter() {
                self.sockets.linger.ready(event.data.u64(), &self.sockets.epoll);
            }
        }
    }

    /// How long nothing is due. Zero if mail is already there.
    fn timeout(&mut self) -> Option<Duration> {
        let again = self.step.io.mail.has_unsent() || self.awaits_door();
        let again = again.then(|| self.step.io.now() + RETRY);
        let next = [self.step.deadline(), self.sockets.linger.next(), again].into_iter().flatten().min();
        let timeout = next.map(|next| next.since(Time::now()));
        if timeout == Some(Duration::ZERO) || self.rings.may_sleep() { timeout } else { Some(Duration::ZERO) }
    }

    fn take_input(&mut self, events: &[epoll::Event]) {
        for event in events {
            match event.data.u64() {
                DOORBELL => self.rings.silence(),
                LISTENER => {
                    self.accept();
                    self.keep_balance();
                }
                id if Linger::is_lingering(id) => self.sockets.linger.ready(id, &self.sockets.epoll),
                bits => {
                    let (conn, flags) = (ConnId::from_bits(bits), event.flags);
                    let input = EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP;
                    let readiness = Readiness {
                        input: flags.intersects(input),
                        room: flags.contains(EventFlags::OUT),
                        failed: flags.contains(EventFlags::ERR),
                    };
                    self.step.ready(conn, readiness, &mut self.sockets);
                }
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_IN_A_ROW_MAX {
            let Some(listener) = &self.listener else { return };
            match rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((fd, address)) => {
                    let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
                    let peer = peer.unwrap_or(([0, 0, 0, 0], 0).into());
                    self.step.accept(ShardFd::from(fd), peer, &mut self.sockets);
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

    /// Who steers by CPU must be sure that all CPUs get their share: a network card with one queue does not care for that.
    fn keep_balance(&self) {
        if let (Some(steering), Some(listener)) = (&self.steering, &self.listener) {
            steering.keep_balance(self.step.io.connections(), self.seats.taken(), listener);
        }
    }

    /// The descriptor table is full: nobody may be left in the backlog, so the spare descriptor makes room for a refusal.
    fn turn_away(&mut self) {
        self.spare = None;
        if let Some(listener) = &self.listener
            && let Ok(fd) = rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
        {
            self.step.turn_away(ShardFd::from(fd), &mut self.sockets);
        }
        self.spare = spare().ok();
    }
}

/// The kernel's sockets, watched by one epoll.
struct Epoll {
    epoll: ShardFd,
    linger: Linger,
}

impl Epoll {
    fn poll(&self, events: &mut Vec<epoll::Event>, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| rustix::event::Timespec::try_from(timeout).ok());
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => unreachable!("epoll_wait on our own descriptor: {error}"),
        }
    }
}

fn flags(interest: Interest) -> EventFlags {
    match interest {
        Interest::Connect => EventFlags::OUT,
        Interest::Input => EventFlags::IN | EventFlags::RDHUP,
        Interest::InputAndRoom => EventFlags::IN | EventFlags::RDHUP | EventFlags::OUT,
        // What both sides have ended, or the peer has cut, is always told, and who does not read it would be told without end.
        Interest::Room => EventFlags::OUT | EventFlags::ET,
        Interest::Failure => EventFlags::ET,
    }
}

impl Sockets for Epoll {
    type Socket = ShardFd;

    fn connect(&mut self, connect: &Connect) -> stdio::Result<ShardFd> {
        begin_connect(connect.to, connect.from)
    }

    fn is_connected(&mut self, connect: &Connect, socket: &ShardFd) -> bool {
        // On loopback both sides' parts of the handshake run within the call that begins it.
        connect.to.ip().is_loopback() && rustix::net::getpeername(socket).is_ok_and(|peer| peer.is_some())
    }

    fn connect_outcome(&mut self, socket: &ShardFd) -> Result<(), Errno> {
        rustix::net::sockopt::socket_error(socket)?
    }

    fn add(&mut self, conn: ConnId, socket: &ShardFd, interest: Interest) -> bool {
        epoll::add(&self.epoll, socket, EventData::new_u64(conn.to_bits()), flags(interest)).is_ok()
    }

    fn watch(&mut self, conn: ConnId, socket: &ShardFd, interest: Interest) {
        // The descriptor is registered for as long as it is in the table.
        let _ = epoll::modify(&self.epoll, socket, EventData::new_u64(conn.to_bits()), flags(interest));
    }

    fn receive(&mut self, socket: &ShardFd, into: &mut [u8]) -> Result<usize, Errno> {
        rustix::net::recv(socket, into, RecvFlags::empty()).map(|(bytes, _)| bytes)
    }

    fn age(&mut self, socket: &ShardFd) -> Duration {
        // A socket whose age cannot be told has failed, and the next read says so.
        let age = sys::last_arrival(socket.as_fd()).unwrap_or_default();
        if age < AGE_MIN { Duration::ZERO } else { age }
    }

    fn send(&mut self, socket: &ShardFd, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)
    }

    fn end_output(&mut self, socket: &ShardFd) {
        // If the connection is gone, the next read says so.
        let _ = rustix::net::shutdown(socket, Shutdown::Write);
    }

    fn reset_on_close(&mut self, socket: &ShardFd) {
        // If the peer is gone already there is nothing left to reset.
        let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
    }

    fn close(&mut self, socket: ShardFd) {
        drop(socket);
    }

    fn finish(&mut self, socket: ShardFd, unsent: &[u8], is_seated: bool) -> bool {
        self.linger.begin(socket, is_seated, unsent.to_vec(), &self.epoll, Time::now());
        false
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
    let kind = socket2::Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
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
    let kind = socket2::Type::STREAM.nonblocking();
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), kind, None)?;
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
