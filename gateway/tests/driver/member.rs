//! A client that behaves, on a WebSocket that is not ours.

use super::gateway::{Gateway, token};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

/// A `send` frame to a user.
pub(crate) fn send(id: &str, to: &str, body: &str) -> String {
    format!(r#"{{"type":"send","id":"{id}","to":"user:{to}","body":{body}}}"#)
}

pub(crate) struct Member<S = TcpStream> {
    socket: WebSocket<S>,
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
        Member::over(gateway.connect(), &format!("ws://{}/ws", gateway.address), (user, device), headers)
    }
}

impl<S: Read + Write> Member<S> {
    /// Over a connection that is there already; `hello` has come.
    pub(crate) fn over(
        stream: S,
        url: &str,
        (user, device): (&str, &str),
        headers: &[(&'static str, &str)],
    ) -> Member<S> {
        let mut request = url.into_client_request().unwrap();
        let authorization = format!("Bearer {}", token(user, device));
        request.headers_mut().insert("Authorization", authorization.parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tungstenite::client(request, stream).unwrap_or_else(|error| panic!("{error}"));
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

    /// Closes, and waits until the gateway has closed too.
    pub(crate) fn close(mut self) {
        self.socket.close(None).unwrap();
        while !self.next().is_close() {}
    }

    fn acknowledge(&mut self, delivery: &Value) {
        self.send(&format!(r#"{{"type":"ack","seq":{}}}"#, delivery["seq"]));
    }
}
