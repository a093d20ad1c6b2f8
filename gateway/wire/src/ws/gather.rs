//! A message that is not complete: fragments, or a frame longer than what was read at once.

use super::deflate::Inflater;
use super::endpoint::{Event, Violation, inflate};
use super::frame::{self, Header, Opcode};
use super::utf8::Utf8Text;

/// What has come of a message. Exists only until the message is whole and has been handed out.
#[derive(Debug)]
pub(super) struct Gathered {
    body: Body,
    /// Payload bytes of the present frame that are still to come.
    frame_left: usize,
    /// The present frame's key, turned to the next byte.
    mask: Option<[u8; 4]>,
    /// The present frame is the message's last.
    is_last: bool,
}

#[derive(Debug)]
enum Body {
    Text(Utf8Text),
    Binary(Vec<u8>),
    Compressed(Opcode, Vec<u8>),
}

impl Gathered {
    /// A message that begins with this frame.
    pub(super) fn new(header: &Header) -> Gathered {
        let body = match header.opcode {
            opcode if header.compressed => Body::Compressed(opcode, Vec::new()),
            Opcode::Text => Body::Text(Utf8Text::default()),
            _ => Body::Binary(Vec::new()),
        };
        Gathered { body, frame_left: 0, mask: None, is_last: false }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) | Body::Compressed(_, bytes) => bytes.len(),
        }
    }

    /// The length that counts is the one it will have when it is decompressed.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.body, Body::Compressed(..))
    }

    /// The next bytes belong to a frame that has begun.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.frame_left > 0
    }

    /// It was handed out whole.
    pub(super) fn is_complete(&self) -> bool {
        self.is_last && self.frame_left == 0
    }

    /// A data frame begins; its payload goes to [`Gathered::take`].
    pub(super) fn begin_frame(&mut self, header: &Header, payload_bytes: usize) {
        self.frame_left = payload_bytes;
        self.mask = header.mask;
        self.is_last = header.fin;
    }

    /// Takes what is there of the frame's payload from the front of `input`, unmasking in place. Gives how much that was.
    pub(super) fn take<'a>(
        &'a mut self,
        input: &mut [u8],
        message_bytes_max: usize,
        inflater: Option<&'a mut Inflater>,
    ) -> Result<(Event<'a>, usize), Violation> {
        let taken = self.frame_left.min(input.len());
        let payload = &mut input[..taken];
        if let Some(mask) = &mut self.mask {
            frame::apply_mask(payload, *mask);
            mask.rotate_left(taken % 4);
        }
        self.frame_left -= taken;
        match &mut self.body {
            Body::Text(text) => text.push(payload)?,
            Body::Binary(bytes) | Body::Compressed(_, bytes) => bytes.extend_from_slice(payload),
        }
        if !self.is_complete() {
            return Ok((Event::Fragment, taken));
        }
        let event = match &self.body {
            Body::Text(text) => Event::Text(text.whole().ok_or(Violation::NotUtf8)?),
            Body::Binary(bytes) => Event::Binary(bytes),
            Body::Compressed(opcode, bytes) => inflate(*opcode, bytes, message_bytes_max, inflater)?,
        };
        Ok((event, taken))
    }
}
