//! Faults that see frames, on connections that have been upgraded.

use crate::server::{Stage, is_silent, ms, on, rest};
use chaos::link::{Kind, Stream, Toxic};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Instant;
use wire::ws::frame::{self, Header, Opcode};

/// Upgrades whoever comes and then sends back what comes.
fn server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || -> std::io::Result<()> {
                head(&mut stream)?;
                stream.write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                )?;
                let mut buffer = [0; 4096];
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(()),
                        count => stream.write_all(&buffer[..count])?,
                    }
                }
            });
        }
    });
    address
}

fn head(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}

struct Client(TcpStream);

impl Client {
    fn new(stage: &Stage) -> Client {
        let mut stream = stage.knock();
        stream
            .write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
        head(&mut stream).unwrap();
        Client(stream)
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        frame::write(&mut out, opcode, payload, Some([1, 2, 3, 4]));
        self.0.write_all(&out).unwrap();
    }

    /// The next frame; `None` at the end.
    fn receive(&mut self) -> Option<(Opcode, Vec<u8>)> {
        let mut bytes = Vec::new();
        let header: Header = loop {
            if let Some(header) = frame::parse(&bytes, false).unwrap() {
                break header;
            }
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => return None,
            }
        };
        let mut payload = vec![0; header.payload_bytes as usize];
        self.0.read_exact(&mut payload).unwrap();
        if let Some(mask) = header.mask {
            frame::apply_mask(&mut payload, mask);
        }
        Some((header.opcode, payload))
    }

    /// Sends 200 messages and one that no fault is on; gives those that come before it, in order.
    fn two_hundred(&mut self, stage: &mut Stage) -> Vec<u8> {
        for number in 0..200 {
            self.send(Opcode::Binary, &[number]);
        }
        let mut came = Vec::new();
        // The last of the faulty ones may be lost; a ping never is.
        self.send(Opcode::Ping, b"end");
        loop {
            match self.receive().unwrap() {
                (Opcode::Binary, payload) => came.extend(payload),
                (Opcode::Ping, _) => break,
                other => panic!("{other:?}"),
            }
        }
        stage.set(&[]);
        self.send(Opcode::Text, b"healed");
        loop {
            match self.receive().unwrap() {
                (Opcode::Text, payload) => {
                    assert_eq!(payload, b"healed");
                    return came;
                }
                (_, payload) => came.extend(payload),
            }
        }
    }
}

fn stage() -> Stage {
    // How connections ended is not what these tests ask.
    let (_, ended) = channel();
    Stage { proxy: crate::server::start(server(), 2), ended }
}

fn is_in_order(numbers: &[u8]) -> bool {
    numbers.is_sorted()
}

#[test]
fn messages_vanish_and_all_others_come_in_order() {
    let mut stage = stage();
    let mut client = Client::new(&stage);
    stage.set(&[on(Stream::Upstream, Kind::FrameLoss { share: 0.25 })]);
    let came = client.two_hundred(&mut stage);
    assert!((120..=180).contains(&came.len()) && is_in_order(&came), "{}", came.len());
    assert_eq!(client.two_hundred(&mut stage).len(), 200, "without it none does");
}

#[test]
fn messages_come_twice() {
    let mut stage = stage();
    let mut client = Client::new(&stage);
    stage.set(&[on(Stream::Downstream, Kind::FrameDuplicate { share: 0.25 })]);
    let came = client.two_hundred(&mut stage);
    assert!((220..=280).contains(&came.len()) && is_in_order(&came), "{}", came.len());
    let distinct: std::collections::BTreeSet<_> = came.iter().collect();
    assert_eq!(distinct.len(), 200);
}

#[test]
fn messages_come_behind_the_next() {
    let mut stage = stage();
    let mut client = Client::new(&stage);
    stage.set(&[on(Stream::Downstream, Kind::FrameReorder { share: 0.25, hold: ms(500) })]);
    let mut came = client.two_hundred(&mut stage);
    assert!(!is_in_order(&came));
    assert!(came.iter().zip(0_u8..).all(|(number, place)| number.abs_diff(place) <= 1));
    came.sort_unstable();
    assert_eq!(came, (0..200).collect::<Vec<u8>>());
}

#[test]
fn pings_vanish() {
    let mut stage = stage();
    let mut client = Client::new(&stage);
    stage.set(&[on(Stream::Upstream, Kind::PingBlackhole {})]);
    client.send(Opcode::Ping, b"?");
    client.send(Opcode::Pong, b"!");
    client.send(Opcode::Text, b"here");
    assert_eq!(client.receive(), Some((Opcode::Text, b"here".to_vec())));
    stage.set(&[]);
    client.send(Opcode::Ping, b"?");
    assert_eq!(client.receive(), Some((Opcode::Ping, b"?".to_vec())));
}

#[test]
fn connections_are_closed_with_a_code() {
    let mut stage = stage();
    let mut client = Client::new(&stage);
    let mut plain = stage.knock();
    plain.write_all(b"no request\r\n\r\n").unwrap();
    stage.set(&[Toxic::new(Kind::CloseCode { code: 1012, reason: "restart".into() })]);
    let close = [&1012_u16.to_be_bytes()[..], b"restart"].concat();
    assert_eq!(client.receive(), Some((Opcode::Close, close)));
    assert_eq!(rest(&mut client.0), (Vec::new(), None));
    // The server answers anything with an upgrade; that the client did not ask for one is what counts.
    head(&mut plain).unwrap();
    assert!(is_silent(&plain), "who speaks no WebSocket is left alone");
}

#[test]
fn the_upgrade_is_held_by_a_slow_handshake_and_messages_are_not() {
    let mut stage = stage();
    stage.set(&[Toxic::new(Kind::SlowHandshake { delay: ms(300) })]);
    let begin = Instant::now();
    let mut client = Client::new(&stage);
    assert!(begin.elapsed() >= ms(300));
    let fastest = (0..5).map(|_| {
        let begin = Instant::now();
        client.send(Opcode::Text, b"x");
        client.receive().unwrap();
        begin.elapsed()
    });
    assert!(fastest.min() < Some(ms(300)));
}
