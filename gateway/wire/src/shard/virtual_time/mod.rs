//! The driver in virtual time: one discrete-event loop that owns the clock, the links and a seed.
//!
//! A [`World`] is the clock, the network and the kernel; a [`Node`] is a program, its shards running the very step that
//! [`super::event_loop`] runs. Whoever composes them asks the world for the next [`Event`] and hands it to the node, or to the
//! scripted client, it is for:
//!
//! ```text
//! while let Some(event) = world.next(until) {
//!     if !gateway.handle(&event, &mut world) { clients.handle(&event, &mut world) }
//! }
//! ```
//!
//! Everything that is left to chance comes from the world's seed: latencies, where a write is cut into segments, which shard
//! accepts, how long mail takes between two shards, when a shard wakes. Same seed and same calls, same bytes:
//! [`World::trace`] is equal.

mod link;
mod node;
mod random;
mod sockets;
mod world;

pub use link::End;
pub use node::Node;
pub use random::Random;
pub use world::{Conditions, Event, Host, World};
