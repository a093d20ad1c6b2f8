//! One thread that owns its connections, and the application it drives.
//!
//! A shard is a thread, an epoll, a listener, a table of connections, a timer wheel and a descriptor table. The application
//! is sans-IO: it is told bytes, times and mail, and answers through [`Io`]. What a step does is in `step`, for every driver;
//! [`event_loop`] runs it on the kernel's sockets, [`virtual_time`] on simulated ones, [`direct`] on none.

mod buffers;
pub mod direct;
pub mod event_loop;
mod flow;
mod io;
mod linger;
pub mod mailbox;
mod sealed;
mod seats;
pub mod steering;
mod step;
mod sync;
mod table;
pub mod timers;
mod tls;
pub mod virtual_time;

pub use io::{ConnId, Io};
pub use seats::Seats;
pub use tls::TlsClient;

use std::net::SocketAddr;

/// Number of a shard, from 0; the edge (threads on the main descriptor table) has the number after the last shard.
pub type ShardIndex = usize;

/// How a connection came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The peer connected to our listener.
    Accepted(SocketAddr),
    /// [`Io::connect`] succeeded.
    Connected,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The peer ended its sending side; with TLS, and said so.
    Eof,
    /// The peer ended its sending side without saying so in TLS: something may be missing.
    Truncated,
    /// The peer or the network cut it.
    Reset,
    /// The TLS handshake failed, or the peer sent what is no TLS.
    Tls,
    /// [`Io::connect`] failed with this kind of error.
    ConnectFailed(std::io::ErrorKind),
    /// The application asked for it.
    Local,
}

/// A sans-IO application: one per shard.
///
/// Every connection that was opened, or asked for with [`Io::connect`], is closed exactly once.
pub trait Application {
    /// What shards tell each other.
    type Mail: Send + 'static;

    /// A connection is open.
    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Self::Mail>);

    /// Bytes came. Gives how many were taken from the front; the rest is shown again together with what comes next.
    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Self::Mail>) -> usize;

    /// The connection is gone; its id will not be used again.
    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Self::Mail>);

    /// Another shard, or the edge, sent something.
    fn mail(&mut self, from: ShardIndex, mail: Self::Mail, io: &mut Io<Self::Mail>);

    /// A timer set with [`Io::set_timer`] is due.
    fn timer(&mut self, key: u64, io: &mut Io<Self::Mail>);

    /// The peer has ended its side of a connection for which [`Io::keep_halves`] was asked.
    fn input_ended(&mut self, _conn: ConnId, _io: &mut Io<Self::Mail>) {}

    /// All that was written for `conn` has left, as was asked for with [`Io::await_drain`].
    fn drained(&mut self, _conn: ConnId, _io: &mut Io<Self::Mail>) {}

    /// All input of this step has been taken and all due timers have run; what is written now leaves with the rest.
    fn step_done(&mut self, _io: &mut Io<Self::Mail>) {}

    /// When [`Application::step_done`] must run next even if nothing comes in. Finer than the timer wheel's millisecond.
    fn deadline(&self) -> Option<crate::time::Time> {
        None
    }

    /// A connection was reset at the door because the shard is at its cap.
    fn turned_away(&mut self, _io: &mut Io<Self::Mail>) {}
}
