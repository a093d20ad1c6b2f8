//! The IM core: sessions, routes, groups, acknowledgements, offline queue. Sans-IO: it sees bytes, times and mail only.
//!
//! # Who owns what
//!
//! A *session* (a user's connected device) lives on the shard that accepted its connection. A user's *home* is the shard
//! that a hash of the name picks; it knows where the user's sessions are (`registry`), keeps the state of disconnected
//! sessions and the offline queue. Every shard remembers routes it has asked for (`routes`). A message goes from the
//! sender's shard straight to the recipient's; the home is asked only where no route is known. A message to a group goes from
//! the group's home once to each shard that is home to members, and from there to their sessions (`fanout`).
//!
//! # What survives a crash
//!
//! With a store, what must be kept leaves as plain data (`persist`) and comes back as "kept up to here" (`durable`); `ledger` and
//! `records` say what rows that means and what the rows mean at the next start. Nothing is confirmed or delivered before.
//!
//! # Why nothing overtakes
//!
//! Mail between two shards keeps its order, mail over two different ways does not. So a route never changes under way:
//! before a home lets a session begin or moves it, it makes every shard that holds the route forget it, and each such
//! shard sends a *fence* along the old way. When all fences have come home, everything sent by the old route has been
//! delivered or has come back, and the new route may be used.
//!
//! The same holds for senders: a device that comes back on another shard begins when its old shard has heard what became of its last
//! messages (`lingering`), and fences have gone the ways that these took.

mod connection;
mod dedup;
mod delivery;
mod dispatch;
mod durable;
mod fanout;
pub mod faults;
mod groups;
mod guard;
mod held;
mod http;
pub mod image;
mod journal;
pub mod ledger;
pub mod limits;
mod lingering;
mod loss;
pub mod mail;
mod membership;
pub mod message;
mod names;
mod open;
mod owed;
pub mod persist;
pub mod protocol;
mod rare;
pub mod records;
mod recovery;
mod registry;
mod routes;
mod session;
mod shard;
mod shared;
mod sizes;
mod traced;
mod user;

pub use shard::{Shard, home_of};
pub use shared::Shared;
pub use sizes::Sizes;

/// Keyed hashing that is the same in every run of the same seed, and not known to those who choose the names.
pub(crate) type SeededState = ahash::RandomState;

/// A map with seeded hashing.
pub(crate) type Map<K, V> = std::collections::HashMap<K, V, SeededState>;
