//! `--admin`: what operators ask of a running gateway, on an address of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Client, Gateway, Raw, UPGRADE, exchange, token, upgrade_request};
use serde_json::{Value, json};
use wire::time::Time;

fn start(flags: &[&str]) -> Gateway {
    Gateway::start(&[&["--admin", "127.0.0.1:0"], flags].concat())
}

fn asked(gateway: &Gateway, request: &str) -> (u16, Value) {
    let (method, target) = request.split_once(' ').unwrap();
    let (status, body) = gateway.ask_admin(method, target, "");
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}

#[test]
fn it_says_how_things_are() {
    let gateway = start(&["--connections-max", "7"]);
    assert_eq!(asked(&gateway, "GET /connections"), (200, json!({ "sessions": 0, "max": 7 })));
    let _al = Client::connect(&gateway, "al", "d");
    assert_eq!(asked(&gateway, "GET /connections").1["sessions"], 1);
    assert_eq!(asked(&gateway, "GET /health"), (200, "ok\n".into()));
    assert_eq!(asked(&gateway, "GET /ready"), (200, "ready\n".into()));
    let metrics = gateway.ask_admin("GET", "/metrics", "").1;
    assert!(metrics.contains("im_gateway_active_connections{node=\"gateway-1\"} 1"), "{metrics}");
    for (request, status) in [
        ("GET /ws", 404),
        ("POST /metrics", 405),
        ("GET /drain", 405),
        ("DELETE /log-level", 405),
        ("PUT /log-level?level=loud", 400),
        ("PUT /log-level", 400),
    ] {
        assert_eq!(asked(&gateway, request).0, status, "{request}");
    }
    let by_a_page = gateway.ask_admin("POST", "/drain", "Origin: https://example.com\r\n");
    assert_eq!((by_a_page.0, asked(&gateway, "GET /ready").0), (403, 200));
    assert_eq!(gateway.get("/connections").0, 404, "it is not on the other address");
}

/// As on the other address: who does not ask for OpenMetrics may not be able to read it.
#[test]
fn metrics_have_the_form_that_is_asked_for() {
    let gateway = start(&[]);
    for (accept, kind, is_open) in [
        ("", "text/plain; version=0.0.4; charset=utf-8", false),
        (
            "Accept: application/openmetrics-text;version=1.0.0\r\n",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            true,
        ),
    ] {
        let answer = exchange(gateway.connect_admin(), "GET", "/metrics", accept);
        assert!(answer.head.contains(&format!("\r\nContent-Type: {kind}\r\n")), "{}", answer.head);
        assert_eq!(answer.body.ends_with(b"# EOF\n"), is_open, "{accept}");
    }
}

#[test]
fn the_log_says_more_from_then_on() {
    let gateway = start(&["--log-level", "warn"]);
    drop(Client::connect(&gateway, "before", "d"));
    assert_eq!(asked(&gateway, "GET /log-level").1["level"], "warn");
    assert_eq!(asked(&gateway, "PUT /log-level?level=debug"), (200, json!({ "level": "debug" })));
    let _after = Client::connect(&gateway, "after", "d");
    let log = gateway.stop();
    assert!(log.contains("level_changed") && log.contains("\"user_id\":\"after\""), "{log}");
    assert!(
        !log.contains("connection_established\",\"message\":\"a session has begun\",\"user_id\":\"before\""),
        "{log}"
    );
}

#[test]
fn a_drain_can_be_asked_for() {
    let mut gateway = start(&["--drain-timeout", "20s"]);
    let (mut al, mut bob) = (Client::connect(&gateway, "al", "d"), Client::connect(&gateway, "bob", "d"));
    al.confirmed("m-1", "user:bob");
    let delivery = bob.next_where(|frame| frame["type"] == "message");
    assert_eq!(asked(&gateway, "POST /drain"), (202, json!({ "draining": true })));
    let until = Time::now() + driver::PATIENCE;
    while asked(&gateway, "GET /ready") != (503, "draining\n".into()) {
        assert!(Time::now() < until);
    }
    assert_eq!(asked(&gateway, "GET /health").0, 200);
    bob.ack(delivery["seq"].as_u64().unwrap());
    assert_eq!((al.close_code(), bob.close_code()), (Some(1001), Some(1001)));
    assert!(gateway.ended().success());
}

#[test]
fn a_full_node_is_still_looked_at() {
    let gateway = Gateway::start(&["--connections-max", "1"]);
    let mut al = Client::connect(&gateway, "al", "d");
    assert!(Client::try_connect(gateway.address, "bob", "d", "").is_none(), "the node is full");
    assert_eq!(gateway.metric("im_gateway_connection_errors_total"), 1.0, "and says so");
    assert_eq!((gateway.get("/health").0, gateway.get("/ready").0), (200, 200));
    assert_eq!(gateway.ask("GET", "/elsewhere", UPGRADE).status, 404);
    assert_eq!(al.ask("m", "user:bob")["type"], "sent", "who is in stays in");
    drop(al);
    gateway.wait_for("im_gateway_active_connections", 0.0);
    Client::connect(&gateway, "bob", "d");
}

/// The places for scrapes are no places for sessions, however many come at once.
#[test]
fn newcomers_that_come_together_take_no_more_than_there_is() {
    const ROOM: usize = 5;
    const MORE: usize = 40;
    let gateway = Gateway::start(&["--connections-max", &ROOM.to_string()]);
    let mut newcomers: Vec<Raw> = gateway.while_it_stands(|| {
        let begin = |k: usize| {
            let mut raw = Raw::connect(&gateway);
            let target = format!("/ws?token={}", token(&format!("u{k}"), "d"));
            raw.send(upgrade_request(&target, "").as_bytes());
            raw
        };
        (0..ROOM + MORE).map(begin).collect()
    });
    let seated = newcomers.iter_mut().filter_map(Raw::next_head).count();
    assert_eq!(seated, ROOM);
    assert_eq!(gateway.metric("im_gateway_active_connections"), ROOM as f64);
    assert_eq!(gateway.connect_errors("limit"), MORE as f64);
    assert_eq!(gateway.get("/ready").0, 200);
}
