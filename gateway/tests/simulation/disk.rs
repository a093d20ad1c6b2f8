//! A disk that forgets: what was written and not synced may be lost when the machine stops, whole or in part.

use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use wire::shard::virtual_time::Random;

/// A write is torn between two of these.
const SECTOR: usize = 512;

/// A disk, as the program and the world share it.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// As the program reads it.
    written: Vec<u8>,
    /// As it would be read after a stop of the machine before everything in `log`.
    kept: Vec<u8>,
    /// What was asked for since, in order.
    log: Vec<Change>,
    /// It answers with errors.
    is_broken: bool,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

impl Disk {
    /// A disk that holds `kept`; nothing: an empty one.
    pub(crate) fn new(kept: Vec<u8>) -> Disk {
        Disk(Arc::new(Mutex::new(State { written: kept.clone(), kept, log: Vec::new(), is_broken: false })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time that syncing takes is over: what was synced is kept.
    pub(crate) fn settle(&self) {
        self.with(|state| {
            let synced = state.log.iter().rposition(|change| matches!(change, Change::Sync));
            for change in state.log.drain(..synced.map_or(0, |place| place + 1)) {
                change.apply(&mut state.kept);
            }
        });
    }

    /// The machine stops somewhere in what was asked for since the disk last settled. Gives the disk that the next start finds.
    pub(crate) fn crash(&self, random: &mut Random) -> Disk {
        let kept = self.with(|state| {
            let mut kept = state.kept.clone();
            let begun = &state.log[..random.below(state.log.len() as u64 + 1) as usize];
            let synced = begun.iter().rposition(|change| matches!(change, Change::Sync));
            for (place, change) in begun.iter().enumerate() {
                if synced.is_some_and(|synced| place < synced) {
                    change.apply(&mut kept);
                } else {
                    change.apply_perhaps(&mut kept, random);
                }
            }
            kept
        });
        Disk::new(kept)
    }

    /// The process has ended, and the machine has not: the disk that the next start finds.
    pub(crate) fn next(&self) -> Disk {
        Disk::new(self.with(|state| state.written.clone()))
    }

    /// From now on every write fails.
    pub(crate) fn break_down(&self) {
        self.with(|state| state.is_broken = true);
    }

    fn ask(&self, change: Change) -> io::Result<()> {
        self.with(|state| {
            if state.is_broken {
                return Err(io::Error::other("the disk is broken"));
            }
            change.apply(&mut state.written);
            state.log.push(change);
            Ok(())
        })
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, data) => write(bytes, *offset, data),
            Change::Length(length) => bytes.resize(*length, 0),
            Change::Sync => {}
        }
    }

    /// It was not synced: a write is kept, lost or torn. Lengths are in the file system's journal, which keeps its order.
    fn apply_perhaps(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        match self {
            Change::Write(offset, data) => {
                let sectors = data.len().div_ceil(SECTOR) as u64;
                let kept = match random.below(3) {
                    0 => 0,
                    1 => sectors,
                    _ => random.below(sectors + 1),
                };
                write(bytes, *offset, &data[..data.len().min(kept as usize * SECTOR)]);
            }
            Change::Length(_) | Change::Sync => self.apply(bytes),
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|state| state.written.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|state| {
            let place = offset as usize..offset as usize + out.len();
            out.copy_from_slice(state.written.get(place).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.ask(Change::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.ask(Change::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ask(Change::Write(offset as usize, data.to_vec()))
    }
}
