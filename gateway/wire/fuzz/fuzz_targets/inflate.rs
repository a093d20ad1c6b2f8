//! No bytes make the inflater panic or exceed its limit, and what was deflated comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::ws::deflate::{Deflater, Inflater};
use wire::ws::extension::Deflate;

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (bytes_max, window_bits, bytes) = input;
    let mut inflater = Inflater::default();
    if let Ok(inflated) = inflater.inflate(bytes, usize::from(bytes_max)) {
        assert!(inflated.len() <= usize::from(bytes_max));
    }
    let mut deflater = Deflater::default();
    if let Some(deflated) = deflater.deflate(bytes, Deflate { window_bits: 8 + window_bits % 8 }) {
        assert!(inflater.inflate(deflated, bytes.len()) == Ok(bytes));
    }
});
