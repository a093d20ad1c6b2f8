//! The mailbox between threads: on real ones, and, its own source on loom's types, in every order in which threads may see each
//! other's writes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod model;
mod sync;
mod threads;

use wire::shard::ShardIndex;

#[path = "../../src/shard/mailbox.rs"]
#[expect(dead_code, unreachable_pub, reason = "the crate's own module, of which the model uses a part")]
mod mailbox;
