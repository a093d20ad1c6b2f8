//! No bytes as an expression make anything panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each binary runs one of the targets")]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::promql(bytes));
