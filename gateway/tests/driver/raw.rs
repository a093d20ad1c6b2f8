//! A client that writes what it likes.

use super::gateway::Gateway;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Headers that make a request an upgrade, without a token.
pub(crate) const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A request to upgrade, with these headers (lines that end in CRLF) besides.
pub(crate) fn upgrade_request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Appends a frame's header by hand: of a frame that need not be whole, nor its own length.
pub(crate) fn write_header(out: &mut Vec<u8>, first: u8, payload_bytes: u64, mask: [u8; 4]) {
    out.push(first);
    match payload_bytes {
        short @ ..126 => out.push(0x80 | short as u8),
        medium @ ..0x1_0000 => out.extend([&[0x80 | 126], &(medium as u16).to_be_bytes()[..]].concat()),
        long => out.extend([&[0x80 | 127], &long.to_be_bytes()[..]].concat()),
    }
    out.extend(mask);
}

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    /// A connection on which nothing has been sent.
    pub(crate) fn connect(gateway: &Gateway) -> Raw {
        Raw { stream: gateway.connect() }
    }

    /// Asks `request` and gives the answer's head.
    pub(crate) fn ask(gateway: &Gateway, request: &str) -> (Raw, String) {
        let mut raw = Raw::connect(gateway);
        raw.send(request.as_bytes());
        let head = raw.head();
        (raw, head)
    }

    /// An open WebSocket, and the head of the answer.
    pub(crate) fn upgrade(gateway: &Gateway, request: &str) -> (Raw, String) {
        let (raw, head) = Raw::ask(gateway, request);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        (raw, head)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The head of an answer, byte by byte, so that nothing behind it is taken.
    pub(crate) fn head(&mut self) -> String {
        self.next_head().expect("the whole head")
    }

    /// The same; `None`: the connection is over before.
    pub(crate) fn next_head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take::<1>()?);
        }
        Some(String::from_utf8(head).unwrap())
    }

    fn take<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The next frame: its first byte and its payload. Servers don't mask. `None`: the connection is over.
    pub(crate) fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = self.take()?;
        let length = match second {
            126 => usize::from(u16::from_be_bytes(self.take()?)),
            127 => usize::try_from(u64::from_be_bytes(self.take()?)).unwrap(),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).ok()?;
        Some((first, payload))
    }

    /// The next frame, which must come.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        self.next_frame().expect("a frame")
    }
}
