//! What stands in for `src/shard/sync.rs` in the model: the same, of loom's types.

pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};

use loom::cell::Cell as Slot;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Condvar, Mutex};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::sync::Arc;

/// So small that it is soon full.
const RING_CAPACITY: usize = 2;

std::thread_local! {
    /// Planted: fences do nothing. All threads of a model are of one thread of the machine.
    pub(crate) static WITHOUT_FENCES: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn fence(order: Ordering) {
    if !WITHOUT_FENCES.get() {
        loom::sync::atomic::fence(order);
    }
}

pub(crate) type BellRef<'a> = &'a Bell;

/// An eventfd.
#[derive(Debug)]
pub(crate) struct Bell {
    is_ringing: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        Ok(Bell { is_ringing: Mutex::new(false), rung: Condvar::new() })
    }

    pub(crate) fn ring(&self) {
        *self.is_ringing.lock().unwrap() = true;
        self.rung.notify_one();
    }

    pub(crate) fn silence(&self) {
        *self.is_ringing.lock().unwrap() = false;
    }

    pub(crate) fn as_ref(&self) -> BellRef<'_> {
        self
    }

    /// Sleeps until it rings. Forever: the model ends with a deadlock.
    pub(crate) fn wait(&self) {
        let mut is_ringing = self.is_ringing.lock().unwrap();
        while !*is_ringing {
            is_ringing = self.rung.wait(is_ringing).unwrap();
        }
    }
}

/// As rtrb's: the writer publishes `tail`, the reader `head`, each with `Release`; the other reads it with `Acquire`.
struct Ring<M> {
    slots: Vec<Slot<Option<M>>>,
    head: AtomicUsize,
    tail: AtomicUsize,
}

pub(crate) struct Producer<M>(Arc<Ring<M>>);

pub(crate) struct Consumer<M>(Arc<Ring<M>>);

/// A part of a ring that may be written, or read.
pub(crate) struct Chunk<M> {
    ring: Arc<Ring<M>>,
    count: usize,
}

pub(crate) fn ring<M>() -> (Producer<M>, Consumer<M>) {
    let slots = (0..RING_CAPACITY).map(|_| Slot::new(None)).collect();
    let ring = Arc::new(Ring { slots, head: AtomicUsize::new(0), tail: AtomicUsize::new(0) });
    (Producer(Arc::clone(&ring)), Consumer(ring))
}

impl<M> Producer<M> {
    pub(crate) fn slots(&self) -> usize {
        let tail = self.0.tail.load(Ordering::Relaxed);
        RING_CAPACITY - (tail - self.0.head.load(Ordering::Acquire))
    }

    pub(crate) fn write_chunk_uninit(&mut self, count: usize) -> Result<Chunk<M>, ()> {
        if count > self.slots() { Err(()) } else { Ok(Chunk { ring: Arc::clone(&self.0), count }) }
    }
}

impl<M> Consumer<M> {
    pub(crate) fn slots(&self) -> usize {
        let head = self.0.head.load(Ordering::Relaxed);
        self.0.tail.load(Ordering::Acquire) - head
    }

    pub(crate) fn read_chunk(&mut self, count: usize) -> Result<Chunk<M>, ()> {
        if count > self.slots() { Err(()) } else { Ok(Chunk { ring: Arc::clone(&self.0), count }) }
    }
}

impl<M> Chunk<M> {
    pub(crate) fn fill_from_iter(self, mails: impl Iterator<Item = M>) -> usize {
        let tail = self.ring.tail.load(Ordering::Relaxed);
        let mut filled = 0;
        for mail in mails.take(self.count) {
            self.ring.slots[(tail + filled) % RING_CAPACITY].set(Some(mail));
            filled += 1;
        }
        self.ring.tail.store(tail + filled, Ordering::Release);
        filled
    }
}

impl<M> IntoIterator for Chunk<M> {
    type Item = M;
    type IntoIter = std::vec::IntoIter<M>;

    fn into_iter(self) -> Self::IntoIter {
        let head = self.ring.head.load(Ordering::Relaxed);
        let taken = (head..head + self.count).filter_map(|at| self.ring.slots[at % RING_CAPACITY].take());
        let taken: Vec<M> = taken.collect();
        self.ring.head.store(head + self.count, Ordering::Release);
        taken.into_iter()
    }
}

impl<M> fmt::Debug for Producer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Producer")
    }
}

impl<M> fmt::Debug for Consumer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Consumer")
    }
}
