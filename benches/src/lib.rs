//! What the benches and the runs against peers share.
//!
//! [`stage`] is a shard of the gateway with sessions on it, and no kernel around it: `cargo bench -p benches`. [`bare`] is the
//! protocol that all servers of `peers/` speak, [`tokio_server`] what those on tokio have in common: `ci/peers`.
//! [`usage`] reads what a server uses.

pub mod bare;
pub mod stage;
pub mod tokio_server;
pub mod usage;
