//! The twins of Toxiproxy's toxics, and what of ours needs no frames.

use crate::server::{Stage, greeter, is_silent, latency, ms, on, rest, start};
use chaos::link::{Kind, Stream, Toxic};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use wire::time::Time;

/// Sends a byte and waits until it is back.
fn round_trip(stream: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    begin.elapsed()
}

#[test]
fn bytes_and_ends_pass_unchanged() {
    let stage = Stage::start();
    let mut stream = stage.knock();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let writer = {
        let (mut stream, sent) = (stream.try_clone().unwrap(), sent.clone());
        std::thread::spawn(move || {
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        })
    };
    let (came, error) = rest(&mut stream);
    writer.join().unwrap();
    assert!(came == sent && error.is_none());
    assert_eq!(stage.ended.recv().unwrap(), (sent.len(), None));
}

#[test]
fn a_server_that_is_not_there_looks_so() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = start(nobody, 1);
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn latency_holds_back_and_says_since_when() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    let before = Time::now();
    let effect = stage.set(&[on(Stream::Downstream, latency(80)), on(Stream::Upstream, latency(40))]);
    assert!(before <= effect.at && effect.at <= Time::now());
    assert_eq!((effect.toxics, effect.shards), (2, 2));
    for _ in 0..3 {
        assert!(round_trip(&mut stream) >= ms(120));
    }
    assert_eq!(stage.set(&[]).toxics, 0);
    let fastest = (0..20).map(|_| round_trip(&mut stream)).min();
    assert!(fastest < Some(ms(40)), "{fastest:?}");
}

#[test]
fn what_waits_comes_at_once_when_latency_goes() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    stage.set(&[on(Stream::Both, latency(3_600_000))]);
    stream.write_all(b"abc").unwrap();
    assert!(is_silent(&stream));
    stage.set(&[]);
    let mut came = [0; 3];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"abc");
}

#[test]
fn down_refuses_and_up_takes_again() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    stage.proxy.down();
    assert_eq!(rest(&mut stream), (Vec::new(), None), "it has ended in order");
    let refused = TcpStream::connect(stage.proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    stage.set(&[on(Stream::Both, latency(30))]);
    stage.proxy.up().unwrap();
    assert!(round_trip(&mut stage.knock()) >= ms(60), "toxics stay");
}

#[test]
fn bandwidth_is_a_rate() {
    let mut proxy = start(greeter(vec![1; 100_000]), 2);
    proxy.set(vec![Toxic::new(Kind::Bandwidth { rate: 200, whole: false })]).unwrap();
    let begin = Instant::now();
    let mut streams: Vec<_> = (0..2).map(|_| TcpStream::connect(proxy.address()).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(rest(stream).0.len(), 100_000);
    }
    let each = begin.elapsed();
    assert!(each >= ms(500), "{each:?}");
    proxy.set(vec![Toxic::new(Kind::Bandwidth { rate: 200, whole: true })]).unwrap();
    let begin = Instant::now();
    let mut streams: Vec<_> = (0..2).map(|_| TcpStream::connect(proxy.address()).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(rest(stream).0.len(), 100_000);
    }
    let whole = begin.elapsed();
    assert!(whole >= ms(1000), "{whole:?}");
}

#[test]
fn slow_close_holds_back_the_end_and_nothing_else() {
    let mut proxy = start(greeter(b"bye".to_vec()), 1);
    proxy.set(vec![Toxic::new(Kind::SlowClose { delay: ms(300) })]).unwrap();
    let begin = Instant::now();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(rest(&mut stream), (Vec::new(), None));
    assert!(begin.elapsed() >= ms(300));
}

#[test]
fn a_timeout_takes_all_and_then_closes() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    let begin = Instant::now();
    stage.set(&[Toxic::new(Kind::Timeout { timeout: ms(250) })]);
    stream.write_all(b"abc").unwrap();
    assert_eq!(rest(&mut stream), (Vec::new(), None));
    assert!(begin.elapsed() >= ms(250));
    assert_eq!(stage.ended.recv().unwrap(), (4, None), "upstream nothing was taken");
    let mut endless = stage.knock();
    stage.set(&[Toxic::new(Kind::Timeout { timeout: ms(0) })]);
    endless.write_all(b"abc").unwrap();
    assert!(is_silent(&endless));
    stage.set(&[]);
    assert_eq!(rest(&mut endless), (Vec::new(), None), "such a stream must not go on");
}

#[test]
fn a_reset_reaches_idle_connections_on_both_sides() {
    let mut stage = Stage::start();
    let mut streams: Vec<_> = (0..5).map(|_| stage.connect()).collect();
    stage.set(&[Toxic::new(Kind::ResetPeer { timeout: ms(0) })]);
    for stream in &mut streams {
        assert_eq!(rest(stream).1, Some(ErrorKind::ConnectionReset));
        assert_eq!(stage.ended.recv().unwrap(), (1, Some(ErrorKind::ConnectionReset)));
    }
    assert_eq!(rest(&mut stage.knock()).1, Some(ErrorKind::ConnectionReset), "newcomers too");
    stage.set(&[]);
    let mut stream = stage.connect();
    let begin = Instant::now();
    stage.set(&[Toxic::new(Kind::ResetPeer { timeout: ms(200) })]);
    assert_eq!(rest(&mut stream).1, Some(ErrorKind::ConnectionReset));
    assert!(begin.elapsed() >= ms(200));
}

#[test]
fn a_slicer_cuts_what_comes() {
    let mut proxy = start(greeter(vec![7; 100]), 1);
    let slicer = Kind::Slicer { average_size: 10, size_variation: 0, delay: ms(20) };
    proxy.set(vec![Toxic::new(slicer)]).unwrap();
    let begin = Instant::now();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let (mut buffer, mut came) = ([0; 100], 0);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        came += count;
        assert_eq!(count % 10, 0, "pieces are whole, be it several at once");
    }
    assert_eq!(came, 100);
    assert!(begin.elapsed() >= ms(180), "nine pieces wait for the one before");
}

#[test]
fn a_limit_lets_so_many_bytes_through() {
    let mut proxy = start(greeter(vec![7; 100_000]), 1);
    proxy.set(vec![Toxic::new(Kind::LimitData { bytes: 54_321 })]).unwrap();
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let (bytes, error) = rest(&mut stream);
    assert_eq!((bytes.len(), error), (54_321, None));
}

#[test]
fn a_blackhole_keeps_what_it_holds() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    stage.set(&[on(Stream::Both, Kind::Blackhole {})]);
    stream.write_all(b"abc").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(is_silent(&stream) && stage.ended.try_recv().is_err());
    stage.set(&[]);
    assert_eq!(rest(&mut stream), (b"abc".to_vec(), None));
}

#[test]
fn a_half_open_connection_lives_at_the_server_only() {
    let mut stage = Stage::start();
    let mut stream = stage.connect();
    stage.set(&[Toxic::new(Kind::HalfOpen {})]);
    assert_eq!(rest(&mut stream).1, Some(ErrorKind::ConnectionReset));
    let mut other = stage.connect();
    assert!(stage.ended.try_recv().is_err());
    round_trip(&mut other);
    stage.set(&[]);
    assert_eq!(stage.ended.recv().unwrap(), (1, Some(ErrorKind::ConnectionReset)));
    round_trip(&mut other);
}

#[test]
fn newcomers_are_refused_and_the_others_stay() {
    let mut stage = Stage::start();
    let mut inside = stage.connect();
    stage.set(&[Toxic::new(Kind::Refuse {})]);
    let refused = TcpStream::connect(stage.proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    round_trip(&mut inside);
    stage.set(&[Toxic { toxicity: 0.5, ..Toxic::new(Kind::Refuse {}) }]);
    let is_refused = |_| {
        let mut stream = stage.knock();
        // It may have been reset before it could be written to.
        stream.write_all(b"x").is_err() || stream.read(&mut [0]).is_err()
    };
    let refused = (0..60).map(is_refused).filter(|is_refused| *is_refused).count();
    assert!((10..=50).contains(&refused), "{refused} of 60");
    stage.set(&[]);
    round_trip(&mut stage.knock());
}

#[test]
fn a_share_stays_with_its_connections() {
    let mut stage = Stage::start();
    let mut streams: Vec<_> = (0..40).map(|_| stage.connect()).collect();
    let half = Toxic { toxicity: 0.5, ..Toxic::new(latency(100)) };
    let mut slow = Vec::new();
    for _ in 0..2 {
        stage.set(std::slice::from_ref(&half));
        let begin = Instant::now();
        streams.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
        // Who has the toxic has nothing before its time; who has not is back long before.
        let mut is_slow = vec![true; streams.len()];
        while begin.elapsed() < ms(95) {
            for (stream, is_slow) in streams.iter_mut().zip(&mut is_slow) {
                stream.set_nonblocking(true).unwrap();
                if stream.read(&mut [0]).is_ok() && begin.elapsed() < ms(95) {
                    *is_slow = false;
                }
            }
        }
        slow.push(is_slow.clone());
        stage.set(&[]);
        for (stream, _) in streams.iter_mut().zip(is_slow).filter(|(_, is_slow)| *is_slow) {
            stream.set_nonblocking(false).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
    }
    let count = slow[0].iter().filter(|is_slow| **is_slow).count();
    assert_eq!(slow[0], slow[1]);
    assert!((8..=32).contains(&count), "{count} of 40");
}

#[test]
fn the_server_sees_the_address_of_the_client() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = start(listener.local_addr().unwrap(), 1);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 5, 9], 0)).into()).unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    let (_, peer) = listener.accept().unwrap();
    assert_eq!(peer.ip().to_string(), "127.0.5.9");
}
