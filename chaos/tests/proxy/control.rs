//! The control: Toxiproxy's API over HTTP, as its clients use it.

use crate::server::{echo, ms};
use chaos::proxy::control;
use chaos::proxy::registry::{Limits, Proxies};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

struct Control {
    address: SocketAddr,
    upstream: SocketAddr,
}

impl Control {
    fn start() -> Control {
        let limits = Limits { connections_max: 100, sockets: 1000, seed: 1 };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = control::serve(listener, Proxies::new(limits)).unwrap();
        Control { address, upstream: echo().0 }
    }

    /// Status and body of an answer.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask_as(method, path, body, "User-Agent: toxiproxy-cli/v2.12.0")
    }

    fn ask_as(&self, method: &str, path: &str, body: &str, header: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() })
    }

    fn create(&self, name: &str) -> SocketAddr {
        let body = json!({ "name": name, "listen": "127.0.0.1:0", "upstream": self.upstream.to_string() });
        let (status, made) = self.ask("POST", "/proxies", &body.to_string());
        assert_eq!((status, &made["enabled"], &made["toxics"]), (201, &json!(true), &json!([])));
        made["listen"].as_str().unwrap().parse().unwrap()
    }

    fn fails(&self, method: &str, path: &str, body: &str, status: u16, reason: &str) {
        let (found, body) = self.ask(method, path, body);
        assert_eq!((found, &body["status"]), (status, &json!(status)), "{method} {path}: {body}");
        assert!(body["error"].as_str().unwrap().contains(reason), "{method} {path}: {body}");
    }
}

fn round_trip(address: SocketAddr) -> Duration {
    let mut stream = TcpStream::connect(address).unwrap();
    let begin = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    begin.elapsed()
}

#[test]
fn proxies_and_toxics_come_and_go() {
    let control = Control::start();
    let address = control.create("redis");
    assert_eq!(control.ask("GET", "/version", "").1["version"], json!("2.12.0"));
    let toxic = r#"{"type":"latency","attributes":{"latency":120,"jitter":0}}"#;
    let (status, made) = control.ask("POST", "/proxies/redis/toxics", toxic);
    assert_eq!(
        (status, &made["name"], &made["stream"]),
        (200, &json!("latency_downstream"), &json!("downstream"))
    );
    assert_eq!(made["attributes"], json!({ "latency": 120, "jitter": 0, "shape": "uniform" }));
    assert!(made["in_force"]["monotonic_ns"].as_u64().unwrap() <= wire::time::Time::now().0);
    assert!(round_trip(address) >= ms(120));
    let (status, updated) =
        control.ask("POST", "/proxies/redis/toxics/latency_downstream", r#"{"attributes":{"latency":200}}"#);
    assert_eq!(
        (status, &updated["attributes"]["latency"], &updated["toxicity"]),
        (200, &json!(200), &json!(1.0))
    );
    assert!(round_trip(address) >= ms(200));
    let all = control.ask("GET", "/proxies", "").1;
    assert_eq!(all["redis"]["toxics"][0]["attributes"]["latency"], json!(200));
    assert_eq!(control.ask("GET", "/proxies/redis/toxics/latency_downstream", "").0, 200);
    assert_eq!(control.ask("DELETE", "/proxies/redis/toxics/latency_downstream", ""), (204, Value::Null));
    assert_eq!(control.ask("GET", "/proxies/redis/toxics", ""), (200, json!([])));
    assert!((0..20).map(|_| round_trip(address)).min() < Some(ms(120)));
    assert_eq!(control.ask("DELETE", "/proxies/redis", ""), (204, Value::Null));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_proxy_that_is_disabled_refuses_and_reset_brings_all_back() {
    let control = Control::start();
    let address = control.create("db");
    control.ask("POST", "/proxies/db/toxics", r#"{"type":"timeout","attributes":{"timeout":0}}"#);
    let (status, down) = control.ask("POST", "/proxies/db", r#"{"enabled":false}"#);
    assert_eq!((status, &down["enabled"]), (200, &json!(false)));
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(control.ask("POST", "/reset", ""), (204, Value::Null));
    let db = control.ask("GET", "/proxies/db", "").1;
    assert_eq!((&db["enabled"], &db["toxics"]), (&json!(true), &json!([])));
    round_trip(address);
    let other = echo().0;
    let moved = control.ask("PATCH", "/proxies/db", &json!({ "upstream": other.to_string() }).to_string());
    assert_eq!((moved.0, &moved.1["upstream"]), (200, &json!(other.to_string())));
    assert_eq!(moved.1["listen"], json!(address.to_string()), "it listens where it did");
    round_trip(address);
}

#[test]
fn populate_makes_what_is_missing_and_leaves_what_is_there() {
    let control = Control::start();
    let address = control.create("one");
    control.ask("POST", "/proxies/one/toxics", r#"{"type":"slow_close","attributes":{"delay":5}}"#);
    let upstream = control.upstream.to_string();
    let wanted = json!([
        { "name": "one", "listen": address.to_string(), "upstream": upstream },
        { "name": "two", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": false },
    ]);
    let (status, made) = control.ask("POST", "/populate", &wanted.to_string());
    assert_eq!(status, 201);
    assert_eq!(made["proxies"][0]["toxics"][0]["name"], json!("slow_close_downstream"));
    assert_eq!(made["proxies"][1]["enabled"], json!(false));
    control.fails(
        "POST",
        "/populate",
        r#"[{"name":"three"}]"#,
        400,
        "missing required field: upstream at proxy 1",
    );
    assert_eq!(control.ask("GET", "/proxies/three", "").0, 404);
}

#[test]
fn what_a_run_has_left_is_found_and_taken_out() {
    let control = Control::start();
    control.create("p");
    for (name, owner) in [("a", "run-1"), ("b", "run-2"), ("c", "run-1")] {
        let toxic = json!({ "name": name, "type": "blackhole", "stream": "both", "owner": owner });
        assert_eq!(control.ask("POST", "/proxies/p/toxics", &toxic.to_string()).1["owner"], json!(owner));
    }
    assert_eq!(control.ask("DELETE", "/proxies/p/toxics?owner=run-1", ""), (200, json!({ "removed": 2 })));
    let left = control.ask("GET", "/proxies/p/toxics", "").1;
    assert_eq!((left.as_array().unwrap().len(), &left[0]["owner"]), (1, &json!("run-2")));
    assert_eq!(control.ask("DELETE", "/proxies/p/toxics?owner=run-1", ""), (200, json!({ "removed": 0 })));
}

#[test]
fn what_is_wrong_is_told() {
    let control = Control::start();
    control.create("p");
    let toxics = "/proxies/p/toxics";
    for (body, reason) in [
        ("{", "bad request body"),
        (r#"{"type":"latency","attributes":{"latancy":1}}"#, "unknown field `latancy`"),
        (r#"{"type":"latency","attributes":{"latency":-1}}"#, "bad request body"),
        (r#"{"type":"latency","attributes":{"latency":99999999999}}"#, "longer than a day"),
        (r#"{"type":"lag"}"#, "invalid toxic type: `lag`; there are latency, bandwidth"),
        (r#"{"type":"latency","stream":"sideways"}"#, "stream was invalid"),
        (r#"{"type":"latency","toxicity":2}"#, "0 to 1"),
        (r#"{"type":"bandwidth","attributes":{"rate":0}}"#, "at least 1"),
        (r#"{"type":"slicer","attributes":{"average_size":4,"size_variation":4}}"#, "must be less"),
        (r#"{"type":"close_code","attributes":{"code":1005}}"#, "1005 is no code"),
        (r#"{"type":"frame_loss","attributes":{"share":1.5}}"#, "share of the messages"),
        (r#"{"type":"latency","toxcity":1}"#, "unknown field `toxcity`"),
    ] {
        control.fails("POST", toxics, body, 400, reason);
    }
    control.ask("POST", toxics, r#"{"type":"latency"}"#);
    control.fails("POST", toxics, r#"{"type":"latency"}"#, 409, "toxic already exists");
    control.fails(
        "PATCH",
        "/proxies/p/toxics/latency_downstream",
        r#"{"attributes":{"x":1}}"#,
        400,
        "unknown field",
    );
    control.fails("GET", "/proxies/p/toxics/other", "", 404, "toxic not found");
    control.fails("DELETE", "/proxies/p/toxics/other", "", 404, "toxic not found");
    control.fails("DELETE", "/proxies/other", "", 404, "proxy not found");
    control.fails(
        "POST",
        "/proxies",
        r#"{"name":"p","upstream":"127.0.0.1:1"}"#,
        409,
        "proxy already exists",
    );
    control.fails("POST", "/proxies", r#"{"upstream":"127.0.0.1:1"}"#, 400, "missing required field: name");
    control.fails("POST", "/proxies", r#"{"name":"q","upstream":"nowhere"}"#, 400, "write host:port");
    control.fails("PUT", "/proxies/p", "", 405, "method");
    control.fails("GET", "/else", "", 404, "/proxies");
    let page = control.ask_as("GET", "/proxies", "", "User-Agent: Mozilla/5.0");
    assert_eq!(page.0, 403);
    assert_eq!(control.ask_as("GET", "/proxies", "", "Origin: http://evil.example").0, 403);
}
