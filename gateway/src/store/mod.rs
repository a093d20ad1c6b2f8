//! What was accepted, on a disk: one embedded database in `--data-dir`, and one thread that writes to it.
//!
//! The thread takes everything that is ready, writes it in one transaction with one fsync, and tells each shard up to where it is
//! kept; while it waits for the disk, the next group gathers ([`Writer`]). What rows there are and what they mean is
//! [`crate::im::records`] and [`crate::im::ledger`]; nothing here knows messages. The database is redb, chosen by measurement
//! (`benches/store`).

mod disk;
mod thread;
mod writer;

pub use disk::{Disk, DiskError, OpenError};
pub(crate) use thread::lock;
pub use thread::{Running, Worker};
pub use writer::{Settings, Writer};

use crate::im::ledger::Ledger;
use crate::im::persist::{Recovered, number_at};
use crate::im::records;
use std::path::Path;
use std::time::Duration;
use wire::shard::ShardIndex;

/// An open store, and what is left to be gone on with in it.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    ledger: Ledger,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is not there; otherwise as [`Store::recover`].
    pub fn open(
        folder: &Path,
        shards: usize,
        home: &dyn Fn(&str) -> ShardIndex,
        wall_ns: u64,
        dedup_window: Duration,
    ) -> Result<(Store, Vec<Recovered>), OpenError> {
        Store::recover(Disk::open(folder)?, shards, home, wall_ns, dedup_window)
    }

    /// The store on a disk that was opened so often before, and what was owed in it, by home shard.
    ///
    /// Ids that senders used more than `dedup_window` before `wall_ns` (nanoseconds since the Unix epoch) are left out. Errors:
    /// another gateway has it open; it is no store of ours, or of a newer version; it cannot be read or written.
    pub fn recover(
        (disk, starts): (Disk, u32),
        shards: usize,
        home: &dyn Fn(&str) -> ShardIndex,
        wall_ns: u64,
        dedup_window: Duration,
    ) -> Result<(Store, Vec<Recovered>), OpenError> {
        let ids_from = number_at(wall_ns.saturating_sub(dedup_window.as_nanos() as u64));
        let (mut recovered, open) = records::recover(&disk, shards, home, ids_from)?;
        for shard in &mut recovered {
            shard.starts = starts;
        }
        let mut ledger = Ledger::default();
        for (number, recipients, has_marks) in open {
            ledger.recovered(number, recipients, has_marks);
        }
        Ok((Store { disk, ledger }, recovered))
    }
}
