//! WebSocket (RFC 6455) without sockets: bytes to frames and back, and the opening handshake.
//!
//! Start at [`endpoint`], which turns bytes into messages; [`frame`] writes them.

pub mod endpoint;
pub mod frame;
mod gather;
pub mod handshake;
pub mod utf8;
