//! Connections that we have ended and the peer has not yet: an orderly end, bounded in number, time and bytes.
//!
//! A socket that is closed while input waits in it, or comes after, is answered by the kernel with RST; the peer then may never
//! see what was written last, which is the close frame or the refusal that says why. So the sending side ends first, and
//! input is thrown away until the peer ends too or patience is over. Applications know nothing of this: to them the connection
//! is closed.

use super::table::ShardFd;
use super::{ConnId, Seats};
use crate::time::Time;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a peer gets to end its side.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections that linger at once, per shard; for one more the oldest ends at once.
const LINGERING_MAX: usize = 16 * 1024;
/// Input thrown away per connection.
const DRAINED_BYTES_MAX: usize = 1024 * 1024;
const DRAIN_BYTES: usize = 16 * 1024;
/// Marks the place of a lingering connection in epoll's data; tables of connections never get that long.
const MARK: u32 = 1 << 31;

/// The lingering connections of a shard.
#[derive(Debug)]
pub(super) struct Linger {
    places: Vec<Option<Lingering>>,
    free: Vec<u32>,
    /// Ends of patience, earliest first, for ids that may have ended before.
    order: VecDeque<(Time, u64)>,
    seats: Seats,
    begun: u32,
    count: usize,
}

#[derive(Debug)]
struct Lingering {
    fd: ShardFd,
    id: u64,
    /// It holds a seat for as long as it holds a descriptor.
    is_seated: bool,
    /// Output that the kernel has not taken.
    unsent: Vec<u8>,
    drained_bytes: usize,
    /// The peer has ended its side.
    is_read: bool,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Nothing more can be done now.
    Wait,
    /// The connection is over.
    Over,
}

impl Linger {
    pub(super) fn new(seats: Seats) -> Linger {
        Linger { places: Vec::new(), free: Vec::new(), order: VecDeque::new(), seats, begun: 0, count: 0 }
    }

    /// Whether epoll's `data` names a lingering connection.
    pub(super) fn is_lingering(data: u64) -> bool {
        ConnId::from_bits(data).index & MARK != 0
    }

    /// Takes over a socket that is registered with `epoll`. `unsent` leaves first, then the sending side ends.
    pub(super) fn begin(
        &mut self,
        fd: ShardFd,
        is_seated: bool,
        unsent: Vec<u8>,
        epoll: &ShardFd,
        now: Time,
    ) {
        while self.count >= LINGERING_MAX && self.end_oldest() {}
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.begun = self.begun.wrapping_add(1);
        let id = ConnId { index: index | MARK, generation: self.begun }.to_bits();
        let lingering = Lingering { fd, id, is_seated, unsent, drained_bytes: 0, is_read: false };
        let is_over = lingering.ended_sending() == Step::Over || !lingering.watch(epoll);
        self.places[index as usize] = Some(lingering);
        self.order.push_back((now + PATIENCE, id));
        self.count += 1;
        if is_over {
            self.end(id);
        }
    }

    /// epoll has something to say about `id`.
    pub(super) fn ready(&mut self, id: u64, epoll: &ShardFd) {
        if self.find(id).is_some_and(|lingering| lingering.step(epoll) == Step::Over) {
            self.end(id);
        }
    }

    /// When patience with one is over next.
    pub(super) fn next(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| *at)
    }

    /// Ends those that had their time.
    pub(super) fn expire(&mut self, now: Time) {
        while self.next().is_some_and(|at| at <= now) && self.end_oldest() {}
    }

    /// Nobody lingers.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn end_oldest(&mut self) -> bool {
        let oldest = self.order.pop_front();
        if let Some((_, id)) = oldest {
            self.end(id);
        }
        oldest.is_some()
    }

    fn find(&mut self, id: u64) -> Option<&mut Lingering> {
        let index = ConnId::from_bits(id).index & !MARK;
        self.places.get_mut(index as usize)?.as_mut().filter(|lingering| lingering.id == id)
    }

    fn end(&mut self, id: u64) {
        let index = ConnId::from_bits(id).index & !MARK;
        if self.find(id).is_none() {
            return;
        }
        if self.places[index as usize].take().is_some_and(|lingering| lingering.is_seated) {
            self.seats.give_back();
        }
        self.free.push(index);
        self.count -= 1;
        // Most end long before their time: without this the queue would hold the ends of two seconds.
        while self.order.front().is_some_and(|(_, id)| {
            let index = ConnId::from_bits(*id).index & !MARK;
            self.places[index as usize].as_ref().is_none_or(|lingering| lingering.id != *id)
        }) {
            self.order.pop_front();
        }
    }
}

impl Lingering {
    /// Ends the sending side if everything has left.
    fn ended_sending(&self) -> Step {
        match self.unsent.is_empty() && rustix::net::shutdown(&self.fd, Shutdown::Write).is_err() {
            true => Step::Over,
            false => Step::Wait,
        }
    }

    fn watch(&self, epoll: &ShardFd) -> bool {
        let input = if self.is_read { EventFlags::empty() } else { EventFlags::IN | EventFlags::RDHUP };
        let output = if self.unsent.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        epoll::modify(epoll, &self.fd, EventData::new_u64(self.id), input | output).is_ok()
    }

    fn step(&mut self, epoll: &ShardFd) -> Step {
        let (had_unsent, was_read) = (!self.unsent.is_empty(), self.is_read);
        if self.write() == Step::Over || self.drain() == Step::Over {
            return Step::Over;
        }
        if self.is_read && self.unsent.is_empty() {
            return Step::Over;
        }
        let has_unsent = !self.unsent.is_empty();
        if had_unsent && !has_unsent && self.ended_sending() == Step::Over {
            return Step::Over;
        }
        let changed = (had_unsent, was_read) != (has_unsent, self.is_read);
        if changed && !self.watch(epoll) { Step::Over } else { Step::Wait }
    }

    fn write(&mut self) -> Step {
        if self.unsent.is_empty() {
            return Step::Wait;
        }
        match rustix::net::send(&self.fd, &self.unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.unsent.drain(..sent);
                Step::Wait
            }
            Err(Errno::AGAIN | Errno::INTR) => Step::Wait,
            Err(_) => Step::Over,
        }
    }

    /// Throws away what is there. One read: what is left calls again, after the others had their turn.
    fn drain(&mut self) -> Step {
        if self.is_read {
            return Step::Wait;
        }
        match rustix::net::recv(&self.fd, &mut [0; DRAIN_BYTES], RecvFlags::empty()) {
            Ok((0, _)) => {
                self.is_read = true;
                Step::Wait
            }
            Ok((bytes, _)) => {
                self.drained_bytes += bytes;
                if self.drained_bytes > DRAINED_BYTES_MAX { Step::Over } else { Step::Wait }
            }
            Err(Errno::AGAIN | Errno::INTR) => Step::Wait,
            Err(_) => Step::Over,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll::CreateFlags;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    struct Shard {
        linger: Linger,
        epoll: ShardFd,
        listener: TcpListener,
        seats: Seats,
    }

    impl Shard {
        fn new() -> Shard {
            let seats = Seats::new(1);
            Shard {
                linger: Linger::new(seats.clone()),
                epoll: ShardFd::from(epoll::create(CreateFlags::CLOEXEC).unwrap()),
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
                seats,
            }
        }

        /// The peer's end of a connection that begins to linger at time 0, holding the only seat.
        fn begin(&mut self, unsent: &[u8], prepare: impl FnOnce(&TcpStream)) -> TcpStream {
            let peer = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            let (stream, _) = self.listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            prepare(&stream);
            let fd = ShardFd::from(OwnedFd::from(stream));
            epoll::add(&self.epoll, &fd, EventData::new_u64(0), EventFlags::IN).unwrap();
            assert!(self.seats.take());
            self.linger.begin(fd, true, unsent.to_vec(), &self.epoll, Time(0));
            peer
        }

        fn step(&mut self) {
            let mut events = Vec::with_capacity(8);
            let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None).unwrap();
            for event in events {
                let id = event.data.u64();
                assert!(Linger::is_lingering(id));
                self.linger.ready(id, &self.epoll);
            }
        }
    }

    #[test]
    fn the_last_words_arrive_although_input_was_not_read() {
        let mut shard = Shard::new();
        let mut peer = shard.begin(b"", |mut stream| stream.write_all(b"bye").unwrap());
        peer.write_all(&[0; 100_000]).unwrap();
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"bye");
        assert!(!shard.seats.take(), "as long as it has a descriptor it has its seat");
        drop(peer);
        while !shard.linger.is_empty() {
            shard.step();
        }
        assert!(shard.seats.take() && shard.linger.next().is_none());
    }

    #[test]
    fn what_the_kernel_did_not_take_leaves_first() {
        let mut shard = Shard::new();
        let mut filled = 0;
        let mut peer = shard.begin(b"bye", |mut stream| {
            while let Ok(bytes) = stream.write(&[b'x'; 65_536]) {
                filled += bytes;
            }
        });
        let reader = std::thread::spawn(move || {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            heard
        });
        while !shard.linger.is_empty() {
            shard.step();
        }
        let heard = reader.join().unwrap();
        assert!(heard.len() == filled + 3 && heard.ends_with(b"bye"));
    }

    #[test]
    fn patience_has_an_end() {
        let mut shard = Shard::new();
        let mut silent = shard.begin(b"", |_| {});
        let end = Time(0) + PATIENCE;
        assert_eq!(shard.linger.next(), Some(end));
        shard.linger.expire(Time(end.0 - 1));
        assert!(!shard.linger.is_empty());
        shard.linger.expire(end);
        assert!(shard.linger.is_empty() && shard.seats.take());
        assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn who_goes_on_talking_is_cut() {
        let mut shard = Shard::new();
        let mut peer = shard.begin(b"", |_| {});
        let talker = std::thread::spawn(move || while peer.write_all(&[0; 65_536]).is_ok() {});
        while !shard.linger.is_empty() {
            shard.step();
        }
        talker.join().unwrap();
    }

    #[test]
    fn a_place_used_again_is_not_mistaken_for_who_had_it() {
        let mut shard = Shard::new();
        let _first = shard.begin(b"", |_| {});
        let first = shard.linger.order[0].1;
        shard.linger.end(first);
        let _second = shard.begin(b"", |_| {});
        shard.linger.ready(first, &shard.epoll);
        shard.linger.end(first);
        assert!(!shard.linger.is_empty());
    }
}
