//! The driver in virtual time: an echo over simulated links, and everything that may happen to a link.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use rustix::io::Errno;
use std::net::SocketAddr;
use std::time::Duration;
use wire::shard::virtual_time::{Conditions, End, Event, Node, World};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex};
use wire::time::Time;

enum Mail {
    Line(ConnId, ShardIndex, Vec<u8>),
    Closed(Closed),
}

/// Answers each whole line, by way of the other shard; `close` closes, `later` is answered after 5 ms.
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
                line => io.post(1 - io.shard(), Mail::Line(conn, io.shard(), line.to_vec())),
            }
        }
        taken
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<Mail>) {
        io.post(io.edge(), Mail::Closed(how));
    }

    fn mail(&mut self, from: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        let Mail::Line(conn, home, line) = mail else { return };
        if home != io.shard() {
            io.post(from, Mail::Line(conn, home, line));
        } else if let Some(out) = io.send(conn) {
            out.extend_from_slice(&line);
        }
    }

    fn timer(&mut self, key: u64, io: &mut Io<Mail>) {
        if let Some(out) = io.send(ConnId::from_bits(key)) {
            out.extend_from_slice(b"now\n");
        }
    }
}

struct Run {
    world: World,
    node: Node<Echo>,
}

fn address() -> SocketAddr {
    ([10, 0, 0, 1], 80).into()
}

fn run(seed: u64) -> Run {
    run_under(seed, Conditions::default())
}

fn run_under(seed: u64, conditions: Conditions) -> Run {
    let mut world = World::new(seed, Time(0), conditions);
    let node = Node::start(&mut world, 2, Some(address()), &Seats::new(3), |_| Echo);
    Run { world, node }
}

impl Run {
    fn connect(&mut self) -> End {
        let end = self.world.connect(([10, 0, 0, 2], 1).into(), address());
        self.until(|event| event == Event::Connected(end));
        end
    }

    /// Lets the world go on until the event; none within a minute is a failure.
    fn until(&mut self, wanted: impl Fn(Event) -> bool) {
        let limit = self.world.now() + Duration::from_secs(60);
        loop {
            let event = self.world.next(limit).unwrap();
            self.node.handle(event, &mut self.world);
            if wanted(event) {
                return;
            }
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        while let Some(event) = self.world.next(until) {
            self.node.handle(event, &mut self.world);
        }
    }

    /// Reads until `bytes` have come, or the end or an error, which is given.
    fn read(&mut self, end: End, bytes: usize) -> (String, Option<Result<usize, Errno>>) {
        let (mut text, mut buffer) = (Vec::new(), [0; 1000]);
        while text.len() < bytes {
            match self.world.receive(end, &mut buffer) {
                Err(Errno::AGAIN) => self.until(|event| event == Event::Input(end)),
                Ok(count @ 1..) => text.extend_from_slice(&buffer[..count]),
                other => return (String::from_utf8(text).unwrap(), Some(other)),
            }
        }
        (String::from_utf8(text).unwrap(), None)
    }

    fn closed(&mut self) -> Vec<Closed> {
        self.node
            .take_edge_mail()
            .filter_map(|(_, mail)| match mail {
                Mail::Closed(how) => Some(how),
                Mail::Line(..) => None,
            })
            .collect()
    }
}

#[test]
fn echoes_fires_timers_and_closes() {
    for seed in 0..200 {
        let mut run = run(seed);
        let end = run.connect();
        run.world.send(end, b"hello\nlater\n").unwrap();
        assert_eq!(run.read(end, 10).0, "hello\nnow\n", "seed {seed}");
        run.world.send(end, b"close\n").unwrap();
        assert_eq!(run.read(end, 1), (String::new(), Some(Ok(0))), "seed {seed}");
        run.pass(Duration::from_secs(1));
        assert_eq!(run.closed(), [Closed::Local], "seed {seed}");
    }
}

#[test]
fn a_seed_replays_byte_for_byte_and_another_does_not() {
    let trace = |seed| {
        let mut run = run(seed);
        for number in 0..3 {
            let end = run.connect();
            run.world.send(end, format!("line {number}\nlater\n").as_bytes()).unwrap();
            run.read(end, 11);
        }
        run.world.trace()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn who_does_not_read_stops_the_writer_and_loses_nothing() {
    let mut run = run_under(3, Conditions { pipe_bytes: 512, ..Conditions::default() });
    let end = run.connect();
    let sent: String = (0..500).map(|number| format!("line {number}\n")).collect();
    let mut written = 0;
    while written < sent.len() {
        match run.world.send(end, &sent.as_bytes()[written..]) {
            Ok(bytes) => written += bytes,
            Err(Errno::AGAIN) => run.until(|event| event == Event::Room(end)),
            Err(error) => panic!("{error}"),
        }
    }
    run.pass(Duration::from_secs(1));
    assert_eq!(run.read(end, sent.len()).0, sent);
}

#[test]
fn ends_are_seen_as_the_kernel_shows_them() {
    let mut run = run(5);
    let (eof, reset, severed) = (run.connect(), run.connect(), run.connect());
    run.world.close(eof);
    run.pass(Duration::from_secs(1));
    assert_eq!(run.closed(), [Closed::Eof]);
    run.world.reset_on_close(reset);
    run.world.close(reset);
    run.pass(Duration::from_secs(1));
    assert_eq!(run.closed(), [Closed::Reset]);
    run.world.sever(severed);
    run.world.send(severed, b"nobody hears\n").unwrap();
    run.world.close(severed);
    run.pass(Duration::from_secs(60));
    assert_eq!(run.closed(), [], "a half-open peer is silent");
}

#[test]
fn the_full_and_the_absent_refuse() {
    let mut run = run(6);
    let taken: Vec<End> = (0..3).map(|_| run.connect()).collect();
    let fourth = run.connect();
    assert_eq!(run.read(fourth, 1).1, Some(Err(Errno::CONNRESET)));
    run.world.close(taken[0]);
    run.pass(Duration::from_secs(1));
    run.connect();
    let Run { mut world, node } = run;
    node.kill(&mut world);
    let late = world.connect(([10, 0, 0, 2], 1).into(), address());
    let limit = world.now() + Duration::from_secs(1);
    let events: Vec<Event> = std::iter::from_fn(|| world.next(limit)).collect();
    assert!(events.contains(&Event::Refused(late)) && events.contains(&Event::Input(taken[1])), "{events:?}");
}

#[test]
fn a_lost_wake_leaves_mail_lying_until_something_else_wakes_the_shard() {
    let mut run = run(9);
    let end = run.connect();
    run.node.lose_wake(1);
    run.world.send(end, b"lost\n").unwrap();
    run.pass(Duration::from_secs(60));
    assert_eq!(run.world.receive(end, &mut [0; 9]), Err(Errno::AGAIN));
    assert_eq!(run.node.mail_under_way().count(), 1);
}
