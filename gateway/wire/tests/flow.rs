//! Input that is left waiting, and sides that end one after the other, under both drivers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use rustix::io::Errno;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use wire::shard::event_loop::{Config, reserve, run};
use wire::shard::virtual_time::{Conditions, End, Node, World};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex, mailbox};
use wire::time::Time;

#[derive(Debug, PartialEq, Eq)]
enum Mail {
    Resume,
    /// Takes newcomers, or does not; answered with the same.
    Door(bool),
    /// How many steps there were.
    Steps(u64),
    Stop,
    Closed(Closed),
}

/// Echoes. Stops reading behind `p`, answers `?` with the number of bytes so far, ends its side at `e`, and says `bye` when the peer has
/// ended.
#[derive(Default)]
struct Valve {
    conn: Option<ConnId>,
    has_paused: bool,
    bytes: usize,
    steps: u64,
}

impl Application for Valve {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Mail>) {
        io.keep_halves(conn);
        self.conn = Some(conn);
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        self.bytes += input.len();
        let answer = match input {
            [.., b'?'] => self.bytes.to_string().into_bytes(),
            _ if self.has_paused => Vec::new(),
            _ => input.to_vec(),
        };
        if let Some(out) = io.send(conn) {
            out.extend_from_slice(&answer);
        }
        if input.ends_with(b"p") {
            self.has_paused = true;
            io.pause_input(conn);
        }
        if input.contains(&b'e') {
            io.end_output(conn);
            assert!(io.send(conn).is_none());
        }
        input.len()
    }

    fn input_ended(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        if let Some(out) = io.send(conn) {
            out.extend_from_slice(b"bye");
        }
        io.end_output(conn);
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<Mail>) {
        io.post(io.edge(), Mail::Closed(how));
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Resume => io.resume_input(self.conn.unwrap()),
            Mail::Door(is_open) => {
                io.accept(is_open);
                io.post(io.edge(), Mail::Door(is_open));
            }
            Mail::Steps(_) => io.post(io.edge(), Mail::Steps(self.steps)),
            Mail::Stop => io.stop(),
            Mail::Closed(_) => {}
        }
    }

    fn timer(&mut self, _: u64, _: &mut Io<Mail>) {}

    fn step_done(&mut self, _: &mut Io<Mail>) {
        self.steps += 1;
    }
}

struct Server {
    address: SocketAddr,
    edge: mailbox::Mailbox<Mail>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    fn start() -> Server {
        let reserved = reserve(([127, 0, 0, 1], 0).into()).unwrap();
        let mut mailboxes = mailbox::network(2).unwrap();
        let edge = mailboxes.pop().unwrap();
        let shard = mailboxes.pop().unwrap();
        let config = Config { listen: Some(reserved.address), ..Config::default() };
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            run(&config, shard, Valve::default, |tables| ready.send(tables.map(drop)).unwrap())
        });
        is_ready.recv().unwrap().unwrap();
        Server { address: reserved.address, edge, thread }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection whose input the server has left waiting.
    fn paused(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(b"p").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    }

    fn tell(&mut self, mail: Mail) {
        self.edge.post(0, mail);
        self.edge.flush();
    }

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

    fn steps(&mut self) -> u64 {
        self.tell(Mail::Steps(0));
        match self.next_mail() {
            Mail::Steps(steps) => steps,
            other => panic!("{other:?}"),
        }
    }

    fn stop(mut self) {
        self.tell(Mail::Stop);
        self.thread.join().unwrap();
    }
}

fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Writes until nobody takes any more; gives how much was taken.
fn fill(stream: &mut TcpStream) -> usize {
    stream.set_nonblocking(true).unwrap();
    let mut filled = 0;
    loop {
        match stream.write(&[b'x'; 65_536]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    filled
}

#[test]
fn a_side_that_has_ended_still_hears() {
    let mut server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"abc").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), "abcbye");
    assert_eq!(server.next_mail(), Mail::Closed(Closed::Eof));
    server.stop();
}

#[test]
fn a_side_that_we_have_ended_still_speaks() {
    let mut server = Server::start();
    let mut stream = server.connect();
    stream.write_all(b"ae").unwrap();
    assert_eq!(rest(&mut stream), "ae");
    drop(stream);
    assert_eq!(server.next_mail(), Mail::Closed(Closed::Eof));
    server.stop();
}

#[test]
fn who_is_not_read_has_to_wait_and_loses_nothing() {
    let mut server = Server::start();
    let mut stream = server.paused();
    let filled = fill(&mut stream);
    server.tell(Mail::Resume);
    stream.write_all(b"?").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut stream), format!("{}bye", 1 + filled + 1));
    assert_eq!(server.next_mail(), Mail::Closed(Closed::Eof));
    server.stop();
}

#[test]
fn a_reset_is_seen_although_nothing_is_read() {
    let mut server = Server::start();
    let mut stream = server.paused();
    stream.write_all(b"more").unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    assert_eq!(server.next_mail(), Mail::Closed(Closed::Reset));
    server.stop();
}

#[test]
fn an_end_that_is_not_read_waits_and_keeps_nobody_busy() {
    let mut server = Server::start();
    let mut stream = server.connect();
    // Its side has ended, the peer's too, and the peer's has not been read: that is what epoll tells without being asked.
    stream.write_all(b"ep").unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    stream.write_all(b"?").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let before = server.steps();
    std::thread::sleep(Duration::from_millis(50));
    let steps = server.steps() - before;
    assert!(steps < 20, "{steps} steps for nothing");
    server.tell(Mail::Resume);
    assert_eq!(server.next_mail(), Mail::Closed(Closed::Eof));
    server.stop();
}

#[test]
fn whoever_comes_to_a_shut_door_is_refused_and_who_is_in_stays() {
    let mut server = Server::start();
    let mut inside = server.connect();
    for _ in 0..3 {
        server.tell(Mail::Door(false));
        assert_eq!(server.next_mail(), Mail::Door(false));
        let refused = TcpStream::connect(server.address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        inside.write_all(b"a").unwrap();
        inside.read_exact(&mut [0]).unwrap();
        server.tell(Mail::Door(true));
        assert_eq!(server.next_mail(), Mail::Door(true));
        let mut welcome = server.connect();
        welcome.write_all(b"b").unwrap();
        welcome.read_exact(&mut [0]).unwrap();
        drop(welcome);
        assert_eq!(server.next_mail(), Mail::Closed(Closed::Eof));
    }
    server.stop();
}

struct Simulated {
    world: World,
    node: Node<Valve>,
}

impl Simulated {
    fn start(seed: u64) -> Simulated {
        let mut world = World::new(seed, Time(0), Conditions::default());
        let listens = ([10, 0, 0, 1], 80).into();
        let node = Node::start(&mut world, 1, Some(listens), &Seats::unlimited(), |_| Valve::default());
        Simulated { world, node }
    }

    fn connect(&mut self) -> End {
        let end = self.world.connect(([10, 0, 0, 2], 1).into(), ([10, 0, 0, 1], 80).into());
        self.pass();
        end
    }

    fn pass(&mut self) {
        let until = self.world.now() + Duration::from_secs(1);
        while let Some(event) = self.world.next(until) {
            self.node.handle(event, &mut self.world);
        }
    }

    fn send(&mut self, end: End, bytes: &[u8]) {
        assert_eq!(self.world.send(end, bytes), Ok(bytes.len()));
        self.pass();
    }

    /// All that is there, and what comes behind it.
    fn read(&mut self, end: End) -> (String, Result<usize, Errno>) {
        let (mut text, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match self.world.receive(end, &mut buffer) {
                Ok(count @ 1..) => text.extend_from_slice(&buffer[..count]),
                other => return (String::from_utf8(text).unwrap(), other),
            }
        }
    }

    fn closed(&mut self) -> Vec<Mail> {
        self.node.take_edge_mail().map(|(_, mail)| mail).collect()
    }
}

#[test]
fn in_virtual_time_sides_end_one_after_the_other() {
    for seed in 0..50 {
        let mut run = Simulated::start(seed);
        let end = run.connect();
        run.send(end, b"abc");
        run.world.end_output(end);
        assert_eq!(run.world.send(end, b"d"), Err(Errno::PIPE));
        run.pass();
        assert_eq!(run.read(end), ("abcbye".into(), Ok(0)), "seed {seed}");
        assert_eq!(run.closed(), [Mail::Closed(Closed::Eof)]);
        let other = run.connect();
        run.send(other, b"ae");
        assert_eq!((run.read(other), run.closed()), (("ae".into(), Ok(0)), Vec::new()), "seed {seed}");
        run.send(other, b"still here");
        run.world.close(other);
        run.pass();
        assert_eq!(run.closed(), [Mail::Closed(Closed::Eof)]);
    }
}

#[test]
fn in_virtual_time_who_is_not_read_has_to_wait() {
    for seed in 0..50 {
        let mut run = Simulated::start(seed);
        let end = run.connect();
        run.send(end, b"p");
        let mut filled = 0;
        while let Ok(count) = run.world.send(end, &[b'x'; 50_000]) {
            filled += count;
            run.pass();
        }
        assert_eq!(filled, Conditions::default().pipe_bytes, "seed {seed}");
        run.node.post(0, Mail::Resume, &mut run.world);
        run.pass();
        run.send(end, b"?");
        assert_eq!(run.read(end), (format!("p{}", filled + 2), Err(Errno::AGAIN)));
        let cut = run.connect();
        run.send(cut, b"p");
        run.world.reset_on_close(cut);
        run.world.close(cut);
        run.pass();
        assert_eq!(run.closed(), [Mail::Closed(Closed::Reset)]);
    }
}

#[test]
fn in_virtual_time_whoever_comes_to_a_shut_door_is_refused() {
    let mut run = Simulated::start(1);
    let inside = run.connect();
    for is_open in [false, true] {
        run.node.post(0, Mail::Door(is_open), &mut run.world);
        run.pass();
        let newcomer = run.connect();
        assert_eq!(run.world.send(newcomer, b"a").is_ok(), is_open);
        run.send(inside, b"b");
        assert_eq!(run.read(inside).0, "b");
    }
}
