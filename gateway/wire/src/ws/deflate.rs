//! Messages compressed one by one (RFC 7692 section 7.2): one [`Deflater`] and one [`Inflater`] serve all connections of a shard.
//!
//! Both begin anew with each message, so nothing is kept per connection, and what was compressed for one peer is right for
//! all. Their tables are made when they are first used.

use super::extension::Deflate;
use super::frame::{self, Opcode};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Shorter payloads are sent as they are: they would gain little or nothing.
pub const PAYLOAD_BYTES_MIN: usize = 128;
/// Measured over JSON of 200 to 16,000 bytes: level 1 takes a third of the time and leaves half as much again; above 4 the time
/// grows and the output hardly shrinks.
const LEVEL: Compression = Compression::new(4);
/// Smallest window that the compressor has.
const WINDOW_BITS_MIN: u8 = 9;
/// What a flush ends with, and a frame leaves out.
const FLUSH_END: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Buffers above this capacity are given back to the allocator.
const KEPT_BYTES_MAX: usize = 256 * 1024;
const INFLATE_BYTES_FIRST: usize = 4096;

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// Not a deflate stream.
    #[error("compressed data is corrupt")]
    Corrupt,
    /// It would be longer than the limit.
    #[error("message longer than the limit")]
    TooLong,
}

/// Compresses messages.
#[derive(Debug, Default)]
pub struct Deflater {
    full: Option<Compress>,
    /// For peers that ask for a smaller window, whichever: the smallest there is suits them all.
    small: Option<Compress>,
    deflated: Vec<u8>,
}

impl Deflater {
    /// Compresses a payload; `None` if that makes it no smaller, or the window that was agreed is too small.
    pub fn deflate(&mut self, payload: &[u8], deflate: Deflate) -> Option<&[u8]> {
        let compress = match deflate.window_bits {
            15.. => self.full.get_or_insert_with(|| Compress::new(LEVEL, false)),
            WINDOW_BITS_MIN.. => self
                .small
                .get_or_insert_with(|| Compress::new_with_window_bits(LEVEL, false, WINDOW_BITS_MIN)),
            _ => return None,
        };
        if self.deflated.capacity() > KEPT_BYTES_MAX {
            self.deflated = Vec::new();
        }
        self.deflated.clear();
        self.deflated.reserve(payload.len() + FLUSH_END.len() + 1);
        compress.reset();
        compress.compress_vec(payload, &mut self.deflated, FlushCompress::Sync).ok()?;
        // A full buffer may hide more output, but then it is too much anyway.
        let is_all = compress.total_in() == payload.len() as u64
            && self.deflated.len() < self.deflated.capacity()
            && self.deflated.ends_with(&FLUSH_END);
        let deflated = &self.deflated[..self.deflated.len().saturating_sub(FLUSH_END.len())];
        (is_all && deflated.len() < payload.len()).then_some(deflated)
    }

    /// Appends a whole message, compressed where it was agreed and pays.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        payload: &[u8],
        deflate: Option<Deflate>,
        mask: Option<[u8; 4]>,
    ) {
        let deflated = deflate
            .filter(|_| payload.len() >= PAYLOAD_BYTES_MIN)
            .and_then(|deflate| self.deflate(payload, deflate));
        match deflated {
            Some(deflated) => frame::write_compressed(out, opcode, &[deflated], mask),
            None => frame::write(out, opcode, payload, mask),
        }
    }
}

/// Appends a text message, unmasked, that begins with `head` as it is and goes on with what was compressed once for all its receivers.
///
/// `head` goes into a block that is stored, not compressed; it is shorter than 64 KiB. What follows begins at a byte of its own
/// and refers to nothing before it, so the two make one stream (RFC 1951 section 3.2.4).
pub fn write_shared(out: &mut Vec<u8>, head: &[u8], deflated: &[u8]) {
    let [low, high] = u16::try_from(head.len()).unwrap_or(u16::MAX).to_le_bytes();
    debug_assert!(head.len() < usize::from(u16::MAX));
    frame::write_compressed(out, Opcode::Text, &[&[0, low, high, !low, !high], head, deflated], None);
}

/// Decompresses messages.
#[derive(Debug, Default)]
pub struct Inflater {
    decompress: Option<Decompress>,
    inflated: Vec<u8>,
}

impl Inflater {
    /// Decompresses a payload, to at most `bytes_max`. Never holds more than that.
    pub fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<&[u8], InflateError> {
        let decompress = self.decompress.get_or_insert_with(|| Decompress::new(false));
        decompress.reset(false);
        if self.inflated.capacity() > KEPT_BYTES_MAX {
            self.inflated = Vec::new();
        }
        self.inflated.clear();
        for part in [payload, &FLUSH_END] {
            inflate_part(decompress, part, &mut self.inflated, bytes_max)?;
        }
        Ok(&self.inflated)
    }
}

fn inflate_part(
    decompress: &mut Decompress,
    mut part: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), InflateError> {
    loop {
        if out.len() == out.capacity() {
            // One byte above the limit shows that it is exceeded.
            let more = out.len().max(INFLATE_BYTES_FIRST).min(bytes_max.saturating_add(1) - out.len());
            out.reserve_exact(more);
        }
        let (taken_before, had) = (decompress.total_in(), out.len());
        let status =
            decompress.decompress_vec(part, out, FlushDecompress::Sync).map_err(|_| InflateError::Corrupt)?;
        let taken = (decompress.total_in() - taken_before) as usize;
        part = &part[taken..];
        if out.len() > bytes_max {
            return Err(InflateError::TooLong);
        }
        if status == Status::StreamEnd {
            // A block marked as the last does not end the message (RFC 7692 section 7.2.3.4).
            decompress.reset(false);
        }
        if part.is_empty() && out.len() < out.capacity() {
            return Ok(());
        }
        if taken == 0 && out.len() == had && status != Status::StreamEnd {
            return Err(InflateError::Corrupt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn json(bytes: usize) -> Vec<u8> {
        let lines = (0u64..).map(|n| format!("{{\"user\":\"u{}\",\"number\":{n}}}\n", n * n % 97));
        lines.flat_map(String::into_bytes).take(bytes).collect()
    }

    fn round_trip(payload: &[u8], deflate: Deflate) -> Option<usize> {
        let mut deflater = Deflater::default();
        let deflated = deflater.deflate(payload, deflate)?;
        let mut inflater = Inflater::default();
        assert!(inflater.inflate(deflated, payload.len()).unwrap() == payload);
        assert_eq!(inflater.inflate(deflated, payload.len() - 1), Err(InflateError::TooLong));
        Some(deflated.len())
    }

    #[test]
    fn compresses_what_can_be_compressed() {
        let long = json(100_000);
        let full = round_trip(&long, Deflate::FULL).unwrap();
        let small = round_trip(&long, Deflate { window_bits: 9 }).unwrap();
        assert!(full.max(small) < long.len() / 4, "{full} {small}");
        assert_eq!(round_trip(&long, Deflate { window_bits: 14 }), Some(small));
        assert_eq!(round_trip(&long, Deflate { window_bits: 8 }), None);
        let noise: Vec<u8> = std::iter::successors(Some(1u64), |state| {
            Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1))
        })
        .map(|state| (state >> 56) as u8)
        .take(70_000)
        .collect();
        assert_eq!(round_trip(&noise, Deflate::FULL), None);
    }

    #[test]
    fn a_small_window_is_kept_to() {
        // The same 1,000 random-looking bytes twice: only a window that reaches back a thousand can see it.
        let once: Vec<u8> =
            json(5_000).chunks(5).map(|chunk| chunk.iter().fold(7, |a, b| a ^ b << 1)).collect();
        let twice = [once.clone(), once.clone()].concat();
        let mut deflater = Deflater::default();
        let small = deflater.deflate(&twice, Deflate { window_bits: 9 }).unwrap().to_vec();
        let mut inflate = Decompress::new_with_window_bits(false, 9);
        let mut out = Vec::with_capacity(twice.len() + 1);
        inflate.decompress_vec(&small, &mut out, FlushDecompress::Sync).unwrap();
        assert!(out == twice);
        let full = deflater.deflate(&twice, Deflate::FULL).unwrap();
        assert!(full.len() < small.len());
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let mut deflater = Deflater::default();
        let bomb = deflater.deflate(&vec![0; 20_000_000], Deflate::FULL).unwrap().to_vec();
        assert!(bomb.len() < 100_000);
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(&bomb, 1_000_000), Err(InflateError::TooLong));
        assert!(inflater.inflated.capacity() <= 1_000_001, "{}", inflater.inflated.capacity());
        assert_eq!(
            inflater.inflate(b"\x00", 10),
            Ok(&b""[..]),
            "the next message is read as if nothing had been"
        );
        assert!(inflater.inflated.capacity() <= KEPT_BYTES_MAX);
    }

    #[test]
    fn a_shared_end_with_a_head_of_its_own_is_one_message() {
        let tail = json(3_000);
        let mut deflater = Deflater::default();
        let deflated = deflater.deflate(&tail, Deflate::FULL).unwrap();
        for head in ["", "{\"type\":\"message\",\"seq\":17"] {
            let mut out = Vec::new();
            write_shared(&mut out, head.as_bytes(), deflated);
            let header = frame::parse(&out, true).unwrap().unwrap();
            assert!(header.fin && header.compressed && header.opcode == Opcode::Text);
            let mut inflater = Inflater::default();
            let whole = inflater.inflate(&out[header.header_bytes..], 10_000).unwrap();
            assert!(whole == [head.as_bytes(), &tail].concat());
        }
    }

    #[test]
    fn short_payloads_stay_as_they_are() {
        let mut deflater = Deflater::default();
        for (bytes, first) in [(PAYLOAD_BYTES_MIN - 1, 0x82), (PAYLOAD_BYTES_MIN, 0xC2)] {
            let mut out = Vec::new();
            deflater.write(&mut out, Opcode::Binary, &vec![b'x'; bytes], Some(Deflate::FULL), None);
            assert_eq!(out[0], first, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            payload in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..2000),
                prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 0..20_000),
            ],
            window_bits in 9u8..=15,
        ) {
            round_trip(&payload, Deflate { window_bits });
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), bytes_max in 0usize..2000) {
            let mut inflater = Inflater::default();
            let within = inflater.inflate(&bytes, bytes_max).map(<[u8]>::len);
            prop_assert!(within.is_err() || within.is_ok_and(|len| len <= bytes_max));
        }
    }
}
