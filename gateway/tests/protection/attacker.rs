//! A client that writes what it likes when it likes.

use crate::driver::{self, Gateway, PATIENCE, Raw, token, upgrade_request};
use std::io::{ErrorKind, Write as _};
use std::time::Duration;
use wire::time::Time;
use wire::ws::frame::{self, Opcode};

pub(crate) const MASK: [u8; 4] = [7, 11, 13, 17];

/// As [`driver::write_header`].
pub(crate) fn write_header(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload_bytes: u64, mask: [u8; 4]) {
    let opcode = match opcode {
        Opcode::Continuation => 0,
        Opcode::Text => 1,
        Opcode::Binary => 2,
        Opcode::Close => 8,
        Opcode::Ping => 9,
        Opcode::Pong => 10,
    };
    driver::write_header(out, if fin { 0x80 } else { 0 } | opcode, payload_bytes, mask);
}

/// A handshake for a user's device, with more headers.
pub(crate) fn handshake(user: &str, device: &str, more: &str) -> String {
    upgrade_request("/ws", &format!("Authorization: Bearer {}\r\n{more}", token(user, device)))
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame.
    Close(u16),
    /// No close frame before the end.
    Cut,
}

/// A session of a client that may do anything; `hello` has been read.
pub(crate) fn attack(gateway: &Gateway, user: &str) -> Raw {
    let (mut raw, _) = Raw::upgrade(gateway, &handshake(user, "attack", ""));
    let hello = raw.frame();
    assert!(hello.1.starts_with(br#"{"type":"hello""#));
    raw
}

impl Raw {
    /// Everything at once, so that it arrives in one step.
    pub(crate) fn write(&mut self, frames: &[(Opcode, &[u8])]) {
        let mut bytes = Vec::new();
        for (opcode, payload) in frames {
            frame::write(&mut bytes, *opcode, payload, Some(MASK));
        }
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next text frames that are answers: `sent` or the error's code.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<String> {
        let answers = std::iter::from_fn(|| self.next_frame()).filter_map(|(first, payload)| {
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
        while let Some((first, payload)) = self.next_frame() {
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
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Time::now().since(begin)
    }
}
