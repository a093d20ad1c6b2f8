//! The production driver over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use wire::shard::event_loop::{Config, reserve, run};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex, mailbox};

enum Mail {
    Stop,
    Closed(Closed),
    TurnedAway,
}

/// Echoes whole lines; `close` closes, `later` answers by a timer.
struct Echo;

impl Application for Echo {
    type Mail = Mail;

    fn opened(&mut self, _: ConnId, _: Origin, _: &mut Io<Mail>) {}

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let mut taken = 0;
        for line in input.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            taken += line.len();
            match line {
                b"close\n" => io.close(conn),
                b"later\n" => io.set_timer(io.now() + Duration::from_millis(5), conn.to_bits()),
                line => io.send(conn).unwrap().extend_from_slice(line),
            }
        }
        taken
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<Mail>) {
        io.post(io.edge(), Mail::Closed(how));
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        if matches!(mail, Mail::Stop) {
            io.stop();
        }
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        io.send(ConnId::from_bits(key)).unwrap().extend_from_slice(b"now\n");
    }

    fn turned_away(&mut self, io: &mut Io<Mail>) {
        io.post(io.edge(), Mail::TurnedAway);
    }
}

struct Server {
    address: SocketAddr,
    edge: mailbox::Mailbox<Mail>,
    thread: std::thread::JoinHandle<()>,
}

fn start(connections_max: usize) -> Server {
    let reserved = reserve(([127, 0, 0, 1], 0).into()).unwrap();
    let mut mailboxes = mailbox::network(2).unwrap();
    let edge = mailboxes.pop().unwrap();
    let shard = mailboxes.pop().unwrap();
    let config = Config {
        listen: Some(reserved.address),
        seats: Seats::new(connections_max),
        timer_slack: Duration::from_nanos(1),
        ..Config::default()
    };
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        run(&config, shard, || Echo, |tables| ready.send(tables.map(drop)).unwrap())
    });
    is_ready.recv().unwrap().unwrap();
    Server { address: reserved.address, edge, thread }
}

impl Server {
    fn next_mail(&mut self) -> Mail {
        let mut mail = Vec::new();
        loop {
            self.edge.receive(&mut mail);
            if let Some((_, mail)) = mail.pop() {
                return mail;
            }
            std::thread::yield_now();
        }
    }

    fn stop(mut self) {
        self.edge.post(0, Mail::Stop);
        self.edge.flush();
        self.thread.join().unwrap();
    }
}

fn line(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn echoes_split_lines_fires_timers_and_closes() {
    let mut server = start(10);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"hel").unwrap();
    stream.write_all(b"lo\nlater\n").unwrap();
    assert_eq!(line(&mut stream), "hello\n");
    assert_eq!(line(&mut stream), "now\n");
    stream.write_all(b"last\nclose\n").unwrap();
    assert_eq!(line(&mut stream), "last\n");
    assert_eq!(line(&mut stream), "");
    assert!(matches!(server.next_mail(), Mail::Closed(Closed::Local)));
    server.stop();
}

#[test]
fn a_slow_reader_blocks_nobody_and_loses_nothing() {
    let mut server = start(10);
    let mut slow = TcpStream::connect(server.address).unwrap();
    let sent: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    let writer = {
        let (mut stream, sent) = (slow.try_clone().unwrap(), sent.clone());
        std::thread::spawn(move || stream.write_all(sent.as_bytes()).unwrap())
    };
    let mut other = TcpStream::connect(server.address).unwrap();
    other.write_all(b"quick\n").unwrap();
    assert_eq!(line(&mut other), "quick\n");
    writer.join().unwrap();
    let mut received = vec![0; sent.len()];
    slow.read_exact(&mut received).unwrap();
    assert!(received == sent.as_bytes());
    drop(slow);
    assert!(matches!(server.next_mail(), Mail::Closed(Closed::Eof)));
    server.stop();
}

#[test]
fn who_comes_when_it_is_full_is_reset_at_once() {
    let mut server = start(1);
    let mut first = TcpStream::connect(server.address).unwrap();
    first.write_all(b"in\n").unwrap();
    assert_eq!(line(&mut first), "in\n");
    let mut second = TcpStream::connect(server.address).unwrap();
    assert!(second.read(&mut [0]).is_err());
    assert!(matches!(server.next_mail(), Mail::TurnedAway));
    server.stop();
}

#[test]
fn a_busy_port_is_an_error() {
    let server = start(1);
    assert_eq!(reserve(server.address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    server.stop();
}
