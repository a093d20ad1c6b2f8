//! One end of an open WebSocket: frames to messages, in place (RFC 6455 sections 5 to 7).
//!
//! An endpoint owns no buffer unless a message is fragmented, so an idle connection costs a few bytes.

use super::frame::{self, HeaderError, Opcode};

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
    /// The peer closes; 1005 if it gave no code.
    Close(u16),
    /// A fragment was taken in; its message is not complete yet.
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
    /// A close frame with a code no peer may send, or one byte long.
    #[error("close frame with an invalid code")]
    BadClose,
}

impl Violation {
    /// The close code that tells the peer.
    pub fn close_code(self) -> u16 {
        match self {
            Violation::TooLong => 1009,
            Violation::NotUtf8 => 1007,
            _ => 1002,
        }
    }
}

/// The receiving state of one end.
#[derive(Debug)]
pub struct Endpoint {
    role: Role,
    /// The message so far, while it is fragmented.
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    bytes: Vec<u8>,
    /// The message was handed out; cleared when the next frame is read.
    complete: bool,
}

impl Endpoint {
    /// An endpoint after its handshake.
    pub fn new(role: Role) -> Endpoint {
        Endpoint { role, fragments: None }
    }

    /// Reads one frame from the front of `input`, unmasking in place.
    ///
    /// Gives the event and the number of bytes it took; `None` if the frame is not complete. Messages longer than
    /// `message_bytes_max` are refused as soon as their header is seen.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        let Some(header) = frame::parse(input)? else { return Ok(None) };
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        if self.fragments.as_ref().is_some_and(|fragments| fragments.complete) {
            self.fragments = None;
        }
        let already = self.fragments.as_ref().map_or(0, |fragments| fragments.bytes.len());
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        if !header.opcode.is_control() && payload_bytes > message_bytes_max.saturating_sub(already) {
            return Err(Violation::TooLong);
        }
        let end = header.header_bytes.saturating_add(payload_bytes);
        let Some(payload) = input.get_mut(header.header_bytes..end) else { return Ok(None) };
        if let Some(mask) = header.mask {
            frame::apply_mask(payload, mask);
        }
        self.event(header.opcode, header.fin, payload).map(|event| Some((event, end)))
    }

    fn event<'a>(&'a mut self, opcode: Opcode, fin: bool, payload: &'a [u8]) -> Result<Event<'a>, Violation> {
        match opcode {
            Opcode::Ping => Ok(Event::Ping(payload)),
            Opcode::Pong => Ok(Event::Pong(payload)),
            Opcode::Close => close_code(payload).map(Event::Close),
            Opcode::Text | Opcode::Binary if self.fragments.is_some() => Err(Violation::Fragments),
            Opcode::Text if fin => text(payload),
            Opcode::Binary if fin => Ok(Event::Binary(payload)),
            Opcode::Text | Opcode::Binary => {
                let text = opcode == Opcode::Text;
                self.fragments = Some(Box::new(Fragments { text, bytes: payload.to_vec(), complete: false }));
                self.fragment_kept()
            }
            Opcode::Continuation => self.continuation(fin, payload),
        }
    }

    fn continuation(&mut self, fin: bool, payload: &[u8]) -> Result<Event<'_>, Violation> {
        match self.fragments.as_deref_mut() {
            None => return Err(Violation::Fragments),
            Some(fragments) => {
                fragments.bytes.extend_from_slice(payload);
                fragments.complete = fin;
            }
        }
        match self.fragments.as_deref() {
            Some(Fragments { complete: true, text: true, bytes }) => text(bytes),
            Some(Fragments { complete: true, text: false, bytes }) => Ok(Event::Binary(bytes)),
            _ => self.fragment_kept(),
        }
    }

    /// Fails on text that cannot become UTF-8 whatever follows, so that a bad message ends at its first bad fragment.
    fn fragment_kept(&self) -> Result<Event<'_>, Violation> {
        match self.fragments.as_deref() {
            Some(Fragments { text: true, bytes, .. }) => match std::str::from_utf8(bytes) {
                Err(error) if error.error_len().is_some() => Err(Violation::NotUtf8),
                _ => Ok(Event::Fragment),
            },
            _ => Ok(Event::Fragment),
        }
    }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame::write(&mut out, opcode, payload, Some([1, 2, 3, 4]));
        if !fin {
            out[0] &= 0x7F;
        }
        out
    }

    fn read_all(mut input: Vec<u8>) -> Result<Vec<String>, Violation> {
        let mut endpoint = Endpoint::new(Role::Server);
        let mut events = Vec::new();
        let mut at = 0;
        while let Some((event, bytes)) = endpoint.next(&mut input[at..], 64)? {
            events.push(format!("{event:?}"));
            at += bytes;
        }
        Ok(events)
    }

    #[test]
    fn control_frames_pass_between_fragments() {
        let input = [
            masked(false, Opcode::Text, b"ab"),
            masked(true, Opcode::Ping, b"p"),
            masked(true, Opcode::Continuation, b"c"),
            masked(true, Opcode::Text, b"next"),
        ];
        assert_eq!(
            read_all(input.concat()),
            Ok(vec![
                "Fragment".into(),
                "Ping([112])".into(),
                "Text(\"abc\")".into(),
                "Text(\"next\")".into()
            ])
        );
    }

    #[test]
    fn violations_end_the_connection() {
        for (input, violation) in [
            (masked(true, Opcode::Continuation, b"x"), Violation::Fragments),
            (
                [masked(false, Opcode::Text, b"a"), masked(true, Opcode::Text, b"b")].concat(),
                Violation::Fragments,
            ),
            (masked(true, Opcode::Text, &[0xFF]), Violation::NotUtf8),
            (masked(false, Opcode::Text, &[0xFF]), Violation::NotUtf8),
            (masked(true, Opcode::Close, &[1]), Violation::BadClose),
            (masked(true, Opcode::Close, &1005u16.to_be_bytes()), Violation::BadClose),
            (masked(true, Opcode::Binary, &[0; 65]), Violation::TooLong),
            (
                [masked(false, Opcode::Binary, &[0; 64]), masked(true, Opcode::Continuation, &[0])].concat(),
                Violation::TooLong,
            ),
            (vec![0x81, 0x00], Violation::Mask),
        ] {
            assert_eq!(read_all(input.clone()), Err(violation), "{input:02x?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(bytes);
        }
    }
}
