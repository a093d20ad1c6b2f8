//! One run, start to verdict: the client engine, and the composition of a run.
//!
//! Start at [`run`], the composition: a scenario is prepared ([`prepare`]), conducted ([`conduct`]) and told ([`record`]).
//! [`fleet`] is the client engine; it knows nothing of alerts, faults or reports. Only `cli`, `run`, `conduct` and the files
//! beside them that turn one vocabulary into another name chaos, assertions and reports.

pub mod cli;
pub mod clock;
pub mod conduct;
pub mod faults;
pub mod fleet;
pub mod gateway_flags;
pub mod machine;
pub mod own_use;
pub mod preflight;
pub mod prepare;
pub mod progress;
pub mod record;
pub mod recover;
pub mod run;
pub mod scrape;
pub mod supported;
pub mod target;
pub mod terminal;
pub mod watch;
