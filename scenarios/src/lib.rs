//! The language of a run: YAML files in, typed values with spans and diagnostics out.
//!
//! Start at [`span`] (where a value stands in the user's file) and [`problem`] (what is wrong with it).
//! [`yaml`] reads a file into a tree of places and values.
//! This crate knows no network, no clock and no async; nothing in it panics on user input.

pub mod problem;
pub mod span;
pub mod units;
pub mod yaml;
