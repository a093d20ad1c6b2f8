//! What the proxy costs, and how exactly it delays: `cargo run --release -p chaos --example proxy_cost [IDLE [ACTIVE [RATE [SECONDS [TURNS]]]]]`.
//!
//! ACTIVE WebSocket connections (100) to an echo on this machine, and as many through the proxy, beside IDLE ones (none) through it.
//! Turn by turn RATE messages a second (2,000) of 64 bytes are sent, for SECONDS (3): directly, through the proxy, and through it with 50 ms
//! of latency downstream. Times run from the intended moment. Prints the medians of TURNS (5), and the difference.
//!
//! `100000 10000 20000 5 3` takes about two minutes, and fits under a limit of 20,000 descriptors.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should say where")]

use chaos::link::{Kind, Shape, Toxic};
use chaos::proxy::{Proxy, Settings, shards_for};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::shard::event_loop::{self, Config, Reserved};
use wire::shard::mailbox::{self, Mailbox};
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;

const DELAY: Duration = Duration::from_millis(50);
/// Of a message with its frame's header.
const MESSAGE: usize = 64;
const CONNECTIONS_PER_SOURCE: usize = 5000;
/// Connects under way at once, for each shard of clients.
const CONNECTS_AT_ONCE: usize = 128;

/// Answers an upgrade with 101, and everything behind it with itself.
#[derive(Default)]
struct Echo {
    upgraded: Vec<bool>,
}

impl Application for Echo {
    type Mail = ();

    fn opened(&mut self, conn: ConnId, _: Origin, _: &mut Io<()>) {
        let index = conn.index as usize;
        self.upgraded.resize(self.upgraded.len().max(index + 1), false);
        self.upgraded[index] = false;
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<()>) -> usize {
        let out = io.send(conn).unwrap();
        if std::mem::replace(&mut self.upgraded[conn.index as usize], true) {
            out.extend_from_slice(input);
        } else {
            out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
        }
        input.len()
    }

    fn closed(&mut self, _: ConnId, _: Closed, _: &mut Io<()>) {}
    fn mail(&mut self, _: ShardIndex, _: (), _: &mut Io<()>) {}
    fn timer(&mut self, _: u64, _: &mut Io<()>) {}
}

enum Order {
    /// Open so many connections to there; answered when all are upgraded.
    Connect(SocketAddr, usize),
    /// Send through the connections of the n-th order, one after the other, and answer with the times that it took, ns.
    Send {
        group: usize,
        begin: Time,
        period: Duration,
        count: usize,
    },
    Connected,
    Times(Vec<u64>),
}

/// A shard of clients.
#[derive(Default)]
struct Clients {
    groups: Vec<Vec<ConnId>>,
    to: Option<SocketAddr>,
    wanted: usize,
    begun: usize,
    upgraded: usize,
    /// By place: the client has been answered with 101.
    is_open: Vec<bool>,
    sending: Option<(usize, Time, Duration, usize)>,
    sent: usize,
    times: Vec<u64>,
}

impl Clients {
    fn connect_some(&mut self, io: &mut Io<Order>) {
        let Some(to) = self.to else { return };
        while self.begun < self.wanted && self.begun - self.upgraded < CONNECTS_AT_ONCE {
            let total: usize = self.groups.iter().map(Vec::len).sum();
            let block = (total / CONNECTIONS_PER_SOURCE) as u8;
            let source = Ipv4Addr::new(127, 1, 1 + io.shard() as u8, 1 + block);
            let conn = io.connect(to, Some(IpAddr::V4(source)));
            self.groups.last_mut().unwrap().push(conn);
            self.begun += 1;
        }
    }

    fn due(&self) -> Option<Time> {
        let (_, begin, period, count) = self.sending?;
        (self.sent < count).then(|| begin + period * self.sent as u32)
    }
}

impl Application for Clients {
    type Mail = Order;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Order>) {
        let index = conn.index as usize;
        self.is_open.resize(self.is_open.len().max(index + 1), false);
        io.send(conn).unwrap().extend_from_slice(b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n");
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Order>) -> usize {
        if !std::mem::replace(&mut self.is_open[conn.index as usize], true) {
            self.upgraded += 1;
            self.connect_some(io);
            if self.upgraded == self.wanted {
                io.post(io.edge(), Order::Connected);
            }
            return input.len();
        }
        let now = io.clock();
        for message in input.chunks_exact(MESSAGE) {
            let intended = Time(u64::from_le_bytes(*message[2..].first_chunk().unwrap()));
            self.times.push(now.since(intended).as_nanos() as u64);
        }
        if self.sending.is_some_and(|(.., count)| self.times.len() == count) {
            self.sending = None;
            io.post(io.edge(), Order::Times(std::mem::take(&mut self.times)));
        }
        input.len() / MESSAGE * MESSAGE
    }

    fn closed(&mut self, _: ConnId, how: Closed, _: &mut Io<Order>) {
        panic!("a connection has ended: {how:?}");
    }

    fn mail(&mut self, _: ShardIndex, order: Order, io: &mut Io<Order>) {
        match order {
            Order::Connect(to, wanted) => {
                self.groups.push(Vec::new());
                (self.to, self.wanted, self.begun, self.upgraded) = (Some(to), wanted, 0, 0);
                if wanted == 0 {
                    io.post(io.edge(), Order::Connected);
                }
                self.connect_some(io);
            }
            Order::Send { group, begin, period, count } => {
                (self.sending, self.sent) = (Some((group, begin, period, count)), 0);
            }
            Order::Connected | Order::Times(_) => {}
        }
    }

    fn timer(&mut self, _: u64, _: &mut Io<Order>) {}

    fn step_done(&mut self, io: &mut Io<Order>) {
        while let Some(due) = self.due().filter(|due| *due <= io.now()) {
            let (group, ..) = self.sending.unwrap();
            let group = &self.groups[group];
            let out = io.send(group[self.sent % group.len()]).unwrap();
            out.extend_from_slice(&[0x82, MESSAGE as u8 - 2]);
            out.extend_from_slice(&due.0.to_le_bytes());
            out.resize(out.len() + MESSAGE - 10, 0);
            self.sent += 1;
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.due()
    }
}

/// Starts shards of an application; they run until the process ends.
fn start<A>(shards: usize, listen: Option<SocketAddr>) -> (Mailbox<A::Mail>, Option<Reserved>)
where
    A: Application + Default + 'static,
{
    let reserved = listen.map(|listen| event_loop::reserve(listen).unwrap());
    let config = Config {
        listen: reserved.as_ref().map(|reserved| reserved.address),
        timer_slack: Duration::from_nanos(1),
        ..Config::default()
    };
    let mut mailboxes = mailbox::network(shards + 1).unwrap();
    let edge = mailboxes.pop().unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    for mailbox in mailboxes {
        let (config, ready) = (config.clone(), ready.clone());
        std::thread::spawn(move || {
            event_loop::run(&config, mailbox, A::default, |started| ready.send(started.map(drop)).unwrap());
        });
    }
    (0..shards).for_each(|_| is_ready.recv().unwrap().unwrap());
    (edge, reserved)
}

struct Bench {
    edge: Mailbox<Order>,
    shards: usize,
}

impl Bench {
    /// Gives each shard its order, and waits for all answers.
    fn order(&mut self, order: impl Fn(usize) -> Order) -> Vec<u64> {
        for shard in 0..self.shards {
            self.edge.post(shard, order(shard));
        }
        self.edge.flush();
        let (mut answers, mut times, mut mail) = (0, Vec::new(), Vec::new());
        while answers < self.shards {
            std::thread::sleep(Duration::from_millis(5));
            self.edge.receive(&mut mail);
            for (_, mail) in mail.drain(..) {
                answers += 1;
                if let Order::Times(more) = mail {
                    times.extend(more);
                }
            }
        }
        times
    }

    fn connect(&mut self, to: SocketAddr, count: usize) {
        let shards = self.shards;
        self.order(|shard| Order::Connect(to, count / shards + usize::from(shard < count % shards)));
    }

    /// Sends, and gives the times that messages took, least first.
    fn send(&mut self, group: usize, rate: usize, seconds: usize) -> Vec<u64> {
        let shards = self.shards as u32;
        let period = Duration::from_secs(1) * shards / rate as u32;
        let begin = Time::now() + Duration::from_millis(50);
        let count = rate * seconds / self.shards;
        let begins = |shard: usize| begin + period * shard as u32 / shards;
        let mut times = self.order(|shard| Order::Send { group, begin: begins(shard), period, count });
        times.sort_unstable();
        times
    }
}

fn at(times: &[u64], share: f64) -> f64 {
    times[((times.len() - 1) as f64 * share) as usize] as f64 / 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<usize>().unwrap());
    let mut next = |default| arguments.next().unwrap_or(default);
    let (idle, active, rate, seconds, turns) = (next(0), next(100), next(2000), next(3), next(5));
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let sockets = limit.current.unwrap_or(1 << 20) - 100;
    let needed = |count: usize| count.div_ceil(sockets as usize * 9 / 10).max(1);
    let listen = ([127, 0, 0, 1], 0).into();
    let (_echo, reserved) = start::<Echo>(needed(idle + 2 * active), Some(listen));
    let upstream = reserved.as_ref().unwrap().address;
    let connections_max = idle + active + 10;
    let shards = shards_for(connections_max, sockets);
    let mut proxy = Proxy::start(Settings { listen, upstream, shards, connections_max, seed: 1 }).unwrap();
    let shards = needed(idle + 2 * active);
    let mut bench = Bench { edge: start::<Clients>(shards, None).0, shards };
    let begin = Time::now();
    bench.connect(proxy.address(), idle);
    bench.connect(upstream, active);
    bench.connect(proxy.address(), active);
    println!(
        "{idle} idle and {active} active connections through {} shards after {:.1} s; {rate} messages a second for {seconds} s, {turns} turns",
        proxy.settings().shards,
        Time::now().since(begin).as_secs_f64()
    );
    let latency = Toxic::new(Kind::Latency { latency: DELAY, jitter: Duration::ZERO, shape: Shape::Uniform });
    let (mut rows, mut effects) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        let direct = bench.send(1, rate, seconds);
        let through = bench.send(2, rate, seconds);
        let asked = Time::now();
        effects.push(proxy.set(vec![latency.clone()]).unwrap().at.since(asked).as_secs_f64() * 1e6);
        let delayed = bench.send(2, rate, seconds);
        proxy.set(Vec::new()).unwrap();
        rows.push([direct, through, delayed]);
    }
    let delay = DELAY.as_secs_f64() * 1e6;
    println!(
        "| share of messages | direct, µs | through the proxy | added | 50 ms asked for, added beyond |\n| --- | --- | --- | --- | --- |"
    );
    for share in [0.0, 0.5, 0.9, 0.99, 0.999] {
        let [direct, through, delayed] = [0, 1, 2]
            .map(|way| median(rows.iter().map(|turn: &[Vec<u64>; 3]| at(&turn[way], share)).collect()));
        println!(
            "| p{} | {direct:.0} | {through:.0} | {:.0} | {:.0} |",
            share * 100.0,
            through - direct,
            delayed - through - delay
        );
    }
    println!("a change was in force on all shards after {:.0} µs (median)", median(effects));
}
