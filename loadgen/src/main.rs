//! One run, start to verdict.

fn main() {}
