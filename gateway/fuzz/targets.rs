//! What the fuzz targets check. Here, so that cargo-fuzz (`fuzz_targets/`) and a plain test (`gateway/tests/fuzzed.rs`) run the same.
//!
//! Each takes any bytes and panics on what must not be.

use gateway::auth::{Claims, Key, Keys, Policy, Signer, Verifier};
use gateway::config::Limits;
use gateway::im::mail::Mail;
use gateway::im::message::Message;
use gateway::im::protocol::{self, Request};
use gateway::im::{Shard, Shared};
use gateway::metrics::{Kind, Metrics};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::http;
use wire::shard::Seats;
use wire::shard::virtual_time::{Conditions, End, Event, Node, World};
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

#[derive(serde::Deserialize)]
struct Delivery<'a> {
    id: String,
    #[serde(borrow)]
    body: &'a serde_json::value::RawValue,
}

/// A text frame from a client.
pub(crate) fn protocol(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let id_of = |id: &str| serde_json::from_str::<String>(id).expect("an id is a JSON string");
    match protocol::parse(text, 64) {
        Ok(Request::Send { id, body, .. }) => {
            let message = Message::new(id, "al", 5, body, Time(0), Time(9), Kind::Direct);
            let mut out = Vec::new();
            protocol::write_message(&mut out, 3, &message);
            let delivery: Delivery<'_> = serde_json::from_slice(&out).expect("a delivery is JSON");
            assert_eq!((delivery.id, delivery.body.get()), (id_of(id), body));
        }
        Ok(Request::Join(name) | Request::Leave(name)) => assert!(!name.is_empty() && name.len() <= 64),
        Ok(Request::Ack(_)) | Err((None, _)) => {}
        Err((Some(id), _)) => drop(id_of(id)),
    }
}

/// A request's or a response's head.
pub(crate) fn http(bytes: &[u8]) {
    if let Ok(Some(request)) = http::Request::parse(bytes) {
        assert!(request.head_bytes <= bytes.len());
        assert!(request.target.starts_with(request.path()));
        for name in ["token", "resume", "epoch", "delay"] {
            let _ = request.query(name);
        }
        let _ = handshake::accept(&request);
        let shorter = http::Request::parse(&bytes[..request.head_bytes - 1]);
        assert!(matches!(shorter, Ok(None)), "one byte less is not the whole head");
    }
    if let Ok(Some(response)) = http::Response::parse(bytes) {
        assert!(response.head_bytes <= bytes.len());
    }
    let _ = handshake::read_answer(bytes, [7; 16]);
}

const KEY: &[u8] = b"fuzzed-0123456789abcdefghijklmnop";
const CLIENTS: usize = 4;

/// A script for four clients: each step is a byte that says who and what, a byte that says how long, and so many bytes.
pub(crate) fn session(script: &[u8]) {
    let mut core = Core::start();
    let mut rest = script;
    while let [what, length, tail @ ..] = rest {
        let (bytes, after) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = after;
        core.step(usize::from(*what) % CLIENTS, usize::from(*what) / CLIENTS, bytes);
    }
    core.pass(Duration::from_secs(30));
}

fn verifier(name_bytes_max: usize) -> Verifier {
    let keys = Keys::from(Key::secret(KEY).expect("the key is not empty"));
    Verifier::new(
        keys,
        Policy { leeway: Duration::from_secs(60), audience: None, issuer: None, name_bytes_max },
    )
}

struct Client {
    end: Option<End>,
    token: String,
    is_upgraded: bool,
    speaks_http: bool,
    endpoint: Endpoint,
    received: Vec<u8>,
}

struct Core {
    world: World,
    node: Node<Shard>,
    metrics: Metrics,
    clients: Vec<Client>,
}

fn address() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

impl Core {
    fn start() -> Core {
        let limits = Limits { window: 4, waiting_max: 4, devices_max: 2, ..Limits::default() };
        let mut world = World::new(1, Time(1_000_000_000), Conditions::default());
        let metrics = Metrics::new("fuzzed", 2);
        let shared = Arc::new(Shared {
            node: "fuzzed".into(),
            ack_timeout: Duration::from_secs(1),
            heartbeat: Duration::from_secs(5),
            message_ttl: Duration::from_secs(60),
            cache_size: 2,
            test_faults: true,
            deflate: false,
            verifier: verifier(limits.name_bytes_max),
            metrics: metrics.clone(),
            wall_offset_ns: 0,
            seed: 1,
            sessions: Seats::unlimited(),
            limits,
        });
        let node = Node::start(&mut world, 2, Some(address()), &Seats::unlimited(), |index| {
            Shard::new(Arc::clone(&shared), index)
        });
        let signer = Signer::new(KEY);
        let client = |number: usize| {
            let claims =
                Claims { sub: format!("u{}", number / 2), device: format!("d{}", number % 2), exp: 1 << 40 };
            let token = signer.sign(&claims).expect("claims are plain");
            Client {
                end: None,
                token,
                is_upgraded: false,
                speaks_http: false,
                endpoint: Endpoint::new(Role::Client),
                received: Vec::new(),
            }
        };
        Core { world, node, metrics, clients: (0..CLIENTS).map(client).collect() }
    }

    fn step(&mut self, client: usize, what: usize, bytes: &[u8]) {
        if self.clients[client].end.is_none() {
            let end = self.world.connect(([127, 0, 0, 1], 1).into(), address());
            let state = &mut self.clients[client];
            (state.end, state.is_upgraded, state.speaks_http) = (Some(end), false, false);
            (state.endpoint, state.received) = (Endpoint::new(Role::Client), Vec::new());
            self.pass(Duration::from_millis(20));
            if what % 8 != 7 {
                self.upgrade(client);
            }
        }
        match what % 8 {
            // As a whole text frame, as text is what most of the core reads.
            0..4 => self.frame(client, Opcode::Text, bytes),
            4 => self.frame(client, Opcode::Ping, bytes),
            5 => {
                let wait = bytes.first().copied().unwrap_or(1);
                self.pass(Duration::from_millis(u64::from(wait) * 50));
            }
            6 => {
                if let Some(end) = self.clients[client].end.take() {
                    if bytes.first().is_some_and(|byte| byte % 2 == 0) {
                        self.world.reset_on_close(end);
                    }
                    self.world.close(end);
                }
            }
            _ => self.raw(client, bytes),
        }
        self.pass(Duration::from_millis(3));
    }

    fn upgrade(&mut self, client: usize) {
        let mut request = Vec::new();
        let authorization = format!("Authorization: Bearer {}", self.clients[client].token);
        handshake::write_request(&mut request, "gateway", "/ws", [7; 16], &[&authorization]);
        self.raw(client, &request);
        self.pass(Duration::from_millis(20));
    }

    fn frame(&mut self, client: usize, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        frame::write(&mut out, opcode, payload, Some([1, 2, 3, 4]));
        self.raw(client, &out);
    }

    fn raw(&mut self, client: usize, bytes: &[u8]) {
        if let Some(end) = self.clients[client].end {
            // What there is no room for is not sent: the other side is told of that by silence.
            let _ = self.world.send(end, bytes);
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        while let Some(event) = self.world.next(until) {
            if self.node.handle(event, &mut self.world) {
                self.conserves();
            } else if let Event::Input(end) = event
                && let Some(client) = self.clients.iter().position(|client| client.end == Some(end))
            {
                self.read(client, end);
            }
        }
    }

    /// What the gateway writes must be what it says it speaks.
    fn read(&mut self, client: usize, end: End) {
        let client = &mut self.clients[client];
        let mut buffer = [0; 4096];
        loop {
            match self.world.receive(end, &mut buffer) {
                Ok(count @ 1..) => client.received.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => break,
                Ok(_) | Err(_) => {
                    self.world.close(end);
                    client.end = None;
                    break;
                }
            }
        }
        if client.speaks_http {
            client.received.clear();
            return;
        }
        if !client.is_upgraded {
            let Some(head) = http::Response::parse(&client.received).expect("an answer is HTTP") else {
                return;
            };
            if head.status != 101 {
                // Answers in HTTP are not followed any further: their bodies may come in pieces.
                client.speaks_http = true;
                return;
            }
            client.is_upgraded = true;
            client.received.drain(..head.head_bytes);
        }
        let mut taken = 0;
        while let Some((_, bytes)) = client
            .endpoint
            .next(&mut client.received[taken..], 1 << 20)
            .expect("the gateway speaks WebSocket")
        {
            taken += bytes;
        }
        client.received.drain(..taken);
    }

    fn conserves(&self) {
        let metrics = &self.metrics;
        let accepted = metrics.total(|shard| shard.accepted.get()) as i64;
        let ended = metrics.total(|shard| {
            let failed: u64 = shard.failed.iter().flatten().map(|count| count.get()).sum();
            let delivered: u64 = shard.delivered.iter().map(|count| count.get()).sum();
            failed + delivered + shard.expired.get()
        }) as i64;
        let kept = metrics.level(|shard| shard.in_flight.get() + shard.offline_queue.get());
        let under_way: usize = self.node.mail_under_way().map(Mail::deliveries).sum();
        assert_eq!(accepted, ended + kept + under_way as i64, "accepted = ended + kept + under way");
    }
}
