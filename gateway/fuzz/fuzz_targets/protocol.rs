//! No text makes the reader of im.v1 panic, and what it accepts can be delivered as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
#[allow(dead_code, reason = "each binary runs one of the targets")]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::protocol(bytes));
