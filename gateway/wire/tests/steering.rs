//! Where connections go: to a shard on the CPU on which they arrive.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use wire::shard::event_loop::{Config, reserve, run};
use wire::shard::steering::Steering;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex, mailbox};

enum Mail {
    /// To a shard: end to listen, and the shard.
    Stop,
}

/// Greets with the number of its shard.
struct Greeter;

impl Application for Greeter {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<Mail>) {
        let shard = io.shard() as u8;
        io.send(conn).unwrap().push(shard);
    }

    fn received(&mut self, _: ConnId, input: &mut [u8], _: &mut Io<Mail>) -> usize {
        input.len()
    }

    fn closed(&mut self, _: ConnId, _: Closed, _: &mut Io<Mail>) {}

    fn mail(&mut self, _: ShardIndex, Mail::Stop: Mail, io: &mut Io<Mail>) {
        io.stop();
    }

    fn timer(&mut self, _: u64, _: &mut Io<Mail>) {}
}

struct Server {
    address: SocketAddr,
    steering: Steering,
    edge: mailbox::Mailbox<Mail>,
    threads: Vec<Option<std::thread::JoinHandle<()>>>,
}

fn start(shards: usize, steering: Steering) -> Server {
    let reserved = reserve(([127, 0, 0, 1], 0).into()).unwrap();
    let mut mailboxes = mailbox::network(shards + 1).unwrap();
    let edge = mailboxes.pop().unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let config =
        Config { listen: Some(reserved.address), steering: Some(steering.clone()), ..Config::default() };
    let thread = |mailbox| {
        let (config, ready) = (config.clone(), ready.clone());
        let shard = move || run(&config, mailbox, || Greeter, |tables| ready.send(tables.map(drop)).unwrap());
        Some(std::thread::spawn(shard))
    };
    let threads = mailboxes.into_iter().map(thread).collect();
    for _ in 0..shards {
        is_ready.recv().unwrap().unwrap();
    }
    Server { address: reserved.address, steering, edge, threads }
}

impl Server {
    /// Which shards take `count` connections made on this CPU, and the connections.
    fn connect_on(&self, cpu: usize, count: usize) -> (Vec<ShardIndex>, Vec<TcpStream>) {
        let address = self.address;
        let client = std::thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(None, &set).unwrap();
            (0..count).map(|_| greeted(address)).unzip()
        });
        client.join().unwrap()
    }

    fn stop(&mut self, shard: ShardIndex) {
        self.edge.post(shard, Mail::Stop);
        self.edge.flush();
        self.threads[shard].take().unwrap().join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for shard in 0..self.threads.len() {
            if self.threads[shard].is_some() {
                self.stop(shard);
            }
        }
    }
}

fn greeted(address: SocketAddr) -> (ShardIndex, TcpStream) {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut shard = [0];
    stream.read_exact(&mut shard).unwrap();
    (usize::from(shard[0]), stream)
}

fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}

#[test]
fn connections_stay_on_the_cpu_where_they_arrive() {
    let Some(steering) = Steering::new() else {
        return eprintln!("skipped: this machine lets us use one CPU only");
    };
    let cpus = cpus();
    let mut server = start(cpus.len() * 2, steering);
    if !server.steering.is_on() {
        return eprintln!("skipped: this kernel refuses the program");
    }
    for &cpu in cpus.iter().take(4) {
        let (shards, _connections) = server.connect_on(cpu, 40);
        let there: Vec<usize> = shards.iter().map(|&shard| server.steering.cpu(shard)).collect();
        assert_eq!(there, vec![cpu; 40], "{shards:?}");
        assert!(shards.iter().any(|shard| *shard != shards[0]), "both shards of CPU {cpu} get some");
    }
    // One of the first CPU's two shards leaves: the program knows it.
    server.stop(0);
    for &cpu in cpus.iter().take(4) {
        let (shards, _connections) = server.connect_on(cpu, 20);
        assert!(
            shards.iter().all(|&shard| shard != 0 && server.steering.cpu(shard) == cpu),
            "{cpu}: {shards:?}"
        );
    }
}

#[test]
fn one_busy_cpu_does_not_get_everything() {
    let Some(steering) = Steering::new() else {
        return eprintln!("skipped: this machine lets us use one CPU only");
    };
    let server = start(cpus().len(), steering);
    let (shards, _connections) = server.connect_on(cpus()[0], 1000);
    assert!(!server.steering.is_on(), "given up");
    let on_busy = shards.iter().filter(|shard| **shard == 0).count();
    assert!(on_busy < 900, "{on_busy} of 1000 on one shard");
}
