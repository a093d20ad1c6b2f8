//! Telemetry against a small collector that reads OTLP with the published types and answers as each test tells it.
//!
//! The real binary over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../driver/mod.rs"]
mod driver;

mod collector;
mod logs;
mod metrics;
mod traces;
mod trouble;
