//! The bare protocol on tokio-tungstenite, tuned.

use benches::tokio_server::{self, Library};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

struct Tungstenite;

impl Library for Tungstenite {
    type Message = Message;
    type Socket = WebSocketStream<TcpStream>;
    type Error = Error;

    async fn accept(stream: TcpStream) -> Option<Self::Socket> {
        // The default of 128 KiB is zeroed at each read: measured, five times the cost of an echo.
        let config = WebSocketConfig::default().read_buffer_size(1024);
        tokio_tungstenite::accept_async_with_config(stream, Some(config)).await.ok()
    }

    fn payload(message: Message) -> Option<Bytes> {
        match message {
            Message::Binary(payload) => Some(payload),
            _ => None,
        }
    }

    fn message(payload: Bytes) -> Message {
        Message::Binary(payload)
    }
}

fn main() -> std::process::ExitCode {
    tokio_server::main::<Tungstenite>()
}
