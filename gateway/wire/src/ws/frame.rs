//! One frame: its header, its mask (RFC 6455 section 5).

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of a message that another frame began.
    Continuation,
    /// Text, UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The closing handshake.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    /// Close, ping and pong: short, never fragmented, allowed between fragments.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A parsed frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Last frame of its message.
    pub fin: bool,
    /// First frame of a compressed message.
    pub compressed: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// Masking key; present exactly on frames from a client.
    pub mask: Option<[u8; 4]>,
    /// Length of the header itself, bytes.
    pub header_bytes: usize,
    /// Length of the payload, bytes.
    pub payload_bytes: u64,
}

/// A header that no conforming peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A reserved bit is set although no extension that was agreed gives it a meaning there.
    #[error("reserved bit set without an extension")]
    ReservedBit,
    /// Opcode 3-7 or 11-15.
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    /// A control frame longer than 125 bytes or without FIN.
    #[error("control frame fragmented or longer than 125 bytes")]
    BadControl,
    /// A length not in its shortest form, or with the top bit set.
    #[error("payload length not in its shortest form")]
    BadLength,
}

const FIN: u8 = 0x80;
/// RSV1: the message is compressed (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;

/// Reads a header. `Ok(None)`: more bytes are needed. `may_compress`: permessage-deflate was agreed.
pub fn parse(input: &[u8], may_compress: bool) -> Result<Option<Header>, HeaderError> {
    let [first, second, ..] = *input else { return Ok(None) };
    let compressed = first & COMPRESSED != 0;
    if first & 0x30 != 0 || (compressed && !may_compress) {
        return Err(HeaderError::ReservedBit);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(HeaderError::UnknownOpcode(first & 0x0F))?;
    if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(HeaderError::ReservedBit);
    }
    let fin = first & FIN != 0;
    let short = second & 0x7F;
    if opcode.is_control() && (!fin || short > 125) {
        return Err(HeaderError::BadControl);
    }
    let (payload_bytes, length_end) = match short {
        126 => {
            let Some(&[a, b]) = input.get(2..4).and_then(|s| s.first_chunk()) else { return Ok(None) };
            let length = u64::from(u16::from_be_bytes([a, b]));
            if length < 126 {
                return Err(HeaderError::BadLength);
            }
            (length, 4)
        }
        127 => {
            let Some(bytes) = input.get(2..10).and_then(|s| s.first_chunk()) else { return Ok(None) };
            let length = u64::from_be_bytes(*bytes);
            if length <= u64::from(u16::MAX) || length >> 63 != 0 {
                return Err(HeaderError::BadLength);
            }
            (length, 10)
        }
        short => (u64::from(short), 2),
    };
    if second & 0x80 == 0 {
        let header_bytes = length_end;
        return Ok(Some(Header { fin, compressed, opcode, mask: None, header_bytes, payload_bytes }));
    }
    let Some(mask) = input.get(length_end..length_end + 4).and_then(|s| s.first_chunk()) else {
        return Ok(None);
    };
    let header_bytes = length_end + 4;
    Ok(Some(Header { fin, compressed, opcode, mask: Some(*mask), header_bytes, payload_bytes }))
}

/// Appends the header of a final frame.
fn write_header(out: &mut Vec<u8>, first_byte: u8, payload_bytes: usize, mask: Option<[u8; 4]>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(FIN | first_byte);
    match payload_bytes {
        0..=125 => out.push(masked | payload_bytes as u8),
        126..=0xFFFF => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload_bytes as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}

/// Appends a whole, final frame. With a `mask` the payload is masked on the way (a client must, a server must not).
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    write_header(out, opcode.bits(), payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// The same for a compressed message whose payload is in `parts`.
pub(super) fn write_compressed(out: &mut Vec<u8>, opcode: Opcode, parts: &[&[u8]], mask: Option<[u8; 4]>) {
    let payload_bytes = parts.iter().map(|part| part.len()).sum();
    write_header(out, COMPRESSED | opcode.bits(), payload_bytes, mask);
    let start = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends a close frame; `reason` is cut to the 123 bytes that fit. 1005 stands for no code and makes an empty frame.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str, mask: Option<[u8; 4]>) {
    if code == 1005 {
        return write(out, Opcode::Close, b"", mask);
    }
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut payload = [0; 125];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + cut].copy_from_slice(&reason.as_bytes()[..cut]);
    write(out, Opcode::Close, &payload[..2 + cut], mask);
}

/// Masks or unmasks in place (the operation is its own inverse).
pub fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_the_rfc_forbids() {
        for (bytes, error) in [
            (&[0xC1, 0x00][..], HeaderError::ReservedBit),
            (&[0xA1, 0x00], HeaderError::ReservedBit),
            (&[0x83, 0x00], HeaderError::UnknownOpcode(3)),
            (&[0x09, 0x00], HeaderError::BadControl),
            (&[0x89, 0x7E, 0x00, 0x80], HeaderError::BadControl),
            (&[0x81, 0x7E, 0x00, 0x7D], HeaderError::BadLength),
            (&[0x81, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], HeaderError::BadLength),
            (&[0x81, 0x7F, 0x80, 0, 0, 0, 0, 1, 0, 0], HeaderError::BadLength),
        ] {
            assert_eq!(parse(bytes, false), Err(error), "{bytes:02x?}");
        }
    }

    #[test]
    fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
        for (first, is_right) in [(0xC1, true), (0x42, true), (0xC0, false), (0xC9, false), (0xE1, false)] {
            assert_eq!(parse(&[first, 0x00], true).is_ok(), is_right, "{first:02x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..70_000), mask in any::<Option<[u8; 4]>>()) {
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, &payload, mask);
            let header = parse(&out, false).unwrap().unwrap();
            prop_assert_eq!(header.mask, mask);
            prop_assert_eq!(header.payload_bytes as usize, payload.len());
            for short in 0..header.header_bytes {
                prop_assert_eq!(parse(&out[..short], false), Ok(None));
            }
            if let Some(mask) = mask {
                apply_mask(&mut out[header.header_bytes..], mask);
            }
            prop_assert_eq!(&out[header.header_bytes..], &payload[..]);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..16), may_compress: bool) {
            let _ = parse(&bytes, may_compress);
        }
    }
}
