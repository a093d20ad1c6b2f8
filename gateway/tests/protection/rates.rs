//! Rates of messages, by connection and by user; and the cap on connections.

use crate::attacker::{attack, handshake};
use crate::driver::{Gateway, Member, Raw, send};
use std::io::{Read as _, Write as _};
use wire::time::Time;
use wire::ws::frame::Opcode;

/// `count` sends in one write.
fn burst(attacker: &mut Raw, prefix: &str, count: usize) -> Vec<String> {
    let frames: Vec<String> = (0..count).map(|k| send(&format!("{prefix}-{k}"), "nobody", "1")).collect();
    let frames: Vec<_> = frames.iter().map(|frame| (Opcode::Text, frame.as_bytes())).collect();
    attacker.write(&frames);
    attacker.answers(count)
}

fn sent(answers: &[String]) -> usize {
    answers.iter().filter(|answer| *answer == "sent").count()
}

#[test]
fn a_connection_may_send_a_seconds_worth_at_once() {
    let gateway = Gateway::start(&["--max-messages-per-second", "5"]);
    let mut attacker = attack(&gateway, "mallory");
    let begin = Time::now();
    let answers = burst(&mut attacker, "m", 9);
    let more = (Time::now().since(begin).as_secs_f64() * 5.0) as usize;
    assert!((5..=5 + more).contains(&sent(&answers)), "{answers:?}");
    assert!(answers.iter().all(|answer| answer == "sent" || answer == "rate_limited"), "{answers:?}");
    let limited = (9 - sent(&answers)) as f64;
    assert_eq!(gateway.metric("rate_limit_violations_total{client=\"connection\"}"), limited);
    assert_eq!(gateway.metric("im_gateway_messages_refused_total{code=\"rate_limited\"}"), limited);
    assert_eq!(gateway.metric("rate_limit_requests_total{result=\"limited\"}"), limited);
    // The limit is the connection's own, and it passes.
    let mut member = Member::connect(&gateway, "al");
    assert_eq!(member.ask(&send("a", "nobody", "1")), "sent");
    let until = Time::now() + crate::driver::PATIENCE;
    while member.ask(&send(&format!("{:?}", Time::now()), "nobody", "1")) != "rate_limited" {}
    while member.ask(&send("later", "nobody", "1")) != "sent" {
        assert!(Time::now() < until, "the bucket never refills");
    }
}

#[test]
fn garbage_counts_and_acks_do_not() {
    let gateway = Gateway::start(&["--max-messages-per-second", "2"]);
    let mut attacker = attack(&gateway, "mallory");
    attacker.write(&[(Opcode::Text, b"{" as &[u8]); 5]);
    let answers = attacker.answers(5);
    assert!(answers.iter().filter(|answer| *answer == "bad_frame").count() < 5, "{answers:?}");
    let mut member = attack(&gateway, "al");
    let ack: &[u8] = br#"{"type":"ack","seq":0}"#;
    let last = send("m", "nobody", "1");
    let frames: Vec<_> =
        std::iter::repeat_n((Opcode::Text, ack), 50).chain([(Opcode::Text, last.as_bytes())]).collect();
    member.write(&frames);
    assert_eq!(member.answers(1), ["sent"]);
}

#[test]
fn without_a_limit_there_is_none() {
    let gateway = Gateway::start(&[]);
    let mut attacker = attack(&gateway, "busy");
    let answers = burst(&mut attacker, "m", 2000);
    // A refusal comes at once, a confirmation when it is known where the recipient is.
    assert!(sent(&answers) >= 1000, "the offline queue of one user takes so many: {}", sent(&answers));
    assert!(!answers.contains(&"rate_limited".to_owned()));
    assert_eq!(gateway.metric("rate_limit_requests_total"), 0.0);
}

#[test]
fn a_users_devices_share_one_limit_and_a_reconnect_is_no_way_round_it() {
    let gateway = Gateway::start(&["--max-user-messages-per-second", "4", "--shards", "2"]);
    let begin = Time::now();
    let mut taken = 0;
    for device in 0..6 {
        let mut attacker = Raw::connect(&gateway);
        let hello = handshake("mallory", &format!("device-{}", device % 3), "");
        attacker.stream.write_all(hello.as_bytes()).unwrap();
        attacker.head();
        attacker.next_frame().expect("hello");
        taken += sent(&burst(&mut attacker, &format!("d{device}"), 4));
    }
    let more = (Time::now().since(begin).as_secs_f64() * 4.0) as usize;
    assert!((4..=4 + more).contains(&taken), "{taken} of 24, {more} of them by the time that passed");
    assert_eq!(gateway.metric("rate_limit_violations_total{client=\"user\"}"), 24.0 - taken as f64);
    let mut member = Member::connect(&gateway, "al");
    assert_eq!(member.ask(&send("m", "nobody", "1")), "sent", "another user has another bucket");
}

#[test]
fn who_comes_when_the_node_is_full_is_reset_and_counted() {
    let gateway = Gateway::start(&["--connections-max", "2"]);
    let mut first = Member::connect(&gateway, "al");
    let second = Member::connect(&gateway, "bo");
    let mut third = gateway.connect();
    // The reset may come before or after what is written; either way nothing is answered.
    let _ = third.write_all(handshake("cy", "phone", "").as_bytes());
    assert!(!matches!(third.read(&mut [0]), Ok(1..)));
    assert_eq!(first.ask(&send("m", "nobody", "1")), "sent", "who is in stays in");
    drop(second);
    // The second's seat is free as soon as its end is seen; until then this is turned away too.
    let until = Time::now() + crate::driver::PATIENCE;
    let metrics = loop {
        let mut stream = gateway.connect();
        let mut text = String::new();
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
        if asked.is_ok() && stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
            break text;
        }
        assert!(Time::now() < until, "the seat is never given back");
    };
    let line = metrics.lines().find(|line| line.contains("error_type=\"limit\"")).unwrap();
    assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 1.0, "{line}");
}

#[test]
fn every_error_type_is_there_from_the_start() {
    let gateway = Gateway::start(&[]);
    for error_type in ["auth", "limit", "protocol", "timeout", "draining", "too_large", "tls", "slow_reader"]
    {
        assert_eq!(gateway.connect_errors(error_type), 0.0, "{error_type}");
    }
    for reason in ["client", "slow_reader", "flood", "slow_sender", "heartbeat"] {
        assert_eq!(gateway.closed(reason), 0.0, "{reason}");
    }
}
