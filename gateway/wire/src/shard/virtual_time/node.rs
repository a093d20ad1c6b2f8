//! A program in virtual time: its shards, and the mail between them.

use super::link::{End, Owner};
use super::world::{Event, Host, Input, World};
use crate::shard::io::Connect;
use crate::shard::mailbox::Outboxes;
use crate::shard::step::{Interest, Sockets, Step};
use crate::shard::{Application, ConnId, Seats, ShardIndex};
use crate::time::Time;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How soon a shard comes back when another shard's ring is full.
const RETRY: Duration = Duration::from_millis(1);

/// The shards of one program, and its edge.
pub struct Node<A: Application> {
    host: Host,
    shards: Vec<Step<A, End>>,
    /// Mail under way, by sender and reader (the edge is the last), with the time at which it is in the ring.
    under_way: Vec<VecDeque<(Time, A::Mail)>>,
    /// Mail in the rings.
    inboxes: Vec<Vec<(ShardIndex, A::Mail)>>,
    wakes: u64,
    /// Which wake-up by mail is lost, counted from 1.
    lost_wake: Option<u64>,
}

impl<A: Application> Node<A> {
    /// Starts `shards` shards, listening on `listens`, that accept as many connections as `seats` has.
    pub fn start(
        world: &mut World,
        shards: usize,
        listens: Option<SocketAddr>,
        seats: &Seats,
        mut application: impl FnMut(ShardIndex) -> A,
    ) -> Node<A> {
        let host = world.begin_host(shards, listens);
        let (now, congested_from) = (world.now(), world.conditions().congested_from);
        let nodes = shards + 1;
        let mut node = Node {
            host,
            shards: (0..shards)
                .map(|shard| {
                    let outboxes = Outboxes::new(shard, nodes, congested_from);
                    Step::new(now, outboxes, seats.clone(), application(shard))
                })
                .collect(),
            under_way: (0..nodes * nodes).map(|_| VecDeque::new()).collect(),
            inboxes: (0..nodes).map(|_| Vec::new()).collect(),
            wakes: 0,
            lost_wake: None,
        };
        for shard in 0..shards {
            node.wake_when_due(shard, world);
        }
        node
    }

    /// Ends the program at once: its connections are closed by the kernel, its mail is gone.
    pub fn kill(self, world: &mut World) {
        world.end_host(self.host);
    }

    /// Takes the event if it is for this node; gives whether it was.
    pub fn handle(&mut self, event: Event, world: &mut World) -> bool {
        match event {
            Event::Step { host, shard } if host == self.host => self.step(shard, world),
            Event::Mail { host, from, to } if host == self.host => self.mail_arrived(from, to, world),
            _ => return false,
        }
        true
    }

    /// Sends mail from the edge.
    pub fn post(&mut self, to: ShardIndex, mail: A::Mail, world: &mut World) {
        let edge = self.shards.len();
        self.send(edge, to, std::iter::once(mail), world);
    }

    /// Mail that has arrived at the edge.
    pub fn take_edge_mail(&mut self) -> impl Iterator<Item = (ShardIndex, A::Mail)> + '_ {
        self.inboxes.last_mut().into_iter().flat_map(|inbox| inbox.drain(..))
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The application of one shard.
    pub fn application(&self, shard: ShardIndex) -> &A {
        &self.shards[shard].application
    }

    /// All mail that was posted and has not been taken.
    pub fn mail_under_way(&self) -> impl Iterator<Item = &A::Mail> {
        let outboxes = self.shards.iter().flat_map(|step| step.io.mail.unsent());
        let under_way = self.under_way.iter().flatten().map(|(_, mail)| mail);
        let inboxes = self.inboxes.iter().flatten().map(|(_, mail)| mail);
        outboxes.chain(under_way).chain(inboxes)
    }

    /// Stops a shard's thread for a while, as a paused process or a starved core does.
    pub fn stall(&self, shard: ShardIndex, duration: Duration, world: &mut World) {
        world.stall(self.host, shard, duration);
    }

    /// Loses the `number`-th wake-up by mail from now on: the fault that a mailbox without its fences has.
    pub fn lose_wake(&mut self, number: u64) {
        self.lost_wake = Some(self.wakes + number);
    }

    fn step(&mut self, shard: ShardIndex, world: &mut World) {
        let Input { newcomers, ready } = world.take_input(self.host, shard);
        let step = &mut self.shards[shard];
        if step.io.stopping {
            return;
        }
        step.io.set_now(world.now());
        let mut sockets = Kernel { world, host: self.host, shard };
        for (end, peer) in newcomers {
            step.accept(end, peer, &mut sockets);
        }
        for (conn, readiness) in ready {
            step.ready(conn, readiness, &mut sockets);
        }
        step.take_mail(&mut self.inboxes[shard]);
        step.expire_timers();
        step.finish(&mut sockets);
        if step.io.stopping {
            step.reset_all(&mut sockets);
        }
        let accepts = step.io.accepts;
        world.keep_door(self.host, shard, accepts);
        self.flush(shard, world);
        self.wake_when_due(shard, world);
    }

    fn wake_when_due(&mut self, shard: ShardIndex, world: &mut World) {
        let step = &mut self.shards[shard];
        let now = world.now();
        let unsent = step.io.mail.has_unsent().then(|| now + RETRY);
        let due = [step.deadline(), unsent].into_iter().flatten().min();
        if let Some(at) = due.filter(|_| !step.io.stopping) {
            // Time must pass, or a deadline that does not move would hold the world's clock.
            world.wake(self.host, shard, at.max(now + Duration::from_nanos(1)));
        }
    }

    /// Sends what a step has posted on its way, as far as the rings have room.
    fn flush(&mut self, from: ShardIndex, world: &mut World) {
        let nodes = self.inboxes.len();
        let ring_mails = world.conditions().ring_mails;
        for to in (0..nodes).filter(|&to| to != from) {
            let waiting = self.inboxes[to].iter().filter(|(sender, _)| *sender == from).count();
            let in_ring = self.under_way[from * nodes + to].len() + waiting;
            let mail = self.shards[from].io.mail.take(to, ring_mails.saturating_sub(in_ring));
            self.send(from, to, mail.into_iter(), world);
        }
    }

    fn send(
        &mut self,
        from: ShardIndex,
        to: ShardIndex,
        mail: impl ExactSizeIterator<Item = A::Mail>,
        world: &mut World,
    ) {
        if mail.len() == 0 {
            return;
        }
        let range = world.conditions().mail.clone();
        let at = world.now() + world.random().duration(&range);
        let way = &mut self.under_way[from * self.inboxes.len() + to];
        // Mail between two shards keeps its order; over two ways it does not.
        let at = way.back().map_or(at, |(last, _)| at.max(*last));
        way.extend(mail.map(|mail| (at, mail)));
        world.mail_at(self.host, from, to, at);
    }

    fn mail_arrived(&mut self, from: ShardIndex, to: ShardIndex, world: &mut World) {
        let nodes = self.inboxes.len();
        let mut arrived = 0;
        while let Some((_, mail)) =
            self.under_way[from * nodes + to].pop_front_if(|(at, _)| *at <= world.now())
        {
            self.inboxes[to].push((from, mail));
            arrived += 1;
        }
        if arrived == 0 || to >= self.shards.len() {
            return;
        }
        self.wakes += 1;
        if self.lost_wake != Some(self.wakes) {
            world.wake_soon(self.host, to);
        }
    }
}

/// The world's kernel, as one shard uses it.
struct Kernel<'a> {
    world: &'a mut World,
    host: Host,
    shard: ShardIndex,
}

impl Sockets for Kernel<'_> {
    type Socket = End;

    fn connect(&mut self, connect: &Connect) -> std::io::Result<End> {
        let owner = Owner::Shard { host: self.host, shard: self.shard, watched: None };
        let from = connect.from.unwrap_or([127, 0, 0, 1].into());
        Ok(self.world.begin_connect(owner, SocketAddr::new(from, 0), connect.to))
    }

    fn connect_outcome(&mut self, socket: &End) -> Result<(), Errno> {
        self.world.connect_outcome(*socket)
    }

    fn add(&mut self, conn: ConnId, socket: &End, interest: Interest) -> bool {
        self.world.watch(*socket, conn, interest);
        true
    }

    fn watch(&mut self, conn: ConnId, socket: &End, interest: Interest) {
        self.world.watch(*socket, conn, interest);
    }

    fn receive(&mut self, socket: &End, into: &mut [u8]) -> Result<usize, Errno> {
        self.world.receive(*socket, into)
    }

    fn age(&mut self, socket: &End) -> Duration {
        self.world.age(*socket)
    }

    fn send(&mut self, socket: &End, bytes: &[u8]) -> Result<usize, Errno> {
        self.world.send(*socket, bytes)
    }

    fn end_output(&mut self, socket: &End) {
        self.world.end_output(*socket);
    }

    fn reset_on_close(&mut self, socket: &End) {
        self.world.reset_on_close(*socket);
    }

    fn close(&mut self, socket: End) {
        self.world.close(socket);
    }

    fn finish(&mut self, socket: End, unsent: &[u8], _: bool) -> bool {
        self.world.finish(socket, unsent);
        true
    }
}
