//! The proxy on real sockets: each of Toxiproxy's toxics has a twin here, and ours behave as they say.
//!
//! What must take time is measured from below, exactly; from above only the runner's limit holds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod control;
mod server;
mod toxics;
mod websocket;
