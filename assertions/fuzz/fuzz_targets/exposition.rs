//! No text makes the exposition parser panic, and every error points into the text.
#![no_main]

use assertions::exposition::{Format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Text, Format::OpenMetrics] {
        if let Err(error) = parse(text, format) {
            assert!(error.line <= text.split('\n').count() && error.column >= 1);
        }
    }
});
