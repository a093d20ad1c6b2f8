//! Control frames and fragments in numbers that nobody needs.

use crate::attacker::{End, MASK, attack, write_header};
use crate::driver::{Gateway, Member, send};
use std::io::Write as _;
use tungstenite::Message;
use wire::ws::frame::Opcode;

#[test]
fn a_ping_flood_ends_with_1008() {
    let gateway = Gateway::start(&["--max-control-frames-per-second", "20"]);
    for opcode in [Opcode::Ping, Opcode::Pong] {
        let mut attacker = attack(&gateway, "mallory");
        attacker.write(&[(opcode, b"x" as &[u8]); 500]);
        assert_eq!(attacker.end(), End::Close(1008), "{opcode:?}");
    }
    gateway.wait_for("im_gateway_connections_closed_total{reason=\"flood\"}", 2.0);
    let mut member = Member::connect(&gateway, "al");
    for _ in 0..20 {
        member.ping();
    }
    assert!((0..20).all(|_| matches!(member.next(), Message::Pong(_))));
    assert_eq!(member.ask(&send("m", "nobody", "1")), "sent");
    assert_eq!(gateway.closed("flood"), 2.0);
}

#[test]
fn a_message_of_endless_empty_fragments_ends_with_1008() {
    let gateway = Gateway::start(&["--max-message-bytes", "1024"]);
    let fragments = |count: usize| {
        let mut bytes = Vec::new();
        let text = send("m", "nobody", &format!("\"{}\"", "x".repeat(count)));
        for (index, byte) in text.bytes().enumerate() {
            let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
            write_header(&mut bytes, index + 1 == text.len(), opcode, 1, [0; 4]);
            bytes.push(byte);
        }
        bytes
    };
    let mut attacker = attack(&gateway, "mallory");
    let mut empty = Vec::new();
    write_header(&mut empty, false, Opcode::Text, 0, MASK);
    for _ in 0..2048 {
        write_header(&mut empty, false, Opcode::Continuation, 0, MASK);
    }
    attacker.stream.write_all(&empty).unwrap();
    assert_eq!(attacker.end(), End::Close(1008));
    let mut patient = attack(&gateway, "al");
    for _ in 0..2 {
        patient.stream.write_all(&fragments(800)).unwrap();
        assert_eq!(patient.answers(1), ["sent"]);
    }
}
