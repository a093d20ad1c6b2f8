//! Push notifications against a small provider that answers as each test tells it: well, with errors, late, or not at all.

use crate::driver::{Gateway, Member, PATIENCE, Reply, Request, listen, send};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use wire::time::Time;

struct Provider {
    address: SocketAddr,
    requests: Receiver<Request>,
}

impl Provider {
    fn start() -> Provider {
        let (inbox, requests) = channel();
        let address = listen(move |request| {
            // Fails where the test is over.
            let _ = inbox.send(request);
        });
        Provider { address, requests }
    }

    fn gateway(&self, flags: &[&str]) -> Gateway {
        let url = format!("http://{}/notify", self.address);
        Gateway::start(&[&["--push-url", &url, "--push-backoff", "10ms"], flags].concat())
    }

    fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a notification")
    }

    /// The next request, answered.
    fn answer(&self, reply: Reply) -> Value {
        let request = self.next();
        request.answer(reply);
        request.json()
    }

    fn assert_idle(&self) {
        assert!(self.requests.try_recv().is_err(), "a request that nobody expected");
    }
}

impl Request {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn pushed(gateway: &Gateway, result: &str, wanted: f64) {
    gateway.wait_for(&format!("im_gateway_push_notifications_total{{result=\"{result}\"}}"), wanted);
}

#[test]
fn who_is_not_connected_is_notified_once_in_the_interval() {
    let provider = Provider::start();
    let gateway = provider.gateway(&["--node", "n7"]);
    let mut al = Member::connect(&gateway, "al");
    let mut bo = Member::connect(&gateway, "bo");
    assert_eq!(al.ask(&send("m-0", "bo", "\"secret\"")), "sent");
    bo.delivery();
    for k in 1..=3 {
        assert_eq!(al.ask(&send(&format!("m-{k}"), "cy", "\"secret\"")), "sent");
    }
    let request = provider.next();
    assert!(request.head.starts_with("post /notify http/1.1\r\n"), "{}", request.head);
    assert!(request.head.contains("content-type: application/json"), "{}", request.head);
    assert!(!request.head.contains("authorization"), "{}", request.head);
    let body = request.json();
    assert_eq!((&body["user"], &body["waiting"], &body["node"]), (&"cy".into(), &1.into(), &"n7".into()));
    assert!(body["at"].as_u64().unwrap() > 1_600_000_000_000, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 4, "neither sender nor content: {body}");
    request.answer(Reply::Status(202));
    pushed(&gateway, "delivered", 1.0);
    // Another user has an interval of its own. What was connected, or notified already, is not in what comes.
    assert_eq!(al.ask(&send("m-4", "di", "1")), "sent");
    assert_eq!(provider.answer(Reply::Status(200))["user"], "di");
    pushed(&gateway, "delivered", 2.0);
    provider.assert_idle();
    assert_eq!(gateway.metric("im_gateway_push_queue_size"), 0.0);
}

#[test]
fn trouble_is_tried_again_and_a_refusal_is_not() {
    let provider = Provider::start();
    let gateway = provider.gateway(&["--push-breaker-min-events", "1000"]);
    let mut al = Member::connect(&gateway, "al");
    for (k, (answers, result, count)) in [
        (&[Reply::Status(500), Reply::Cut, Reply::Status(200)][..], "delivered", 1.0),
        (&[Reply::Later(429, 1), Reply::Status(204)], "delivered", 2.0),
        (&[Reply::Status(503), Reply::Status(503), Reply::Status(503)], "failed", 1.0),
        (&[Reply::Status(400)], "refused", 1.0),
        (&[Reply::Status(307)], "refused", 2.0),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user-{k}");
        assert_eq!(al.ask(&send(&format!("m-{k}"), &user, "1")), "sent");
        for answer in answers {
            let asked = Time::now();
            assert_eq!(provider.answer(answer.clone())["user"], *user);
            if k == 1 && matches!(answer, Reply::Status(_)) {
                assert!(Time::now().since(asked).as_millis() >= 900, "it was asked to wait a second");
            }
        }
        pushed(&gateway, result, count);
        provider.assert_idle();
    }
    assert_eq!(gateway.metric("im_gateway_push_retries_total"), 2.0 + 1.0 + 2.0);
}

#[test]
fn a_provider_that_does_not_answer_holds_up_nobody_and_opens_the_breaker() {
    let provider = Provider::start();
    let gateway = provider.gateway(&[
        "--push-timeout",
        "1s",
        "--push-attempts",
        "2",
        "--push-breaker-min-events",
        "4",
        "--push-breaker-open-for",
        "500ms",
        "--push-breaker-probes",
        "1",
    ]);
    let mut al = Member::connect(&gateway, "al");
    let state = |wanted: f64| {
        gateway.wait_for("circuit_breaker_state{service=\"push\"}", wanted);
    };
    state(0.0);
    // Two notifications, two attempts each.
    for user in ["bo", "cy"] {
        assert_eq!(al.ask(&send(user, user, "1")), "sent");
    }
    for _ in 0..4 {
        provider.answer(Reply::Nothing);
        assert_eq!(al.ask(&send(&format!("{:?}", Time::now()), "bo", "1")), "sent");
    }
    gateway.wait_for("circuit_breaker_opened_total{service=\"push\"}", 1.0);
    // Open: given up without asking the provider. Half-open after its time: the probe goes through.
    let until = Time::now() + PATIENCE;
    let mut k = 0;
    let probe = loop {
        assert_eq!(al.ask(&send(&format!("k-{k}"), &format!("user-{k}"), "1")), "sent");
        k += 1;
        if let Ok(request) = provider.requests.try_recv() {
            break request;
        }
        assert!(Time::now() < until, "it never tries again");
    };
    // At once: the probe, too, has a time in which it must be answered.
    probe.answer(Reply::Status(200));
    let rejected = gateway.metric("im_gateway_push_notifications_total{result=\"rejected\"}");
    assert!(rejected >= 1.0, "{rejected}");
    state(0.0);
    pushed(&gateway, "delivered", 1.0);
    assert_eq!(al.ask(&send("last", "last", "1")), "sent");
    // One that was queued when the probe came back may go first.
    while provider.answer(Reply::Status(200))["user"] != "last" {}
    gateway.wait_until("im_gateway_push_notifications_total{result=\"delivered\"}", |n| n >= 2.0);
    assert_eq!(gateway.metric("im_gateway_push_notifications_total{result=\"failed\"}"), 2.0);
}

#[test]
fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let provider = Provider::start();
    // One shard, so that notifications come in the order of the messages.
    let gateway = provider.gateway(&[
        "--shards",
        "1",
        "--push-connections",
        "1",
        "--push-queue",
        "2",
        "--push-timeout",
        "30s",
    ]);
    let mut al = Member::connect(&gateway, "al");
    assert_eq!(al.ask(&send("first", "first", "1")), "sent");
    let held = provider.next();
    for k in 0..10 {
        assert_eq!(al.ask(&send(&format!("m-{k}"), &format!("user-{k}"), "1")), "sent");
    }
    pushed(&gateway, "dropped", 8.0);
    assert_eq!(gateway.metric("im_gateway_push_queue_size"), 3.0, "one under way, two waiting");
    held.answer(Reply::Status(200));
    for user in ["user-0", "user-1"] {
        assert_eq!(provider.answer(Reply::Status(200))["user"], user);
    }
    pushed(&gateway, "delivered", 3.0);
}

#[test]
fn a_gateway_that_ends_sends_what_waits() {
    let provider = Provider::start();
    let mut gateway =
        provider.gateway(&["--shards", "1", "--push-connections", "1", "--drain-timeout", "20s"]);
    let mut al = Member::connect(&gateway, "al");
    for k in 0..5 {
        assert_eq!(al.ask(&send(&format!("m-{k}"), &format!("user-{k}"), "1")), "sent");
    }
    let first = provider.next();
    drop(al);
    gateway.ask_to_end();
    first.answer(Reply::Status(200));
    for k in 1..5 {
        assert_eq!(provider.answer(Reply::Status(200))["user"], format!("user-{k}"));
    }
    assert!(gateway.ended().success());
}

#[test]
fn off_there_are_no_notifications_and_a_bad_url_is_refused_at_the_start() {
    let gateway = Gateway::start(&[]);
    let mut al = Member::connect(&gateway, "al");
    assert_eq!(al.ask(&send("m", "nobody", "1")), "sent");
    assert_eq!(gateway.metric("im_gateway_push_notifications_total"), 0.0);
    for url in ["nowhere", "ftp://127.0.0.1/x"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--push-url", url])
            .env("GATEWAY_AUTH_KEY", "k")
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(113), "{stderr}");
        assert!(stderr.contains(url), "{stderr}");
    }
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", provider.local_addr().unwrap());
    let gateway = Gateway::start(&["--push-url", &url, "--push-timeout", "1m"]);
    assert_eq!(Member::connect(&gateway, "al").ask(&send("m-1", "bo", "1")), "sent");
    let (mut stream, _) = provider.accept().unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let (mebibyte, all) = (vec![b'x'; 1 << 20], 64);
    let written = (0..all).take_while(|_| stream.write_all(&mebibyte).is_ok()).count();
    assert!(written < all, "{written} MiB are in its memory");
    pushed(&gateway, "delivered", 1.0);
}
