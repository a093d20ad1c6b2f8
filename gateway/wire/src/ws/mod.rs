//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), without sockets: bytes to frames and back, and the opening handshake.
//!
//! Start at [`endpoint`], which turns bytes into messages; [`frame`] and [`deflate`] write them.

pub mod deflate;
pub mod endpoint;
pub mod extension;
pub mod frame;
mod gather;
pub mod handshake;
pub mod utf8;
