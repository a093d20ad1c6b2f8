//! A gateway as a process: shards on their threads, and the edge on the main one.
//!
//! The edge owns what a shard must not touch: signals, files, standard streams, the wall clock.

mod drain;
mod process;
mod shards;

pub use process::{main, start};

use drain::Wish;

use crate::admin::Admin;
use crate::auth::source::SourceError;
use crate::config::{self, Flags};
use crate::echo::Echo;
use crate::im::mail::Mail;
use crate::im::persist::Recovered;
use crate::im::{self, Shared};
use crate::log::{self, Event, Logger};
use crate::metrics::{Metrics, Reloaded};
use crate::push::{self, Pusher};
use crate::reload::Reload;
use crate::store::{self, OpenError, Store, Worker, Writer, lock};
use crate::telemetry::{self, Environment};
use crate::tls::TlsError;
use crate::trace::Tracer;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::Seats;
use wire::shard::event_loop::{self, Tables};
use wire::shard::mailbox::{self, Mailbox};
use wire::shard::steering::Steering;
use wire::sys::Signals;
use wire::time::Time;

/// Shards are named in 64-bit sets.
const SHARDS_MAX: usize = 64;
/// Longest message that an echo answers. A conformance suite sends up to 16 MiB.
const ECHO_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Places at the door beyond those for sessions: for scrapes, health checks and handshakes under way.
const DOOR_RESERVE: usize = 64;
/// How long the last lines of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
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
    /// The operators' address is taken.
    #[error("{0} is in use: choose another with --admin (port 0: any free one)")]
    AdminInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// More shards were asked for than can be named.
    #[error(
        "--shards asks for {0} shards, at most {SHARDS_MAX} can be had: write {SHARDS_MAX} or fewer, or 0 for as many as are needed"
    )]
    ShardsAsked(usize),
    /// The connections need more shards than can be named.
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
    /// The export of telemetry.
    #[error(transparent)]
    Telemetry(#[from] telemetry::StartError),
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
    telemetry: Option<telemetry::Running>,
    /// Rings when there is mail for the edge and no store's thread that takes it.
    doorbell: Option<OwnedFd>,
    shards: Vec<JoinHandle<()>>,
    reload: Reload,
    drain_grace: Duration,
    drain_timeout: Duration,
    follow_stdin: bool,
    is_echo: bool,
    steering: Option<Steering>,
    admin: Option<(SocketAddr, Arc<Admin>)>,
    logger: Logger,
    log: log::Running,
    _reserved: event_loop::Reserved,
}

impl Server {
    /// Starts the shards; when it returns, all of them listen.
    pub fn start(flags: &Flags) -> Result<Server, StartError> {
        let (shards, connections_max) = shards::size(flags)?;
        let metrics = Metrics::new(&flags.node, shards);
        let wall_offset_ns = process::wall_offset_ns();
        let settings = telemetry_settings(flags)?;
        let exports = settings.as_ref().and_then(telemetry::Settings::log_queue);
        let exports = exports.map(|queue| Arc::new(log::Exports::new(queue, metrics.clone())));
        let (logger, log) = start_log(flags, &metrics, wall_offset_ns, exports.clone())?;
        let mut limits = flags.protection.limits(flags.heartbeat);
        limits.push_interval = flags.push.push_url.as_ref().map(|_| flags.push.push_interval);
        let reload = Reload::new(flags, limits.name_bytes_max)?;
        let tls = reload.tls()?;
        // An echo asks for no token.
        let verifier = if flags.echo { reload.none() } else { reload.keys(&logger)? };
        let reserved = event_loop::reserve(flags.listen).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse(flags.listen),
            _ => StartError::Listen(flags.listen, error),
        })?;
        let started_ms = (wall_offset_ns + Time::now().0) / 1_000_000;
        metrics.process().started_ms.store(started_ms, Ordering::Relaxed);
        let shared = shards::share(flags, (limits, connections_max), verifier, &metrics, wall_offset_ns)?;
        let mut mailboxes = mailbox::network(shards + 1).map_err(StartError::Shards)?;
        let edge = mailboxes.pop().ok_or_else(|| StartError::Shards(io::Error::other("no mailboxes")))?;
        let edge = Arc::new(Mutex::new(edge));
        let push_seed = process::seed().map_err(StartError::Shards)?;
        let push = push::start(&flags.push, &metrics, push_seed, wall_offset_ns)?;
        let pusher = push.as_ref().map(|(pusher, _)| pusher.clone());
        let (telemetry, tracers) =
            start_telemetry(settings, &metrics, shards, wall_offset_ns, (&logger, exports))?;
        let (store, recovered) = open_store(flags, &shared, shards, &edge, pusher, &logger)?;
        let doorbell = match &store {
            Some(_) => None,
            None => Some(lock(&edge).doorbell().try_clone_to_owned().map_err(StartError::Shards)?),
        };
        let steering = Steering::new().filter(|_| flags.steering == config::Steering::Cpu && shards > 1);
        let config = event_loop::Config {
            listen: Some(reserved.address),
            // An echo has no sessions to count.
            seats: Seats::new(if flags.echo { connections_max } else { connections_max + DOOR_RESERVE }),
            tls,
            timer_slack: Duration::from_micros(50),
            steering: steering.clone(),
        };
        let (tables, threads) = if flags.echo {
            let deflate = flags.deflate;
            shards::spawn(mailboxes, &config, reserved.address, move |_| Echo::new(ECHO_BYTES_MAX, deflate))?
        } else {
            let shard = move |index| shards::begin(&shared, index, shards, recovered.as_deref(), &tracers);
            shards::spawn(mailboxes, &config, reserved.address, shard)?
        };
        let steering = steering.filter(Steering::is_on);
        let admin = start_admin(flags, &metrics, &logger, connections_max)?;
        Ok(Server {
            address: reserved.address,
            tables,
            is_steered: steering.is_some(),
            metrics,
            edge,
            store,
            push,
            telemetry,
            doorbell,
            shards: threads,
            reload,
            drain_grace: flags.drain_grace,
            drain_timeout: flags.drain_timeout,
            follow_stdin: flags.follow_stdin,
            is_echo: flags.echo,
            steering,
            admin,
            logger,
            log,
            _reserved: reserved,
        })
    }

    /// Where it listens for operators, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn say_listening(&self) {
        self.logger.say(Event::Listening, "connections are taken", |record| {
            let steering = if self.is_steered { "cpu" } else { "hash" };
            let record = record.text("address", self.address.to_string()).text("steering", steering);
            record.count("shards", self.shards.len() as u64)
        });
    }

    /// Serves until a signal comes or, if asked for, standard input ends, and then as long as the grace lasts; then drains.
    pub fn serve(mut self, signals: &Signals) {
        let (mut refresh_at, mut serves_until) = (Time::now(), None);
        loop {
            let now = Time::now();
            if now >= refresh_at {
                self.metrics.process().refresh();
                self.watch_steering();
                refresh_at = now + REFRESH;
            }
            if serves_until.is_some_and(|until| until <= now) {
                break;
            }
            let wait = serves_until.unwrap_or(refresh_at).min(refresh_at).since(now);
            match (self.asked_to_end(signals, wait), serves_until) {
                (Some(Wish::Parent), _) | (Some(Wish::Signal), Some(_)) => break,
                (Some(Wish::Signal | Wish::Operator), None) => serves_until = Some(self.leave()),
                (Some(Wish::Operator), Some(_)) | (None, _) => {}
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
                let message = "push notifications were not sent within the drain timeout";
                self.logger.say(Event::PushUnsent, message, |record| record.count("count", unsent as u64));
            }
        }
        self.logger.say(Event::Stopped, "the gateway has ended", |record| record);
        // Last, so that what has happened until now is in it.
        if self.telemetry.is_some_and(|telemetry| !telemetry.end(self.drain_timeout)) {
            let message = "the last telemetry was not sent within the drain timeout";
            self.logger.say(Event::TelemetryNotExported, message, |record| record);
        }
        self.log.end(LOG_PATIENCE);
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
            match (mail, &self.push) {
                (Mail::Log(records), _) => self.logger.take(records),
                (Mail::Push { user, waiting }, Some((pusher, _))) => pusher.push(user, waiting),
                _ => {}
            }
        }
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
        match self.reload.keys(&self.logger) {
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
            Ok(()) => self.logger.say(Event::Reloaded, what.name(), |record| record),
            Err(error) => {
                let message = "what was in force stays in force";
                self.logger.say(Event::NotReloaded, message, |record| {
                    record.text("part", what.name()).text("error", error.to_string())
                });
            }
        }
    }

    /// Says when connections are no longer steered, which nobody could see before.
    fn watch_steering(&mut self) {
        if self.steering.take_if(|steering| !steering.is_on()).is_some() {
            let message = "connections arrive unevenly over the CPUs: they are spread by hash from now on";
            self.logger.say(Event::SteeringGivenUp, message, |record| record);
        }
    }

    fn tell_all(&mut self, mail: impl Fn() -> Mail) {
        let mut edge = lock(&self.edge);
        for shard in 0..self.shards.len() {
            edge.post(shard, mail());
        }
        edge.flush();
    }
}

/// Starts the export of telemetry, if it is to go anywhere.
/// `None`: no telemetry is sent.
fn telemetry_settings(flags: &Flags) -> Result<Option<telemetry::Settings>, StartError> {
    let environment = Environment(&|name| std::env::var(name).ok());
    let settings = telemetry::Settings::new(&flags.telemetry, &flags.node, &environment);
    Ok(settings.map_err(telemetry::StartError::from)?)
}

fn start_telemetry(
    settings: Option<telemetry::Settings>,
    metrics: &Metrics,
    shards: usize,
    wall_offset_ns: u64,
    log: (&Logger, Option<Arc<log::Exports>>),
) -> Result<(Option<telemetry::Running>, Tracers), StartError> {
    let Some(settings) = settings else { return Ok((None, Arc::default())) };
    let seed = process::seed().map_err(StartError::Shards)?;
    let (running, tracers) = telemetry::start(settings, metrics, shards, seed, wall_offset_ns, log)?;
    Ok((Some(running), tracers.into_iter().map(Some).map(Mutex::new).collect()))
}

fn start_admin(
    flags: &Flags,
    metrics: &Metrics,
    logger: &Logger,
    connections_max: usize,
) -> Result<Option<(SocketAddr, Arc<Admin>)>, StartError> {
    let Some(asked) = flags.admin else { return Ok(None) };
    let admin = Admin::new(metrics.clone(), logger.clone(), connections_max).map_err(StartError::Shards)?;
    let address = Arc::clone(&admin).start(asked).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::AdminInUse(asked),
        _ => StartError::Listen(asked, error),
    })?;
    Ok(Some((address, admin)))
}

fn start_log(
    flags: &Flags,
    metrics: &Metrics,
    wall_offset_ns: u64,
    exports: Option<Arc<log::Exports>>,
) -> Result<(Logger, log::Running), StartError> {
    let start = log::Start {
        format: flags.logging.log_format,
        level: flags.logging.log_level,
        node: &flags.node,
        gate: Arc::clone(metrics.log()),
        wall_offset_ns,
        exports,
    };
    start.start().map_err(StartError::Shards)
}

/// One for each shard to take, or none at all.
type Tracers = Arc<[Mutex<Option<Tracer>>]>;

/// What a gateway with a store begins with.
type Begun = (Option<store::Running>, Option<Arc<[Mutex<Recovered>]>>);

/// Opens the store, if there is to be one, and starts its thread. What it holds is read before anybody can connect.
fn open_store(
    flags: &Flags,
    shared: &Arc<Shared>,
    shards: usize,
    edge: &Arc<Mutex<Mailbox<Mail>>>,
    pusher: Option<Pusher>,
    logger: &Logger,
) -> Result<Begun, StartError> {
    let Some(folder) = flags.data_dir.as_ref().filter(|_| !flags.echo) else { return Ok((None, None)) };
    let home = |name: &str| im::home_of(shared.seed, name, shards);
    let wall_ns = shared.wall_offset_ns + Time::now().0;
    let dedup_window = shared.limits.dedup_window;
    let (store, recovered) = Store::open(folder, shards, &home, wall_ns, dedup_window)?;
    let (metrics, wall_offset_ns) = (Arc::clone(shared.metrics.store()), shared.wall_offset_ns);
    let settings = store::Settings { shards, metrics: Arc::clone(&metrics), wall_offset_ns, dedup_window };
    let writer = Writer::new(store, settings);
    let (edge, logger) = (Arc::clone(edge), logger.clone());
    let worker = Worker { writer, edge, shards, metrics, pusher, logger };
    Ok((
        Some(worker.start().map_err(StartError::Shards)?),
        Some(recovered.into_iter().map(Mutex::new).collect()),
    ))
}
