//! The bare protocol on tokio, for any library whose WebSocket is a stream and a sink: one task and one channel per connection.
//!
//! As its users would tune it: one thread, no delay, and what has gathered, on the socket or in the channel, leaves with one
//! flush.

use crate::bare::{self, Mode, SENDER};
use bytes::Bytes;
use futures_util::{FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _};
use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

/// A WebSocket library.
pub trait Library: 'static {
    /// Its message.
    type Message;
    /// Its connection.
    type Socket: Stream<Item = Result<Self::Message, Self::Error>>
        + Sink<Self::Message, Error = Self::Error>
        + Unpin;
    /// Its error.
    type Error;

    /// The handshake. `None`: it failed.
    fn accept(stream: TcpStream) -> impl Future<Output = Option<Self::Socket>>;

    /// A message's payload; `None`: it is not binary.
    fn payload(message: Self::Message) -> Option<Bytes>;

    /// A binary message.
    fn message(payload: Bytes) -> Self::Message;
}

/// Who is registered, by number.
type Peers = Rc<RefCell<Vec<Option<UnboundedSender<Bytes>>>>>;

/// Runs the server that the command line asks for.
pub fn main<L: Library>() -> ExitCode {
    let Some((mode, port, is_each_flushed)) = bare::arguments() else { return ExitCode::from(2) };
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .and_then(|runtime| LocalSet::new().block_on(&runtime, listen::<L>(mode, port, is_each_flushed)));
    if let Err(error) = served {
        eprintln!("cannot serve on {port}: {error}");
    }
    ExitCode::FAILURE
}

async fn listen<L: Library>(mode: Mode, port: u16, is_each_flushed: bool) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(4096)?;
    let peers = Peers::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let peers = Rc::clone(&peers);
        tokio::task::spawn_local(async move {
            if let Some(socket) = L::accept(stream).await {
                serve::<L>(socket, mode, is_each_flushed, peers).await;
            }
        });
    }
}

/// One connection, until it ends or fails.
async fn serve<L: Library>(mut socket: L::Socket, mode: Mode, is_each_flushed: bool, peers: Peers) {
    let (sender, mut deliveries): (_, UnboundedReceiver<Bytes>) = unbounded_channel();
    loop {
        let fed = tokio::select! {
            message = socket.next() => take::<L>(&mut socket, message, mode, &sender, &peers).await,
            Some(delivery) = deliveries.recv() => feed::<L>(&mut socket, delivery, &mut deliveries, is_each_flushed).await,
        };
        if !matches!(fed, Ok(true)) || socket.flush().await.is_err() {
            return;
        }
    }
}

/// Answers what has come, all of it. False: the connection is over.
async fn take<L: Library>(
    socket: &mut L::Socket,
    first: Option<Result<L::Message, L::Error>>,
    mode: Mode,
    sender: &UnboundedSender<Bytes>,
    peers: &Peers,
) -> Result<bool, L::Error> {
    let mut next = Some(first);
    while let Some(message) = next {
        let Some(message) = message.transpose()? else { return Ok(false) };
        let answer = L::payload(message).and_then(|payload| answer(mode, payload, sender, peers));
        if let Some(answer) = answer {
            socket.feed(L::message(answer)).await?;
        }
        next = socket.next().now_or_never();
    }
    Ok(true)
}

async fn feed<L: Library>(
    socket: &mut L::Socket,
    first: Bytes,
    more: &mut UnboundedReceiver<Bytes>,
    is_each_flushed: bool,
) -> Result<bool, L::Error> {
    socket.feed(L::message(first)).await?;
    while !is_each_flushed && let Ok(delivery) = more.try_recv() {
        socket.feed(L::message(delivery)).await?;
    }
    Ok(true)
}

/// Does what the mode says with a message; what is to be said to its sender.
fn answer(mode: Mode, payload: Bytes, sender: &UnboundedSender<Bytes>, peers: &Peers) -> Option<Bytes> {
    let Some(id) =
        payload.first_chunk::<4>().map(|id| u32::from_le_bytes(*id)).filter(|_| mode != Mode::Echo)
    else {
        return Some(payload);
    };
    if payload.len() == 4 {
        register(id, sender, peers);
        return Some(payload);
    }
    let peers = peers.borrow();
    match mode {
        Mode::Fanout => {
            for peer in peers.iter().flatten() {
                // Fails where the peer is gone.
                let _ = peer.send(payload.clone());
            }
            None
        }
        Mode::Route | Mode::Echo => {
            if let Some(Some(peer)) = peers.get(id as usize) {
                let _ = peer.send(payload.clone());
            }
            Some(payload.slice(..4))
        }
    }
}

fn register(id: u32, sender: &UnboundedSender<Bytes>, peers: &Peers) {
    let mut peers = peers.borrow_mut();
    if id == SENDER || id > 1_000_000 {
        return;
    }
    if peers.len() <= id as usize {
        peers.resize(id as usize + 1, None);
    }
    peers[id as usize] = Some(sender.clone());
}
