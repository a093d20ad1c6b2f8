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
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    sized((flags.shards, flags.connections_max), cores, per_shard)
}

/// The same for what the flags ask, on a machine with so many cores, where a shard has descriptors for so many connections.
fn sized(
    (shards, connections_max): (usize, Option<usize>),
    cores: usize,
    per_shard: usize,
) -> Result<(usize, usize), StartError> {
    // A core beyond those has no shard of its own.
    let cores = cores.min(SHARDS_MAX);
    // The kernel spreads connections by a hash, not evenly: a shard needs some room above its share.
    let share = per_shard - per_shard / 20;
    let connections_max = connections_max.unwrap_or(share * cores);
    let shards = match shards {
        0 => match cores.max(connections_max.div_ceil(share)) {
            needed @ ..=SHARDS_MAX => needed,
            needed => return Err(StartError::TooManyShards(needed)),
        },
        asked @ ..=SHARDS_MAX => asked,
        asked => return Err(StartError::ShardsAsked(asked)),
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_as_many_as_cores_and_connections_need() {
        let check = |asked, cores, expected: (usize, usize)| {
            let sized = sized(asked, cores, 20_000).map_err(|error| error.to_string());
            assert_eq!(sized, Ok(expected), "{asked:?} on {cores} cores");
        };
        check((0, None), 2, (2, 38_000));
        check((0, Some(100_000)), 2, (6, 100_000));
        check((3, Some(100_000)), 2, (3, 60_000));
        check((64, None), 2, (64, 38_000));
        // A big machine is no mistake of who starts a gateway on it.
        check((0, None), 96, (64, 64 * 19_000));
    }

    #[test]
    fn too_many_shards_are_the_fault_of_the_flag_that_needs_them() {
        let told = |asked| sized(asked, 2, 20_000).unwrap_err().to_string();
        assert!(told((65, None)).starts_with("--shards asks for 65 shards, at most 64 can be had: write"));
        assert!(told((0, Some(10_000_000))).contains("lower --connections-max"));
    }
}
