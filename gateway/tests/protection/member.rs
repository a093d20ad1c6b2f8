//! A client that behaves.

use crate::driver::{Gateway, token};
use serde_json::Value;
use std::net::TcpStream;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// A `send` frame to a user.
pub(crate) fn send(id: &str, to: &str, body: &str) -> String {
    format!(r#"{{"type":"send","id":"{id}","to":"user:{to}","body":{body}}}"#)
}

pub(crate) struct Member {
    socket: WebSocket<TcpStream>,
}

impl Member {
    pub(crate) fn connect(gateway: &Gateway, user: &str) -> Member {
        Member::connect_as(gateway, user, "phone", &[])
    }

    pub(crate) fn connect_as(
        gateway: &Gateway,
        user: &str,
        device: &str,
        headers: &[(&'static str, &str)],
    ) -> Member {
        let mut request = format!("ws://{}/ws", gateway.address).into_client_request().unwrap();
        let authorization = format!("Bearer {}", token(user, device));
        request.headers_mut().insert("Authorization", authorization.parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tungstenite::client(request, gateway.connect()).unwrap();
        let mut member = Member { socket };
        assert_eq!(member.receive()["type"], "hello");
        member
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub(crate) fn ping(&mut self) {
        self.socket.send(Message::Ping("p".into())).unwrap();
    }

    /// The next message of any kind. tungstenite answers pings while it reads.
    pub(crate) fn next(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// The next text, as JSON.
    pub(crate) fn receive(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.next() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Sends and gives the answer's type, or the error's code.
    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.send(text);
        loop {
            let frame = self.receive();
            match frame["type"].as_str().unwrap() {
                "message" => self.acknowledge(&frame),
                "error" => return frame["code"].as_str().unwrap().to_owned(),
                other => return other.to_owned(),
            }
        }
    }

    /// The next delivery, acknowledged.
    pub(crate) fn delivery(&mut self) -> Value {
        loop {
            let frame = self.receive();
            if frame["type"] == "message" {
                self.acknowledge(&frame);
                return frame;
            }
        }
    }

    fn acknowledge(&mut self, delivery: &Value) {
        self.send(&format!(r#"{{"type":"ack","seq":{}}}"#, delivery["seq"]));
    }
}
