//! Did alerts and SLOs behave? Samples in, verdicts out.
//!
//! A scrape is read ([`exposition`]), put on the grid of rule time ([`grid`]) into a [`store`]; rules ([`rule`], [`promql`])
//! are evaluated on it ([`engine`]); alerts are routed ([`route`], [`notify`]); and the [`verdict`] holds what happened against
//! what was expected. [`check`] finds what is wrong with rules, routes and dashboards before anything runs. [`slo`] and [`threshold`] judge what clients saw.
//!
//! Pure: no I/O, no clock, no async, no randomness. Every time is an argument, in rule time ([`time::Millis`]).

pub mod alert;
pub mod alertmanager;
pub mod bounds;
pub mod check;
mod duration;
pub mod engine;
pub mod exit;
pub mod exposition;
pub mod figures;
pub mod grid;
pub mod inhibit;
pub mod interval;
pub mod labels;
pub mod matcher;
pub mod notation;
pub mod notify;
pub mod promql;
pub mod replay;
pub mod route;
pub mod rule;
pub mod rule_test;
pub mod script;
pub mod series;
pub mod slo;
pub mod store;
pub mod template;
pub mod threshold;
pub mod time;
pub mod timeline;
pub mod verdict;
