//! Clients that are slow on purpose: slowloris, trickled messages, silence, and those who do not read.
//!
//! Bounds are so wide that who behaves keeps them on a machine with much else to do; who does not is found at each of them.

use crate::attacker::{End, MASK, attack, handshake, write_header};
use crate::driver::{Gateway, Member, PATIENCE, Raw, send};
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;
use tungstenite::Message;
use wire::time::Time;
use wire::ws::frame::{self, Opcode};

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn slowloris_gets_408_when_its_time_is_over() {
    let gateway = Gateway::start(&["--handshake-timeout", "2s"]);
    let endless = format!("GET /ws HTTP/1.1\r\nHost: test\r\n{}", "A: b\r\n".repeat(500));
    let mut attacker = Raw::connect(&gateway);
    let took = attacker.trickle(endless.as_bytes(), MOMENT);
    assert!(attacker.head().starts_with("HTTP/1.1 408"));
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    let mut silent = Raw::connect(&gateway);
    assert!(silent.head().starts_with("HTTP/1.1 408"), "without a single byte too");
    assert_eq!(gateway.connect_errors("timeout"), 2.0);
    // In pieces, and in time.
    let mut member = Raw::connect(&gateway);
    let head = handshake("al", "phone", "");
    member.stream.write_all(&head.as_bytes()[..30]).unwrap();
    member.trickle(&head.as_bytes()[30..33], MOMENT);
    member.stream.write_all(&head.as_bytes()[33..]).unwrap();
    assert!(member.head().starts_with("HTTP/1.1 101"));
    member.next_frame().expect("hello");
    // When one who came later has run out of time, the session is alive.
    let mut later = Raw::connect(&gateway);
    assert!(later.head().starts_with("HTTP/1.1 408"));
    member.write(&[(Opcode::Ping, b"")]);
    assert_eq!(member.next_frame().map(|(first, _)| first), Some(0x8A));
    assert_eq!(gateway.connect_errors("timeout"), 3.0);
}

#[test]
fn a_message_that_is_never_completed_ends_with_1008() {
    let gateway = Gateway::start(&["--message-timeout", "2s", "--max-control-frames-per-second", "0"]);
    let mut whole = Vec::new();
    let text = send("m", "nobody", &format!("\"{}\"", "x".repeat(300)));
    frame::write(&mut whole, Opcode::Text, text.as_bytes(), Some(MASK));
    // A frame byte by byte; then fragments with pings between them, which are whole frames and prolong nothing.
    let mut attacker = attack(&gateway, "mallory");
    let took = attacker.trickle(&whole, MOMENT);
    assert_eq!(attacker.end(), End::Close(1008));
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    let mut attacker = attack(&gateway, "mallory");
    let mut first = Vec::new();
    write_header(&mut first, false, Opcode::Text, 1, [0; 4]);
    first.push(b'{');
    attacker.stream.write_all(&first).unwrap();
    attacker.stream.set_read_timeout(Some(MOMENT)).unwrap();
    let until = Time::now() + PATIENCE;
    let end = loop {
        let mut ping = Vec::new();
        frame::write(&mut ping, Opcode::Ping, b"", Some(MASK));
        let _ = attacker.stream.write_all(&ping);
        assert!(Time::now() < until, "pings prolong it for ever");
        match attacker.stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break End::Cut,
            Ok(_) => match attacker.next_frame() {
                Some((0x88, payload)) => break End::Close(u16::from_be_bytes([payload[0], payload[1]])),
                Some(_) => {
                    let _ = attacker.stream.set_read_timeout(Some(MOMENT));
                }
                None => break End::Cut,
            },
        }
    };
    // The pings that were under way may turn the end into a reset.
    assert!(matches!(end, End::Close(1008) | End::Cut), "{end:?}");
    gateway.wait_for("im_gateway_connections_closed_total{reason=\"slow_sender\"}", 2.0);
    // Slowly, but complete in time, twice.
    let mut member = attack(&gateway, "al");
    for id in ["a", "b"] {
        let mut whole = Vec::new();
        frame::write(&mut whole, Opcode::Text, send(id, "nobody", "1").as_bytes(), Some(MASK));
        member.trickle(&whole[..5], MOMENT);
        member.stream.write_all(&whole[5..]).unwrap();
        assert_eq!(member.answers(1), ["sent"]);
    }
    assert_eq!(gateway.closed("slow_sender"), 2.0);
}

#[test]
fn silence_ends_with_4408_and_pongs_are_no_silence() {
    let gateway = Gateway::start(&["--heartbeat", "300ms", "--idle-timeout", "2s"]);
    let mut attacker = attack(&gateway, "mallory");
    let begin = Time::now();
    assert_eq!(attacker.end(), End::Close(4408), "it reads the pings and answers none");
    assert!(Time::now().since(begin) >= Duration::from_millis(1900));
    let mut member = Member::connect(&gateway, "al");
    let begin = Time::now();
    while Time::now().since(begin) < Duration::from_secs(4) {
        assert!(matches!(member.next(), Message::Ping(_)));
    }
    assert_eq!(member.ask(&send("m", "nobody", "1")), "sent");
    assert_eq!(gateway.closed("heartbeat"), 1.0);
}

#[test]
fn who_reads_no_answers_is_closed_before_they_fill_the_memory() {
    let gateway = Gateway::start_alone(&[]);
    let mut attacker = attack(&gateway, "mallory");
    let mut bytes = Vec::new();
    for _ in 0..2000 {
        frame::write(&mut bytes, Opcode::Text, b"x", Some(MASK));
    }
    // Each of these frames of 7 bytes is answered by an error of about 80.
    let written = (0..2000).take_while(|_| attacker.stream.write_all(&bytes).is_ok()).count();
    assert!(written < 2000, "nobody stopped it");
    gateway.wait_for("im_gateway_connections_closed_total{reason=\"slow_reader\"}", 1.0);
    let resident = gateway.metric("process_resident_memory_bytes");
    assert!(resident < 200e6, "{resident} bytes");
    // As many frames from one who reads.
    let mut member = attack(&gateway, "al");
    for _ in 0..20 {
        member.stream.write_all(&bytes).unwrap();
        assert_eq!(member.answers(2000).len(), 2000);
    }
    assert_eq!(gateway.closed("slow_reader"), 1.0);
}

#[test]
fn who_asks_over_http_and_reads_no_answers_is_cut_off() {
    let gateway = Gateway::start_alone(&[]);
    let ask = |client: &mut Raw, times: usize| {
        // Fails once it is cut off.
        client.stream.write_all("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(times).as_bytes())
    };
    // Each of these 36 bytes is answered with tens of thousands.
    let mut attacker = Raw::connect(&gateway);
    let _ = ask(&mut attacker, 1000);
    gateway.wait_for("im_gateway_connection_errors_total{error_type=\"slow_reader\"}", 1.0);
    gateway.wait_for("http_requests_in_flight", 1.0);
    let answered = gateway.metric("http_requests_total{endpoint=\"/metrics\"}");
    assert!(answered < 500.0, "{answered} answers for who reads none");
    // What it had been sent before is still there.
    let end = attacker.stream.read_to_end(&mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // As many from one who reads.
    let mut reader = Raw::connect(&gateway);
    for _ in 0..20 {
        ask(&mut reader, 5).unwrap();
        for _ in 0..5 {
            let head = reader.head();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            reader.stream.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
        }
    }
    assert_eq!(gateway.connect_errors("slow_reader"), 1.0);
}

#[test]
fn a_slow_reader_is_closed_and_loses_nothing() {
    let gateway = Gateway::start_alone(&["--ack-timeout", "60s"]);
    let slow = attack(&gateway, "slow");
    let mut sender = attack(&gateway, "al");
    // Many deliveries in the step in which the session is closed: all of them find it closing.
    let mut accepted = 0;
    let until = Time::now() + PATIENCE;
    while gateway.closed("slow_reader") == 0.0 {
        assert!(Time::now() < until, "never closed");
        let frames: Vec<String> =
            (0..500).map(|k| send(&format!("m-{}", accepted + k), "slow", "1")).collect();
        let frames: Vec<_> = frames.iter().map(|frame| (Opcode::Text, frame.as_bytes())).collect();
        sender.write(&frames);
        assert!(sender.answers(500).iter().all(|answer| answer == "sent"));
        accepted += 500;
    }
    drop(slow);
    gateway.check_conservation();
    let mut back = Member::connect_as(&gateway, "slow", "attack", &[]);
    for k in 0..accepted {
        assert_eq!(back.delivery()["id"], format!("m-{k}"), "of {accepted}");
    }
    gateway.wait_for("im_gateway_messages_in_flight", 0.0);
    gateway.check_conservation();
}

#[test]
fn a_slow_reader_that_may_stay_loses_only_what_no_queue_holds() {
    let gateway = Gateway::start_alone(&["--ack-timeout", "60s", "--slow-reader", "queue"]);
    let slow = attack(&gateway, "slow");
    let mut sender = attack(&gateway, "al");
    for batch in 0..7 {
        let frames: Vec<String> =
            (0..500).map(|k| send(&format!("m-{}", batch * 500 + k), "slow", "1")).collect();
        let frames: Vec<_> = frames.iter().map(|frame| (Opcode::Text, frame.as_bytes())).collect();
        sender.write(&frames);
        assert!(sender.answers(500).iter().all(|answer| answer == "sent"));
    }
    // A window, as many behind it, and an offline queue.
    let kept = 1024 + 1024 + 1000;
    gateway.wait_for("im_gateway_messages_failed_total", 3500.0 - f64::from(kept));
    assert_eq!(gateway.closed("slow_reader"), 0.0);
    gateway.check_conservation();
    drop(slow);
    let mut back = Member::connect_as(&gateway, "slow", "attack", &[]);
    for k in 0..kept {
        assert_eq!(back.delivery()["id"], format!("m-{k}"));
    }
    gateway.wait_for("im_gateway_messages_in_flight", 0.0);
    gateway.check_conservation();
}
