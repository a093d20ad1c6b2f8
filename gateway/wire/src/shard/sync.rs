//! What mailboxes on different threads share: rings, bells, a flag and a fence.
//!
//! A file of its own, so that `tests/mailbox` can put loom's in their place and try every order in which threads may see each
//! other's writes on the mailbox's own source.

pub(super) use rtrb::{Consumer, Producer};
pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

/// Mails that one ring holds, and so the most that a reader takes from it in a step; what does not fit waits in the sender's outbox.
///
/// A ring's memory is used from one end to the other whatever the traffic, and there is one for each pair.
pub(super) const RING_CAPACITY: usize = 2 * 1024;

/// What a sleeper waits on.
pub(super) type BellRef<'a> = BorrowedFd<'a>;

/// A ring between two threads.
pub(super) fn ring<M>() -> (Producer<M>, Consumer<M>) {
    rtrb::RingBuffer::new(RING_CAPACITY)
}

/// Rings until it is silenced.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    pub(super) fn ring(&self) {
        // Fails only when the counter is full, and then the bell is ringing already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn silence(&self) {
        // The count means nothing, and having nothing to read does no harm.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    pub(super) fn as_ref(&self) -> BellRef<'_> {
        self.0.as_fd()
    }
}
