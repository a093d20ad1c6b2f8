//! Clients against a real gateway, both in this process, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod engine;

use clap::Parser as _;
use engine::wait;
use gateway::auth::{Claims, Signer};
use gateway::server::Server;
use loadgen::fleet::figures::FleetFigures;
use loadgen::fleet::ledger::Class;
use loadgen::fleet::plan::Recipients;
use loadgen::fleet::{Fleet, Orders};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;
use wire::time::Time;

const KEY: &str = "a key for tests";

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    flags: gateway::config::Flags,
}

fn gateway(arguments: &[&str]) -> Server {
    let fixed = ["gateway", "--listen", "127.0.0.1:0", "--auth-key", KEY, "--enable-test-faults"];
    Server::start(&Cli::parse_from(fixed.iter().chain(arguments)).flags).unwrap()
}

fn orders(target: SocketAddr, clients: u32, rate: f64, to: Recipients) -> Orders {
    let signer = Signer::new(KEY.as_bytes());
    let token = move |user: &str| {
        signer.sign(&Claims { sub: user.into(), device: "d".into(), exp: u64::MAX / 2 }).unwrap()
    };
    Orders { token: Box::new(token), connect_rate: 20_000.0, ..engine::orders(target, clients, rate, to) }
}

/// Connects all, sends for `length`, waits until as much has arrived as was confirmed (or `settle` has passed), and stops.
fn run(
    orders: Orders,
    length: Duration,
    settle: Duration,
    mut during: impl FnMut(&mut Fleet),
) -> FleetFigures {
    let clients = u64::from(orders.clients);
    let mut fleet = Fleet::start(orders).unwrap();
    fleet.connect(Time::now());
    wait(&mut fleet, "connects", |fleet| fleet.count(|gauges| gauges.connected.get()) == clients);
    let begin = Time::now() + Duration::from_millis(5);
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    fleet.end_traffic(begin + length);
    during(&mut fleet);
    let settled = begin + length + settle;
    wait(&mut fleet, "messages", |fleet| {
        let (sent, confirmed) = (fleet.count(|g| g.sent.get()), fleet.count(|g| g.confirmed.get()));
        fleet.traffic_is_over()
            && (sent == confirmed && fleet.count(|g| g.delivered.get()) == sent || Time::now() > settled)
    });
    fleet.hand_over();
    wait(&mut fleet, "the truth", |fleet| fleet.has_handed_over());
    fleet.stop().unwrap()
}

#[test]
fn every_message_is_delivered_once_and_counted_once() {
    let gateway = gateway(&["--shards", "2"]);
    let orders = orders(gateway.address, 1000, 2000.0, Recipients::RandomUser);
    let figures = run(orders, Duration::from_secs(2), Duration::from_secs(5), |_| {});
    let (counts, phase) = figures.total();
    assert_eq!(
        (counts.planned(), counts.of(Class::Delivered), counts.duplicates),
        (4000, 4000, 0),
        "{counts:?}"
    );
    assert_eq!((phase.latency.histogram().len(), phase.reordered, figures.unexpected), (4000, 0, 0));
    assert!(phase.latency.histogram().value_at_quantile(0.5) < 100_000);
}

#[test]
fn messages_for_absent_users_are_queued() {
    let gateway = gateway(&["--shards", "2"]);
    let orders = orders(gateway.address, 10, 500.0, Recipients::AbsentUser);
    let (counts, _) = run(orders, Duration::from_secs(1), Duration::from_millis(500), |_| {}).total();
    assert_eq!((counts.planned(), counts.of(Class::Queued)), (500, 500), "{counts:?}");
}

#[test]
fn a_sender_without_connection_is_offline_not_late() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut fleet = Fleet::start(orders(closed, 10, 1000.0, Recipients::RandomUser)).unwrap();
    fleet.connect(Time::now());
    let begin = Time::now();
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    fleet.end_traffic(begin + Duration::from_millis(500));
    wait(&mut fleet, "attempts", |fleet| fleet.count(|g| g.attempted.get()) == 500);
    fleet.hand_over();
    wait(&mut fleet, "the truth", |fleet| fleet.has_handed_over());
    assert!(fleet.count(|g| g.connect_failed.get()) > 0);
    let (counts, _) = fleet.stop().unwrap().total();
    assert_eq!((counts.planned(), counts.of(Class::Offline)), (500, 500), "{counts:?}");
}

/// As when the threads could not run for a while and find the end of the traffic and of the run in one step.
#[test]
fn what_is_still_due_is_attempted_before_the_truth_is_handed_over() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut fleet = Fleet::start(orders(closed, 10, 1000.0, Recipients::RandomUser)).unwrap();
    let begin = Time::now() + Duration::from_millis(50);
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    fleet.end_traffic(begin + Duration::from_millis(500));
    fleet.hand_over();
    wait(&mut fleet, "the truth", |fleet| fleet.has_handed_over());
    let (counts, _) = fleet.stop().unwrap().total();
    assert_eq!((counts.planned(), counts.of(Class::Offline)), (500, 500), "{counts:?}");
}

/// As when the word of the end reaches threads late that have gone on to send.
#[test]
fn what_is_sent_before_the_end_is_told_counts_like_all_else() {
    let gateway = gateway(&["--shards", "2"]);
    let mut fleet = Fleet::start(orders(gateway.address, 100, 1000.0, Recipients::RandomUser)).unwrap();
    fleet.connect(Time::now());
    wait(&mut fleet, "connects", |fleet| fleet.count(|gauges| gauges.connected.get()) == 100);
    let begin = Time::now();
    fleet.begin_traffic(begin);
    fleet.begin_phase(begin, 1.0);
    wait(&mut fleet, "messages", |fleet| fleet.count(|g| g.sent.get()) > 300);
    fleet.end_traffic(begin + Duration::from_millis(200));
    wait(&mut fleet, "the end", |fleet| {
        fleet.traffic_is_over() && fleet.count(|g| g.delivered.get()) == fleet.count(|g| g.sent.get())
    });
    fleet.hand_over();
    wait(&mut fleet, "the truth", |fleet| fleet.has_handed_over());
    let figures = fleet.stop().unwrap();
    assert!(figures.tally.planned > 300, "{:?}", figures.tally);
    assert_eq!(figures.tally, figures.tally_of_classes());
}

#[test]
fn a_fleet_that_has_not_handed_over_has_no_figures() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fleet = Fleet::start(orders(closed, 10, 1000.0, Recipients::RandomUser)).unwrap();
    assert!(fleet.stop().unwrap_err().to_string().contains("client thread 0"));
}

/// The kernel spreads connections by a hash: a bound per shard would turn some away while others have room.
#[test]
fn a_gateway_takes_as_many_connections_as_it_may_however_they_fall() {
    let gateway = gateway(&["--shards", "4", "--connections-max", "100"]);
    let mut fleet = Fleet::start(orders(gateway.address, 100, 1.0, Recipients::RandomUser)).unwrap();
    fleet.connect(Time::now());
    wait(&mut fleet, "connects", |fleet| fleet.count(|gauges| gauges.connected.get()) == 100);
    assert_eq!(fleet.count(|gauges| gauges.connect_failed.get()), 0);
    let one_more = std::net::TcpStream::connect(gateway.address).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = Vec::new();
        wire::ws::handshake::write_request(&mut request, "test", "/ws", [0; 16], &[]);
        stream.write_all(&request)?;
        std::io::Read::read(&mut stream, &mut [0])
    });
    assert_eq!(one_more.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
