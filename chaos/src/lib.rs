//! Break things on time, and always put them back.
//!
//! Start at [`plan`] (pure: what is due when), then [`active`]: a fault whose `heal` is awaited and proven. Each fault is one file
//! under [`faults`], and each thing that a fault can leave behind is one variant of [`undo::Undo`], which is written to the
//! [`journal`] before the fault is put in, so that whoever outlives the run can put it back.

pub mod active;
pub mod faults;
pub mod guardian;
pub mod journal;
pub mod link;
pub mod plan;
pub mod proxy;
pub mod recovery;
pub mod undo;
