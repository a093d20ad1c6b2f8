//! What PROTOCOL.md promises about delivery, seen from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Client, Gateway};
use serde_json::json;
use std::time::Duration;

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|k| format!("m-{k}")).collect()
}

#[test]
fn every_connected_device_gets_it_and_an_absent_user_once() {
    let gateway = Gateway::start(&[]);
    let mut al = Client::connect(&gateway, "al", "d");
    let (mut phone, mut laptop) =
        (Client::connect(&gateway, "bob", "phone"), Client::connect(&gateway, "bob", "laptop"));
    al.confirmed("m-0", "user:bob");
    assert_eq!((phone.take(1), laptop.take(1)), (ids(0..1), ids(0..1)));
    al.confirmed("m-1", "user:cy");
    let (mut first, mut second) =
        (Client::connect(&gateway, "cy", "a"), Client::connect(&gateway, "cy", "b"));
    assert_eq!(first.take(1), ids(1..2));
    assert_eq!(second.next_within(Duration::from_millis(200)), None, "once, to the next device");
    gateway.wait_for("im_gateway_messages_delivered_total", 3.0);
    gateway.check_conservation();
}

#[test]
fn the_offline_queue_drains_in_order_beyond_the_window_while_new_messages_come() {
    let gateway = Gateway::start(&[]);
    let mut al = Client::connect(&gateway, "al", "d");
    // Filled in two goes: what is unacknowledged goes on with the session, the rest comes from the queue.
    let mut bob = Client::connect(&gateway, "bob", "d");
    for id in ids(0..2000) {
        al.confirmed(&id, "user:bob");
    }
    bob.next_where(|frame| frame["id"] == "m-1023");
    drop(bob);
    gateway.wait_for("im_gateway_active_connections", 1.0);
    for id in ids(2000..3000) {
        al.confirmed(&id, "user:bob");
    }
    gateway.wait_for("im_service_offline_queue_size", 1000.0);
    let mut bob = Client::connect(&gateway, "bob", "d");
    // More waits than may wait behind a full window; a device that drains is no slow reader for it.
    for id in ids(3000..3100) {
        al.confirmed(&id, "user:bob");
    }
    assert_eq!(bob.take(3100), ids(0..3100));
    gateway.check_conservation();
}

#[test]
fn a_full_queue_loses_what_is_new_and_counts_it() {
    let gateway = Gateway::start(&[]);
    let mut al = Client::connect(&gateway, "al", "d");
    for id in ids(0..1003) {
        al.confirmed(&id, "user:bob");
    }
    gateway.wait_for("im_gateway_messages_failed_total", 3.0);
    gateway.check_conservation();
    assert_eq!(Client::connect(&gateway, "bob", "d").take(1000), ids(0..1000));
    let log = gateway.stop();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let lost = lines.filter(|line| line["event"] == "message_delivery_failed");
    let lost = lost.map(|line| ["user_id", "msg_id", "error"].map(|field| line[field].clone()));
    let wanted = ids(1000..1003).into_iter().map(|id| [json!("bob"), json!(id), json!("queue_full")]);
    assert_eq!(lost.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_expires_and_is_never_delivered() {
    // Long enough that the second message cannot expire before its recipient has connected.
    let gateway = Gateway::start(&["--message-ttl", "3s"]);
    let mut al = Client::connect(&gateway, "al", "d");
    al.confirmed("m-0", "user:bob");
    assert_eq!(al.next_within(Duration::from_millis(3050)), None);
    al.confirmed("m-1", "user:bob");
    assert_eq!(Client::connect(&gateway, "bob", "d").take(1), ids(1..2));
    gateway.wait_for("im_gateway_messages_expired_total", 1.0);
    gateway.check_conservation();
}

#[test]
fn a_session_goes_on_where_it_was() {
    let gateway = Gateway::start(&[]);
    let mut al = Client::connect(&gateway, "al", "d");
    let mut bob = Client::connect(&gateway, "bob", "d");
    for id in ids(0..4) {
        al.confirmed(&id, "user:bob");
    }
    bob.next_where(|frame| frame["seq"] == 4);
    let epoch = bob.epoch.clone();
    drop(bob);
    // What was processed of another life of the session says nothing of this one.
    let mut bob = Client::resume(&gateway, "bob", "d", "0123456789abcdef", 3);
    assert_eq!((bob.next_where(|_| true)["seq"].clone(), &bob.epoch), (json!(1), &epoch));
    drop(bob);
    let mut bob = Client::resume(&gateway, "bob", "d", &epoch, 2);
    assert_eq!(bob.seq, 4);
    let third = bob.next_where(|_| true);
    assert_eq!((&third["seq"], &third["id"]), (&json!(3), &json!("m-2")), "its old number");
    bob.ack(3);
    assert_eq!(bob.take(1), ids(3..4));
    gateway.check_conservation();
}

#[test]
fn a_repeated_id_is_confirmed_and_not_delivered_again() {
    let gateway = Gateway::start(&[]);
    let mut al = Client::connect(&gateway, "al", "d");
    let mut bob = Client::connect(&gateway, "bob", "d");
    al.confirmed("m-0", "user:bob");
    drop(al);
    let mut al = Client::connect(&gateway, "al", "d");
    al.confirmed("m-0", "user:bob");
    al.confirmed("m-1", "user:bob");
    assert_eq!(bob.take(2), ids(0..2));
    assert_eq!(gateway.metric("im_gateway_message_duplication_total"), 1.0);
}

/// More members than a fan-out serves in one step, on more shards than one; most of them away.
fn check_group(members: usize, shards: &str) {
    const JOINERS: usize = 8;
    let gateway = Gateway::start(&["--shards", shards]);
    let name = |k: usize| format!("member-{k}");
    std::thread::scope(|scope| {
        for joiner in 0..JOINERS {
            let gateway = &gateway;
            scope.spawn(move || {
                for k in (joiner..members).step_by(JOINERS) {
                    Client::connect(gateway, &name(k), "d").join("all");
                }
            });
        }
    });
    gateway.wait_for("im_gateway_active_connections", 0.0);
    let mut sender = Client::connect(&gateway, &name(0), "d");
    let mut there = Client::connect(&gateway, &name(1), "d");
    for id in ids(0..3) {
        sender.send(&id, "group:all");
    }
    for id in ids(0..3) {
        assert_eq!(sender.next_where(|_| true), json!({ "type": "sent", "id": id }));
    }
    assert_eq!(there.take(3), ids(0..3));
    gateway.wait_for("im_service_offline_queue_size", ((members - 2) * 3) as f64);
    gateway.wait_for("im_gateway_group_fanout_backlog", 0.0);
    assert_eq!(gateway.metric("im_gateway_messages_failed_total"), 0.0);
    assert_eq!(Client::connect(&gateway, &name(members - 1), "d").take(3), ids(0..3));
    gateway.check_conservation();
    assert_eq!(sender.next_within(Duration::ZERO), None, "the sender gets none of it");
}

#[test]
fn a_group_message_reaches_every_member_in_order() {
    check_group(5000, "2");
}

#[test]
#[ignore = "a minute: 100,000 users connect, one after the other; run it with --release"]
fn a_group_of_100_000() {
    check_group(100_000, "2");
}
