//! No bytes on any connection make the whole core panic, break its protocol or lose count.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each binary runs one of the targets")]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::session(bytes));
