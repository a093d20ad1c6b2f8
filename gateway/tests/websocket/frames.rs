//! RFC 6455: frames, text, closes.

use crate::driver::{Gateway, Raw, token, upgrade_request};
use crate::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close, frame, is_closed_with, open, start_echo,
};
use std::io::Read as _;
use tungstenite::Message;

const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

#[test]
fn fragments_come_back_whole_and_pings_pass_between_them() {
    let echo = start_echo(&[]);
    let mut raw = open(&echo);
    raw.send(&frame(TEXT, "h\u{e9}".as_bytes()[..2].as_ref()));
    raw.send(&frame(FIN | PING, b"still there?"));
    assert_eq!(raw.frame(), (FIN | PONG, b"still there?".to_vec()));
    raw.send(&frame(CONTINUATION, b""));
    let last = frame(FIN | CONTINUATION, &"h\u{e9}llo".as_bytes()[2..]);
    for byte in last.chunks(1) {
        raw.send(byte);
    }
    assert_eq!(raw.frame(), (FIN | TEXT, "h\u{e9}llo".as_bytes().to_vec()));
    raw.send(&close(4321));
    is_closed_with(&mut raw, 4321, "the peer's own code comes back");
}

#[test]
fn frames_that_come_with_the_request_are_answered() {
    let echo = start_echo(&[]);
    let mut raw = Raw::connect(&echo);
    raw.send(&[upgrade_request("/", "").as_bytes(), &frame(FIN | TEXT, b"early")].concat());
    raw.head();
    assert_eq!(raw.frame(), (FIN | TEXT, b"early".to_vec()));
}

#[test]
fn a_frame_that_was_there_before_its_session_does_not_wait_for_another() {
    let gateway = Gateway::start_alone(&[]);
    let request = upgrade_request(&format!("/ws?token={}", token("al", "d")), "");
    let mut raw = Raw::connect(&gateway);
    raw.send(&[request.as_bytes(), &frame(FIN | TEXT, br#"{"type":"join","group":"g"}"#)].concat());
    raw.head();
    for expected in ["hello", "joined"] {
        let answer: serde_json::Value = serde_json::from_slice(&raw.frame().1).unwrap();
        assert_eq!(answer["type"], expected);
    }
}

#[test]
fn each_violation_has_its_close_code() {
    let echo = start_echo(&[]);
    let mut unmasked = frame(FIN | TEXT, b"x");
    unmasked[1] = 1;
    let mut too_long = frame(FIN | BINARY, b"");
    too_long.splice(1..2, [&[0x80 | 127], &(MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes()[..]].concat());
    for (bytes, code, what) in [
        (unmasked, 1002, "unmasked"),
        (frame(FIN | 0x40 | TEXT, b"x"), 1002, "RSV1 without an extension"),
        (frame(FIN | 0x20 | TEXT, b"x"), 1002, "RSV2"),
        (frame(FIN | 0x10 | TEXT, b"x"), 1002, "RSV3"),
        (frame(FIN | 0x3, b""), 1002, "reserved data opcode"),
        (frame(FIN | 0xB, b""), 1002, "reserved control opcode"),
        (frame(PING, b"x"), 1002, "fragmented ping"),
        (frame(FIN | PING, &[0; 126]), 1002, "long ping"),
        (frame(FIN | CONTINUATION, b"x"), 1002, "continuation of nothing"),
        ([frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), 1002, "a message inside another"),
        (frame(FIN | TEXT, b"a\xff"), 1007, "not UTF-8"),
        (frame(TEXT, b"\xed\xa0"), 1007, "a surrogate, before its message is complete"),
        (frame(FIN | CLOSE, b"\x03"), 1002, "close with half a code"),
        (close(1005), 1002, "close with a code that must not travel"),
        (close(2999), 1002, "close with a code nobody has defined"),
        (frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007, "close with a reason that is not UTF-8"),
        (too_long, 1009, "longer than the limit"),
        (
            [frame(BINARY, &[0; 65_536]), frame(FIN | CONTINUATION, &[0; MESSAGE_BYTES_MAX])].concat()
                [..70_000]
                .to_vec(),
            1009,
            "longer than the limit in sum",
        ),
    ] {
        let mut raw = open(&echo);
        raw.send(&bytes);
        is_closed_with(&mut raw, code, what);
    }
    // Text that can still become UTF-8 is no violation.
    let mut raw = open(&echo);
    raw.send(&frame(TEXT, b"\xf0\x9f"));
    raw.send(&frame(FIN | CLOSE, b""));
    assert_eq!(raw.frame(), (FIN | CLOSE, vec![]));
    assert_eq!(raw.stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn who_goes_on_sending_still_learns_why_it_was_closed() {
    let echo = start_echo(&[]);
    // More than is read at once: a plain close would be answered by RST, which throws the close frame away.
    let garbage = vec![0; 700_000];
    let mut raw = open(&echo);
    raw.send(&frame(FIN | 0x3, b""));
    raw.send(&garbage);
    is_closed_with(&mut raw, 1002, "a violation with much behind it");
    let mut raw = Raw::connect(&echo);
    raw.send(upgrade_request("/", "").replace(": 13", ": 8").as_bytes());
    raw.send(&garbage);
    assert!(raw.head().starts_with("HTTP/1.1 426 "));
    raw.stream.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn refuses_what_is_no_upgrade() {
    let echo = start_echo(&[]);
    let whole = upgrade_request("/", "");
    for (request, status, header) in [
        (whole.replace(": 13", ": 8"), "426", "Sec-WebSocket-Version: 13\r\n"),
        (whole.replace(": websocket", ": h2c"), "426", "Upgrade: websocket\r\n"),
        (whole.replace("HTTP/1.1", "HTTP/1.0"), "426", "Upgrade: websocket\r\n"),
        (whole.replace("HTTP/1.1", "SMTP"), "400", ""),
    ] {
        let (mut raw, head) = Raw::ask(&echo, &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains(header), "{head}");
        let mut body = String::new();
        raw.stream.read_to_string(&mut body).unwrap();
    }
}

#[test]
fn a_foreign_client_gets_back_what_it_sends() {
    let echo = start_echo(&[]);
    let config = tungstenite::protocol::WebSocketConfig::default()
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .max_message_size(Some(MESSAGE_BYTES_MAX));
    let url = format!("ws://{}/", echo.address);
    let (mut client, _) =
        tungstenite::client::client_with_config(url.as_str(), echo.connect(), Some(config)).unwrap();
    // Around each border of the length's forms, of the receive buffer, and the longest that is allowed.
    for bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 262_130, 262_144, 300_000, MESSAGE_BYTES_MAX] {
        let payload: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        client.send(Message::binary(payload.clone())).unwrap();
        assert!(client.read().unwrap() == Message::binary(payload), "{bytes} bytes");
        let text = "\u{1f600}".repeat(bytes / 4);
        client.send(Message::text(text.clone())).unwrap();
        assert!(client.read().unwrap() == Message::text(text), "{bytes} bytes of text");
    }
    client.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
    client.close(None).unwrap();
    assert!(matches!(client.read().unwrap(), Message::Close(_)));
    assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
}
