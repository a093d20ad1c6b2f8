//! Whatever passes through a link under whatever toxics: no panic, and nothing lost that was not to be.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
mod targets;

fuzz_target!(|bytes: &[u8]| targets::link(bytes));
