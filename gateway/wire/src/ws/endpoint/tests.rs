//! Frames cut in every way, and the traps of both RFCs.

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

/// What a server reads when the bytes come in pieces of these lengths, again and again.
fn read_in(pieces: &[usize], input: &[u8]) -> (Vec<String>, Option<Violation>) {
    read(Endpoint::new(Role::Server), pieces, input)
}

fn read(mut endpoint: Endpoint, pieces: &[usize], input: &[u8]) -> (Vec<String>, Option<Violation>) {
    let mut inflater = Inflater::default();
    let mut events = Vec::new();
    let (mut shown, mut left, mut pieces) = (Vec::new(), input, pieces.iter().cycle());
    while !left.is_empty() {
        let piece = (*pieces.next().unwrap()).clamp(1, left.len());
        shown.extend_from_slice(&left[..piece]);
        left = &left[piece..];
        let mut at = 0;
        loop {
            match endpoint.next_inflated(&mut shown[at..], 64, &mut inflater) {
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
        assert_eq!((got, end), (events.iter().map(|event| (*event).into()).collect(), violation), "{pieces}");
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
    let input = [masked(false, Opcode::Text, b"a\xf0\x9f"), masked(true, Opcode::Continuation, b"\x98\x80!")];
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

/// What a client reads from a server with which it has agreed on compression.
fn check_deflated(input: &[u8], events: &[&str], violation: Option<Violation>) {
    for pieces in [1, 3, usize::MAX] {
        let endpoint = Endpoint::with_deflate(Role::Client, Some(Deflate::FULL));
        let (got, end) = read(endpoint, &[pieces], input);
        assert_eq!(
            (got, end),
            (events.iter().map(|event| (*event).into()).collect(), violation),
            "{input:02x?}"
        );
    }
}

#[test]
fn the_examples_of_rfc_7692() {
    let hello = ["Text(\"Hello\")"];
    for input in [
        // 7.2.3.1: one frame, and two with a ping between them.
        &b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00",
        // 7.2.3.3: a block without compression. 7.2.3.4: a last block. 7.2.3.5: two blocks.
        b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00",
        b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        // Not compressed is always allowed.
        b"\x81\x05Hello",
    ] {
        check_deflated(input, &hello, None);
    }
    // 7.2.3.6: an empty message.
    check_deflated(b"\xc2\x01\x00", &["Binary([])"], None);
    // 7.2.3.2: the second message refers to the first, although it was agreed that none does.
    let kept_context = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    check_deflated(kept_context, &hello, Some(Violation::Corrupt));
}

#[test]
fn compression_has_its_own_violations() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    for (first, rest, violation) in [
        (0xC9, &b""[..], Violation::Header(HeaderError::ReservedBit)),
        (0xC0, b"", Violation::Header(HeaderError::ReservedBit)),
        (0xE1, hello, Violation::Header(HeaderError::ReservedBit)),
        (0xC1, b"\xff\xff\xff\xff", Violation::Corrupt),
        // Stored: one byte that is no text.
        (0xC1, b"\x00\x01\x00\xfe\xff\xff\x00", Violation::NotUtf8),
        // 65 zeros.
        (0xC2, b"\x62\x60\xa0\x10\x00\x00", Violation::TooLong),
    ] {
        let input = [&[first, rest.len() as u8], rest].concat();
        check_deflated(&input, &[], Some(violation));
    }
    // A continuation that says again that it is compressed.
    check_deflated(b"\x41\x01\xf2\xc0\x00", &[], Some(Violation::Header(HeaderError::ReservedBit)));
}

#[test]
fn what_cannot_be_compressed_may_grow_a_little_on_the_wire() {
    let stored = [&b"\x00\x40\x00\xbf\xff"[..], &[b'x'; 64], b"\x00"].concat();
    let input = [&[0xC2, stored.len() as u8], &*stored].concat();
    check_deflated(&input, &[&format!("Binary({:?})", [b'x'; 64])], None);
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
