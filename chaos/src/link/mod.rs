//! What may happen to a connection on its way: decided here, carried out by whoever moves the bytes.
//!
//! Pure: bytes and `now` go in; bytes, the next deadline and verdicts come out. No socket, clock or thread. What is left to chance
//! comes from a seed, one sequence for each direction of each connection, so what others do changes nothing. [`crate::proxy`]
//! drives this on sockets and in virtual time.
//!
//! Start at [`Link`], one connection; its directions are [`Pipe`]s. A [`Toxic`] is one disturbance as it is asked for; the
//! toxics in force for a connection are compiled once into [`Rules`], and from then on when a byte leaves is arithmetic:
//!
//! ```text
//! bytes -> frames (lost, twice, later) -> limit -> slices -> delay + jitter, in order -> bandwidth -> the other side
//! ```
//!
//! The toxics that Toxiproxy has are twins of its own, by name, attributes and effect, but for two of its traps: a reset reaches
//! connections that are idle, and one toxic reaches all selected connections or none. Where the order in which toxics were
//! added would matter there, here the line above holds: delays add up, of several limits and rates the smallest holds.
//!
//! A connection on which none is in force costs a few bytes of state and passes on what comes in the same step.

mod chance;
mod connection;
mod frames;
mod line;
mod pipe;
mod protocol;
mod rules;
#[cfg(test)]
mod tests;
mod toxic;

pub use chance::Shape;
pub use connection::{Fate, Link};
pub use line::Line;
pub use pipe::{End, Pipe, Verdict};
pub use rules::{InForce, Rules, Selected};
pub use toxic::{Kind, Stream, Toxic, ToxicError};

/// One way of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Way {
    /// Both.
    pub const ALL: [Way; 2] = [Way::Up, Way::Down];

    /// The other one.
    pub fn back(self) -> Way {
        match self {
            Way::Up => Way::Down,
            Way::Down => Way::Up,
        }
    }
}
