//! Truth: a target that loses, duplicates and swaps exactly so many confirmed messages is reported as just that.
//!
//! `TRUTH_MESSAGES=1000000 cargo nextest run --release -p loadgen --test truth` is the long form.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod engine;

use engine::wait;
use loadgen::fleet::ledger::{CLASSES, Class};
use loadgen::fleet::plan::Recipients;
use loadgen::fleet::{Fleet, Orders};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::http::Request;
use wire::shard::event_loop::{Config, reserve, run};
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex, mailbox};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

/// Confirms every message and gives it back to its sender, but for the mistakes it was told to make.
struct Mistaken {
    conns: HashMap<ConnId, Conn>,
    seen: u64,
    /// One mistake of each kind in so many messages.
    every: u64,
    /// No message is held back from this one on, so that each has a next one to follow.
    last_swap: u64,
    swaps_due: u64,
}

#[derive(Default)]
struct Conn {
    endpoint: Option<Endpoint>,
    seq: u64,
    held: Option<String>,
}

impl Mistaken {
    fn upgrade(&mut self, conn: ConnId, input: &[u8], io: &mut Io<()>) -> usize {
        let Ok(Some(request)) = Request::parse(input) else { return 0 };
        let accept = handshake::accept(&request).unwrap();
        let out = io.send(conn).unwrap();
        handshake::write_accepted(out, &accept);
        let hello = br#"{"type":"hello","session":"s","node":"n","seq":0,"heartbeat":30}"#;
        frame::write(out, Opcode::Text, hello, None);
        self.conns.get_mut(&conn).unwrap().endpoint = Some(Endpoint::new(Role::Server));
        request.head_bytes
    }

    fn text(&mut self, conn: ConnId, text: &str, io: &mut Io<()>) {
        let frame: serde_json::Value = serde_json::from_str(text).unwrap();
        if frame["type"] != "send" {
            return;
        }
        let state = self.conns.get_mut(&conn).unwrap();
        let out = io.send(conn).unwrap();
        frame::write(
            out,
            Opcode::Text,
            format!(r#"{{"type":"sent","id":{}}}"#, frame["id"]).as_bytes(),
            None,
        );
        let message = format!(r#""id":{},"from":"user:x","at":0,"body":{}}}"#, frame["id"], frame["body"]);
        let number = self.seen;
        self.seen += 1;
        self.swaps_due += u64::from(number % self.every == 2 && number < self.last_swap);
        if number.is_multiple_of(self.every) {
            return;
        }
        if self.swaps_due > 0 && state.held.is_none() && number % self.every > 2 && number < self.last_swap {
            self.swaps_due -= 1;
            state.held = Some(message);
            return;
        }
        let copies = if number % self.every == 1 { 2 } else { 1 };
        for text in std::iter::repeat_n(message, copies).chain(state.held.take()) {
            state.seq += 1;
            let delivery = format!(r#"{{"type":"message","seq":{},{text}"#, state.seq);
            frame::write(out, Opcode::Text, delivery.as_bytes(), None);
        }
    }
}

impl Application for Mistaken {
    type Mail = ();

    fn opened(&mut self, conn: ConnId, _: Origin, _: &mut Io<()>) {
        self.conns.insert(conn, Conn::default());
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<()>) -> usize {
        let Some(mut endpoint) = self.conns.get_mut(&conn).and_then(|conn| conn.endpoint.take()) else {
            return self.upgrade(conn, input, io);
        };
        let mut taken = 0;
        while let Some((event, bytes)) = endpoint.next(&mut input[taken..], 65_536).unwrap() {
            if let Event::Text(text) = event {
                self.text(conn, text, io);
            }
            taken += bytes;
        }
        self.conns.get_mut(&conn).unwrap().endpoint = Some(endpoint);
        taken
    }

    fn closed(&mut self, conn: ConnId, _: Closed, _: &mut Io<()>) {
        self.conns.remove(&conn);
    }

    fn mail(&mut self, _: ShardIndex, (): (), io: &mut Io<()>) {
        io.stop();
    }

    fn timer(&mut self, _: u64, _: &mut Io<()>) {}
}

fn target(every: u64, last_swap: u64) -> SocketAddr {
    let reserved = reserve(([127, 0, 0, 1], 0).into()).unwrap();
    let address = reserved.address;
    let shard = mailbox::network(2).unwrap().swap_remove(0);
    let config = Config { listen: Some(address), ..Config::default() };
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _held = reserved;
        let mistaken = || Mistaken { conns: HashMap::new(), seen: 0, every, last_swap, swaps_due: 0 };
        run(&config, shard, mistaken, |tables| ready.send(tables.map(drop)).unwrap());
    });
    is_ready.recv().unwrap().unwrap();
    address
}

#[test]
fn losses_duplicates_and_swaps_are_counted_exactly() {
    const CLIENTS: u32 = 100;
    let messages: u64 = std::env::var("TRUTH_MESSAGES").map_or(50_000, |number| number.parse().unwrap());
    let (every, rate) = (1000, if cfg!(debug_assertions) { 5_000.0 } else { 20_000.0 });
    let expected = messages / every;
    let target = target(every, messages - 10 * u64::from(CLIENTS));
    let orders = Orders { seed: 7, ..engine::orders(target, CLIENTS, rate, Recipients::Sender) };
    let mut fleet = Fleet::start(orders).unwrap();
    fleet.connect(Time::now());
    wait(&mut fleet, "connects", |fleet| fleet.count(|gauges| gauges.connected.get()) == u64::from(CLIENTS));
    let begin = Time::now() + Duration::from_millis(10);
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    let length = Duration::from_secs_f64(messages as f64 / rate);
    fleet.end_traffic(begin + length);
    let until = begin + length;
    while Time::now() < until {
        fleet.seconds();
        std::thread::sleep(Duration::from_millis(5));
    }
    wait(&mut fleet, "confirmations", |fleet| {
        fleet.count(|g| g.sent.get()) == messages && fleet.count(|g| g.confirmed.get()) == messages
    });
    wait(&mut fleet, "arrivals", |fleet| fleet.count(|g| g.delivered.get()) == messages - expected);
    fleet.hand_over();
    wait(&mut fleet, "the truth", |fleet| fleet.has_handed_over());
    let figures = fleet.stop().unwrap();
    let (counts, phase) = figures.total();
    let swaps = expected - 10 * u64::from(CLIENTS) / every;
    assert_eq!(
        (counts.of(Class::Lost), counts.duplicates, phase.reordered, figures.unexpected),
        (expected, expected, swaps, 0),
        "{counts:?}"
    );
    assert_eq!(counts.planned(), messages);
    assert_eq!(CLASSES.iter().map(|class| counts.of(*class)).sum::<u64>(), messages);
}
