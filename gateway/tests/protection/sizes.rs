//! Heads, frames and JSON above their limits.

use crate::attacker::{End, MASK, attack, handshake, write_header};
use crate::driver::{Gateway, Member, Raw, send};
use std::io::Write as _;
use wire::ws::frame::Opcode;

#[test]
fn a_head_above_its_limit_is_refused() {
    let gateway = Gateway::start(&["--max-header-bytes", "1024"]);
    let endless = "A: ".to_owned() + &"x".repeat(4000);
    let whole = handshake("mallory", "phone", &format!("X-Long: {}\r\n", "x".repeat(1000)));
    for head in [endless, whole] {
        let mut attacker = Raw::connect(&gateway);
        attacker.stream.write_all(head.as_bytes()).unwrap();
        let answer = attacker.head();
        assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let mut many = Raw::connect(&gateway);
    many.stream.write_all(handshake("mallory", "phone", &"A: b\r\n".repeat(70)).as_bytes()).unwrap();
    assert!(many.head().starts_with("HTTP/1.1 431"), "70 headers");
    assert_eq!(gateway.connect_errors("too_large") + gateway.connect_errors("protocol"), 3.0);
    assert!(gateway.connect_errors("too_large") >= 2.0);
    let cookie = "c".repeat(300);
    let mut member = Member::connect_as(&gateway, "al", "phone", &[("Cookie", &cookie)]);
    assert_eq!(member.ask(&send("m", "nobody", "1")), "sent");
}

/// What is counted is what came.
#[test]
fn a_body_that_is_only_announced_is_refused_and_not_counted() {
    let gateway = Gateway::start_alone(&[]);
    for announced in ["16385", "9000000000000000000", "18446744073709551615"] {
        let (_, head) =
            Raw::ask(&gateway, &format!("POST /nowhere HTTP/1.1\r\nContent-Length: {announced}\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 413 "), "{announced}: {head}");
    }
    let (_, head) = Raw::ask(&gateway, "POST /nowhere HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let sum = gateway.metric("http_request_size_bytes_sum");
    assert!(sum < 10_000.0, "{sum} bytes");
    assert_eq!(gateway.metric("http_requests_total{status_code=\"413\"}"), 3.0);
}

#[test]
fn a_message_above_its_limit_ends_with_1009() {
    let gateway = Gateway::start(&["--max-message-bytes", "1024"]);
    let long = send("m", "nobody", &format!("\"{}\"", "x".repeat(1024)));
    let mut attacker = attack(&gateway, "mallory");
    attacker.write(&[(Opcode::Text, long.as_bytes())]);
    assert_eq!(attacker.end(), End::Close(1009));
    // Announced only, and in fragments.
    let mut attacker = attack(&gateway, "mallory");
    let mut header = Vec::new();
    write_header(&mut header, true, Opcode::Text, 1 << 40, MASK);
    attacker.stream.write_all(&header).unwrap();
    assert_eq!(attacker.end(), End::Close(1009));
    let mut attacker = attack(&gateway, "mallory");
    let mut bytes = Vec::new();
    for opcode in [Opcode::Text, Opcode::Continuation] {
        write_header(&mut bytes, false, opcode, 600, [0; 4]);
        bytes.extend([b' '; 600]);
    }
    attacker.stream.write_all(&bytes).unwrap();
    assert_eq!(attacker.end(), End::Close(1009));
    gateway.wait_for("im_gateway_connections_closed_total{reason=\"protocol\"}", 3.0);
    let mut member = Member::connect(&gateway, "al");
    let fits = send("m", "nobody", &format!("\"{}\"", "x".repeat(900)));
    assert_eq!(member.ask(&fits), "sent");
}

#[test]
fn a_body_nested_too_deeply_is_refused_and_nothing_else() {
    let gateway = Gateway::start(&["--max-json-depth", "8"]);
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let mut member = Member::connect(&gateway, "al");
    assert_eq!(member.ask(&send("deep", "al", &nested(9))), "too_deep");
    assert_eq!(member.ask(&send("fits", "al", &nested(8))), "sent", "the connection stays open");
    assert_eq!(member.ask(&send("text", "al", &format!("\"{}\"", "[".repeat(99)))), "sent");
    let unclosed = attack(&gateway, "mallory");
    let mut unclosed = unclosed;
    unclosed.write(&[(Opcode::Text, send("m", "al", &"[".repeat(60_000)).as_bytes())]);
    assert_eq!(unclosed.answers(1), ["bad_frame"], "no stack is used for nesting");
    assert_eq!(gateway.metric("im_gateway_messages_refused_total{code=\"too_deep\"}"), 1.0);
}
