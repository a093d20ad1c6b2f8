//! The proxy in the path of clients: accepts, connects to the server, and lets [`crate::link`] decide what becomes of the bytes.
//!
//! Start at [`Proxy`], a handle to its shards, which are threads with descriptor tables of their own (`shard` is their
//! application). Toxics change by mail to all of them; each puts a change in force for all of its connections within one step and
//! says so, and [`Proxy::set`] gives the time at which the last one did.

mod api;
pub mod control;
pub mod registry;
mod shard;

pub use shard::ProxyShard;

use crate::link::{InForce, Toxic};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::Seats;
use wire::shard::event_loop::{self, Reserved};
use wire::shard::mailbox::{self, Mailbox};
use wire::time::Time;

/// Toxics at a proxy: a connection's are a set of bits.
pub const TOXICS_MAX: usize = 64;
/// How long all shards have to put a change in force. They do so within a step; a machine that stands still takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a proxy is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where their connections lead.
    pub upstream: SocketAddr,
    /// Threads.
    pub shards: usize,
    /// Connections of clients at once.
    pub connections_max: usize,
    /// Of everything that is left to chance.
    pub seed: u64,
}

/// What shards and the edge tell each other.
#[derive(Debug, Clone)]
pub enum Mail {
    /// These toxics hold from now on, and no others.
    Toxics {
        /// Of the change.
        version: u64,
        /// `since` is for the shard to say, except for those that it has.
        toxics: Arc<[InForce]>,
    },
    /// End all connections, and yourself.
    Stop,
    /// To the edge: that holds for all of the shard's connections.
    InForce {
        /// Of the change.
        version: u64,
        /// Since when.
        at: Time,
        /// How many toxics.
        toxics: usize,
    },
}

/// Why a proxy did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Threads or mailboxes could not be made.
    #[error("cannot start the shards of a proxy: {0}")]
    Start(#[source] io::Error),
    /// Not all shards have said that a change is in force.
    #[error(
        "{answered} of {shards} shards of the proxy at {address} have put the change in force within 5 s"
    )]
    Silent {
        /// Of the proxy.
        address: SocketAddr,
        /// Shards that have.
        answered: usize,
        /// All.
        shards: usize,
    },
    /// Too many toxics.
    #[error("a proxy takes {TOXICS_MAX} toxics at most")]
    TooMany,
}

/// A change that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// Since then for all connections.
    pub at: Time,
    /// Toxics that each shard has.
    pub toxics: usize,
    /// Shards that have said so: all.
    pub shards: usize,
}

/// How many shards it takes for so many connections of clients, where each has room for so many sockets: two a connection, and room
/// for the kernel's hash to be uneven.
pub fn shards_for(connections: usize, sockets: u64) -> usize {
    let per_shard = sockets.max(2) as usize;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * connections).div_ceil(per_shard - per_shard / 20).max(cores)
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    settings: Arc<Settings>,
    /// Held while it is down too: nobody else gets the port, and who connects is refused.
    reserved: Reserved,
    running: Option<Running>,
    toxics: Vec<InForce>,
    version: u64,
    last_id: u64,
}

#[derive(Debug)]
struct Running {
    edge: Mailbox<Mail>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Starts the shards; when it returns, all of them listen.
    pub fn start(settings: Settings) -> Result<Proxy, ProxyError> {
        let reserved = event_loop::reserve(settings.listen)
            .map_err(|error| ProxyError::Listen(settings.listen, error))?;
        let settings = Arc::new(Settings { listen: reserved.address, ..settings });
        let running = Some(Running::start(&settings)?);
        Ok(Proxy { settings, reserved, running, toxics: Vec::new(), version: 0, last_id: 0 })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.reserved.address
    }

    /// What it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it takes connections.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The toxics that were asked for last, in force while the proxy is up.
    pub fn toxics(&self) -> impl Iterator<Item = &Toxic> {
        self.toxics.iter().map(|in_force| &*in_force.toxic)
    }

    /// Puts these toxics in force, and no others; those that are the same go on as they are. When it returns, they hold for all
    /// selected connections on all shards.
    pub fn set(&mut self, toxics: Vec<Toxic>) -> Result<Effect, ProxyError> {
        if toxics.len() > TOXICS_MAX {
            return Err(ProxyError::TooMany);
        }
        let mut before = std::mem::take(&mut self.toxics);
        for toxic in toxics {
            match before.iter().position(|other| *other.toxic == toxic) {
                Some(same) => self.toxics.push(before.swap_remove(same)),
                None => {
                    self.last_id += 1;
                    let (id, toxic) = (self.last_id, Arc::new(toxic));
                    self.toxics.push(InForce { id, toxic, since: Time(0), line: Arc::default() });
                }
            }
        }
        self.confirm()
    }

    /// Asks all shards what is in force: the proof that something is, or that nothing is any more.
    pub fn confirm(&mut self) -> Result<Effect, ProxyError> {
        self.version += 1;
        let address = self.address();
        let Some(running) = &mut self.running else {
            return Ok(Effect { at: Time::now(), toxics: 0, shards: 0 });
        };
        running.put_in_force(self.version, &self.toxics.clone().into(), address)
    }

    /// Ends all connections and takes no more; whoever connects is refused.
    pub fn down(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }

    /// Takes connections again, under the toxics that are set.
    pub fn up(&mut self) -> Result<(), ProxyError> {
        if self.running.is_none() {
            self.running = Some(Running::start(&self.settings)?);
            self.confirm()?;
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.down();
    }
}

impl Running {
    fn start(settings: &Arc<Settings>) -> Result<Running, ProxyError> {
        let shards = settings.shards.max(1);
        let mut mailboxes = mailbox::network(shards + 1).map_err(ProxyError::Start)?;
        let edge = mailboxes.pop().ok_or_else(|| ProxyError::Start(io::Error::other("no mailboxes")))?;
        let config = event_loop::Config {
            listen: Some(settings.listen),
            seats: Seats::new(settings.connections_max),
            // Delays are to be kept to the microsecond.
            timer_slack: Duration::from_nanos(1),
            ..event_loop::Config::default()
        };
        let (ready, readiness) = mpsc::channel();
        let mut threads = Vec::new();
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let (config, settings, ready) = (config.clone(), Arc::clone(settings), ready.clone());
            let shard = move || {
                event_loop::run(
                    &config,
                    mailbox,
                    || ProxyShard::new(settings),
                    |started| {
                        // Fails only if the start was given up meanwhile.
                        let _ = ready.send(started.map(drop));
                    },
                );
            };
            let thread = std::thread::Builder::new().name(format!("proxy-{index}")).spawn(shard);
            threads.push(thread.map_err(ProxyError::Start)?);
        }
        drop(ready);
        let running = Running { edge, threads };
        for _ in 0..shards {
            let started = readiness.recv().unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = started {
                let address = settings.listen;
                running.stop();
                return Err(ProxyError::Listen(address, error));
            }
        }
        Ok(running)
    }

    fn put_in_force(
        &mut self,
        version: u64,
        toxics: &Arc<[InForce]>,
        address: SocketAddr,
    ) -> Result<Effect, ProxyError> {
        let shards = self.threads.len();
        for shard in 0..shards {
            self.edge.post(shard, Mail::Toxics { version, toxics: Arc::clone(toxics) });
        }
        self.edge.flush();
        let (begin, mut answered, mut at, mut mail) = (Time::now(), 0, Time(0), Vec::new());
        while answered < shards {
            let left = PATIENCE.saturating_sub(Time::now().since(begin));
            if left.is_zero() {
                return Err(ProxyError::Silent { address, answered, shards });
            }
            self.wait(left);
            self.edge.receive(&mut mail);
            for (_, mail) in mail.drain(..) {
                if let Mail::InForce { version: of, at: since, toxics: count } = mail
                    && of == version
                    && count == toxics.len()
                {
                    answered += 1;
                    at = at.max(since);
                }
            }
        }
        Ok(Effect { at, toxics: toxics.len(), shards })
    }

    /// Until there is mail, or so long.
    fn wait(&mut self, most: Duration) {
        if self.edge.may_sleep() {
            let timeout = Timespec::try_from(most).ok();
            // An interruption only lets us look sooner.
            let _ = poll(&mut [PollFd::new(&self.edge.doorbell(), PollFlags::IN)], timeout.as_ref());
        }
        self.edge.awake();
    }

    fn stop(mut self) {
        for shard in 0..self.threads.len() {
            self.edge.post(shard, Mail::Stop);
        }
        self.edge.flush();
        for thread in self.threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}
