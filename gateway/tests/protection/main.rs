//! Each protection against the client it is for, and the well-behaved client that it must not touch.
//!
//! The real binary over real sockets. Attackers write bytes as they like ([`attacker`]); those who behave are tungstenite
//! clients ([`driver::Member`]), so that the codec is seen from a foreign peer too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../driver/mod.rs"]
mod driver;

mod attacker;
mod closing;
mod floods;
mod loss;
mod push;
mod rates;
mod sizes;
mod slow;
