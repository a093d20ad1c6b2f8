//! Tokens at the gateway's door, over sockets and signals: expiry of an open session, new keys, and nothing shown.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use gateway::auth::{Claims, Signer};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const OLD: &str = "an old key, 32 bytes long or more";
const NEW: &str = "a new key, 32 bytes long or more.";

struct Gateway {
    child: Child,
    address: String,
    key_file: PathBuf,
}

impl Gateway {
    fn start(name: &str, flags: &[&str]) -> Gateway {
        let key_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.key"));
        std::fs::write(&key_file, OLD).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--shards", "2", "--follow-stdin", "--auth-key-file"])
            .arg(&key_file)
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = listening["address"].as_str().unwrap().to_owned();
        Gateway { child, address, key_file }
    }

    /// Asks to upgrade and gives the stream after the answer's head, and the status.
    fn connect(&self, target: &str, header: &str) -> (BufReader<TcpStream>, u16) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{header}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).unwrap();
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        (stream, status.split(' ').nth(1).unwrap().parse().unwrap())
    }

    fn with_token(&self, token: &str) -> (BufReader<TcpStream>, u16) {
        self.connect("/ws", &format!("Authorization: Bearer {token}\r\n"))
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Asks for the metrics until `line` is among them; the test runner's time limit ends a wait in vain.
    fn await_metric(&self, line: &str) {
        while !self.metrics().lines().any(|found| found == line) {
            std::thread::yield_now();
        }
    }

    fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Ends it and gives all that it has written.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut written = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut written).unwrap();
        assert!(self.child.wait().unwrap().success());
        written
    }
}

fn token(key: &str, device: &str, exp: u64) -> String {
    Signer::new(key.as_bytes()).sign(&Claims { sub: "al".into(), device: device.into(), exp }).unwrap()
}

fn now() -> u64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec.unsigned_abs()
}

/// The next frame of a server: opcode and payload.
fn frame(stream: &mut BufReader<TcpStream>) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert!(head[1] < 126, "a short frame");
    let mut payload = vec![0; head[1].into()];
    stream.read_exact(&mut payload).unwrap();
    (head[0] & 0xF, payload)
}

#[test]
fn a_session_ends_with_its_token_and_not_before() {
    let gateway = Gateway::start("expiry", &["--auth-leeway", "0s", "--heartbeat", "1h"]);
    let (mut lasting, status) = gateway.with_token(&token(OLD, "phone", u64::MAX));
    assert_eq!((status, frame(&mut lasting).0), (101, 1));
    let exp = now() + 2;
    let (mut brief, status) =
        gateway.connect("/ws", &format!("Authorization: bearer {}\r\n", token(OLD, "laptop", exp)));
    assert_eq!((status, frame(&mut brief).0), (101, 1));
    let (opcode, payload) = frame(&mut brief);
    assert_eq!((opcode, &payload[..2]), (8, &4401u16.to_be_bytes()[..]));
    assert!(now() >= exp, "closed early");
    assert_eq!(gateway.with_token(&token(OLD, "laptop", exp)).1, 401);
    gateway
        .await_metric("im_gateway_connections_closed_total{node=\"gateway-1\",reason=\"token_expired\"} 1");
    gateway.await_metric("auth_token_validations_total{node=\"gateway-1\",result=\"ok\"} 2");
    gateway.await_metric("auth_token_validations_total{node=\"gateway-1\",result=\"expired\"} 1");
    // An end beyond all time has not overflowed into the past.
    lasting.get_mut().write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(frame(&mut lasting), (0xA, Vec::new()));
    gateway.end();
}

#[test]
fn keys_change_on_sighup_and_sessions_stay() {
    let gateway = Gateway::start("rotation", &[]);
    let (mut session, status) = gateway.with_token(&token(OLD, "phone", now() + 600));
    assert_eq!((status, frame(&mut session).0), (101, 1));
    assert_eq!(gateway.with_token(&token(NEW, "phone", now() + 600)).1, 401);

    std::fs::write(&gateway.key_file, "").unwrap();
    gateway.hang_up();
    let reloads = "im_gateway_config_reloads_total{node=\"gateway-1\",part=\"keys\",result=";
    gateway.await_metric(&format!("{reloads}\"failed\"}} 1"));
    // Another device, for the first is in use.
    let other = token(OLD, "laptop", now() + 600);
    assert_eq!(gateway.with_token(&other).1, 101, "a broken file leaves the old keys in force");

    std::fs::write(&gateway.key_file, NEW).unwrap();
    gateway.hang_up();
    gateway.await_metric(&format!("{reloads}\"ok\"}} 1"));
    // The shards have the keys by mail, each in its next step.
    while gateway.with_token(&other).1 != 401 {}
    let third = token(NEW, "tablet", now() + 600);
    while gateway.with_token(&third).1 != 101 {}
    session.get_mut().write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(frame(&mut session), (0xA, Vec::new()), "the session outlives the key of its token");
    let written = gateway.end();
    assert!(written.contains("not_reloaded") && written.contains("it is empty"), "{written}");
}

#[test]
fn no_token_is_written_anywhere() {
    let gateway = Gateway::start("silent", &[]);
    let marked = |part: &str| format!("eyJNQVJLRUQiOjF9.{part}.MARKED");
    let good = token(OLD, "phone", now() + 600);
    let mut answers = String::new();
    for token in
        [good.clone(), token(OLD, "phone", 1), token(NEW, "phone", now() + 600), marked("x"), marked("e30")]
    {
        for (target, header) in [
            (format!("/ws?token={token}"), String::new()),
            ("/ws".into(), format!("Authorization: Bearer {token}\r\n")),
            (format!("/ws?token={token}"), format!("Authorization: Basic {token}\r\n")),
        ] {
            let (mut stream, status) = gateway.connect(&target, &header);
            if status != 101 {
                stream.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
                stream.read_to_string(&mut answers).unwrap();
            }
        }
    }
    answers += &gateway.metrics();
    answers += &gateway.end();
    assert!(answers.contains("unauthorized") && answers.contains("auth_token_validations_total"));
    let signature = good.rsplit('.').next().unwrap();
    for hidden in ["MARKED", "TUFSS0VE", "eyJ", signature, OLD, NEW] {
        assert!(!answers.contains(hidden), "{hidden} in {answers}");
    }
}
