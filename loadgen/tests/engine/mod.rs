//! What all tests of the client engine start from.

use loadgen::fleet::plan::{Arrivals, Recipients, Segment, Traffic};
use loadgen::fleet::{Fleet, Orders};
use scenarios::scenario::{Jitter, Reconnect};
use scenarios::units::DurationRange;
use std::net::SocketAddr;
use std::time::Duration;
use wire::time::Time;

/// One plan of so many messages a second of 64 bytes, from two threads, with empty tokens.
pub(crate) fn orders(target: SocketAddr, clients: u32, rate: f64, to: Recipients) -> Orders {
    let segment = Segment { length: Duration::ZERO, rate_begin: rate, rate_end: rate };
    Orders {
        seed: 42,
        target,
        host: target.to_string(),
        path: "/ws".into(),
        token: Box::new(|_| String::new()),
        clients,
        connect_rate: 1e9,
        reconnect: Reconnect {
            backoff: DurationRange { shortest: Duration::from_millis(50), longest: Duration::from_secs(1) },
            jitter: Jitter::Full,
        },
        traffic: vec![Traffic {
            name: "chat".into(),
            segments: vec![segment],
            arrivals: Arrivals::Even,
            to,
            body_bytes: 64,
        }],
        late_after: Duration::from_secs(10),
        threads: 2,
    }
}

/// Polls until `done`, at most a minute.
pub(crate) fn wait(fleet: &mut Fleet, what: &str, mut done: impl FnMut(&Fleet) -> bool) {
    let until = Time::now() + Duration::from_secs(60);
    while !done(fleet) {
        assert!(Time::now() < until, "still waiting: {what}");
        fleet.seconds();
        std::thread::sleep(Duration::from_millis(1));
    }
}
