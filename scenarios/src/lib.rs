//! The language of a run: YAML files in, typed values with spans and diagnostics out.
//!
//! Start at [`load()`] (a path becomes a checked [`scenario::Scenario`]). On the way a file becomes a tree with
//! places ([`yaml`]), its keys are held against one table ([`keys`]), layers are merged, and what is left is
//! lowered into types. What is wrong becomes a [`problem::Problem`] with a [`span::Span`] and a hint.
//! The small languages inside: [`units`], [`threshold`], [`slo`]; the names of [`faults`]; the [`pack`]s.
//! This crate knows no network, no clock and no async; nothing in it panics on user input.

pub mod disk;
pub mod explain;
pub mod faults;
pub mod keys;
pub mod load;
mod lower;
mod merge;
pub mod pack;
pub mod problem;
pub mod scenario;
mod set;
pub mod slo;
pub mod span;
pub mod threshold;
pub mod units;
pub mod yaml;

pub use load::{Files, Loaded, Options, load, load_with};
