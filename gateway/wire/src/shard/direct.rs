//! A driver without a kernel: one shard whose connections are buffers, stepped by its owner.
//!
//! For benches, which want the cost of a step and nothing else, and for tests that feed one shard by hand. There is no clock,
//! no link and no other shard: see [`super::virtual_time`] for those.

use super::io::Connect;
use super::mailbox::Outboxes;
use super::step::{Interest, Readiness, Sockets, Step};
use super::{Application, ConnId, Seats};
use crate::time::Time;
use rustix::io::Errno;
use std::net::SocketAddr;

/// Outbox length from which the edge counts as congested.
const CONGESTED_FROM: usize = 64 * 1024;

/// The far end of a connection of a [`Direct`] shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link(usize);

/// One shard and the far ends of its connections.
pub struct Direct<A: Application> {
    step: Step<A, Link>,
    lines: Lines,
    ready: Vec<Link>,
}

#[derive(Debug, Default)]
struct Lines(Vec<Line>);

#[derive(Debug, Default)]
struct Line {
    conn: Option<ConnId>,
    /// Towards the shard, of which `read` bytes have been taken.
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
    is_open: bool,
}

impl<A: Application> Direct<A> {
    /// A shard, the only one of its program, at `now`.
    pub fn new(now: Time, application: A) -> Direct<A> {
        let outboxes = Outboxes::new(0, 2, CONGESTED_FROM);
        let step = Step::new(now, outboxes, Seats::unlimited(), application);
        Direct { step, lines: Lines::default(), ready: Vec::new() }
    }

    /// A peer connects.
    pub fn open(&mut self, peer: SocketAddr) -> Link {
        let link = Link(self.lines.0.len());
        self.lines.0.push(Line { is_open: true, ..Line::default() });
        self.step.accept(link, peer, &mut self.lines);
        link
    }

    /// The peer sends; the next step takes it.
    pub fn send(&mut self, link: Link, bytes: &[u8]) {
        self.lines.0[link.0].input.extend_from_slice(bytes);
        self.ready.push(link);
    }

    /// One step at `now`: all that was sent, mail to oneself, timers, output.
    pub fn step(&mut self, now: Time) {
        self.step.io.set_now(now);
        for link in self.ready.iter() {
            if let Some(conn) = self.lines.0[link.0].conn {
                self.step.ready(conn, Readiness { input: true, room: false, failed: false }, &mut self.lines);
            }
        }
        // What an application has left unread waits for the next step.
        self.ready.retain(|link| self.lines.0[link.0].is_waiting());
        self.step.take_mail(&mut Vec::new());
        self.step.expire_timers();
        self.step.finish(&mut self.lines);
    }

    /// When the next step is due even if nothing is sent.
    pub fn deadline(&self) -> Option<Time> {
        self.step.deadline()
    }

    /// What the peer has received since [`Direct::forget_output`].
    pub fn output(&self, link: Link) -> &[u8] {
        &self.lines.0[link.0].output
    }

    /// The peer has seen its output.
    pub fn forget_output(&mut self, link: Link) {
        self.lines.0[link.0].output.clear();
    }

    /// Whether the shard has not closed the connection.
    pub fn is_open(&self, link: Link) -> bool {
        self.lines.0[link.0].is_open
    }
}

impl Line {
    fn is_waiting(&self) -> bool {
        self.is_open && self.read < self.input.len()
    }
}

impl Sockets for Lines {
    type Socket = Link;

    fn connect(&mut self, _: &Connect) -> std::io::Result<Link> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn connect_outcome(&mut self, _: &Link) -> Result<(), Errno> {
        Ok(())
    }

    fn add(&mut self, conn: ConnId, link: &Link, _: Interest) -> bool {
        self.0[link.0].conn = Some(conn);
        true
    }

    fn watch(&mut self, _: ConnId, _: &Link, _: Interest) {}

    fn receive(&mut self, link: &Link, into: &mut [u8]) -> Result<usize, Errno> {
        let line = &mut self.0[link.0];
        let unread = &line.input[line.read..];
        if unread.is_empty() {
            return Err(Errno::AGAIN);
        }
        let taken = unread.len().min(into.len());
        into[..taken].copy_from_slice(&unread[..taken]);
        line.read += taken;
        if line.read == line.input.len() {
            line.input.clear();
            line.read = 0;
        }
        Ok(taken)
    }

    fn send(&mut self, link: &Link, bytes: &[u8]) -> Result<usize, Errno> {
        self.0[link.0].output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn end_output(&mut self, _: &Link) {}

    fn reset_on_close(&mut self, _: &Link) {}

    fn close(&mut self, link: Link) {
        self.0[link.0].is_open = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Closed, Io, Origin, ShardIndex};
    use super::*;
    use std::time::Duration;

    /// Answers each byte with its successor, `x` with the end, and the end of the first millisecond with a dot.
    struct Successor;

    impl Application for Successor {
        type Mail = u8;

        fn opened(&mut self, conn: ConnId, _: Origin, io: &mut Io<u8>) {
            io.set_timer(io.now() + Duration::from_millis(1), conn.to_bits());
        }

        fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<u8>) -> usize {
            for &byte in &*input {
                match byte {
                    b'x' => io.close(conn),
                    byte => io.post(io.shard(), byte + 1),
                }
            }
            input.len()
        }

        fn closed(&mut self, _: ConnId, _: Closed, _: &mut Io<u8>) {}

        fn mail(&mut self, _: ShardIndex, byte: u8, io: &mut Io<u8>) {
            io.send(ConnId { index: 0, generation: 0 }).unwrap().push(byte);
        }

        fn timer(&mut self, key: u64, io: &mut Io<u8>) {
            io.send(ConnId::from_bits(key)).unwrap().push(b'.');
        }
    }

    #[test]
    fn a_step_takes_input_mail_and_timers() {
        let mut shard = Direct::new(Time(0), Successor);
        let link = shard.open(([127, 0, 0, 1], 1).into());
        shard.send(link, b"ab");
        shard.step(Time(0));
        assert_eq!(shard.output(link), b"bc");
        shard.forget_output(link);
        assert_eq!(shard.deadline(), Some(Time(1_000_000)));
        shard.step(Time(1_000_000));
        assert_eq!((shard.output(link), shard.is_open(link)), (&b"."[..], true));
        shard.send(link, b"x");
        shard.step(Time(1_000_000));
        assert!(!shard.is_open(link));
    }
}
