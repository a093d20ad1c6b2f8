//! The client's end under a conformance suite: echoes every case of Autobahn's fuzzing server. `ci/autobahn` runs it.
//!
//! `cargo run --release -p wire --example autobahn_client -- 127.0.0.1:9001`. Same event loop, endpoint, frames and codecs as
//! the load generator's clients.
#![expect(clippy::unwrap_used, reason = "a conformance run that cannot go on should say where")]

use std::net::SocketAddr;
use wire::shard::event_loop::{Config, run};
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex, mailbox};
use wire::time::Time;
use wire::ws::deflate::{Deflater, Inflater};
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::{extension, handshake};

const AGENT: &str = "wire";
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the present connection is for.
#[derive(Debug, Clone, Copy)]
enum Task {
    Count,
    Case(u32),
    Report,
}

struct Client {
    server: SocketAddr,
    task: Option<Task>,
    cases: u32,
    endpoint: Option<Endpoint>,
    inflater: Inflater,
    deflater: Deflater,
    mask: u32,
}

impl Client {
    fn begin(&mut self, task: Task, io: &mut Io<()>) {
        self.task = Some(task);
        self.endpoint = None;
        io.connect(self.server, None);
    }

    fn nonce(&self) -> [u8; 16] {
        u128::from(self.mask).to_be_bytes()
    }

    fn next_mask(&mut self) -> [u8; 4] {
        self.mask = self.mask.wrapping_mul(0x0019_660D).wrapping_add(0x3C6E_F35F);
        self.mask.to_ne_bytes()
    }

    fn close(&mut self, conn: ConnId, code: u16, reason: &str, io: &mut Io<()>) {
        let mask = self.next_mask();
        if let Some(out) = io.send(conn) {
            frame::write_close(out, code, reason, Some(mask));
        }
        io.close(conn);
    }

    fn upgraded(&mut self, input: &[u8]) -> usize {
        match handshake::read_answer_to_offer(input, self.nonce()).unwrap() {
            Some((handshake::Answer::Accepted(bytes), deflate)) => {
                self.endpoint = Some(Endpoint::with_deflate(Role::Client, deflate));
                bytes
            }
            Some((handshake::Answer::Refused(status), _)) => panic!("the suite answers {status}"),
            None => 0,
        }
    }

    fn frames(&mut self, mut endpoint: Endpoint, conn: ConnId, input: &mut [u8], io: &mut Io<()>) -> usize {
        let mut inflater = std::mem::take(&mut self.inflater);
        let deflate = endpoint.deflate();
        let mut taken = 0;
        while io.is_open(conn) {
            let (opcode, payload) =
                match endpoint.next_inflated(&mut input[taken..], MESSAGE_BYTES_MAX, &mut inflater) {
                    Ok(Some((event, bytes))) => {
                        taken += bytes;
                        match event {
                            Event::Text(count) if matches!(self.task, Some(Task::Count)) => {
                                self.cases = count.parse().unwrap();
                                continue;
                            }
                            Event::Text(text) => (Opcode::Text, text.as_bytes()),
                            Event::Binary(bytes) => (Opcode::Binary, bytes),
                            Event::Ping(payload) => (Opcode::Pong, payload),
                            Event::Pong(_) | Event::Fragment => continue,
                            Event::Close(code) => {
                                self.close(conn, code, "", io);
                                continue;
                            }
                        }
                    }
                    Ok(None) => break,
                    Err(violation) => {
                        self.close(conn, violation.close_code(), &violation.to_string(), io);
                        continue;
                    }
                };
            let mask = self.next_mask();
            if let Some(out) = io.send(conn) {
                self.deflater.write(
                    out,
                    opcode,
                    payload,
                    deflate.filter(|_| !opcode.is_control()),
                    Some(mask),
                );
            }
        }
        self.inflater = inflater;
        self.endpoint = Some(endpoint);
        taken
    }
}

impl Application for Client {
    type Mail = ();

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<()>) {
        let target = match self.task {
            Some(Task::Case(case)) => format!("/runCase?case={case}&agent={AGENT}"),
            Some(Task::Report) => format!("/updateReports?agent={AGENT}"),
            _ => "/getCaseCount".to_owned(),
        };
        self.next_mask();
        let nonce = self.nonce();
        if let Some(out) = io.send(conn) {
            handshake::write_request(out, &self.server.to_string(), &target, nonce, &[extension::OFFER]);
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<()>) -> usize {
        // The first frames may come together with the answer.
        let head = if self.endpoint.is_none() { self.upgraded(input) } else { 0 };
        match self.endpoint.take() {
            None => head,
            Some(endpoint) => head + self.frames(endpoint, conn, &mut input[head..], io),
        }
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<()>) {
        assert!(!matches!(how, Closed::ConnectFailed(_)), "no suite on {}: {how:?}", self.server);
        match self.task {
            Some(Task::Case(case)) if case >= self.cases => self.begin(Task::Report, io),
            Some(Task::Case(case)) => self.begin(Task::Case(case + 1), io),
            Some(Task::Report) => io.stop(),
            _ if self.cases == 0 => self.begin(Task::Report, io),
            _ => self.begin(Task::Case(1), io),
        }
    }

    fn mail(&mut self, _: ShardIndex, (): (), _: &mut Io<()>) {}

    fn timer(&mut self, _: u64, _: &mut Io<()>) {}

    fn step_done(&mut self, io: &mut Io<()>) {
        if self.task.is_none() {
            self.begin(Task::Count, io);
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.task.is_none().then_some(Time(0))
    }
}

fn main() {
    let server = std::env::args().nth(1).and_then(|address| address.parse().ok()).unwrap();
    let config = Config::default();
    let client = || Client {
        server,
        task: None,
        cases: 0,
        endpoint: None,
        inflater: Inflater::default(),
        deflater: Deflater::default(),
        mask: 1,
    };
    run(&config, mailbox::network(2).unwrap().swap_remove(0), client, |ready| assert!(ready.is_ok()));
}
