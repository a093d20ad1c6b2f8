//! A client that writes what it likes when it likes.

use crate::gateway::{Gateway, token};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use wire::time::Time;
use wire::ws::frame::{self, Opcode};

pub(crate) const MASK: [u8; 4] = [7, 11, 13, 17];

/// Appends a frame's header by hand: of a frame that need not be whole, nor its own length.
pub(crate) fn write_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload_bytes: u64, mask: [u8; 4]) {
    let opcode = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    out.push(if fin { 0x80 } else { 0 } | opcode);
    match payload_bytes {
        short @ 0..126 => out.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend(long.to_be_bytes());
        }
    }
    out.extend(mask);
}

/// A handshake for a user's device, with more headers.
pub(crate) fn handshake(user: &str, device: &str, more: &str) -> String {
    let token = token(user, device);
    format!(
        "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    )
}

pub(crate) struct Attacker {
    pub(crate) stream: TcpStream,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame.
    Close(u16),
    /// No close frame before the end.
    Cut,
}

impl Attacker {
    /// Upgraded; `hello` has been read.
    pub(crate) fn connect(gateway: &Gateway, user: &str) -> Attacker {
        let mut attacker = Attacker { stream: gateway.connect() };
        attacker.stream.write_all(handshake(user, "attack", "").as_bytes()).unwrap();
        let head = attacker.read_head();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        let hello = attacker.read_frame().expect("hello");
        assert!(hello.1.starts_with(br#"{"type":"hello""#));
        attacker
    }

    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && self.stream.read(&mut byte).unwrap() == 1 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Everything at once, so that it arrives in one step.
    pub(crate) fn write(&mut self, frames: &[(Opcode, &[u8])]) {
        let mut bytes = Vec::new();
        for (opcode, payload) in frames {
            frame::write(&mut bytes, *opcode, payload, Some(MASK));
        }
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next frame: its first byte and its payload. `None`: the connection is over.
    pub(crate) fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start).ok()?;
        let length = match start[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => panic!("longer than anything the tests expect"),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some((start[0], payload))
    }

    /// The next text frames that are answers: `sent` or the error's code.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<String> {
        let answers = std::iter::from_fn(|| self.read_frame()).filter_map(|(first, payload)| {
            let frame: serde_json::Value =
                (first == 0x81).then(|| serde_json::from_slice(&payload).ok())??;
            match frame["type"].as_str()? {
                "error" => Some(frame["code"].as_str()?.to_owned()),
                "message" => None,
                other => Some(other.to_owned()),
            }
        });
        answers.take(count).collect()
    }

    /// Reads to the end.
    pub(crate) fn end(&mut self) -> End {
        while let Some((first, payload)) = self.read_frame() {
            if first == 0x88 {
                return End::Close(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
        End::Cut
    }

    /// Writes one byte after another, a moment apart, until the peer answers or `bytes` are over. Gives how long it took.
    pub(crate) fn trickle(&mut self, bytes: &[u8], moment: Duration) -> Duration {
        let begin = Time::now();
        self.stream.set_read_timeout(Some(moment)).unwrap();
        for byte in bytes {
            // An error here means that the peer has ended it; what it said can still be read.
            let _ = self.stream.write_all(&[*byte]);
            match self.stream.peek(&mut [0]) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                _ => break,
            }
        }
        self.stream.set_read_timeout(Some(crate::gateway::PATIENCE)).unwrap();
        Time::now().since(begin)
    }
}
