//! What the benches share: [`stage`], a shard of the gateway with sessions on it, and no kernel around it.
//!
//! `cargo bench -p benches` runs the criterion benches; README.md says how the runs against peers are made.

pub mod stage;
