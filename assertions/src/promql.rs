//! PromQL: text to syntax tree ([`parse`]), syntax tree and samples to values ([`eval`]).
//!
//! Start at [`parse::parse`] and [`eval::Query`]. What a tree selects is told by [`selection`]. Two dialects: ranges,
//! look-back and subqueries are closed on the left in Prometheus 2 and open in 3, and some functions differ.

pub mod annotation;
pub mod ast;
pub mod eval;
pub mod function;
pub mod parse;
pub(crate) mod pattern;
pub mod ratio;
pub mod selection;

mod aggregate;
mod binary;
mod calendar;
mod extrapolate;
mod instant_functions;
mod label_functions;
mod lex;
pub(crate) mod literal;
mod print;
mod quantile;
mod range_functions;
mod selected;
mod subquery;
mod sums;
