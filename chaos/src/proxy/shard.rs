//! One shard of the proxy: moves bytes between pairs of connections as their [`Link`] says.
//!
//! Each accepted connection gets one of its own to the server. What came on one side and may not leave yet waits in the link, what the
//! kernel does not take waits in the connection's buffer, and beyond a bound of both the sender is not read any more. Ends
//! travel like bytes: a side that ends, or is cut, is ended or cut on the other side when its turn has come.

use super::{Mail, Settings};
use crate::link::{End, Fate, InForce, Link, Selected, Verdict, Way};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::time::Time;

/// Bytes that the kernel does not take; beyond that nothing more leaves the link for them.
const BACKLOG_BYTES_MAX: usize = 256 * 1024;
/// Bytes that wait in all links of a shard; beyond that each may hold a little only.
const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;
const LITTLE: usize = 16 * 1024;
/// No pair.
const NOBODY: u32 = u32::MAX;

/// The application of one shard.
#[derive(Debug)]
pub struct ProxyShard {
    settings: Arc<Settings>,
    toxics: Vec<InForce>,
    /// By the set of toxics that a connection has, as a bit each.
    selected: BTreeMap<u64, Rc<Selected>>,
    pairs: Vec<Option<Pair>>,
    free: Vec<u32>,
    /// By place of a connection: its pair, and its side in the lowest bit.
    owners: Vec<u32>,
    due: BinaryHeap<Reverse<(Time, u32, u64)>>,
    /// For its capacity only.
    ready: Vec<u32>,
    accepted: u64,
    held: usize,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Pair {
    /// Unique among all connections of the proxy.
    number: u64,
    link: Link,
    /// The client's connection and the server's.
    ends: [Option<ConnId>; 2],
    /// Its earliest place in the queue of what is due.
    due: Option<Time>,
    /// Of all that waits in the link.
    held: usize,
}

impl Pair {
    fn source(&self, way: Way) -> Option<ConnId> {
        self.ends[way as usize]
    }

    fn sink(&self, way: Way) -> Option<ConnId> {
        self.ends[way.back() as usize]
    }
}

impl ProxyShard {
    /// A shard without connections and toxics.
    pub fn new(settings: Arc<Settings>) -> ProxyShard {
        ProxyShard {
            settings,
            toxics: Vec::new(),
            selected: BTreeMap::new(),
            pairs: Vec::new(),
            free: Vec::new(),
            owners: Vec::new(),
            due: BinaryHeap::new(),
            ready: Vec::new(),
            accepted: 0,
            held: 0,
            scratch: Vec::new(),
        }
    }

    /// Pairs of connections, those that have lost a side included.
    pub fn pairs(&self) -> usize {
        self.pairs.len() - self.free.len()
    }

    fn own(&mut self, conn: ConnId, owner: u32) {
        let index = conn.index as usize;
        if self.owners.len() <= index {
            self.owners.resize(index + 1, NOBODY);
        }
        self.owners[index] = owner;
    }

    /// The pair of a connection, and the way that leads away from it.
    fn pair_of(&self, conn: ConnId) -> Option<(u32, Way)> {
        let owner = *self.owners.get(conn.index as usize).filter(|owner| **owner != NOBODY)?;
        Some((owner >> 1, if owner & 1 == 0 { Way::Up } else { Way::Down }))
    }

    fn pair(&mut self, index: u32) -> Option<&mut Pair> {
        self.pairs.get_mut(index as usize)?.as_mut()
    }

    /// What holds for connection `number`.
    fn select(&mut self, number: u64) -> Rc<Selected> {
        let seed = self.settings.seed;
        let has = |place: &(u32, &InForce)| place.1.toxic.selects(seed, number);
        let set = (0..).zip(&self.toxics).filter(has).fold(0, |set, (bit, _)| set | 1_u64 << bit);
        let toxics = &self.toxics;
        let make = || {
            let chosen = (0..).zip(toxics).filter(|(bit, _)| set & 1_u64 << bit != 0);
            Rc::new(Selected::new(chosen.map(|(_, toxic)| toxic)))
        };
        Rc::clone(self.selected.entry(set).or_insert_with(make))
    }

    fn accept(&mut self, client: ConnId, peer: SocketAddr, io: &mut Io<Mail>) {
        let number = self.accepted * io.shards() as u64 + io.shard() as u64;
        self.accepted += 1;
        let link = Link::new(self.settings.seed, number, self.select(number), io.now());
        if link.is_refused() {
            self.own(client, NOBODY);
            return io.reset(client);
        }
        let server = io.connect(self.settings.upstream, self.source(peer));
        io.keep_halves(client);
        io.keep_halves(server);
        let pair = Pair { number, link, ends: [Some(client), Some(server)], due: None, held: 0 };
        let index = match self.free.pop() {
            Some(index) => {
                self.pairs[index as usize] = Some(pair);
                index
            }
            None => {
                self.pairs.push(Some(pair));
                (self.pairs.len() - 1) as u32
            }
        };
        self.own(client, index << 1);
        self.own(server, index << 1 | 1);
        self.serve(index, io);
    }

    /// On loopback the server sees the client's own address, and source ports last as long as the clients' did.
    fn source(&self, peer: SocketAddr) -> Option<IpAddr> {
        let is_loopback = |address: IpAddr| address.is_loopback() && address.is_ipv4();
        Some(peer.ip()).filter(|ip| is_loopback(*ip) && is_loopback(self.settings.upstream.ip()))
    }

    /// Does what is due for a pair.
    fn serve(&mut self, index: u32, io: &mut Io<Mail>) {
        let Some(Some(pair)) = self.pairs.get_mut(index as usize) else { return };
        match pair.link.fate(io.now()) {
            Fate::Goes => {}
            Fate::Reset => return cut(pair, io),
            Fate::Close => return close(pair, io),
            Fate::HalfOpen(way) => {
                if let Some(sink) = pair.sink(way) {
                    io.reset(sink);
                }
            }
        }
        let held_max = if self.held > HELD_BYTES_MAX { LITTLE } else { usize::MAX };
        for way in Way::ALL {
            match pass(pair, way, &mut self.scratch, io) {
                Verdict::Open => {}
                Verdict::End => {
                    if let Some(sink) = pair.sink(way) {
                        io.end_output(sink);
                    }
                }
                Verdict::Close => return close(pair, io),
                Verdict::Reset => return cut(pair, io),
            }
            pace(pair, way, held_max, io);
        }
        let held = pair.link.held(Way::Up) + pair.link.held(Way::Down);
        self.held = self.held + held - std::mem::replace(&mut pair.held, held);
        let next = next(pair, io);
        if let Some(at) = next.filter(|at| pair.due.is_none_or(|due| *at < due)) {
            pair.due = Some(at);
            self.due.push(Reverse((at, index, pair.number)));
        }
    }

    fn apply(&mut self, toxics: Vec<InForce>, io: &mut Io<Mail>) {
        self.toxics = toxics;
        self.selected.clear();
        let refuses_all = self
            .toxics
            .iter()
            .any(|toxic| toxic.toxic.is_on_all() && toxic.toxic.kind == crate::link::Kind::Refuse {});
        io.accept(!refuses_all);
        for index in 0..self.pairs.len() as u32 {
            let Some(number) = self.pair(index).map(|pair| pair.number) else { continue };
            let selected = self.select(number);
            if self.pair(index).is_some_and(|pair| pair.link.apply(selected, io.now())) {
                self.serve(index, io);
            }
        }
    }
}

fn cut(pair: &Pair, io: &mut Io<Mail>) {
    pair.ends.into_iter().flatten().for_each(|end| io.reset(end));
}

fn close(pair: &Pair, io: &mut Io<Mail>) {
    for end in pair.ends.into_iter().flatten() {
        if io.is_open(end) {
            io.close(end);
        } else {
            // It is still being opened.
            io.reset(end);
        }
    }
}

/// Writes what is to leave this way, if the other side is open and takes it.
fn pass(pair: &mut Pair, way: Way, scratch: &mut Vec<u8>, io: &mut Io<Mail>) -> Verdict {
    let Some(sink) = pair.sink(way).filter(|sink| takes(*sink, io)) else { return Verdict::Open };
    let verdict = pair.link.pull(way, io.now(), scratch);
    if !scratch.is_empty()
        && let Some(out) = io.send(sink)
    {
        out.extend_from_slice(scratch);
    }
    scratch.clear();
    scratch.shrink_to(BACKLOG_BYTES_MAX);
    if !takes(sink, io) {
        io.await_drain(sink);
    }
    verdict
}

/// Whether more may be written for it.
fn takes(sink: ConnId, io: &Io<Mail>) -> bool {
    io.is_open(sink) && io.backlog(sink) < BACKLOG_BYTES_MAX
}

/// Reads from the sender no faster than the receiver takes.
fn pace(pair: &Pair, way: Way, held_max: usize, io: &mut Io<Mail>) {
    let Some(source) = pair.source(way) else { return };
    let backlog = pair.sink(way).map_or(0, |sink| io.backlog(sink));
    let waiting = pair.link.held(way) + backlog;
    let most = pair.link.held_max(way).min(held_max);
    if waiting > most {
        io.pause_input(source);
        if let Some(sink) = pair.sink(way).filter(|_| backlog > 0) {
            io.await_drain(sink);
        }
    } else if waiting <= most / 2 {
        io.resume_input(source);
    }
}

/// When the pair is to be served next although nothing comes.
fn next(pair: &Pair, io: &Io<Mail>) -> Option<Time> {
    let ways = Way::ALL.into_iter().filter(|way| pair.sink(*way).is_some_and(|sink| takes(sink, io)));
    ways.filter_map(|way| pair.link.due(way)).chain(pair.link.cut_due()).min()
}

impl Application for ProxyShard {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Mail>) {
        match origin {
            Origin::Accepted(peer) => self.accept(conn, peer, io),
            Origin::Connected => {
                if let Some((index, _)) = self.pair_of(conn) {
                    self.serve(index, io);
                }
            }
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        if let Some((index, way)) = self.pair_of(conn)
            && let Some(Some(pair)) = self.pairs.get_mut(index as usize)
        {
            let now = io.now();
            let out = pair.sink(way).and_then(|sink| io.send(sink));
            pair.link.input(way, input, now, out);
            self.serve(index, io);
        }
        input.len()
    }

    fn input_ended(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        if let Some((index, way)) = self.pair_of(conn)
            && let Some(pair) = self.pair(index)
        {
            pair.link.ended(way, End::Fin, io.now());
            self.serve(index, io);
        }
    }

    fn closed(&mut self, conn: ConnId, how: Closed, io: &mut Io<Mail>) {
        let Some((index, way)) = self.pair_of(conn) else { return };
        self.own(conn, NOBODY);
        let Some(pair) = self.pair(index) else { return };
        pair.ends[way as usize] = None;
        pair.link.gone(way.back());
        match how {
            Closed::Eof => pair.link.ended(way, End::Fin, io.now()),
            Closed::Reset | Closed::ConnectFailed(_) | Closed::Truncated | Closed::Tls => {
                pair.link.ended(way, End::Reset, io.now());
            }
            // Our own doing; the other side has been dealt with.
            Closed::Local => {}
        }
        let (is_over, held) = (pair.ends == [None, None], pair.held);
        if is_over {
            self.held -= held;
            self.pairs[index as usize] = None;
            self.free.push(index);
        } else {
            self.serve(index, io);
        }
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Toxics { version, toxics } => {
                let known = |id| self.toxics.iter().find(|toxic| toxic.id == id).map(|toxic| toxic.since);
                let now = io.now();
                let in_force =
                    |asked: &InForce| InForce { since: known(asked.id).unwrap_or(now), ..asked.clone() };
                let toxics = toxics.iter().map(in_force).collect();
                self.apply(toxics, io);
                io.post(io.edge(), Mail::InForce { version, at: io.clock(), toxics: self.toxics.len() });
            }
            Mail::Stop => {
                for pair in self.pairs.iter().flatten() {
                    close(pair, io);
                }
                io.stop();
            }
            Mail::InForce { .. } => {}
        }
    }

    fn timer(&mut self, _: u64, _: &mut Io<Mail>) {}

    fn drained(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        if let Some((index, _)) = self.pair_of(conn) {
            self.serve(index, io);
        }
    }

    fn step_done(&mut self, io: &mut Io<Mail>) {
        // All first: what is due again at once, such as the next slice, leaves in a step of its own.
        let mut ready = std::mem::take(&mut self.ready);
        while self.due.peek().is_some_and(|Reverse((at, ..))| *at <= io.now())
            && let Some(Reverse((at, index, number))) = self.due.pop()
        {
            // Its place may be another's by now, or it may be due at another time.
            if let Some(pair) = self.pair(index).filter(|pair| pair.number == number && pair.due == Some(at))
            {
                pair.due = None;
                ready.push(index);
            }
        }
        for index in ready.drain(..) {
            self.serve(index, io);
        }
        self.ready = ready;
    }

    fn deadline(&self) -> Option<Time> {
        self.due.peek().map(|Reverse((at, ..))| *at)
    }
}
