//! A gateway as a process: shards on their threads, and the edge on the main one.
//!
//! The edge owns what a shard must not touch: signals, files, standard streams, the wall clock.

use crate::auth::source::SourceError;
use crate::config::file::{self, FileError};
use crate::config::{self, Flags};
use crate::echo::Echo;
use crate::im::mail::Mail;
use crate::im::persist::Recovered;
use crate::im::{self, Shard, Shared};
use crate::metrics::{Metrics, ProcessMetrics, Reloaded, ShardMetrics};
use crate::push::{self, Pusher};
use crate::reload::{self, Reload};
use crate::store::{self, OpenError, Store, Worker, lock};
use crate::tls::TlsError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::event_loop::{self, Tables};
use wire::shard::mailbox::{self, Mailbox};
use wire::shard::steering::Steering;
use wire::shard::{Application, Seats, ShardIndex};
use wire::sys::{Signal, Signals};
use wire::time::Time;

/// Shards are named in 64-bit sets.
const SHARDS_MAX: usize = 64;
/// Descriptors of a table that are not connections: listener, epoll, eventfds, standard streams.
const DESCRIPTORS_KEPT: u64 = 100;
/// How long clients get to take the close frame when draining ends.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Longest message that an echo answers. A conformance suite sends up to 16 MiB.
const ECHO_BYTES_MAX: usize = 16 * 1024 * 1024;
const TICK: Duration = Duration::from_millis(20);
/// How often the figures of the process are read.
const REFRESH: Duration = Duration::from_secs(1);

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No keys to check tokens with.
    #[error(transparent)]
    Keys(#[from] SourceError),
    /// No certificate to show.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is taken.
    #[error("{0} is in use: end what listens there, or choose another with --listen (port 0: any free one)")]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// More shards than can be named.
    #[error(
        "{0} shards would be needed, at most {SHARDS_MAX} can be had: lower --connections-max or raise the descriptor limit"
    )]
    TooManyShards(usize),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The push notifier.
    #[error(transparent)]
    Push(#[from] push::StartError),
    /// Threads, eventfds or rings could not be made.
    #[error("cannot start the shards: {0}")]
    Shards(#[source] io::Error),
}

/// A running gateway.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether each shard has its own descriptor table.
    pub tables: Tables,
    /// Whether a connection is taken by a shard on the CPU where it arrives.
    pub is_steered: bool,
    metrics: Metrics,
    /// Shared with the store's thread.
    edge: Arc<Mutex<Mailbox<Mail>>>,
    store: Option<store::Running>,
    push: Option<(Pusher, push::Running)>,
    /// Rings when there is mail for the edge and no store's thread that takes it.
    doorbell: Option<OwnedFd>,
    shards: Vec<JoinHandle<()>>,
    reload: Reload,
    drain_timeout: Duration,
    follow_stdin: bool,
    is_echo: bool,
    _reserved: event_loop::Reserved,
}

impl Server {
    /// Starts the shards; when it returns, all of them listen.
    pub fn start(flags: &Flags) -> Result<Server, StartError> {
        let mut limits = flags.protection.limits(flags.heartbeat);
        limits.push_interval = flags.push.push_url.as_ref().map(|_| flags.push.push_interval);
        let reload = Reload::new(flags, limits.name_bytes_max)?;
        let tls = reload.tls()?;
        // An echo asks for no token.
        let verifier = if flags.echo { reload.none() } else { reload.keys()? };
        let (shards, connections_max) = size(flags)?;
        let reserved = event_loop::reserve(flags.listen).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse(flags.listen),
            _ => StartError::Listen(flags.listen, error),
        })?;
        let metrics = Metrics::new(&flags.node, shards);
        let shared = Arc::new(Shared {
            node: flags.node.clone(),
            ack_timeout: flags.ack_timeout,
            heartbeat: flags.heartbeat,
            message_ttl: flags.message_ttl,
            cache_size: flags.cache_size,
            test_faults: flags.enable_test_faults,
            deflate: flags.deflate,
            verifier,
            metrics: metrics.clone(),
            wall_offset_ns: wall_offset_ns(),
            // Names are chosen by clients: what they hash to must not be known to them.
            seed: seed().map_err(StartError::Shards)?,
            limits,
        });
        let mut mailboxes = mailbox::network(shards + 1).map_err(StartError::Shards)?;
        let edge = mailboxes.pop().ok_or_else(|| StartError::Shards(io::Error::other("no mailboxes")))?;
        let edge = Arc::new(Mutex::new(edge));
        let push =
            push::start(&flags.push, &metrics, seed().map_err(StartError::Shards)?, shared.wall_offset_ns)?;
        let pusher = push.as_ref().map(|(pusher, _)| pusher.clone());
        let (store, recovered) = open_store(flags, &shared, shards, &edge, pusher)?;
        let doorbell = match &store {
            Some(_) => None,
            None => Some(lock(&edge).doorbell().try_clone_to_owned().map_err(StartError::Shards)?),
        };
        let steering = Steering::new().filter(|_| flags.steering == config::Steering::Cpu && shards > 1);
        let config = event_loop::Config {
            listen: Some(reserved.address),
            seats: Seats::new(connections_max),
            tls,
            timer_slack: Duration::from_micros(50),
            steering: steering.clone(),
        };
        let address = reserved.address;
        let deflate = flags.deflate;
        let (tables, threads) = if flags.echo {
            spawn(mailboxes, &config, address, move |_| Echo::new(ECHO_BYTES_MAX, deflate))?
        } else {
            spawn(mailboxes, &config, address, move |index| match &recovered {
                Some(recovered) => {
                    // Taken out, because this closure lives as long as its shard.
                    let recovered = std::mem::take(&mut *lock(&recovered[index]));
                    Shard::with_store(Arc::clone(&shared), index, shards, &recovered, Time::now())
                }
                None => Shard::new(Arc::clone(&shared), index),
            })?
        };
        Ok(Server {
            address: reserved.address,
            tables,
            is_steered: steering.is_some_and(|steering| steering.is_on()),
            metrics,
            edge,
            store,
            push,
            doorbell,
            shards: threads,
            reload,
            drain_timeout: flags.drain_timeout,
            follow_stdin: flags.follow_stdin,
            is_echo: flags.echo,
            _reserved: reserved,
        })
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Serves until a signal comes or, if asked for, standard input ends; then drains.
    pub fn serve(mut self, signals: &Signals) {
        let mut refresh_at = Time::now();
        loop {
            let now = Time::now();
            if now >= refresh_at {
                self.metrics.process().refresh();
                refresh_at = now + REFRESH;
            }
            if self.asked_to_end(signals, refresh_at.since(now)) {
                break;
            }
            self.take_mail();
        }
        self.drain(signals);
        self.tell_all(|| Mail::Stop);
        for shard in std::mem::take(&mut self.shards) {
            // A shard that panicked has said so on standard error.
            let _ = shard.join();
        }
        self.take_mail();
        if let Some(store) = self.store {
            store.stop();
        }
        if let Some((pusher, notifier)) = self.push {
            // The last one: with it the queue is closed.
            drop(pusher);
            let unsent = notifier.end(self.drain_timeout);
            if unsent > 0 {
                eprintln!("warning: {unsent} push notifications were not sent within the drain timeout");
            }
        }
    }

    /// What shards ask of the edge. Where there is a store its thread takes the mail.
    fn take_mail(&mut self) {
        if self.doorbell.is_none() {
            return;
        }
        let mut mail = Vec::new();
        {
            let mut edge = lock(&self.edge);
            edge.awake();
            edge.receive(&mut mail);
        }
        for (_, mail) in mail {
            if let (Mail::Push { user, waiting }, Some((pusher, _))) = (mail, &self.push) {
                pusher.push(user, waiting);
            }
        }
    }

    fn asked_to_end(&mut self, signals: &Signals, wait: Duration) -> bool {
        let stdin = rustix::stdio::stdin();
        let mut fds = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        if self.follow_stdin {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let mut wait = wait;
        if let Some(doorbell) = &self.doorbell {
            fds.push(PollFd::from_borrowed_fd(doorbell.as_fd(), PollFlags::IN));
            // Announced, so that who posts rings; or there is mail already.
            if !lock(&self.edge).may_sleep() {
                wait = Duration::ZERO;
            }
        }
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        // Interrupted or timed out: nothing to see.
        let _ = poll(&mut fds, Some(&wait));
        let ended = self.follow_stdin
            && fds.get(1).is_some_and(|fd| !fd.revents().is_empty())
            && !matches!(rustix::io::read(stdin, &mut [0; 64]), Ok(1..));
        let signal = signals.next();
        if signal == Some(Signal::Hangup) {
            self.reload();
        }
        ended || matches!(signal, Some(Signal::Interrupt | Signal::Terminate))
    }

    /// Reads again what may change while we run. Sessions that are open stay, whatever their token was signed with.
    fn reload(&mut self) {
        match self.reload.tls() {
            Ok(Some(config)) => {
                self.tell_all(|| Mail::Certificate(Arc::clone(&config)));
                self.reloaded::<TlsError>(Reloaded::Certificate, Ok(()));
            }
            Ok(None) => {}
            Err(error) => self.reloaded(Reloaded::Certificate, Err(error)),
        }
        if self.is_echo {
            return;
        }
        match self.reload.keys() {
            Ok(verifier) => {
                self.tell_all(|| Mail::Keys(verifier.clone()));
                self.reloaded::<SourceError>(Reloaded::Keys, Ok(()));
            }
            Err(error) => self.reloaded(Reloaded::Keys, Err(error)),
        }
    }

    fn reloaded<E: std::error::Error>(&self, what: Reloaded, outcome: Result<(), E>) {
        self.metrics.process().reloaded(what, outcome.is_ok());
        match outcome {
            Ok(()) => reload::log("reloaded", what.name()),
            Err(error) => reload::log("not_reloaded", &error.to_string()),
        }
    }

    /// Takes no new work, waits until everything is acknowledged or time is up, then closes all sessions.
    fn drain(&mut self, signals: &Signals) {
        self.tell_all(|| Mail::Drain);
        let until = Time::now() + self.drain_timeout;
        // Twice in a row, because what travels between shards is counted by none.
        let mut idle_before = false;
        loop {
            let busy = |shard: &ShardMetrics| {
                shard.in_flight.get() + shard.fanout_backlog.get() + shard.persist_waiting.get()
            };
            let idle = self.metrics.level(busy) <= 0;
            if (idle && idle_before) || Time::now() >= until || self.impatient(signals) {
                break;
            }
            idle_before = idle;
        }
        self.tell_all(|| Mail::CloseAll);
        let until = Time::now() + CLOSE_GRACE;
        while self.metrics.level(|shard| shard.active_connections.get()) > 0 && Time::now() < until {
            let _ = self.impatient(signals);
        }
    }

    /// Waits a moment. True: a second signal came, don't wait any longer.
    fn impatient(&mut self, signals: &Signals) -> bool {
        self.take_mail();
        let mut fds = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        let _ = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as i64 }));
        matches!(signals.next(), Some(Signal::Interrupt | Signal::Terminate))
    }

    fn tell_all(&mut self, mail: impl Fn() -> Mail) {
        let mut edge = lock(&self.edge);
        for shard in 0..self.shards.len() {
            edge.post(shard, mail());
        }
        edge.flush();
    }
}

/// What a gateway with a store begins with.
type Begun = (Option<store::Running>, Option<Arc<[Mutex<Recovered>]>>);

/// Opens the store, if there is to be one, and starts its thread. What it holds is read before anybody can connect.
fn open_store(
    flags: &Flags,
    shared: &Arc<Shared>,
    shards: usize,
    edge: &Arc<Mutex<Mailbox<Mail>>>,
    pusher: Option<Pusher>,
) -> Result<Begun, StartError> {
    let Some(folder) = flags.data_dir.as_ref().filter(|_| !flags.echo) else { return Ok((None, None)) };
    let home = |name: &str| im::home_of(shared.seed, name, shards);
    let wall_ns = shared.wall_offset_ns + Time::now().0;
    let dedup_window = shared.limits.dedup_window;
    let (store, recovered) = Store::open(folder, shards, &home, wall_ns, dedup_window)?;
    let (metrics, wall_offset_ns) = (Arc::clone(shared.metrics.store()), shared.wall_offset_ns);
    let worker =
        Worker { store, edge: Arc::clone(edge), shards, metrics, wall_offset_ns, dedup_window, pusher };
    Ok((
        Some(worker.start().map_err(StartError::Shards)?),
        Some(recovered.into_iter().map(Mutex::new).collect()),
    ))
}

fn spawn<A: Application<Mail = Mail>>(
    mailboxes: Vec<Mailbox<Mail>>,
    config: &event_loop::Config,
    address: SocketAddr,
    application: impl Fn(ShardIndex) -> A + Clone + Send + 'static,
) -> Result<(Tables, Vec<JoinHandle<()>>), StartError> {
    let (ready, readiness) = mpsc::channel();
    let mut threads = Vec::new();
    for (index, mailbox) in mailboxes.into_iter().enumerate() {
        let (application, config, ready) = (application.clone(), config.clone(), ready.clone());
        let shard = move || {
            event_loop::run(
                &config,
                mailbox,
                || application(index),
                |tables| {
                    // Fails only if the start was given up meanwhile.
                    let _ = ready.send(tables);
                },
            );
        };
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(shard);
        threads.push(thread.map_err(StartError::Shards)?);
    }
    drop(ready);
    let mut tables = Tables::Split;
    for _ in 0..threads.len() {
        match readiness.recv() {
            Ok(Ok(Tables::Split)) => {}
            Ok(Ok(Tables::Shared)) => tables = Tables::Shared,
            Ok(Err(error)) => return Err(StartError::Listen(address, error)),
            Err(mpsc::RecvError) => {
                return Err(StartError::Shards(io::Error::other("a shard ended at its start")));
            }
        }
    }
    Ok((tables, threads))
}

/// Number of shards and of connections over all of them.
fn size(flags: &Flags) -> Result<(usize, usize), StartError> {
    let per_shard = raise_descriptor_limit().saturating_sub(DESCRIPTORS_KEPT).max(1) as usize;
    // The kernel spreads connections by a hash, not evenly: a shard needs some room above its share.
    let share = per_shard - per_shard / 20;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let connections_max = flags.connections_max.unwrap_or(share * cores);
    let shards = match flags.shards {
        0 => cores.max(connections_max.div_ceil(share)),
        shards => shards,
    };
    if shards > SHARDS_MAX {
        return Err(StartError::TooManyShards(shards));
    }
    Ok((shards, connections_max.min(per_shard * shards)))
}

/// Raises the soft limit to the hard one and gives what is in force.
fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum;
    if limit.current != wanted {
        limit.current = wanted;
        // Where it is refused, the soft limit counts.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

fn seed() -> io::Result<u64> {
    let mut seed = [0; 8];
    let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    if filled < seed.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(u64::from_ne_bytes(seed)) }
}

fn wall_offset_ns() -> u64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let wall_ns = wall.tv_sec.unsigned_abs() * 1_000_000_000 + wall.tv_nsec.unsigned_abs();
    wall_ns.saturating_sub(Time::now().0)
}

impl ProcessMetrics {
    /// Reads them anew.
    fn refresh(&self) {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_ms = cpu.tv_sec.unsigned_abs() * 1000 + cpu.tv_nsec.unsigned_abs() / 1_000_000;
        self.cpu_ms.store(cpu_ms, Ordering::Relaxed);
        // Second field: resident pages. Without /proc the figure stays at what it was.
        let resident = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|statm| statm.split_whitespace().nth(1)?.parse::<u64>().ok());
        if let Some(pages) = resident {
            self.resident_bytes.store(pages * rustix::param::page_size() as u64, Ordering::Relaxed);
        }
        let max = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        self.virtual_bytes_max.store(max, Ordering::Relaxed);
    }
}

/// As [`main`], with what the file that `flags` name adds; arguments as for [`crate::config::file::complete`].
pub fn start(flags: Flags, command: clap::Command, subcommand: Option<&str>) -> u8 {
    match file::complete(flags, command, subcommand, std::env::args_os()) {
        Ok(flags) => main(&flags),
        Err(FileError::CommandLine(error)) => {
            // It begins with `error: ` itself. Where nobody reads standard error, the code says enough.
            let _ = error.print();
            113
        }
        Err(error) => {
            eprintln!("error: {error}");
            113
        }
    }
}

/// The whole life of a gateway process. Exit code 113: its environment does not let it start.
pub fn main(flags: &Flags) -> u8 {
    // Before the first thread starts, so that all threads inherit the mask and none is interrupted.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: cannot read signals: {error}");
            return 1;
        }
    };
    if flags.follow_stdin {
        // A gateway that was paused could not see that its parent has died: this wakes it. Fails on no Linux we know.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT));
    }
    match Server::start(flags) {
        Ok(server) => {
            let listening = serde_json::json!({
                "event": "listening",
                "address": server.address.to_string(),
                "node": flags.node,
                "shards": server.shards(),
                "own_descriptor_tables": server.tables == Tables::Split,
                "steering": if server.is_steered { "cpu" } else { "hash" },
            });
            println!("{listening}");
            server.serve(&signals);
            0
        }
        Err(error) => {
            eprintln!("error: {error}");
            113
        }
    }
}
