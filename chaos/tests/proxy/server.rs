//! What stands behind the proxy, and clients in front of it.

use chaos::link::{Kind, Shape, Stream, Toxic};
use chaos::proxy::{Effect, Proxy, Settings};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A proxy before an echo.
pub(crate) struct Stage {
    pub(crate) proxy: Proxy,
    /// How each connection ended at the server: bytes that came, and the error behind them if there was one.
    pub(crate) ended: Receiver<(usize, Option<ErrorKind>)>,
}

impl Stage {
    pub(crate) fn start() -> Stage {
        let (address, ended) = echo();
        Stage { proxy: start(address, 2), ended }
    }

    pub(crate) fn set(&mut self, toxics: &[Toxic]) -> Effect {
        self.proxy.set(toxics.to_vec()).unwrap()
    }

    /// A connection that has got as far as the server.
    pub(crate) fn connect(&self) -> TcpStream {
        let mut stream = self.knock();
        stream.write_all(b"!").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    }

    /// A connection of which nothing is known.
    pub(crate) fn knock(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

pub(crate) fn start(upstream: SocketAddr, shards: usize) -> Proxy {
    let listen = ([127, 0, 0, 1], 0).into();
    Proxy::start(Settings { listen, upstream, shards, connections_max: 1000, seed: 7 }).unwrap()
}

/// Sends back what comes, and ends when the client has; says how each connection ended.
pub(crate) fn echo() -> (SocketAddr, Receiver<(usize, Option<ErrorKind>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (end, ended) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, end) = (stream.unwrap(), end.clone());
            std::thread::spawn(move || {
                let (mut buffer, mut bytes) = (vec![0; 65_536], 0);
                let error = loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => break None,
                        Ok(count) => {
                            bytes += count;
                            if let Err(error) = stream.write_all(&buffer[..count]) {
                                break Some(error.kind());
                            }
                        }
                        Err(error) => break Some(error.kind()),
                    }
                };
                // Fails when the test is over.
                let _ = end.send((bytes, error));
            });
        }
    });
    (address, ended)
}

/// Says `greeting` to whoever comes and ends.
pub(crate) fn greeter(greeting: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let greeting = greeting.clone();
            std::thread::spawn(move || {
                // Who is cut off in the middle is what some tests are about.
                let _ = stream.write_all(&greeting).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
                let _ = stream.read(&mut [0]);
            });
        }
    });
    address
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn latency(latency: u64) -> Kind {
    Kind::Latency { latency: ms(latency), jitter: ms(0), shape: Shape::Uniform }
}

pub(crate) fn on(stream: Stream, kind: Kind) -> Toxic {
    Toxic { stream, name: stream.name().into(), ..Toxic::new(kind) }
}

/// Whether nothing comes for a while.
pub(crate) fn is_silent(stream: &TcpStream) -> bool {
    let mut stream = stream;
    stream.set_read_timeout(Some(ms(100))).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_read_timeout(None).unwrap();
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// All that comes, and how it ends.
pub(crate) fn rest(stream: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err();
    (bytes, error.map(|error| error.kind()))
}
