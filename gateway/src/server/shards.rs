//! How many shards there are, and their threads.

use super::{SHARDS_MAX, StartError, process};
use crate::auth::Verifier;
use crate::config::{Flags, Limits};
use crate::im::mail::Mail;
use crate::im::persist::Recovered;
use crate::im::{Shard, Shared};
use crate::metrics::Metrics;
use crate::store::lock;
use crate::trace::Tracer;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use wire::shard::event_loop::{self, Tables};
use wire::shard::mailbox::Mailbox;
use wire::shard::{Application, Seats, ShardIndex};
use wire::time::Time;

/// Descriptors of a table that are not connections: listener, epoll, eventfds, standard streams.
const DESCRIPTORS_KEPT: u64 = 100;

/// Starts a thread for each mailbox but the edge's; when it returns, all of them listen.
pub(super) fn spawn<A: Application<Mail = Mail>>(
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
pub(super) fn size(flags: &Flags) -> Result<(usize, usize), StartError> {
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

/// What all shards know.
pub(super) fn share(
    flags: &Flags,
    (limits, connections_max): (Limits, usize),
    verifier: Verifier,
    metrics: &Metrics,
    wall_offset_ns: u64,
) -> Result<Arc<Shared>, StartError> {
    Ok(Arc::new(Shared {
        ack_timeout: flags.ack_timeout,
        heartbeat: flags.heartbeat,
        message_ttl: flags.message_ttl,
        cache_size: flags.cache_size,
        test_faults: flags.enable_test_faults,
        deflate: flags.deflate,
        wall_offset_ns,
        // Names are chosen by clients: what they hash to must not be known to them.
        seed: process::seed().map_err(StartError::Shards)?,
        limits,
        sessions: Seats::new(connections_max),
        ..Shared::new(&flags.node, verifier, metrics.clone())
    }))
}

/// A shard, with what it finds in the store and where it leaves spans.
pub(super) fn begin(
    shared: &Arc<Shared>,
    index: usize,
    shards: usize,
    recovered: Option<&[Mutex<Recovered>]>,
    tracers: &[Mutex<Option<Tracer>>],
) -> Shard {
    let shard = match recovered {
        Some(recovered) => {
            // Taken out, because the parts of the others live as long as any shard.
            let recovered = std::mem::take(&mut *lock(&recovered[index]));
            Shard::with_store(Arc::clone(shared), index, shards, &recovered, Time::now())
        }
        None => Shard::new(Arc::clone(shared), index),
    };
    shard.with_tracer(tracers.get(index).and_then(|tracer| lock(tracer).take()))
}
