//! Mail between shards: one ring per pair, written and read in batches, with one doorbell per reader.
//!
//! A reader announces that it goes to sleep, fences, looks into its rings once more, then sleeps. A sender publishes, fences,
//! and rings the bell only if the reader has announced. Whichever fence comes second sees the other side, so no mail is slept
//! over and a busy reader costs its senders no system call.

use super::ShardIndex;
use super::sync::{AtomicBool, Bell, BellRef, Consumer, Ordering, Producer, fence, ring};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Outbox length from which a destination counts as congested and new work for it must be refused.
const OUTBOX_CONGESTED: usize = 64 * 1024;

#[derive(Debug)]
struct Doorbell {
    bell: Bell,
    asleep: AtomicBool,
}

/// Mail of one node that has not left: all that an application sees of the mail. Knows no ring and no bell.
#[derive(Debug)]
pub(super) struct Outboxes<M> {
    index: ShardIndex,
    outboxes: Vec<VecDeque<M>>,
    /// Mail to oneself.
    local: VecDeque<M>,
    /// Outbox length from which a destination counts as congested.
    congested_from: usize,
}

/// What carries a node's mail: its ends of the rings, and the doorbells.
#[derive(Debug)]
pub(super) struct Rings<M> {
    index: ShardIndex,
    outgoing: Vec<Option<Producer<M>>>,
    incoming: Vec<Option<Consumer<M>>>,
    doorbells: Arc<[Doorbell]>,
}

/// One node's end of the mail: its outboxes, its rings, its doorbell.
#[derive(Debug)]
pub struct Mailbox<M> {
    outboxes: Outboxes<M>,
    rings: Rings<M>,
}

/// Mailboxes for `nodes` nodes, each able to write to every other.
pub fn network<M>(nodes: usize) -> io::Result<Vec<Mailbox<M>>> {
    let doorbells: Arc<[Doorbell]> = (0..nodes)
        .map(|_| Ok(Doorbell { bell: Bell::new()?, asleep: AtomicBool::new(false) }))
        .collect::<io::Result<_>>()?;
    let mut mailboxes: Vec<Mailbox<M>> = (0..nodes)
        .map(|index| Mailbox {
            outboxes: Outboxes::new(index, nodes, OUTBOX_CONGESTED),
            rings: Rings {
                index,
                outgoing: (0..nodes).map(|_| None).collect(),
                incoming: (0..nodes).map(|_| None).collect(),
                doorbells: Arc::clone(&doorbells),
            },
        })
        .collect();
    for from in 0..nodes {
        for to in (0..nodes).filter(|&to| to != from) {
            let (producer, consumer) = ring();
            mailboxes[from].rings.outgoing[to] = Some(producer);
            mailboxes[to].rings.incoming[from] = Some(consumer);
        }
    }
    Ok(mailboxes)
}

impl<M> Outboxes<M> {
    /// Empty outboxes of node `index` of `nodes`.
    pub(super) fn new(index: ShardIndex, nodes: usize, congested_from: usize) -> Outboxes<M> {
        let outboxes = (0..nodes).map(|_| VecDeque::new()).collect();
        Outboxes { index, outboxes, local: VecDeque::new(), congested_from }
    }

    pub(super) fn index(&self) -> ShardIndex {
        self.index
    }

    pub(super) fn nodes(&self) -> usize {
        self.outboxes.len()
    }

    pub(super) fn post(&mut self, to: ShardIndex, mail: M) {
        if to == self.index {
            self.local.push_back(mail);
        } else {
            self.outboxes[to].push_back(mail);
        }
    }

    pub(super) fn congested(&self, to: ShardIndex) -> bool {
        self.outboxes[to].len() >= self.congested_from
    }

    /// Whether mail waits here; the owner must come back soon instead of sleeping.
    pub(super) fn has_unsent(&self) -> bool {
        !self.local.is_empty() || self.outboxes.iter().any(|outbox| !outbox.is_empty())
    }

    /// Takes at most `count` mails for `to`, in order.
    pub(super) fn take(&mut self, to: ShardIndex, count: usize) -> Vec<M> {
        let outbox = &mut self.outboxes[to];
        outbox.drain(..count.min(outbox.len())).collect()
    }

    /// All mail that waits here.
    pub(super) fn unsent(&self) -> impl Iterator<Item = &M> {
        self.outboxes.iter().flatten().chain(&self.local)
    }

    /// The next piece of mail to oneself.
    pub(super) fn take_local(&mut self) -> Option<M> {
        self.local.pop_front()
    }
}

impl<M> Rings<M> {
    pub(super) fn index(&self) -> ShardIndex {
        self.index
    }

    /// This node's doorbell, to wait on.
    pub(super) fn doorbell(&self) -> BellRef<'_> {
        self.doorbells[self.index].bell.as_ref()
    }

    /// Publishes what was posted, as far as the rings have room, and wakes who sleeps.
    pub(super) fn flush(&mut self, outboxes: &mut Outboxes<M>) {
        for (to, (outbox, ring)) in outboxes.outboxes.iter_mut().zip(&mut self.outgoing).enumerate() {
            let Some(ring) = ring else { continue };
            let count = outbox.len().min(ring.slots());
            if count == 0 {
                continue;
            }
            if let Ok(chunk) = ring.write_chunk_uninit(count) {
                chunk.fill_from_iter(outbox.drain(..count));
            }
            fence(Ordering::SeqCst);
            if self.doorbells[to].asleep.load(Ordering::Relaxed) {
                self.doorbells[to].bell.ring();
            }
        }
    }

    /// Moves a batch of mail from each other node into `into`, per sender in the order it was posted.
    pub(super) fn receive(&mut self, into: &mut Vec<(ShardIndex, M)>) {
        for (from, ring) in self.incoming.iter_mut().enumerate() {
            let Some(ring) = ring else { continue };
            let count = ring.slots();
            if let Ok(chunk) = ring.read_chunk(count) {
                into.extend(chunk.into_iter().map(|mail| (from, mail)));
            }
        }
    }

    /// Announces sleep. False: mail is there, don't sleep.
    pub(super) fn may_sleep(&self) -> bool {
        let asleep = &self.doorbells[self.index].asleep;
        asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.incoming.iter().flatten().all(|ring| ring.slots() == 0);
        if !empty {
            asleep.store(false, Ordering::Relaxed);
        }
        empty
    }

    /// Back from sleep: senders need not ring.
    pub(super) fn awake(&self) {
        self.doorbells[self.index].asleep.store(false, Ordering::Relaxed);
    }

    /// Stops the doorbell's ringing. Only who was told that it rings need do this, which a busy reader never is.
    pub(super) fn silence(&self) {
        self.doorbells[self.index].bell.silence();
    }
}

impl<M> Mailbox<M> {
    /// The application's part and the driver's part.
    pub(super) fn into_parts(self) -> (Outboxes<M>, Rings<M>) {
        (self.outboxes, self.rings)
    }

    /// This node's number.
    pub fn index(&self) -> ShardIndex {
        self.outboxes.index()
    }

    /// Number of nodes, the edge included.
    pub fn nodes(&self) -> usize {
        self.outboxes.nodes()
    }

    /// The doorbells of all nodes: descriptors that must survive a split of the table.
    pub fn doorbell_fds(&self) -> impl Iterator<Item = BellRef<'_>> {
        self.rings.doorbells.iter().map(|doorbell| doorbell.bell.as_ref())
    }

    /// This node's doorbell, to wait on.
    pub fn doorbell(&self) -> BellRef<'_> {
        self.rings.doorbell()
    }

    /// Queues mail; it leaves at the next [`Mailbox::flush`].
    pub fn post(&mut self, to: ShardIndex, mail: M) {
        self.outboxes.post(to, mail);
    }

    /// Publishes what was posted, as far as the rings have room, and wakes who sleeps.
    pub fn flush(&mut self) {
        self.rings.flush(&mut self.outboxes);
    }

    /// Whether mail waits here because a ring is full; the owner must come back soon instead of sleeping.
    pub fn has_unsent(&self) -> bool {
        self.outboxes.has_unsent()
    }

    /// The next piece of mail to oneself.
    pub fn take_local(&mut self) -> Option<M> {
        self.outboxes.take_local()
    }

    /// Moves a batch of mail from each other node into `into`, per sender in the order it was posted.
    pub fn receive(&mut self, into: &mut Vec<(ShardIndex, M)>) {
        self.rings.receive(into);
    }

    /// Announces sleep. False: mail is there, don't sleep.
    pub fn may_sleep(&self) -> bool {
        self.rings.may_sleep()
    }

    /// Back from sleep: senders need not ring.
    pub fn awake(&self) {
        self.rings.awake();
        self.rings.silence();
    }
}
