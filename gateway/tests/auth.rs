//! Tokens at the gateway's door, over sockets and signals: expiry of an open session, new keys, and nothing shown.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "driver/mod.rs"]
mod driver;

use driver::{Gateway, Raw, sign, upgrade_request};
use std::io::Read as _;
use std::path::{Path, PathBuf};

const OLD: &str = "an old key, 32 bytes long or more";
const NEW: &str = "a new key, 32 bytes long or more.";
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const PONG: u8 = 0x8A;

/// A gateway whose key is in a file, and that file.
fn start(name: &str, flags: &[&str]) -> (Gateway, PathBuf) {
    let key_file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.key"));
    std::fs::write(&key_file, OLD).unwrap();
    let gateway = Gateway::start(&[&["--auth-key-file", key_file.to_str().unwrap()], flags].concat());
    (gateway, key_file)
}

/// Asks to upgrade; gives the connection after the answer's head, and the status.
fn ask(gateway: &Gateway, target: &str, header: &str) -> (Raw, u16) {
    let (raw, head) = Raw::ask(gateway, &upgrade_request(target, header));
    (raw, head.split(' ').nth(1).unwrap().parse().unwrap())
}

fn with_token(gateway: &Gateway, token: &str) -> (Raw, u16) {
    ask(gateway, "/ws", &format!("Authorization: Bearer {token}\r\n"))
}

fn token(key: &str, device: &str, exp: u64) -> String {
    sign(key, "al", device, exp)
}

fn now() -> u64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec.unsigned_abs()
}

#[test]
fn a_session_ends_with_its_token_and_not_before() {
    let (gateway, _) = start("expiry", &["--auth-leeway", "0s", "--heartbeat", "1h"]);
    let (mut lasting, status) = with_token(&gateway, &token(OLD, "phone", u64::MAX));
    assert_eq!((status, lasting.frame().0), (101, 0x81));
    let exp = now() + 4;
    let (mut brief, status) =
        ask(&gateway, "/ws", &format!("Authorization: bearer {}\r\n", token(OLD, "laptop", exp)));
    assert_eq!((status, brief.frame().0), (101, 0x81));
    let (first, payload) = brief.frame();
    assert_eq!((first, &payload[..2]), (0x88, &4401u16.to_be_bytes()[..]));
    assert!(now() >= exp, "closed early");
    assert_eq!(with_token(&gateway, &token(OLD, "laptop", exp)).1, 401);
    gateway.wait_for("im_gateway_connections_closed_total{reason=\"token_expired\"}", 1.0);
    gateway.wait_for("auth_token_validations_total{result=\"ok\"}", 2.0);
    gateway.wait_for("auth_token_validations_total{result=\"expired\"}", 1.0);
    // An end beyond all time has not overflowed into the past.
    lasting.send(&PING);
    assert_eq!(lasting.frame(), (PONG, Vec::new()));
    gateway.stop();
}

#[test]
fn keys_change_on_sighup_and_sessions_stay() {
    let (gateway, key_file) = start("rotation", &[]);
    let (mut session, status) = with_token(&gateway, &token(OLD, "phone", now() + 600));
    assert_eq!((status, session.frame().0), (101, 0x81));
    assert_eq!(with_token(&gateway, &token(NEW, "phone", now() + 600)).1, 401);

    std::fs::write(&key_file, "").unwrap();
    gateway.hang_up();
    let reloads = "im_gateway_config_reloads_total{part=\"keys\",result=";
    gateway.wait_for(&format!("{reloads}\"failed\"}}"), 1.0);
    // Another device, for the first is in use.
    let other = token(OLD, "laptop", now() + 600);
    assert_eq!(with_token(&gateway, &other).1, 101, "a broken file leaves the old keys in force");

    std::fs::write(&key_file, NEW).unwrap();
    gateway.hang_up();
    gateway.wait_for(&format!("{reloads}\"ok\"}}"), 1.0);
    // The shards have the keys by mail, each in its next step.
    while with_token(&gateway, &other).1 != 401 {}
    let third = token(NEW, "tablet", now() + 600);
    while with_token(&gateway, &third).1 != 101 {}
    session.send(&PING);
    assert_eq!(session.frame(), (PONG, Vec::new()), "the session outlives the key of its token");
    let written = gateway.stop();
    assert!(written.contains("not_reloaded") && written.contains("it is empty"), "{written}");
}

#[test]
fn no_token_is_written_anywhere() {
    let (gateway, _) = start("silent", &[]);
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
            let (mut raw, status) = ask(&gateway, &target, &header);
            if status != 101 {
                raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
                raw.stream.read_to_string(&mut answers).unwrap();
            }
        }
    }
    answers += &gateway.exposition().0;
    answers += &gateway.stop();
    assert!(answers.contains("unauthorized") && answers.contains("auth_token_validations_total"));
    let signature = good.rsplit('.').next().unwrap();
    for hidden in ["MARKED", "TUFSS0VE", "eyJ", signature, OLD, NEW] {
        assert!(!answers.contains(hidden), "{hidden} in {answers}");
    }
}
