//! Did alerts and SLOs behave? Samples in, verdicts out.
//!
//! Start at [`engine`]: it evaluates [`rule`] files over a [`store`] and tells what each [`alert`] does. Samples get there
//! from an [`exposition`] by way of the [`grid`] of rule time; [`promql`] is the language in between.
//!
//! Pure: no I/O, no clock, no async, no randomness. Every time is an argument, in rule time ([`time::Millis`]).

pub mod alert;
pub mod engine;
pub mod exposition;
pub mod grid;
pub mod labels;
pub mod notation;
pub mod promql;
pub mod rule;
pub mod series;
pub mod store;
pub mod template;
pub mod time;
pub mod timeline;
