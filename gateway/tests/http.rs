//! What HTTP demands of an answer (RFC 9110), whatever it was that was asked.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Gateway, Raw, UPGRADE};

/// Health checks of load balancers ask so. A body behind the head would be taken for the next answer.
#[test]
fn head_is_answered_as_get_without_the_body() {
    let gateway = Gateway::start(&["--admin", "127.0.0.1:0"]);
    let get = gateway.ask("GET", "/health", "");
    let (mut raw, head) = Raw::ask(&gateway, "HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(head, get.head);
    for (request, status) in
        [("HEAD /ready", "200"), ("HEAD /metrics", "200"), ("HEAD /ws", "405"), ("HEAD /", "404")]
    {
        raw.send(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let head = raw.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
    }
    assert_eq!(
        gateway.metric("http_requests_total{method=\"HEAD\",endpoint=\"/health\",status_code=\"200\"}"),
        1.0
    );
    let mut operators = Raw { stream: gateway.connect_admin() };
    for path in ["/health", "/ready", "/metrics", "/nowhere", "/health"] {
        operators.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let status = if path == "/nowhere" { "404" } else { "200" };
        let head = operators.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
    }
}

#[test]
fn a_refusal_says_what_would_be_taken() {
    let gateway = Gateway::start(&["--admin", "127.0.0.1:0"]);
    for (request, allowed) in [
        ("POST /health", "GET, HEAD"),
        ("DELETE /metrics", "GET, HEAD"),
        ("POST /ws", "GET"),
        ("PUT /test/latency", "GET, POST, DELETE"),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        let answer = gateway.ask(method, target, "");
        let allow = format!("\r\nAllow: {allowed}\r\n");
        assert!(answer.status == 405 && answer.head.contains(&allow), "{request}: {}", answer.head);
    }
    for (request, allowed) in
        [("POST /health", "GET, HEAD"), ("DELETE /log-level", "GET, HEAD, PUT, POST"), ("GET /drain", "POST")]
    {
        let mut operators = Raw { stream: gateway.connect_admin() };
        operators.send(format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let head = operators.head();
        assert!(head.starts_with("HTTP/1.1 405 "), "{request}: {head}");
        assert!(head.contains(&format!("\r\nAllow: {allowed}\r\n")), "{request}: {head}");
    }
    let refused = gateway.ask("GET", "/ws?token=none", UPGRADE);
    assert_eq!(refused.status, 401);
    assert!(refused.head.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{}", refused.head);
}
