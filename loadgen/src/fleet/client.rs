//! One simulated client: what it is doing, and what it has received.

use rustix::io::Errno;
use wire::shard::ConnId;
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Role};

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for its turn to connect.
    Idle,
    /// TCP is being opened.
    Connecting,
    /// The upgrade was sent.
    Upgrading,
    /// Upgraded, waits for `hello`.
    Greeting,
    /// Has a session.
    Open,
}

/// A client of the population.
#[derive(Debug)]
pub(super) struct Client {
    /// How far it is.
    pub state: State,
    /// Its connection, in every state but idle.
    pub conn: Option<ConnId>,
    /// Its end of the WebSocket.
    pub endpoint: Endpoint,
    /// The last delivery it received.
    pub seq: u64,
    /// Which life of its session that is a number of; `None` before the first.
    pub epoch: Option<Box<str>>,
    /// The last delivery it acknowledged.
    pub acked: u64,
    /// Failed attempts in a row.
    pub attempts: u8,
    /// It had a session before.
    pub was_open: bool,
    /// When the first attempt, or the present outage, began.
    pub since: Time,
    /// When the present attempt began.
    pub attempted: Time,
}

impl Default for Client {
    fn default() -> Self {
        Client {
            state: State::Idle,
            conn: None,
            endpoint: Endpoint::new(Role::Client),
            seq: 0,
            epoch: None,
            acked: 0,
            attempts: 0,
            was_open: false,
            since: Time(0),
            attempted: Time(0),
        }
    }
}

/// The reason of a failed connect, as reports name it.
pub(super) fn reason(kind: std::io::ErrorKind) -> &'static str {
    use std::io::ErrorKind;
    match kind {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset => "reset",
        ErrorKind::TimedOut => "timeout",
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => "no free port",
        kind if kind == std::io::Error::from(Errno::MFILE).kind() => "no free descriptor",
        _ => "connect",
    }
}
