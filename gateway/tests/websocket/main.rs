//! The traps of RFC 6455 and RFC 7692 against the real binary: raw bytes here, and foreign peers as oracle. `ci/autobahn` runs the
//! whole conformance suite.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../driver/mod.rs"]
mod driver;

mod deflate;
mod frames;
mod peer;
