//! Says what happened: a run's record in, reports out.
//!
//! Start at [`record::RunRecord`], the one serialised form of a run. Whoever ran it fills the record in; every
//! other module here is a function from that record to text: [`terminal`] for the one who waits,
//! [`html`] for the one who asks later, [`json`] for programs, [`junit`] for CI, [`markdown`] for a pull request.
//!
//! Pure: nothing is read, no clock is asked, nothing of the workspace is used. All forms tell the same verdict
//! because none of them judges: outcomes are in the record.

pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod record;
pub mod terminal;

mod checklist;
pub mod figures;
