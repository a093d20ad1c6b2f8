//! What the gateway says on standard error: the operators' events and fields, and no secret.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Client, Gateway, UPGRADE, token};
use serde_json::Value;
use std::collections::BTreeMap;

/// All lines by event, each checked for what all of them have.
fn by_event(log: &str) -> BTreeMap<String, Vec<Value>> {
    let mut events = BTreeMap::<_, Vec<_>>::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "component", "event", "message"] {
            assert!(line[field].is_string(), "{field} is missing in {line}");
        }
        assert_eq!((&line["service"], &line["node"]), (&"im-gateway".into(), &"n7".into()), "{line}");
        events.entry(line["event"].as_str().unwrap().to_owned()).or_default().push(line);
    }
    events
}

/// A message that arrives, one that is lost, a refused token, a refused request.
fn some_life(gateway: &Gateway) {
    let (mut al, mut bob) =
        (Client::connect(gateway, "al", "laptop"), Client::connect(gateway, "bob", "phone"));
    al.confirmed("m-\u{e9}\"1", "user:bob");
    assert_eq!(bob.take(1), ["m-\u{e9}\"1"]);
    gateway.wait_for("im_gateway_messages_delivered_total", 1.0);
    assert_eq!(gateway.ask("POST", "/test/failure-rate?rate=1", "").status, 200);
    al.confirmed("m-2", "user:bob");
    gateway.wait_for("im_gateway_messages_failed_total", 1.0);
    assert_eq!(gateway.get("/ws?token=a-token-that-is-none").0, 426);
    assert_eq!(gateway.ask("GET", "/ws?token=a-token-that-is-none", UPGRADE).status, 401);
    drop(bob);
    gateway.wait_for("im_gateway_connections_closed_total", 1.0);
}

#[test]
fn each_event_has_its_fields_and_no_line_a_secret() {
    let gateway = Gateway::start(&["--log-level", "trace", "--node", "n7"]);
    some_life(&gateway);
    let log = gateway.stop();
    let events = by_event(&log);
    let one = |event: &str| {
        let lines = events.get(event).unwrap_or_else(|| panic!("no {event} in\n{log}"));
        lines[0].clone()
    };
    // Each shard writes its own lines, so those of two users come in either order.
    let of_user = |event: &str, user: &str| {
        let line = events.get(event).and_then(|lines| lines.iter().find(|line| line["user_id"] == user));
        line.unwrap_or_else(|| panic!("no {event} of {user} in\n{log}")).clone()
    };
    let established = of_user("connection_established", "al");
    assert_eq!(established["device_id"], "laptop");
    assert!(established["remote_addr"].as_str().unwrap().starts_with("127.0.0.1:"), "{established}");
    let closed = of_user("connection_closed", "bob");
    assert_eq!(closed["device_id"], "phone");
    assert!(closed["duration_seconds"].as_f64().unwrap() > 0.0, "{closed}");
    assert!(["client", "reset"].contains(&closed["reason"].as_str().unwrap()), "{closed}");
    let delivered = one("message_delivered");
    assert_eq!((&delivered["user_id"], &delivered["device_id"]), (&"bob".into(), &"phone".into()));
    assert_eq!(delivered["msg_id"], "m-\u{e9}\"1");
    assert!(delivered["latency_ms"].as_f64().unwrap() > 0.0, "{delivered}");
    let failed = one("message_delivery_failed");
    assert_eq!(
        (&failed["user_id"], &failed["msg_id"], &failed["error"]),
        (&"bob".into(), &"m-2".into(), &"test".into())
    );
    let refused = one("auth_failed");
    assert!(refused["error"].is_string() && refused["remote_addr"].is_string(), "{refused}");
    assert_eq!(one("connection_error")["error"], "protocol");
    for event in ["listening", "draining", "stopped"] {
        assert_eq!(one(event)["level"], "info");
    }
    for secret in [&*token("al", "laptop"), "a-token-that-is-none", driver::KEY, "the body of"] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[test]
fn a_level_leaves_out_what_is_beyond_it() {
    let gateway = Gateway::start(&["--log-level", "warn", "--node", "n7"]);
    some_life(&gateway);
    let events = by_event(&gateway.stop());
    // A machine that has much to do may be late.
    let said: Vec<_> = events.keys().map(String::as_str).filter(|event| *event != "high_latency").collect();
    assert_eq!(said, ["auth_failed", "connection_error", "message_delivery_failed"]);
}

/// Who floods the gateway does not flood its log: what is not said is counted, and the next line of the kind says how many.
#[test]
fn a_flood_of_refusals_is_counted_rather_than_said() {
    const ATTEMPTS: usize = 400;
    let gateway = Gateway::start(&["--shards", "1", "--node", "n7"]);
    let is_refused = || gateway.ask("GET", "/ws?token=none", UPGRADE).status == 401;
    assert_eq!((0..ATTEMPTS).filter(|_| is_refused()).count(), ATTEMPTS);
    let dropped = gateway.metric("im_gateway_log_records_dropped_total{reason=\"rate_limit\"}");
    let lines = &by_event(&gateway.stop())["auth_failed"];
    assert_eq!(lines.len() as f64 + dropped, ATTEMPTS as f64);
    let told: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
    assert!(dropped > 0.0 && told as f64 <= dropped, "{told} of {dropped}");
}

#[test]
fn text_is_for_people() {
    let gateway = Gateway::start(&["--log-format", "text"]);
    let log = gateway.stop();
    let first = log.lines().next().unwrap();
    assert!(first.contains("info  listening: connections are taken address=127.0.0.1:"), "{log}");
}

/// Its pipe holds 64 KiB and nobody reads it: the gateway must serve on, and say afterwards what it did not write.
#[test]
fn who_does_not_read_the_log_holds_up_nobody() {
    const MESSAGES: usize = 20_000;
    const AT_ONCE: usize = 500;
    let mut gateway = Gateway::start_unread(&["--log-level", "trace"]);
    let mut al = Client::connect(&gateway, "al", "d");
    for batch in 0..MESSAGES / AT_ONCE {
        for k in 0..AT_ONCE {
            al.send(&format!("m-{batch}-{k}"), "user:al");
        }
        let last = (0..AT_ONCE).map(|_| al.next_where(|frame| frame["type"] == "message")).last().unwrap();
        al.ack(last["seq"].as_u64().unwrap());
    }
    gateway.wait_for("im_gateway_messages_delivered_total", MESSAGES as f64);
    assert!(gateway.metric("im_gateway_log_records_dropped_total") > 0.0);
    assert_eq!(gateway.get("/health").0, 200);
    gateway.ask_to_end();
    assert!(gateway.ended().success());
}
