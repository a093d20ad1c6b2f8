//! The bare protocol on tokio-websockets.

use benches::tokio_server::{self, Library};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio_websockets::{Error, Message, ServerBuilder, WebSocketStream};

struct TokioWebsockets;

impl Library for TokioWebsockets {
    type Message = Message;
    type Socket = WebSocketStream<TcpStream>;
    type Error = Error;

    async fn accept(stream: TcpStream) -> Option<Self::Socket> {
        ServerBuilder::new().accept(stream).await.ok().map(|(_, socket)| socket)
    }

    fn payload(message: Message) -> Option<Bytes> {
        message.is_binary().then(|| message.into_payload().into())
    }

    fn message(payload: Bytes) -> Message {
        Message::binary(payload)
    }
}

fn main() -> std::process::ExitCode {
    tokio_server::main::<TokioWebsockets>()
}
