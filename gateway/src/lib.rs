//! The sharded IM gateway: the system under test.
//!
//! Start at [`im`], the sans-IO core: one [`im::Shard`] per thread, driven by `wire`'s shard loop. [`server`] starts the shards
//! and knows threads, signals and files, [`store`] what must survive a crash. PROTOCOL.md describes what clients see.

mod admin;
pub mod auth;
pub mod breaker;
pub mod config;
mod echo;
pub mod im;
pub mod log;
pub mod metrics;
mod outbound;
pub mod push;
mod random;
mod reload;
pub mod server;
mod stage;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
