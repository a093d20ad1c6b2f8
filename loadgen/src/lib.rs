//! One run, start to verdict: the client engine, and the composition of a run.
//!
//! Start at [`fleet`], the clients.

pub mod fleet;
