//! SIGTERM: not ready, after a grace no new work, time for what was confirmed, a close frame for everybody, exit 0.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Client, Folder, Gateway, PATIENCE, UPGRADE};
use std::time::Duration;
use wire::time::Time;

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Time::now() + PATIENCE;
    while !is_so() {
        assert!(Time::now() < until, "not so in time: {what}");
        std::thread::yield_now();
    }
}

fn wait_until_not_ready(gateway: &Gateway) {
    wait_until_ready_says(gateway, "draining\n");
}

/// Each connection may be taken by another shard, and all of them must have heard of it.
fn wait_until_ready_says(gateway: &Gateway, why: &str) {
    let mut in_a_row = 0;
    wait_until("not ready", || {
        in_a_row = if gateway.get("/ready") == (503, why.into()) { in_a_row + 1 } else { 0 };
        in_a_row == 20
    });
}

#[test]
fn what_was_confirmed_has_its_time_and_nothing_new_is_taken() {
    let mut gateway = Gateway::start(&["--drain-timeout", "20s"]);
    let (mut al, mut bob) = (Client::connect(&gateway, "al", "d"), Client::connect(&gateway, "bob", "d"));
    al.confirmed("m-1", "user:bob");
    let delivery = bob.next_where(|frame| frame["type"] == "message");
    assert_eq!((gateway.get("/ready").0, gateway.get("/health").0), (200, 200));

    gateway.terminate();
    wait_until_not_ready(&gateway);
    assert_eq!(gateway.get("/health"), (200, "ok\n".into()), "it serves all the same");
    let answer = gateway.ask("GET", "/ws", UPGRADE);
    assert_eq!(answer.status, 503);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["error"], "draining");
    assert!(gateway.connect_errors("draining") >= 1.0);
    assert_eq!(al.ask("m-2", "user:bob")["code"], "draining");
    assert_eq!(gateway.metric("im_gateway_messages_in_flight"), 1.0, "it waits for the ACK");

    bob.ack(delivery["seq"].as_u64().unwrap());
    assert_eq!((al.close_code(), bob.close_code()), (Some(1001), Some(1001)));
    assert!(gateway.ended().success());
}

#[test]
fn for_a_grace_newcomers_are_served_by_a_gateway_that_is_not_ready() {
    const GRACE: Duration = Duration::from_secs(5);
    let mut gateway = Gateway::start(&["--drain-grace", "5s", "--admin", "127.0.0.1:0"]);
    let mut al = Client::connect(&gateway, "al", "d");
    let begun = Time::now();
    gateway.terminate();
    wait_until_ready_says(&gateway, "leaving\n");
    assert_eq!(gateway.ask_admin("GET", "/ready", ""), (503, "leaving\n".into()));
    assert_eq!(gateway.ask_admin("POST", "/drain", "").0, 202, "who asks again does not cut it short");
    let mut bob = Client::connect(&gateway, "bob", "d");
    al.confirmed("m-1", "user:bob");
    assert_eq!(bob.take(1), ["m-1"]);
    assert_eq!((gateway.get("/health").0, gateway.get("/ready").0), (200, 503));
    assert_eq!((al.close_code(), bob.close_code()), (Some(1001), Some(1001)));
    assert!(Time::now().since(begun) >= GRACE);
    assert!(gateway.ended().success());
}

#[test]
fn a_second_signal_ends_the_grace_and_nobody_is_told_where_the_parent_is_gone() {
    let mut gateway = Gateway::start(&["--drain-grace", "1h"]);
    let mut al = Client::connect(&gateway, "al", "d");
    gateway.terminate();
    wait_until_ready_says(&gateway, "leaving\n");
    gateway.terminate();
    assert_eq!(al.close_code(), Some(1001));
    assert!(gateway.ended().success());
    let log = Gateway::start(&["--drain-grace", "1h"]).stop();
    assert!(log.contains("\"draining\"") && !log.contains("\"leaving\""), "{log}");

    let mut echo = Gateway::start(&["--echo", "--drain-grace", "1h"]);
    let mut client = Client::of_echo(&echo);
    echo.terminate();
    wait_until_ready_says(&echo, "leaving\n");
    echo.terminate();
    assert_eq!(client.close_code(), Some(1001));
    assert!(echo.ended().success());
}

#[test]
fn the_deadline_ends_it_and_a_store_keeps_what_is_owed() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let folder = Folder::new("drain");
    let mut gateway = Gateway::start(&["--data-dir", folder.path(), "--drain-timeout", "500ms"]);
    let (mut al, mut bob) = (Client::connect(&gateway, "al", "d"), Client::connect(&gateway, "bob", "d"));
    al.confirmed("m-1", "user:bob");
    bob.next_where(|frame| frame["type"] == "message");
    let begun = Time::now();
    gateway.terminate();
    assert_eq!((al.close_code(), bob.close_code()), (Some(1001), Some(1001)));
    let took = Time::now().since(begun);
    assert!(took >= TIMEOUT && took < PATIENCE, "{took:?}");
    assert!(gateway.ended().success());
    let gateway = Gateway::start(&["--data-dir", folder.path()]);
    assert_eq!(Client::connect(&gateway, "bob", "d").take(1), ["m-1"]);
}

#[test]
fn nothing_under_way_ends_it_at_once_and_a_second_signal_too() {
    let mut gateway = Gateway::start(&["--drain-timeout", "1h"]);
    let mut idle = Client::connect(&gateway, "al", "d");
    gateway.terminate();
    assert_eq!(idle.close_code(), Some(1001));
    assert!(gateway.ended().success());

    let mut gateway = Gateway::start(&["--drain-timeout", "1h"]);
    let (mut al, mut bob) = (Client::connect(&gateway, "al", "d"), Client::connect(&gateway, "bob", "d"));
    al.confirmed("m-1", "user:bob");
    bob.next_where(|frame| frame["type"] == "message");
    gateway.terminate();
    wait_until_not_ready(&gateway);
    gateway.terminate();
    assert_eq!(bob.close_code(), Some(1001));
    assert!(gateway.ended().success());
}

#[test]
fn an_echo_says_goodbye_too() {
    let mut gateway = Gateway::start(&["--echo"]);
    let mut client = Client::of_echo(&gateway);
    assert_eq!(gateway.get("/ready").0, 200);
    gateway.terminate();
    assert_eq!(client.close_code(), Some(1001));
    assert!(gateway.ended().success());
}
