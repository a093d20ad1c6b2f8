//! One fault a file.

pub mod gateway;
pub mod process;
