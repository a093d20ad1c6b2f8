//! Break things on time, and always put them back.
//!
//! Start at [`plan`] (pure: what is due when), then [`active`]: a fault in force, whose `heal` is awaited and proven. Each fault is
//! one file under [`faults`]. A fault is written to the [`journal`] before it is put in, so that a dead run's faults are known.

pub mod active;
pub mod faults;
pub mod journal;
pub mod link;
pub mod plan;
pub mod proxy;
