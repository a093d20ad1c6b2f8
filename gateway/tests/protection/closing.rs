//! Deliveries to a session in the very step in which it is closed.

use crate::attacker::{End, attack};
use crate::driver::{Gateway, Member, send};
use wire::ws::frame::Opcode;

/// Sends to oneself and a close in one write: the deliveries find the session closing, on the shard that is also the home.
/// A home that sends back what it believes connected, and a session that sends back what it cannot take, would go on for ever.
#[test]
fn what_comes_while_a_session_closes_is_kept_for_it() {
    let gateway = Gateway::start_alone(&[]);
    let mut first = attack(&gateway, "al");
    let frames: Vec<String> = (0..50).map(|k| send(&format!("m-{k}"), "al", "1")).collect();
    let mut frames: Vec<_> = frames.iter().map(|frame| (Opcode::Text, frame.as_bytes())).collect();
    frames.push((Opcode::Close, &[3, 232]));
    first.write(&frames);
    assert_eq!(first.end(), End::Close(1000));
    assert_eq!(gateway.get("/health").0, 200, "the shard serves on");
    gateway.check_conservation();
    let mut back = Member::connect_as(&gateway, "al", "attack", &[]);
    for k in 0..50 {
        assert_eq!(back.delivery()["id"], format!("m-{k}"));
    }
}

/// The same by eviction: the device connects again while deliveries to it are under way.
#[test]
fn what_comes_while_a_session_is_replaced_reaches_the_new_one() {
    let gateway = Gateway::start_alone(&[]);
    let mut old = attack(&gateway, "bo");
    let mut sender = attack(&gateway, "al");
    for round in 0..20 {
        let frames: Vec<String> = (0..50).map(|k| send(&format!("m-{round}-{k}"), "bo", "1")).collect();
        let frames: Vec<_> = frames.iter().map(|frame| (Opcode::Text, frame.as_bytes())).collect();
        sender.write(&frames);
        let new = attack(&gateway, "bo");
        assert_eq!(sender.answers(50).len(), 50);
        assert_eq!(std::mem::replace(&mut old, new).end(), End::Close(4409));
    }
    drop(old);
    gateway.wait_for("im_gateway_active_connections", 1.0);
    let mut back = Member::connect_as(&gateway, "bo", "attack", &[]);
    for (round, k) in (0..20).flat_map(|round| (0..50).map(move |k| (round, k))) {
        assert_eq!(back.delivery()["id"], format!("m-{round}-{k}"));
    }
    gateway.wait_for("im_gateway_messages_in_flight", 0.0);
    gateway.check_conservation();
}
