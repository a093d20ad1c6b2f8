//! A client that speaks im.v1.

use super::gateway::{Gateway, PATIENCE, token};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use wire::time::Time;
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake::{self, Answer};

const MASK: [u8; 4] = [1, 2, 3, 4];
const NONCE: [u8; 16] = [7; 16];

/// A device of a user, connected.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    endpoint: Endpoint,
    received: Vec<u8>,
    /// The code of the close frame that came.
    closed: Option<u16>,
    /// The last `seq` that the gateway had given out in this session when it began.
    pub(crate) seq: u64,
    /// Which life of the session it is.
    pub(crate) epoch: String,
}

impl Client {
    /// Connects and waits for `hello`.
    pub(crate) fn connect(gateway: &Gateway, user: &str, device: &str) -> Client {
        Client::try_connect(gateway.address, user, device, "").unwrap()
    }

    /// Connects and says that all up to `seq` of `epoch` was processed.
    pub(crate) fn resume(gateway: &Gateway, user: &str, device: &str, epoch: &str, seq: u64) -> Client {
        let query = format!("?resume={seq}&epoch={epoch}");
        Client::try_connect(gateway.address, user, device, &query).unwrap()
    }

    /// Connects and waits for `hello`; `None` if the connection ends before.
    pub(crate) fn try_connect(address: SocketAddr, user: &str, device: &str, query: &str) -> Option<Client> {
        let mut client = Client::upgrade(address, user, device, query)?;
        let hello = client.next_within(PATIENCE)?;
        assert_eq!(hello["type"], "hello", "{hello}");
        client.seq = hello["seq"].as_u64().unwrap();
        client.epoch = hello["epoch"].as_str().unwrap().to_owned();
        Some(client)
    }

    /// Connects to an echo, which says no `hello`.
    pub(crate) fn of_echo(gateway: &Gateway) -> Client {
        Client::upgrade(gateway.address, "al", "d", "").unwrap()
    }

    fn upgrade(address: SocketAddr, user: &str, device: &str, query: &str) -> Option<Client> {
        let token = token(user, device);
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).unwrap();
        let mut request = Vec::new();
        let authorization = format!("Authorization: Bearer {token}");
        handshake::write_request(&mut request, "test", &format!("/ws{query}"), NONCE, &[&authorization]);
        stream.write_all(&request).ok()?;
        let endpoint = Endpoint::new(Role::Client);
        let epoch = String::new();
        let mut client = Client { stream, endpoint, received: Vec::new(), closed: None, seq: 0, epoch };
        let until = Time::now() + PATIENCE;
        let head = loop {
            match handshake::read_answer(&client.received, NONCE).unwrap() {
                Some(Answer::Accepted(bytes)) => break bytes,
                Some(Answer::Refused(status)) => panic!("refused with {status}"),
                None => client.read(until)?,
            }
        };
        client.received.drain(..head);
        Some(client)
    }

    /// Drops what still comes; the code with which the gateway closes. `None`: it ended without one.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        while self.next_within(PATIENCE).is_some() {}
        self.closed
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
        let until = Time::now() + wait;
        loop {
            let next = self.endpoint.next(&mut self.received, usize::MAX).unwrap();
            if let Some((event, bytes)) = next {
                let frame = match event {
                    Event::Text(text) => Some(serde_json::from_str(text).unwrap()),
                    Event::Close(code) => {
                        self.closed = Some(code);
                        return None;
                    }
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

    fn read(&mut self, until: Time) -> Option<()> {
        let wait = Some(until.since(Time::now())).filter(|wait| !wait.is_zero())?;
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
