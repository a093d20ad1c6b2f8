//! PromQL: text to our own tree ([`ast`], [`parse`]), tree and samples to values ([`eval`]).
//!
//! The tree is ours so that the parser behind it can be replaced. What an evaluation could not do is refused when the
//! expression is read, never found out on the way.

mod aggregate;
pub mod ast;
mod binary;
pub mod eval;
mod functions;
mod histogram;
pub mod parse;

#[cfg(test)]
mod tests;

/// Which Prometheus' edges apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus 2.x: a range includes its left edge.
    Two,
    /// Prometheus 3.x: it does not.
    Three,
}
