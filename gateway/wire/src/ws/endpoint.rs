//! One end of an open WebSocket: frames to messages, in place (RFC 6455 sections 5 to 7, RFC 7692 section 6).
//!
//! An endpoint owns no buffer unless a message is incomplete, so an idle connection costs a few bytes.

use super::deflate::{InflateError, Inflater};
use super::extension::Deflate;
use super::frame::{self, Header, HeaderError, Opcode};
use super::gather::Gathered;
use super::utf8::NotUtf8;

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives masked frames.
    Server,
    /// Receives unmasked frames.
    Client,
}

/// What the next bytes were.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message, checked to be UTF-8.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A ping; the pong must carry the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong(&'a [u8]),
    /// The peer closes; 1005 if it gave no code. Answer with [`frame::write_close`] and the same code.
    Close(u16),
    /// A part of a message was taken in; the message is not complete yet.
    Fragment,
}

/// Why the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A header that no conforming peer sends.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A client that does not mask, or a server that does.
    #[error("frame masked by a server or unmasked by a client")]
    Mask,
    /// A continuation of nothing, or a new message inside another.
    #[error("fragments out of order")]
    Fragments,
    /// Longer than the limit.
    #[error("message longer than the limit")]
    TooLong,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A compressed message that cannot be decompressed.
    #[error("compressed data is corrupt")]
    Corrupt,
    /// A close frame with a code no peer may send, or one byte long.
    #[error("close frame with an invalid code")]
    BadClose,
}

impl From<NotUtf8> for Violation {
    fn from(_: NotUtf8) -> Violation {
        Violation::NotUtf8
    }
}

impl From<InflateError> for Violation {
    fn from(error: InflateError) -> Violation {
        match error {
            InflateError::Corrupt => Violation::Corrupt,
            InflateError::TooLong => Violation::TooLong,
        }
    }
}

impl Violation {
    /// The close code that tells the peer.
    pub fn close_code(self) -> u16 {
        match self {
            Violation::TooLong => 1009,
            Violation::NotUtf8 | Violation::Corrupt => 1007,
            _ => 1002,
        }
    }
}

/// The receiving state of one end.
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    deflate: Option<Deflate>,
    /// The message so far, while it is not complete.
    gathered: Option<Box<Gathered>>,
}

impl Endpoint {
    /// An endpoint after a handshake that agreed on no extension.
    pub fn new(role: Role) -> Endpoint {
        Endpoint::with_deflate(role, None)
    }

    /// An endpoint after its handshake; read it with [`Endpoint::next_inflated`].
    pub fn with_deflate(role: Role, deflate: Option<Deflate>) -> Endpoint {
        Endpoint { role, deflate, gathered: None }
    }

    /// What was agreed about compression, for what is written to the peer.
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }

    /// Reads one frame, or what is there of a data frame, from the front of `input`, unmasking in place.
    ///
    /// Gives the event and the number of bytes it took; `None` if more bytes are needed. A message that is whole in `input`
    /// is handed out where it lies; any other is gathered in a buffer of its own, so `input` never needs to hold more than
    /// a frame's header or a control frame. Messages longer than `message_bytes_max` are refused as soon as a header says so.
    /// A compressed message is a violation. After a violation or [`Event::Close`] nothing more may be read.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        self.read(input, message_bytes_max, None)
    }

    /// The same where compression may have been agreed: a compressed message is handed out from the inflater, and refused at the
    /// first byte above the limit.
    pub fn next_inflated<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
        inflater: &'a mut Inflater,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        self.read(input, message_bytes_max, Some(inflater))
    }

    fn read<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
        inflater: Option<&'a mut Inflater>,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        if self.gathered.as_ref().is_some_and(|gathered| gathered.is_complete()) {
            self.gathered = None;
        }
        if self.gathered.as_ref().is_some_and(|gathered| gathered.is_inside_frame()) {
            return self.take(input, 0, message_bytes_max, inflater);
        }
        let Some(header) = frame::parse(input, self.deflate.is_some() && inflater.is_some())? else {
            return Ok(None);
        };
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let end = header.header_bytes.saturating_add(payload_bytes);
        let is_control = header.opcode.is_control();
        if !is_control {
            self.check_data(&header, payload_bytes, message_bytes_max)?;
        }
        if !is_control && (!header.fin || self.gathered.is_some() || end > input.len()) {
            let gathered = self.gathered.get_or_insert_with(|| Box::new(Gathered::new(&header)));
            gathered.begin_frame(&header, payload_bytes);
            return self.take(input, header.header_bytes, message_bytes_max, inflater);
        }
        let Some(payload) = input.get_mut(header.header_bytes..end) else { return Ok(None) };
        if let Some(mask) = header.mask {
            frame::apply_mask(payload, mask);
        }
        let event = match header.opcode {
            opcode if header.compressed => inflate(opcode, payload, message_bytes_max, inflater)?,
            Opcode::Text => text(payload)?,
            Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => Event::Close(close_code(payload)?),
        };
        Ok(Some((event, end)))
    }

    /// Whether a data frame may come now, and be that long.
    fn check_data(
        &self,
        header: &Header,
        payload_bytes: usize,
        message_bytes_max: usize,
    ) -> Result<(), Violation> {
        let gathered = self.gathered.as_deref();
        if (header.opcode == Opcode::Continuation) != gathered.is_some() {
            return Err(Violation::Fragments);
        }
        let is_compressed = gathered.map_or(header.compressed, Gathered::is_compressed);
        // What cannot be compressed grows a little, and must not be refused for that; the inflater holds the real limit.
        let growth = if is_compressed { message_bytes_max / 1024 + 16 } else { 0 };
        let already = gathered.map_or(0, Gathered::len);
        if payload_bytes > message_bytes_max.saturating_add(growth).saturating_sub(already) {
            return Err(Violation::TooLong);
        }
        Ok(())
    }

    /// Gathers payload that begins at `from`.
    fn take<'a>(
        &'a mut self,
        input: &mut [u8],
        from: usize,
        message_bytes_max: usize,
        inflater: Option<&'a mut Inflater>,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        match self.gathered.as_deref_mut() {
            Some(gathered) if from > 0 || !input.is_empty() => {
                let (event, taken) = gathered.take(&mut input[from..], message_bytes_max, inflater)?;
                Ok(Some((event, from + taken)))
            }
            _ => Ok(None),
        }
    }
}

/// A compressed message of that kind.
pub(super) fn inflate<'a>(
    opcode: Opcode,
    payload: &[u8],
    message_bytes_max: usize,
    inflater: Option<&'a mut Inflater>,
) -> Result<Event<'a>, Violation> {
    // Without one no header passes that says compressed.
    let inflater = inflater.ok_or(Violation::Corrupt)?;
    let inflated = inflater.inflate(payload, message_bytes_max)?;
    if opcode == Opcode::Text { text(inflated) } else { Ok(Event::Binary(inflated)) }
}

fn text(bytes: &[u8]) -> Result<Event<'_>, Violation> {
    std::str::from_utf8(bytes).map(Event::Text).map_err(|_| Violation::NotUtf8)
}

fn close_code(payload: &[u8]) -> Result<u16, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(1005) } else { Err(Violation::BadClose) };
    };
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::NotUtf8);
    }
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(code),
        _ => Err(Violation::BadClose),
    }
}

#[cfg(test)]
mod tests;
