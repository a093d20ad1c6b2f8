//! The proxy in virtual time: between scripted clients and an echo, over links that cut, delay and reorder as real ones do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use chaos::link::{InForce, Kind, Shape, Stream, Toxic};
use chaos::proxy::{Mail, ProxyShard, Settings};
use rustix::io::Errno;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::virtual_time::{Conditions, End, Event, Node, Random, World};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex};
use wire::time::Time;

/// Sends back what it gets, and ends when its peer has.
struct Echo {
    /// Reads nothing.
    is_deaf: bool,
}

impl Application for Echo {
    type Mail = Closed;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Closed>) {
        io.keep_halves(conn);
        if self.is_deaf {
            io.pause_input(conn);
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Closed>) -> usize {
        if let Some(out) = io.send(conn) {
            out.extend_from_slice(input);
        }
        input.len()
    }

    fn input_ended(&mut self, conn: ConnId, io: &mut Io<Closed>) {
        io.end_output(conn);
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<Closed>) {
        io.post(io.edge(), how);
    }

    fn mail(&mut self, _: ShardIndex, _: Closed, _: &mut Io<Closed>) {}

    fn timer(&mut self, _: u64, _: &mut Io<Closed>) {}
}

struct Run {
    world: World,
    proxy: Node<ProxyShard>,
    server: Node<Echo>,
    version: u64,
}

fn at_proxy() -> SocketAddr {
    ([10, 0, 0, 1], 1).into()
}

/// A network without chance: what a delay adds can be told exactly.
fn exact() -> Conditions {
    let exactly = |micros| Duration::from_micros(micros)..Duration::from_micros(micros);
    Conditions { latency: exactly(100), jitter: exactly(0), wake: exactly(1), ..Conditions::default() }
}

impl Run {
    fn start(seed: u64, conditions: Conditions, is_deaf: bool) -> Run {
        let mut world = World::new(seed, Time(0), conditions);
        let upstream = ([10, 0, 0, 2], 2).into();
        let server = Node::start(&mut world, 1, Some(upstream), &Seats::unlimited(), |_| Echo { is_deaf });
        let settings =
            Arc::new(Settings { listen: at_proxy(), upstream, shards: 2, connections_max: 100, seed });
        let proxy = Node::start(&mut world, 2, Some(at_proxy()), &Seats::new(100), |_| {
            ProxyShard::new(Arc::clone(&settings))
        });
        Run { world, proxy, server, version: 0 }
    }

    fn handle(&mut self, event: Event) {
        if !self.proxy.handle(event, &mut self.world) {
            self.server.handle(event, &mut self.world);
        }
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        while let Some(event) = self.world.next(until) {
            self.handle(event);
        }
    }

    fn connect(&mut self) -> End {
        let end = self.world.connect(([10, 0, 0, 3], 3).into(), at_proxy());
        self.pass(Duration::from_millis(50));
        end
    }

    /// Lets these toxics hold; gives when the last shard had them in force.
    fn set(&mut self, toxics: &[Toxic]) -> Time {
        self.version += 1;
        let in_force: Arc<[InForce]> = toxics
            .iter()
            .zip(self.version * 100..)
            .map(|(toxic, id)| InForce {
                id,
                toxic: Arc::new(toxic.clone()),
                since: Time(0),
                line: Arc::default(),
            })
            .collect();
        for shard in 0..self.proxy.shards() {
            let mail = Mail::Toxics { version: self.version, toxics: Arc::clone(&in_force) };
            self.proxy.post(shard, mail, &mut self.world);
        }
        self.pass(Duration::from_millis(5));
        let answers: Vec<_> = self.proxy.take_edge_mail().collect();
        assert_eq!(answers.len(), self.proxy.shards());
        let at = answers.into_iter().map(|(_, mail)| match mail {
            Mail::InForce { version, at, toxics: count }
                if (version, count) == (self.version, toxics.len()) =>
            {
                at
            }
            other => panic!("{other:?}"),
        });
        at.max().unwrap()
    }

    /// All that is there.
    fn read(&mut self, end: End) -> (Vec<u8>, Result<usize, Errno>) {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.world.receive(end, &mut buffer) {
                Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                other => return (bytes, other),
            }
        }
    }

    /// Sends a byte; gives how long it takes to come back.
    fn round_trip(&mut self, end: End) -> Duration {
        let begin = self.world.now();
        self.world.send(end, b"x").unwrap();
        loop {
            let event = self.world.next(begin + Duration::from_secs(60)).unwrap();
            self.handle(event);
            if event == Event::Input(end) {
                assert_eq!(self.read(end).0, b"x");
                return self.world.now().since(begin);
            }
        }
    }

    fn pairs(&self) -> usize {
        (0..self.proxy.shards()).map(|shard| self.proxy.application(shard).pairs()).sum()
    }
}

fn latency(latency: u64, jitter: u64) -> Kind {
    let ms = Duration::from_millis;
    Kind::Latency { latency: ms(latency), jitter: ms(jitter), shape: Shape::Uniform }
}

fn both(kind: Kind) -> Toxic {
    Toxic { stream: Stream::Both, ..Toxic::new(kind) }
}

#[test]
fn bytes_and_ends_pass_and_nothing_is_left() {
    for seed in 0..50 {
        let mut run = Run::start(seed, Conditions::default(), false);
        let ends: Vec<End> = (0..5).map(|_| run.connect()).collect();
        for (end, text) in ends.iter().zip(["a", "bb", "ccc", "dddd", "eeeee"]) {
            run.world.send(*end, text.as_bytes()).unwrap();
            run.world.end_output(*end);
        }
        run.pass(Duration::from_secs(1));
        for (end, text) in ends.iter().zip(["a", "bb", "ccc", "dddd", "eeeee"]) {
            assert_eq!(run.read(*end), (text.as_bytes().to_vec(), Ok(0)), "seed {seed}");
            run.world.close(*end);
        }
        run.pass(Duration::from_secs(1));
        assert_eq!(run.pairs(), 0, "seed {seed}");
    }
}

#[test]
fn latency_is_added_exactly_and_taken_out_again() {
    let mut run = Run::start(1, exact(), false);
    let end = run.connect();
    let bare = run.round_trip(end);
    run.set(&[
        Toxic::new(latency(100, 0)),
        Toxic { name: "up".into(), stream: Stream::Upstream, ..Toxic::new(latency(40, 0)) },
    ]);
    let slow = run.round_trip(end);
    assert_eq!(slow, bare + Duration::from_millis(140));
    run.set(&[]);
    assert_eq!(run.round_trip(end), bare);
}

#[test]
fn a_reset_reaches_idle_connections_at_once_and_newcomers_too() {
    let mut run = Run::start(2, exact(), false);
    let ends: Vec<End> = (0..10).map(|_| run.connect()).collect();
    let at = run.set(&[Toxic::new(Kind::ResetPeer { timeout: Duration::ZERO })]);
    assert!(run.world.now().since(at) <= Duration::from_millis(5));
    for end in ends {
        assert_eq!(run.read(end), (Vec::new(), Err(Errno::CONNRESET)));
        run.world.close(end);
    }
    let seen: Vec<Closed> = run.server.take_edge_mail().map(|(_, how)| how).collect();
    assert_eq!(seen, [Closed::Reset; 10], "the server sees it as well");
    let newcomer = run.connect();
    assert_eq!(run.read(newcomer).1, Err(Errno::CONNRESET));
    run.world.close(newcomer);
    run.pass(Duration::from_millis(10));
    assert_eq!(run.pairs(), 0);
}

#[test]
fn a_blackhole_holds_bytes_and_ends_until_it_is_gone() {
    let mut run = Run::start(3, exact(), false);
    let (one, two) = (run.connect(), run.connect());
    run.set(&[both(Kind::Blackhole {})]);
    run.world.send(one, b"abc").unwrap();
    run.world.end_output(one);
    run.world.reset_on_close(two);
    run.world.close(two);
    run.pass(Duration::from_secs(60));
    assert_eq!(run.read(one), (Vec::new(), Err(Errno::AGAIN)));
    assert_eq!(run.server.take_edge_mail().count(), 0, "the server does not know that anybody left");
    run.set(&[]);
    run.pass(Duration::from_millis(10));
    assert_eq!(run.read(one), (b"abc".to_vec(), Ok(0)));
    let seen: Vec<Closed> = run.server.take_edge_mail().map(|(_, how)| how).collect();
    assert!(seen.contains(&Closed::Reset), "{seen:?}");
    assert_eq!(run.pairs(), 0);
}

#[test]
fn who_is_half_open_hears_nothing_of_the_cut() {
    let mut run = Run::start(4, exact(), false);
    let end = run.connect();
    run.set(&[Toxic::new(Kind::HalfOpen {})]);
    assert_eq!(run.read(end).1, Err(Errno::CONNRESET));
    run.world.close(end);
    run.pass(Duration::from_secs(60));
    assert_eq!(run.server.take_edge_mail().count(), 0, "the server believes in it");
    assert_eq!(run.pairs(), 1);
    let newcomer = run.connect();
    run.round_trip(newcomer);
    run.set(&[]);
    assert_eq!(run.server.take_edge_mail().map(|(_, how)| how).collect::<Vec<_>>(), [Closed::Reset]);
    run.round_trip(newcomer);
    assert_eq!(run.pairs(), 1);
}

#[test]
fn whoever_sends_waits_for_whoever_does_not_read() {
    // Two pipes of the network, what the kernel does not take, what a link may hold, and a read.
    let most = 2 * Conditions::default().pipe_bytes + (256 + 1024 + 256) * 1024;
    for kind in [None, Some(Kind::Bandwidth { rate: 10, whole: false })] {
        let mut run = Run::start(5, exact(), true);
        let end = run.connect();
        run.set(&kind.map(both).into_iter().collect::<Vec<_>>());
        let mut sent = 0;
        while let Ok(count) = run.world.send(end, &[1; 10_000]) {
            sent += count;
            assert!(sent < 4_000_000, "nobody bounds it");
            run.pass(Duration::from_millis(1));
        }
        run.pass(Duration::from_secs(5));
        assert!((Conditions::default().pipe_bytes..=most).contains(&sent), "{sent}");
    }
}

#[test]
fn a_share_of_connections_is_the_same_on_every_change() {
    let mut run = Run::start(6, exact(), false);
    let ends: Vec<End> = (0..40).map(|_| run.connect()).collect();
    let half =
        |from| Toxic { toxicity: 0.5, from, group: Some("halves".into()), ..Toxic::new(latency(100, 0)) };
    let mut slow = Vec::new();
    for toxic in [half(0.0), half(0.5), half(0.0)] {
        run.set(std::slice::from_ref(&toxic));
        let is_slow: Vec<bool> =
            ends.iter().map(|end| run.round_trip(*end) > Duration::from_millis(100)).collect();
        slow.push(is_slow);
    }
    assert_eq!(slow[0], slow[2]);
    assert!(
        slow[0].iter().zip(&slow[1]).all(|(one, other)| one != other),
        "two halves share nobody and leave nobody out"
    );
    let count = slow[0].iter().filter(|is_slow| **is_slow).count();
    assert!((10..=30).contains(&count), "{count}");
}

/// Whatever holds meanwhile, if it loses nothing by what it is, everything comes, in order, and the ends behind it.
#[test]
fn nothing_is_lost_whatever_changes() {
    for seed in 0..60 {
        let mut run = Run::start(seed, Conditions::default(), false);
        let mut random = Random::new(seed);
        let ends: Vec<End> = (0..4).map(|_| run.connect()).collect();
        let (mut sent, mut came) = (vec![Vec::new(); 4], vec![Vec::new(); 4]);
        for _ in 0..30 {
            if random.once_in(1, 3) {
                let toxics: Vec<Toxic> = (0..random.below(3)).map(|_| harmless(&mut random)).collect();
                let mut named = toxics;
                for (number, toxic) in named.iter_mut().enumerate() {
                    toxic.name = number.to_string();
                }
                run.set(&named);
            }
            let who = random.below(4) as usize;
            let bytes: Vec<u8> = (0..random.below(5000)).map(|_| random.bits() as u8).collect();
            if let Ok(count) = run.world.send(ends[who], &bytes) {
                sent[who].extend_from_slice(&bytes[..count]);
            }
            run.pass(Duration::from_micros(random.below(50_000)));
            for (who, end) in ends.iter().enumerate() {
                came[who].extend(run.read(*end).0);
            }
        }
        for end in &ends {
            run.world.end_output(*end);
        }
        run.set(&[]);
        for _ in 0..20 {
            run.pass(Duration::from_millis(100));
            for (who, end) in ends.iter().enumerate() {
                came[who].extend(run.read(*end).0);
            }
        }
        assert!(came == sent, "seed {seed}");
        assert!(ends.iter().all(|end| run.world.receive(*end, &mut [0]) == Ok(0)), "seed {seed}");
        ends.iter().for_each(|end| run.world.close(*end));
        run.pass(Duration::from_secs(1));
        assert_eq!(run.pairs(), 0, "seed {seed}");
    }
}

fn harmless(random: &mut Random) -> Toxic {
    let ms = |random: &mut Random, most| Duration::from_millis(random.below(most));
    let kind = match random.below(6) {
        0 => latency(random.below(200), random.below(100)),
        1 => Kind::Bandwidth { rate: 1 + random.below(500), whole: random.once_in(1, 2) },
        2 => Kind::Slicer {
            average_size: 1 + random.below(500),
            size_variation: 0,
            delay: Duration::from_micros(random.below(900)),
        },
        3 => Kind::SlowClose { delay: ms(random, 300) },
        4 => Kind::SlowHandshake { delay: ms(random, 300) },
        _ => Kind::Blackhole {},
    };
    let stream = [Stream::Upstream, Stream::Downstream, Stream::Both][random.below(3) as usize];
    Toxic { stream, toxicity: 0.7, ..Toxic::new(kind) }
}
