//! WebSocket (RFC 6455) without sockets: bytes to frames and back, and the opening handshake.

pub mod endpoint;
pub mod frame;
pub mod handshake;
