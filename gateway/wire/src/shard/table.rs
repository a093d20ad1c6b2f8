//! A socket in a shard's own descriptor table.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor that means something only in the table of the thread that made it, and so never leaves that thread.
#[derive(Debug)]
pub(super) struct ShardFd {
    fd: OwnedFd,
    /// Not `Send`: the number would name something else, or nothing, in another thread's table.
    _bound_to_thread: PhantomData<*const ()>,
}

impl From<OwnedFd> for ShardFd {
    fn from(fd: OwnedFd) -> ShardFd {
        ShardFd { fd, _bound_to_thread: PhantomData }
    }
}

impl AsFd for ShardFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
