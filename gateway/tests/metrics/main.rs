//! What `/metrics` says, against METRICS.md and against the protocols it is read by.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../driver/mod.rs"]
mod driver;

mod conformance;
mod encoding;
mod page;
mod scenario;
