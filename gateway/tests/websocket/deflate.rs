//! RFC 7692: negotiation, compressed messages both ways, bombs, and a fan-out compressed once.

use crate::driver::{Gateway, Raw, token, upgrade_request};
use crate::peer::{BINARY, CLOSE, CONTINUATION, FIN, TEXT, close, frame, is_closed_with, start_echo};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use std::io::Read as _;

const RSV1: u8 = 0x40;

fn offering(extensions: &str) -> String {
    upgrade_request("/", &format!("Sec-WebSocket-Extensions: {extensions}\r\n"))
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    out.truncate(out.len() - 4);
    out
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_000_000);
    let whole = [payload, b"\0\0\xff\xff"].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
    out
}

fn long_text() -> String {
    (0..2000).map(|line| format!("line {line} of a text that can be compressed\n")).collect()
}

#[test]
fn compression_is_off_unless_asked_for_on_both_sides() {
    let off = start_echo(&[]);
    let (mut raw, head) = Raw::upgrade(&off, &offering("permessage-deflate"));
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
    raw.send(&frame(FIN | RSV1 | TEXT, &deflated(b"hello")));
    is_closed_with(&mut raw, 1002, "compressed although nothing was agreed");
    let on = start_echo(&["--deflate"]);
    assert!(!Raw::upgrade(&on, &upgrade_request("/", "")).1.contains("Sec-WebSocket-Extensions"));
    assert!(
        !Raw::upgrade(&on, &offering("permessage-deflate; unheard=of"))
            .1
            .contains("Sec-WebSocket-Extensions")
    );
    for (offer, answer) in [
        ("permessage-deflate; client_max_window_bits", ""),
        (
            "permessage-deflate; unheard=of, permessage-deflate; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
    ] {
        let expected = format!(
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover{answer}\r\n"
        );
        let (_, head) = Raw::upgrade(&on, &offering(offer));
        assert!(head.contains(&expected), "{head}");
    }
    let (_, head) = Raw::ask(&on, &offering("permessage-deflate; ="));
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[test]
fn compressed_messages_are_answered_compressed_where_that_pays() {
    let echo = start_echo(&["--deflate"]);
    for offer in ["permessage-deflate", "permessage-deflate; server_max_window_bits=9"] {
        let (mut raw, _) = Raw::upgrade(&echo, &offering(offer));
        let text = long_text();
        // Twice the same: a context kept from the first would show in the second.
        for _ in 0..2 {
            let payload = deflated(text.as_bytes());
            let (begin, end) = payload.split_at(payload.len() / 2);
            raw.send(&frame(RSV1 | TEXT, begin));
            raw.send(&frame(FIN | CONTINUATION, end));
            let (first, answer) = raw.frame();
            assert_eq!(first, FIN | RSV1 | TEXT);
            assert!(answer.len() < text.len() / 4 && inflated(&answer) == text.as_bytes());
        }
        raw.send(&frame(FIN | RSV1 | BINARY, &deflated(b"short")));
        assert_eq!(raw.frame(), (FIN | BINARY, b"short".to_vec()));
        raw.send(&frame(FIN | TEXT, b"as it is"));
        assert_eq!(raw.frame(), (FIN | TEXT, b"as it is".to_vec()));
        raw.send(&close(1000));
        is_closed_with(&mut raw, 1000, "as without compression");
    }
}

#[test]
fn bombs_and_nonsense_end_the_connection() {
    let echo = start_echo(&["--deflate"]);
    let bomb = deflated(&vec![0; 16 * 1024 * 1024 + 1]);
    for (bytes, code, what) in [
        (frame(FIN | RSV1 | BINARY, &bomb), 1009, "17 KB that become more than 16 MiB"),
        (frame(FIN | RSV1 | BINARY, &[0xFF; 20]), 1007, "no deflate stream"),
        (frame(FIN | RSV1 | TEXT, &deflated(b"a\xff")), 1007, "not UTF-8 within"),
        (
            [frame(RSV1 | TEXT, b"\xf2"), frame(FIN | RSV1 | CONTINUATION, b"")].concat(),
            1002,
            "RSV1 on a continuation",
        ),
        (frame(FIN | RSV1 | CLOSE, b""), 1002, "RSV1 on a control frame"),
    ] {
        let (mut raw, _) = Raw::upgrade(&echo, &offering("permessage-deflate"));
        raw.send(&bytes);
        is_closed_with(&mut raw, code, what);
    }
    let (mut raw, _) = Raw::upgrade(&echo, &offering("permessage-deflate"));
    raw.send(&frame(FIN | RSV1 | BINARY, &deflated(&vec![0; 16 * 1024 * 1024])));
    assert_eq!(raw.frame().0, FIN | RSV1 | BINARY, "the longest that is allowed");
}

/// Reads text frames, compressed or not, until one has this type.
fn next(raw: &mut Raw, kind: &str) -> (bool, serde_json::Value) {
    loop {
        let (first, payload) = raw.frame();
        let is_compressed = first & RSV1 != 0;
        let payload = if is_compressed { inflated(&payload) } else { payload };
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        if value["type"] == kind {
            return (is_compressed, value);
        }
    }
}

#[test]
fn a_fan_out_reaches_each_member_compressed_or_not() {
    let gateway = Gateway::start_alone(&["--deflate"]);
    let join = |user: &str, extensions: Option<&str>| {
        let target = format!("/ws?token={}", token(user, "d"));
        let offer = extensions.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let (mut raw, _) = Raw::upgrade(&gateway, &upgrade_request(&target, &offer.unwrap_or_default()));
        raw.send(&frame(FIN | TEXT, br#"{"type":"join","group":"g"}"#));
        next(&mut raw, "joined");
        raw
    };
    let mut sender = join("sender", Some("permessage-deflate"));
    let mut members = [
        (join("full", Some("permessage-deflate")), true),
        (join("small", Some("permessage-deflate; server_max_window_bits=9")), true),
        (join("plain", None), false),
    ];
    let body = long_text()[..20_000].to_owned();
    for seq in 1..=3 {
        let send =
            serde_json::json!({ "type": "send", "id": format!("m-{seq}"), "to": "group:g", "body": body });
        sender.send(&frame(FIN | RSV1 | TEXT, &deflated(send.to_string().as_bytes())));
        next(&mut sender, "sent");
        for (member, takes_compressed) in &mut members {
            let (is_compressed, message) = next(member, "message");
            assert_eq!(is_compressed, *takes_compressed);
            assert_eq!((&message["seq"], &message["body"]), (&seq.into(), &body.clone().into()));
        }
    }
    sender.send(&close(3000));
    is_closed_with(&mut sender, 3000, "the peer's own code comes back");
    assert_eq!(sender.stream.read(&mut [0]).unwrap(), 0);
}
