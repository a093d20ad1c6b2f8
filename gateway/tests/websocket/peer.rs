//! Frames by hand, and how an echo is asked.

use crate::driver::{Gateway, Raw, upgrade_request, write_header};
use std::io::Read as _;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// A gateway with one shard that sends back what it gets.
pub(crate) fn start_echo(flags: &[&str]) -> Gateway {
    Gateway::start_alone(&[&["--echo"], flags].concat())
}

/// An open WebSocket to an echo.
pub(crate) fn open(echo: &Gateway) -> Raw {
    Raw::upgrade(echo, &upgrade_request("/", "")).0
}

/// The peer closes with this code, and then ends the connection in an orderly way.
pub(crate) fn is_closed_with(raw: &mut Raw, code: u16, what: &str) {
    let (first, payload) = raw.frame();
    assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]), "{what}: {payload:02x?}");
    assert_eq!(raw.stream.read(&mut [0]).map_err(|error| error.kind()), Ok(0), "{what}");
}

/// A frame as clients send it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1F, 0x2E, 0x3D, 0x4C];
    let mut out = Vec::new();
    write_header(&mut out, first, payload.len() as u64, mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, &code.to_be_bytes())
}
