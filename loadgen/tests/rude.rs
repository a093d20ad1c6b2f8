//! Targets that break the protocol: their clients say so, and neither panic nor grow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod engine;

use engine::wait;
use loadgen::fleet::figures::FleetFigures;
use loadgen::fleet::plan::Recipients;
use loadgen::fleet::{Fleet, Orders};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use wire::http::Request;
use wire::time::Time;
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

/// Upgrades whoever comes, says `frames`, and reads until the client has enough.
fn target(frames: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let frames = frames.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &frames));
        }
    });
    address
}

fn serve(mut stream: TcpStream, frames: &[u8]) {
    let (mut head, mut bytes) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut bytes).unwrap();
        head.extend_from_slice(&bytes[..read]);
    }
    let mut out = Vec::new();
    let request = Request::parse(&head).unwrap().unwrap();
    handshake::write_accepted(&mut out, &handshake::accept(&request).unwrap());
    out.extend_from_slice(frames);
    stream.write_all(&out).unwrap();
    while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
}

fn text(frames: &mut Vec<u8>, text: &str) {
    frame::write(frames, Opcode::Text, text.as_bytes(), None);
}

/// What one client measures that connects, sends to itself, and is asked for the truth when `done`.
fn run(target: SocketAddr, done: impl FnMut(&Fleet) -> bool) -> FleetFigures {
    let orders = Orders { threads: 1, ..engine::orders(target, 1, 100.0, Recipients::Sender) };
    let mut fleet = Fleet::start(orders).unwrap();
    let begin = Time::now();
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    fleet.connect(begin);
    wait(&mut fleet, "what the target does", done);
    fleet.end_traffic(Time::now());
    fleet.hand_over();
    wait(&mut fleet, "the truth", Fleet::has_handed_over);
    fleet.stop().unwrap()
}

#[test]
fn a_session_that_ends_before_it_began_is_a_failed_connect_by_its_reason() {
    let failed = |fleet: &Fleet| fleet.count(|gauges| gauges.connect_failed.get()) > 0;
    let mut close = Vec::new();
    frame::write_close(&mut close, 1008, "no", None);
    for (frames, reason) in [(close, "closed"), (vec![0xFF; 16], "protocol")] {
        let figures = run(target(frames), failed);
        let reasons: Vec<_> = figures.connect_errors.keys().copied().collect();
        assert_eq!(reasons, [reason]);
    }
}

#[test]
fn messages_that_were_never_sent_have_no_place_in_the_books() {
    let mut frames = Vec::new();
    text(&mut frames, r#"{"type":"hello","seq":0}"#);
    for number in [1_u64 << 62, u64::MAX] {
        text(&mut frames, &format!(r#"{{"type":"sent","id":"m0-{number}"}}"#));
        text(
            &mut frames,
            &format!(r#"{{"type":"message","seq":1,"id":"m0-{number}","from":"user:x","body":{{"t":1}}}}"#),
        );
        text(&mut frames, &format!(r#"{{"type":"error","id":"m0-{number}","code":"c"}}"#));
    }
    let figures = run(target(frames), |fleet| fleet.count(|gauges| gauges.refused.get()) == 2);
    assert_eq!(figures.unexpected, 6);
}
