//! What gathers while the disk is busy, what is written together, and who is told. No thread and no clock: `thread` drives it
//! on real time, a simulation on its own.

use super::{DiskError, Store};
use crate::im::ledger::Change;
use crate::im::mail::Mail;
use crate::im::persist::{Op, number_at};
use crate::im::records::Table;
use crate::metrics::StoreMetrics;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::ShardIndex;
use wire::time::Time;

/// How long the ends of deliveries may wait for company: nobody waits for them, and losing them costs a repetition at most.
const UNAWAITED_MAX: Duration = Duration::from_millis(20);
/// How often ids that were sent too long ago are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// What a writer is given beside its store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Number of shards.
    pub shards: usize,
    /// Where it counts.
    pub metrics: Arc<StoreMetrics>,
    /// The wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    pub wall_offset_ns: u64,
    /// How long ids are remembered.
    pub dedup_window: Duration,
}

/// A store, and what is to be written to it next.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    settings: Settings,
    changes: Vec<Change>,
    ops: u64,
    /// Per shard, the last ticket that somebody waits for.
    answers: Vec<Option<u64>>,
    /// When the first of what is to be written came; `None`: nothing is.
    since: Option<Time>,
    pruned: Time,
    has_failed: bool,
}

impl Writer {
    /// A writer to `store` with nothing to write.
    pub fn new(store: Store, settings: Settings) -> Writer {
        settings.metrics.keeps(store.ledger.len());
        let answers = vec![None; settings.shards];
        let (changes, pruned) = (Vec::new(), Time(0));
        Writer { store, settings, changes, ops: 0, answers, since: None, pruned, has_failed: false }
    }

    /// Takes what shard `from` asked for at `now` with a [`Mail::Persist`].
    pub fn take(&mut self, from: ShardIndex, ticket: u64, ops: &[Op], is_awaited: bool, now: Time) {
        for op in ops {
            self.store.ledger.apply(op, &mut self.changes);
        }
        self.ops += ops.len() as u64;
        self.since = self.since.or(Some(now));
        if is_awaited && let Some(answer) = self.answers.get_mut(from) {
            *answer = Some(ticket);
        }
    }

    /// When to [`Writer::commit`]; `None`: there is nothing to write.
    pub fn due(&self) -> Option<Time> {
        let is_awaited = self.answers.iter().any(Option::is_some);
        self.since.map(|since| if is_awaited { since } else { since + UNAWAITED_MAX })
    }

    /// Writes what was taken; durable when it returns. What to tell whom comes with [`Writer::answers`], also where it failed.
    ///
    /// Errors: the disk's. The store takes nothing more until the next start, for after a failed fsync nobody can say what is on
    /// the disk but who reads it anew.
    pub fn commit(&mut self, clock: impl Fn() -> Time) -> Result<(), DiskError> {
        let (begin, mut changes) = (clock(), std::mem::take(&mut self.changes));
        let ops = std::mem::take(&mut self.ops);
        self.since = None;
        if self.has_failed {
            return Ok(());
        }
        if begin.since(self.pruned) > PRUNE_EVERY {
            self.pruned = begin;
            self.prune(begin, &mut changes);
        }
        self.store.ledger.take_marks(&mut changes);
        let (metrics, committed) = (&self.settings.metrics, self.store.disk.commit(&changes));
        match &committed {
            Ok(()) => metrics.committed(ops, clock().since(begin), self.store.ledger.len()),
            Err(_) => {
                self.has_failed = true;
                metrics.failed();
            }
        }
        changes.clear();
        self.changes = changes;
        committed
    }

    /// Mail about the last commit.
    pub fn answers(&mut self) -> Vec<(ShardIndex, Mail)> {
        let is_kept = !self.has_failed;
        let answers = self.answers.iter_mut().map(|answer| {
            // Every shard must know that nothing more is kept, whatever it asks until it does.
            let answer = answer.take();
            if is_kept { answer } else { Some(u64::MAX) }
        });
        let answers = answers.enumerate();
        answers
            .filter_map(|(shard, up_to)| Some((shard, Mail::Persisted { up_to: up_to?, is_kept })))
            .collect()
    }

    /// Forgets ids that were sent too long ago.
    fn prune(&self, now: Time, changes: &mut Vec<Change>) {
        let wall_ns = self.settings.wall_offset_ns + now.0;
        let before = number_at(wall_ns.saturating_sub(self.settings.dedup_window.as_nanos() as u64));
        changes.push(Change::RemoveRange(Table::SentIds, [0; 8], before.to_be_bytes()));
    }
}
