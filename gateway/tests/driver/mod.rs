//! A gateway as its own process and clients that speak im.v1 to it, for tests that look at it from outside.
#![allow(dead_code, reason = "each test program uses another part of it")]

use gateway::auth::{Claims, Signer};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

const KEY: &str = "a key for tests, and for nothing else";
/// Longest wait for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const MASK: [u8; 4] = [1, 2, 3, 4];
const NONCE: [u8; 16] = [7; 16];

/// A gateway process; it dies with the test.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts one on a free port, with 2 shards and these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Gateway {
        Gateway::try_start(flags).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// The same; `Err`: what it said on standard error instead of starting.
    pub(crate) fn try_start(flags: &[&str]) -> Result<Gateway, String> {
        Gateway::spawn(&mut Command::new(env!("CARGO_BIN_EXE_gateway")), flags)
    }

    /// One that can write no file beyond so many blocks of 512 bytes, as if its disk were full.
    pub(crate) fn with_file_limit(blocks: u64, flags: &[&str]) -> Gateway {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_gateway")]);
        Gateway::spawn(&mut command, flags).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    fn spawn(command: &mut Command, flags: &[&str]) -> Result<Gateway, String> {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--follow-stdin", "--drain-timeout", "2s"])
            .args(if flags.contains(&"--shards") { &[][..] } else { &["--shards", "2"] })
            .args(flags)
            .env("GATEWAY_AUTH_KEY", KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(listening) = serde_json::from_str::<Value>(&line) else {
            let mut complaint = String::new();
            child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            child.wait().unwrap();
            return Err(complaint);
        };
        let address = listening["address"].as_str().unwrap().parse().unwrap();
        Ok(Gateway { child, address })
    }

    /// SIGKILL: it gets no chance to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it politely and waits until it is gone.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }

    /// GET: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The sum of a metric over its label sets.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").1;
        let ours = |line: &&str| {
            line.starts_with(name) && matches!(line.as_bytes().get(name.len()), Some(b'{' | b' '))
        };
        text.lines().filter(ours).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until a metric has this value.
    pub(crate) fn wait_for(&self, name: &str, expected: f64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let value = self.metric(name);
            if value == expected {
                return;
            }
            assert!(Instant::now() < until, "{name} is {value}, not {expected}");
            std::thread::yield_now();
        }
    }

    /// accepted = acknowledged + queued + expired + failed + in flight, once nothing travels between shards.
    pub(crate) fn check_conservation(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let accepted = self.metric("im_gateway_messages_accepted_total");
            let parts = [
                "im_gateway_messages_delivered_total",
                "im_service_offline_queue_size",
                "im_gateway_messages_expired_total",
                "im_gateway_messages_failed_total",
                "im_gateway_messages_in_flight",
            ]
            .map(|name| self.metric(name));
            if accepted == parts.iter().sum::<f64>() {
                return;
            }
            assert!(
                Instant::now() < until,
                "{accepted} accepted, and delivered, queued, expired, failed, in flight: {parts:?}"
            );
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is gone when the test is over.
#[derive(Debug)]
pub(crate) struct Folder(String);

impl Folder {
    /// A new one.
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("gateway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder.to_str().unwrap().to_owned())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is only litter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A device of a user, connected.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    endpoint: Endpoint,
    received: Vec<u8>,
    /// The last `seq` that the gateway had given out in this session when it began.
    pub(crate) seq: u64,
}

impl Client {
    /// Connects and waits for `hello`.
    pub(crate) fn connect(gateway: &Gateway, user: &str, device: &str) -> Client {
        Client::try_connect(gateway.address, user, device, "").unwrap()
    }

    /// Connects with `?resume=seq`.
    pub(crate) fn resume(gateway: &Gateway, user: &str, device: &str, seq: u64) -> Client {
        Client::try_connect(gateway.address, user, device, &format!("?resume={seq}")).unwrap()
    }

    /// Connects and waits for `hello`; `None` if the connection ends before.
    pub(crate) fn try_connect(address: SocketAddr, user: &str, device: &str, query: &str) -> Option<Client> {
        let claims = Claims { sub: user.into(), device: device.into(), exp: u64::MAX / 2 };
        let token = Signer::new(KEY.as_bytes()).sign(&claims).unwrap();
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        let authorization = format!("Authorization: Bearer {token}");
        handshake::write_request(&mut request, "test", &format!("/ws{query}"), NONCE, &[&authorization]);
        stream.write_all(&request).ok()?;
        let endpoint = Endpoint::new(Role::Client);
        let mut client = Client { stream, endpoint, received: Vec::new(), seq: 0 };
        let until = Instant::now() + PATIENCE;
        let head = loop {
            match handshake::read_answer(&client.received, NONCE).unwrap() {
                Some(Answer::Accepted(bytes)) => break bytes,
                Some(Answer::Refused(status)) => panic!("refused with {status}"),
                None => client.read(until)?,
            }
        };
        client.received.drain(..head);
        let hello = client.next_within(PATIENCE)?;
        assert_eq!(hello["type"], "hello", "{hello}");
        client.seq = hello["seq"].as_u64().unwrap();
        Some(client)
    }

    /// Writes a frame. False: the connection is gone.
    pub(crate) fn write(&mut self, value: &Value) -> bool {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, Opcode::Text, value.to_string().as_bytes(), Some(MASK));
        self.stream.write_all(&bytes).is_ok()
    }

    /// Sends a message without waiting for the answer.
    pub(crate) fn send(&mut self, id: &str, to: &str) -> bool {
        self.write(&json!({ "type": "send", "id": id, "to": to, "body": format!("the body of {id}") }))
    }

    /// Sends a message and gives what answered it; deliveries that come before are dropped.
    pub(crate) fn ask(&mut self, id: &str, to: &str) -> Value {
        self.send(id, to);
        self.next_where(|frame| frame["id"] == id && frame["type"] != "message")
    }

    /// Sends a message, which must be confirmed.
    pub(crate) fn confirmed(&mut self, id: &str, to: &str) {
        let answer = self.ask(id, to);
        assert_eq!(answer["type"], "sent", "{answer}");
    }

    /// Joins a group; deliveries that come before are dropped.
    pub(crate) fn join(&mut self, group: &str) {
        self.join_and(group, |_| {});
    }

    /// Joins a group, and shows the deliveries that come before.
    pub(crate) fn join_and(&mut self, group: &str, mut delivery: impl FnMut(&Value)) {
        self.write(&json!({ "type": "join", "group": group }));
        loop {
            let frame = self.next_where(|_| true);
            if frame["type"] == "joined" {
                return;
            }
            delivery(&frame);
        }
    }

    /// Acknowledges everything up to `seq`.
    pub(crate) fn ack(&mut self, seq: u64) {
        self.write(&json!({ "type": "ack", "seq": seq }));
    }

    /// The next frame that `wanted` picks; others are dropped.
    pub(crate) fn next_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next_within(PATIENCE).expect("the connection ended, or nothing came");
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// The ids of the next `count` deliveries, which are acknowledged one by one.
    pub(crate) fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.take_one()).collect()
    }

    fn take_one(&mut self) -> String {
        let message = self.next_where(|frame| frame["type"] == "message");
        self.ack(message["seq"].as_u64().unwrap());
        message["id"].as_str().unwrap().to_owned()
    }

    /// The next frame; `None` if there is none within `wait`, or the connection is over.
    pub(crate) fn next_within(&mut self, wait: Duration) -> Option<Value> {
        let until = Instant::now() + wait;
        loop {
            let next = self.endpoint.next(&mut self.received, usize::MAX).unwrap();
            if let Some((event, bytes)) = next {
                let frame = match event {
                    Event::Text(text) => Some(serde_json::from_str(text).unwrap()),
                    Event::Close(_) => return None,
                    _ => None,
                };
                self.received.drain(..bytes);
                if frame.is_some() {
                    return frame;
                }
            } else {
                self.read(until)?;
            }
        }
    }

    fn read(&mut self, until: Instant) -> Option<()> {
        let wait = until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())?;
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => None,
            Ok(count) => {
                self.received.extend_from_slice(&bytes[..count]);
                Some(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Some(()),
            Err(_) => None,
        }
    }
}
