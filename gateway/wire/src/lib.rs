//! What both ends of a connection and the fault proxy share.
//!
//! Start at [`shard`]: one thread that owns its connections and drives an [`shard::Application`]. [`ws`] and [`http`] turn
//! bytes into frames and requests; they touch no socket and are fuzzed. [`sys`] is the one file with `unsafe`.
//! Nothing here knows messages, users or alerts.

pub mod http;
pub mod shard;
pub mod sys;
pub mod time;
pub mod ws;
