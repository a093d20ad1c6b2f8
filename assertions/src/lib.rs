//! Did alerts and SLOs behave? Samples in, verdicts out.
//!
//! Pure: no I/O, no clock, no async, no randomness. Every time is an argument, in rule time ([`time::Millis`]).
//!
//! The judging half: [`alertmanager`] reads the operators' routes, [`route`] decides who is asked, [`notify`] decides who is
//! told when. [`verdict`] holds what happened against the scenario, [`slo`] and [`threshold`] hold [`figures`] against it,
//! [`exit`] makes one code of it all. [`bounds`] says beforehand what a run can show at all.

pub mod alertmanager;
pub mod bounds;
pub mod exit;
pub mod figures;
pub mod inhibit;
pub mod interval;
pub mod labels;
pub mod matcher;
pub mod notify;
pub mod route;
pub mod slo;
pub mod threshold;
pub mod time;
pub mod timeline;
pub mod verdict;
