//! What each toxic does to a connection, to the nanosecond. [`laws`] holds whatever comes.

mod laws;

use super::*;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wire::time::Time;
use wire::ws::frame::{self, Opcode};

/// What is set anew is another toxic.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

const SECOND: u64 = 1_000_000_000;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at_ms(count: u64) -> Time {
    Time(count * 1_000_000)
}

/// What toxics come to that are in force since 0.
fn selected(kinds: &[Kind], stream: Stream) -> Rc<Selected> {
    let in_force: Vec<InForce> = kinds
        .iter()
        .map(|kind| InForce {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            toxic: Arc::new(Toxic { stream, ..Toxic::new(kind.clone()) }),
            since: Time(0),
            line: Arc::default(),
        })
        .collect();
    Rc::new(Selected::new(&in_force))
}

fn latency(latency: u64, jitter: u64) -> Kind {
    Kind::Latency { latency: ms(latency), jitter: ms(jitter), shape: Shape::Uniform }
}

fn bandwidth(rate: u64) -> Kind {
    Kind::Bandwidth { rate, whole: false }
}

/// When anything is to be done for it.
fn due(link: &Link) -> Option<Time> {
    Way::ALL.into_iter().filter_map(|way| link.due(way)).chain(link.cut_due()).min()
}

/// A connection, its clock, and what has left it downstream with the time at which it did.
struct Line {
    link: Link,
    now: Time,
    left: Vec<(Time, Vec<u8>)>,
    verdict: Option<(Time, Verdict)>,
}

impl Line {
    fn new(selected: Rc<Selected>) -> Line {
        Line { link: Link::new(7, 1, selected, Time(0)), now: Time(0), left: Vec::new(), verdict: None }
    }

    fn send(&mut self, bytes: &[u8]) {
        let mut out = Vec::new();
        self.link.input(Way::Down, bytes, self.now, Some(&mut out));
        self.record(out, Verdict::Open);
        self.pull();
    }

    fn pull(&mut self) {
        // What goes up is not what is looked at.
        self.link.pull(Way::Up, self.now, &mut Vec::new());
        let mut out = Vec::new();
        let verdict = self.link.pull(Way::Down, self.now, &mut out);
        self.record(out, verdict);
    }

    fn record(&mut self, out: Vec<u8>, verdict: Verdict) {
        if !out.is_empty() {
            self.left.push((self.now, out));
        }
        if verdict != Verdict::Open {
            self.verdict.get_or_insert((self.now, verdict));
        }
    }

    /// Lets time pass, with a pull whenever one is due.
    fn until(&mut self, until: Time) {
        while let Some(due) = due(&self.link).filter(|due| *due <= until) {
            self.now = self.now.max(due);
            if self.link.fate(self.now) != Fate::Goes {
                return;
            }
            self.pull();
        }
        self.now = until;
    }

    fn bytes(&self) -> Vec<u8> {
        self.left.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    fn upgrade(&mut self) {
        let mut out = Vec::new();
        self.link.input(
            Way::Up,
            b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
            self.now,
            Some(&mut out),
        );
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
        self.until(self.now + Duration::from_secs(60));
        self.left.clear();
    }

    /// The messages that have left, each as a number.
    fn messages(&self) -> Vec<u32> {
        let (bytes, mut at, mut messages) = (self.bytes(), 0, Vec::new());
        while at < bytes.len() {
            let header = frame::parse(&bytes[at..], true).expect("frames stay frames").expect("whole frames");
            let payload = &bytes[at + header.header_bytes..][..header.payload_bytes as usize];
            if !header.opcode.is_control() && header.fin {
                messages.push(u32::from_be_bytes(*payload.last_chunk().expect("numbered")));
            }
            at += header.header_bytes + payload.len();
        }
        messages
    }
}

fn numbered(number: u32, padding: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Opcode::Binary, &[&vec![7; padding][..], &number.to_be_bytes()].concat(), None);
    bytes
}

#[test]
fn without_toxics_bytes_pass_in_the_same_step_and_nothing_is_kept() {
    let mut line = Line::new(selected(&[], Stream::Both));
    line.send(b"abc");
    assert_eq!((line.bytes(), due(&line.link), line.link.held(Way::Down)), (b"abc".to_vec(), None, 0));
    assert!(size_of::<Link>() <= 200, "{}", size_of::<Link>());
}

#[test]
fn latency_is_kept_to_the_nanosecond_and_adds_up() {
    let mut line = Line::new(selected(&[latency(30, 0), latency(12, 0)], Stream::Downstream));
    for sent in 0..5 {
        line.until(at_ms(sent * 10));
        line.send(&[sent as u8]);
    }
    line.until(at_ms(1000));
    let left: Vec<_> = line.left.iter().map(|(at, bytes)| (at.0, bytes[0])).collect();
    let expected: Vec<_> = (0..5).map(|sent| ((sent * 10 + 42) * 1_000_000, sent as u8)).collect();
    assert_eq!(left, expected);
}

#[test]
fn a_toxic_upstream_leaves_downstream_alone() {
    let mut line = Line::new(selected(&[latency(30, 0)], Stream::Upstream));
    line.send(b"abc");
    assert_eq!(line.left, [(Time(0), b"abc".to_vec())]);
}

#[test]
fn all_that_waits_leaves_when_the_toxics_go() {
    let mut line = Line::new(selected(&[latency(30_000, 0), bandwidth(1)], Stream::Both));
    line.send(&[1; 5000]);
    line.until(at_ms(10));
    line.send(&[2; 5000]);
    line.link.apply(selected(&[], Stream::Both), line.now);
    line.pull();
    assert_eq!((line.bytes().len(), line.link.held(Way::Down)), (10_000, 0));
    line.send(b"x");
    assert_eq!(line.left.last(), Some(&(at_ms(10), b"x".to_vec())));
}

#[test]
fn what_waits_is_planned_anew_by_other_rules() {
    let mut line = Line::new(selected(&[latency(30_000, 0)], Stream::Both));
    line.send(b"a");
    line.until(at_ms(10));
    line.link.apply(selected(&[latency(50, 0)], Stream::Both), line.now);
    line.until(at_ms(1000));
    assert_eq!(line.left, [(at_ms(50), b"a".to_vec())]);
}

#[test]
fn a_blackhole_holds_all_and_loses_nothing() {
    let mut line = Line::new(selected(&[Kind::Blackhole {}], Stream::Both));
    line.send(b"abc");
    line.link.ended(Way::Down, End::Reset, line.now);
    line.until(at_ms(60_000));
    assert_eq!((line.left.len(), line.verdict, due(&line.link)), (0, None, None));
    line.link.apply(selected(&[], Stream::Both), line.now);
    line.pull();
    assert_eq!((line.bytes(), line.verdict), (b"abc".to_vec(), Some((at_ms(60_000), Verdict::Reset))));
}

#[test]
fn what_a_timeout_takes_is_gone_and_so_is_the_connection() {
    let mut line = Line::new(selected(&[Kind::Timeout { timeout: ms(0) }], Stream::Downstream));
    line.send(b"abc");
    line.until(at_ms(60_000));
    assert_eq!((line.bytes(), line.link.fate(line.now)), (Vec::new(), Fate::Goes));
    line.link.apply(selected(&[], Stream::Both), line.now);
    assert_eq!(line.link.fate(line.now), Fate::Close);
    let mut bounded = Line::new(selected(&[Kind::Timeout { timeout: ms(250) }], Stream::Downstream));
    assert_eq!(due(&bounded.link), Some(at_ms(250)));
    assert_eq!(bounded.link.fate(Time(at_ms(250).0 - 1)), Fate::Goes);
    assert_eq!(bounded.link.fate(at_ms(250)), Fate::Close);
}

#[test]
fn a_reset_needs_no_byte() {
    let mut idle = Line::new(selected(&[Kind::ResetPeer { timeout: ms(0) }], Stream::Downstream));
    assert_eq!((due(&idle.link), idle.link.fate(Time(0))), (Some(Time(0)), Fate::Reset));
    let mut later = Line::new(selected(&[Kind::ResetPeer { timeout: ms(70) }], Stream::Downstream));
    assert_eq!((due(&later.link), later.link.fate(Time(0))), (Some(at_ms(70)), Fate::Goes));
}

#[test]
fn a_limit_closes_behind_its_last_byte() {
    let mut line = Line::new(selected(&[Kind::LimitData { bytes: 5 }], Stream::Downstream));
    line.send(b"abc");
    assert_eq!(line.verdict, None);
    line.send(b"defgh");
    assert_eq!((line.bytes(), line.verdict), (b"abcde".to_vec(), Some((Time(0), Verdict::Close))));
    line.send(b"i");
    assert_eq!(line.bytes(), b"abcde");
}

#[test]
fn an_end_is_held_back_by_slow_close_only() {
    let mut line = Line::new(selected(&[Kind::SlowClose { delay: ms(300) }], Stream::Downstream));
    line.send(b"abc");
    line.link.ended(Way::Down, End::Fin, line.now);
    assert_eq!(line.left, [(Time(0), b"abc".to_vec())]);
    line.until(at_ms(1000));
    assert_eq!(line.verdict, Some((at_ms(300), Verdict::End)));
}

#[test]
fn slices_leave_apart() {
    let slicer = Kind::Slicer { average_size: 10, size_variation: 0, delay: Duration::from_micros(700) };
    let mut line = Line::new(selected(&[slicer], Stream::Downstream));
    line.send(&[1; 25]);
    line.until(at_ms(100));
    let left: Vec<_> = line.left.iter().map(|(at, bytes)| (at.0, bytes.len())).collect();
    assert_eq!(left, [(0, 10), (700_000, 10), (1_400_000, 5)]);
}

#[test]
fn the_first_bytes_of_a_client_are_held_by_a_slow_handshake() {
    let mut link =
        Link::new(7, 1, selected(&[Kind::SlowHandshake { delay: ms(500) }], Stream::Both), Time(0));
    let mut out = Vec::new();
    link.input(Way::Up, b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", at_ms(20), Some(&mut out));
    assert_eq!((out.len(), due(&link)), (0, Some(at_ms(520))));
    link.pull(Way::Up, at_ms(520), &mut out);
    link.input(Way::Down, b"HTTP/1.1 101 S\r\n\r\n", at_ms(530), Some(&mut Vec::new()));
    out.clear();
    link.input(Way::Up, &[0x81, 0x80, 0, 0, 0, 0], at_ms(540), Some(&mut out));
    link.pull(Way::Up, at_ms(540), &mut out);
    assert_eq!(out.len(), 6, "later bytes do not wait");
}

#[test]
fn a_side_that_is_half_open_hears_nothing_until_it_heals() {
    let mut link = Link::new(7, 1, selected(&[], Stream::Both), Time(0));
    let half_open = |since| {
        let toxic = Arc::new(Toxic::new(Kind::HalfOpen {}));
        Rc::new(Selected::new(&[InForce { id: 1, toxic, since, line: Arc::default() }]))
    };
    link.apply(half_open(at_ms(5)), at_ms(5));
    assert_eq!(link.fate(at_ms(5)), Fate::HalfOpen(Way::Down));
    let mut out = Vec::new();
    link.input(Way::Down, b"lost", at_ms(6), Some(&mut out));
    assert_eq!((link.pull(Way::Down, at_ms(6), &mut out), out.len()), (Verdict::Open, 0));
    assert_eq!(link.fate(at_ms(7)), Fate::Goes);
    link.apply(selected(&[], Stream::Both), at_ms(8));
    assert_eq!(link.fate(at_ms(8)), Fate::Reset);
    let mut newcomer = Link::new(7, 2, half_open(at_ms(5)), at_ms(6));
    assert_eq!(newcomer.fate(at_ms(6)), Fate::Goes);
}

#[test]
fn a_code_is_said_between_frames() {
    let code = Kind::CloseCode { code: 1012, reason: "restart".into() };
    let mut line = Line::new(selected(&[], Stream::Both));
    line.upgrade();
    let message = numbered(1, 100);
    line.send(&message[..50]);
    line.link.apply(selected(&[code], Stream::Downstream), line.now);
    assert_eq!((due(&line.link), line.link.fate(line.now)), (None, Fate::Goes));
    line.send(&message[50..]);
    assert_eq!(line.link.fate(line.now), Fate::Goes);
    line.pull();
    let bytes = line.bytes();
    let close = &bytes[message.len()..];
    assert_eq!(close, [&[0x88, 9, 0x03, 0xF4][..], b"restart"].concat());
    assert_eq!(line.verdict.map(|(_, verdict)| verdict), Some(Verdict::Close));
    let mut plain =
        Line::new(selected(&[Kind::CloseCode { code: 1001, reason: String::new() }], Stream::Both));
    plain.send(b"no frames");
    assert_eq!(
        (due(&plain.link), plain.link.fate(plain.now)),
        (None, Fate::Goes),
        "there is nothing to say it in"
    );
}

#[test]
fn pings_vanish_and_messages_stay() {
    let mut line = Line::new(selected(&[Kind::PingBlackhole {}], Stream::Both));
    line.upgrade();
    let mut bytes = Vec::new();
    for number in 0..10 {
        bytes.extend(numbered(number, 3));
        frame::write(&mut bytes, Opcode::Ping, b"?", None);
    }
    line.send(&bytes);
    assert_eq!((line.messages(), line.bytes().len()), ((0..10).collect(), 10 * numbered(0, 3).len()));
}

#[test]
fn a_message_that_comes_later_comes_behind_the_next_or_in_time() {
    let reorder = Kind::FrameReorder { share: 1.0, hold: ms(200) };
    let mut line = Line::new(selected(&[reorder], Stream::Both));
    line.upgrade();
    let begin = line.now;
    line.send(&numbered(1, 0));
    assert!(line.messages().is_empty());
    line.send(&numbered(2, 0));
    assert_eq!(line.messages(), [2, 1]);
    line.send(&numbered(3, 0));
    line.until(begin + Duration::from_secs(1));
    assert_eq!(
        (line.messages(), line.left.last().map(|left| left.0)),
        (vec![2, 1, 3], Some(begin + ms(200)))
    );
}

#[test]
fn compressed_messages_that_lean_on_others_are_left_alone() {
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate";
    let alone = format!("{deflate}; server_no_context_takeover; client_no_context_takeover\r\n");
    for (header, is_lost) in [(String::new(), true), (alone, true), (format!("{deflate}\r\n"), false)] {
        let mut line = Line::new(selected(&[Kind::FrameLoss { share: 1.0 }], Stream::Downstream));
        let ask = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        line.link.input(Way::Up, ask, line.now, Some(&mut Vec::new()));
        line.send(format!("HTTP/1.1 101 S\r\n{header}\r\n").as_bytes());
        line.left.clear();
        line.send(&[0xC1, 0x01, 0x00]);
        assert_eq!(line.bytes().is_empty(), is_lost, "{header}");
    }
}

#[test]
fn shares_of_messages_are_what_was_asked_for() {
    let count = |kind: Kind| {
        let mut line = Line::new(selected(&[kind], Stream::Both));
        line.upgrade();
        for number in 0..10_000 {
            line.send(&numbered(number, 0));
        }
        line.messages().len()
    };
    assert!((8_900..9_100).contains(&count(Kind::FrameLoss { share: 0.1 })));
    assert!((10_900..11_100).contains(&count(Kind::FrameDuplicate { share: 0.1 })));
    assert!((9_999..=10_000).contains(&count(Kind::FrameReorder { share: 0.1, hold: ms(1) })));
}

#[test]
fn connections_share_one_line_if_it_is_the_whole_that_is_bounded() {
    let whole = selected(&[Kind::Bandwidth { rate: 10, whole: true }], Stream::Both);
    let mut lines: Vec<Line> = (0..10).map(|_| Line::new(Rc::clone(&whole))).collect();
    for line in &mut lines {
        line.send(&[0; 1000]);
    }
    for step in 0..2_000 {
        for line in &mut lines {
            line.until(at_ms(step));
        }
    }
    let last = lines.iter().filter_map(|line| line.left.last()).map(|(at, _)| at.0).max();
    assert!(lines.iter().all(|line| line.bytes().len() == 1000));
    assert_eq!(last, Some(SECOND), "10,000 bytes at 10 KB/s");
}
