//! One end of an open WebSocket: frames to messages, in place (RFC 6455 sections 5 to 7).
//!
//! An endpoint owns no buffer unless a message is incomplete, so an idle connection costs a few bytes.

use super::frame::{self, HeaderError, Opcode};
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
    /// A close frame with a code no peer may send, or one byte long.
    #[error("close frame with an invalid code")]
    BadClose,
}

impl From<NotUtf8> for Violation {
    fn from(_: NotUtf8) -> Violation {
        Violation::NotUtf8
    }
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
    /// The message so far, while it is not complete.
    gathered: Option<Box<Gathered>>,
}

impl Endpoint {
    /// An endpoint after its handshake.
    pub fn new(role: Role) -> Endpoint {
        Endpoint { role, gathered: None }
    }

    /// Reads one frame, or what is there of a data frame, from the front of `input`, unmasking in place.
    ///
    /// Gives the event and the number of bytes it took; `None` if more bytes are needed. A message that is whole in `input`
    /// is handed out where it lies; any other is gathered in a buffer of its own, so `input` never needs to hold more than
    /// a frame's header or a control frame. Messages longer than `message_bytes_max` are refused as soon as a header says so.
    /// After a violation or [`Event::Close`] nothing more may be read.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        if self.gathered.as_ref().is_some_and(|gathered| gathered.is_complete()) {
            self.gathered = None;
        }
        if self.gathered.as_ref().is_some_and(|gathered| gathered.is_inside_frame()) {
            return self.take(input, 0);
        }
        let Some(header) = frame::parse(input)? else { return Ok(None) };
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let end = header.header_bytes.saturating_add(payload_bytes);
        let is_control = header.opcode.is_control();
        if !is_control {
            self.check_data(header.opcode, payload_bytes, message_bytes_max)?;
        }
        if !is_control && (!header.fin || self.gathered.is_some() || end > input.len()) {
            let gathered = self.gathered.get_or_insert_with(|| Box::new(Gathered::new(header.opcode)));
            gathered.begin_frame(&header, payload_bytes);
            return self.take(input, header.header_bytes);
        }
        let Some(payload) = input.get_mut(header.header_bytes..end) else { return Ok(None) };
        if let Some(mask) = header.mask {
            frame::apply_mask(payload, mask);
        }
        let event = match header.opcode {
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
        opcode: Opcode,
        payload_bytes: usize,
        message_bytes_max: usize,
    ) -> Result<(), Violation> {
        if (opcode == Opcode::Continuation) != self.gathered.is_some() {
            return Err(Violation::Fragments);
        }
        let already = self.gathered.as_ref().map_or(0, |gathered| gathered.len());
        if payload_bytes > message_bytes_max.saturating_sub(already) {
            return Err(Violation::TooLong);
        }
        Ok(())
    }

    /// Gathers payload that begins at `from`.
    fn take<'a>(
        &'a mut self,
        input: &mut [u8],
        from: usize,
    ) -> Result<Option<(Event<'a>, usize)>, Violation> {
        match self.gathered.as_deref_mut() {
            Some(gathered) if from > 0 || !input.is_empty() => {
                let (event, taken) = gathered.take(&mut input[from..])?;
                Ok(Some((event, from + taken)))
            }
            _ => Ok(None),
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

    /// What a server reads when the bytes come in pieces of these lengths, the last one again and again.
    fn read_in(pieces: &[usize], input: &[u8]) -> (Vec<String>, Option<Violation>) {
        let mut endpoint = Endpoint::new(Role::Server);
        let mut events = Vec::new();
        let (mut shown, mut left, mut pieces) = (Vec::new(), input, pieces.iter().cycle());
        while !left.is_empty() {
            let piece = (*pieces.next().unwrap()).clamp(1, left.len());
            shown.extend_from_slice(&left[..piece]);
            left = &left[piece..];
            let mut at = 0;
            loop {
                match endpoint.next(&mut shown[at..], 64) {
                    Ok(Some((event, bytes))) => {
                        if event != Event::Fragment {
                            events.push(format!("{event:?}"));
                        }
                        at += bytes;
                        if matches!(event, Event::Close(_)) {
                            return (events, None);
                        }
                    }
                    Ok(None) => break,
                    Err(violation) => return (events, Some(violation)),
                }
            }
            shown.drain(..at);
            // Never more than a header or a control frame waits for its rest.
            assert!(shown.len() < 2 + 4 + 125, "{} bytes wait", shown.len());
        }
        (events, None)
    }

    fn check(input: &[Vec<u8>], events: &[&str], violation: Option<Violation>) {
        let input = input.concat();
        for pieces in [1, 2, 3, 5, usize::MAX] {
            let (got, end) = read_in(&[pieces], &input);
            assert_eq!(
                (got, end),
                (events.iter().map(|event| (*event).into()).collect(), violation),
                "{pieces}"
            );
        }
    }

    #[test]
    fn control_frames_pass_between_fragments() {
        let input = [
            masked(false, Opcode::Text, b"ab"),
            masked(true, Opcode::Ping, b"p"),
            masked(false, Opcode::Continuation, b""),
            masked(true, Opcode::Continuation, b"c"),
            masked(true, Opcode::Text, b"next"),
            masked(false, Opcode::Binary, b""),
            masked(true, Opcode::Continuation, b""),
            masked(false, Opcode::Text, b"x"),
            masked(true, Opcode::Close, &1000u16.to_be_bytes()),
            masked(true, Opcode::Text, b"nobody reads this"),
        ];
        check(&input, &["Ping([112])", "Text(\"abc\")", "Text(\"next\")", "Binary([])", "Close(1000)"], None);
    }

    #[test]
    fn a_character_may_be_cut_by_a_fragment_and_by_a_read() {
        let input =
            [masked(false, Opcode::Text, b"a\xf0\x9f"), masked(true, Opcode::Continuation, b"\x98\x80!")];
        check(&input, &["Text(\"a\u{1f600}!\")"], None);
        let cut = [masked(false, Opcode::Text, b"a\xf0"), masked(true, Opcode::Continuation, b"\x9f")];
        check(&cut, &[], Some(Violation::NotUtf8));
    }

    #[test]
    fn bad_text_is_refused_before_its_frame_is_complete() {
        let input = masked(true, Opcode::Text, b"\xce\xba\xf4\x90\x80\x80 and more");
        // Header, one character and the two bytes that no text has.
        let seen = 6 + 4;
        assert_eq!(read_in(&[1], &input[..seen - 1]), (vec![], None));
        assert_eq!(read_in(&[1], &input[..seen]), (vec![], Some(Violation::NotUtf8)));
    }

    #[test]
    fn the_buffer_of_a_message_is_given_back_with_it() {
        let mut endpoint = Endpoint::new(Role::Server);
        let mut input = masked(true, Opcode::Binary, &[7; 40]);
        assert!(matches!(endpoint.next(&mut input[..20], 64), Ok(Some((Event::Fragment, 20)))));
        assert!(endpoint.gathered.is_some());
        assert!(
            matches!(endpoint.next(&mut input[20..], 64), Ok(Some((Event::Binary(whole), 26))) if *whole == [7; 40])
        );
        assert_eq!(endpoint.next(&mut [], 64), Ok(None));
        assert!(endpoint.gathered.is_none());
    }

    #[test]
    fn close_codes() {
        for (code, is_valid) in [
            (0, false),
            (999, false),
            (1000, true),
            (1003, true),
            (1004, false),
            (1005, false),
            (1006, false),
            (1007, true),
            (1014, true),
            (1015, false),
            (1016, false),
            (2999, false),
            (3000, true),
            (4999, true),
            (5000, false),
            (65535, false),
        ] {
            let input = [masked(true, Opcode::Close, &u16::to_be_bytes(code))];
            match is_valid {
                true => check(&input, &[&format!("Close({code})")], None),
                false => check(&input, &[], Some(Violation::BadClose)),
            }
        }
        check(&[masked(true, Opcode::Close, b"")], &["Close(1005)"], None);
        check(&[masked(true, Opcode::Close, b"\x03\xe8\xff")], &[], Some(Violation::NotUtf8));
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
            for pieces in [1, 4, usize::MAX] {
                assert_eq!(read_in(&[pieces], &input).1, Some(violation), "{input:02x?} in {pieces}");
            }
        }
    }

    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            4 => Just(Opcode::Continuation),
            2 => Just(Opcode::Text),
            2 => Just(Opcode::Binary),
            1 => Just(Opcode::Ping),
            1 => Just(Opcode::Close),
        ];
        let payload =
            prop_oneof!["\\PC{0,12}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)];
        (any::<bool>(), opcode, payload)
            .prop_map(|(fin, opcode, payload)| masked(fin || opcode.is_control(), opcode, &payload))
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(
            frames in prop::collection::vec(any_frame(), 0..8),
            noise in prop::collection::vec(any::<u8>(), 0..8),
            pieces in prop::collection::vec(1usize..30, 1..20),
        ) {
            let input = [frames.concat(), noise].concat();
            let whole = read_in(&[usize::MAX], &input);
            prop_assert_eq!(read_in(&pieces, &input), whole);
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), pieces in prop::collection::vec(1usize..30, 1..5)) {
            let _ = read_in(&pieces, &bytes);
        }
    }
}
