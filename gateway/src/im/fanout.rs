//! Group messages on their way: from the group's home to the homes of its members, and there to each of them in portions.
//!
//! A group of 100,000 is worked off in many steps, so that everything else gets its turn; where another shard does not keep up,
//! a fan-out waits instead of losing messages. What waits is bounded at the group's home, which refuses new messages.

use super::groups::Part;
use super::mail::{Mail, SessionRef};
use super::message::Message;
use super::owed::Owed;
use super::protocol::Refusal;
use super::routes::Origin;
use super::shard::Shard;
use super::{Map, SeededState};
use crate::metrics::{FANOUT_BOUNDS, FailReason};
use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use wire::shard::{Io, ShardIndex};

/// Members served in one step.
const PORTION: usize = 1024;

/// What one shard has to do with group messages.
#[derive(Debug)]
pub(super) struct Fanouts {
    /// For members at home here, oldest first: order within a group is the order of acceptance.
    queue: VecDeque<Fanout>,
    /// Another shard is behind; try again in a moment.
    blocked: bool,
    /// Deliveries that groups at home here have handed out and whose homes have not worked off.
    outstanding: usize,
    /// Messages of groups at home here that have not gone to all members, by their numbers.
    unconfirmed: Map<u64, Unconfirmed>,
    /// The last number given to one.
    number: u64,
}

/// A group message that its sender does not know to be accepted.
#[derive(Debug)]
struct Unconfirmed {
    session: SessionRef,
    id: Box<str>,
    /// Members it has not gone to.
    left: usize,
}

/// One message for members at home here.
#[derive(Debug)]
struct Fanout {
    group_home: ShardIndex,
    from: Arc<str>,
    message: Arc<Message>,
    members: Arc<[Arc<str>]>,
    /// The number of the first of them among all recipients.
    first: u32,
    /// The message's number at the group's home.
    number: u64,
    next: usize,
    /// Members whose route is being asked for.
    parked: usize,
}

/// Why a message could not be routed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocked {
    /// A shard on the way has fallen behind.
    Congested,
    /// Too many messages wait for this user's route.
    Parked,
}

impl From<Blocked> for Refusal {
    fn from(_: Blocked) -> Refusal {
        Refusal::Overloaded
    }
}

impl Fanouts {
    pub(super) fn new(hasher: SeededState) -> Fanouts {
        Fanouts {
            queue: VecDeque::new(),
            blocked: false,
            outstanding: 0,
            unconfirmed: Map::with_hasher(hasher),
            number: 0,
        }
    }

    /// Whether there is work that the next step can do.
    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty() && !self.blocked
    }

    /// Whether there is work that waits for another shard.
    pub(super) fn is_blocked(&self) -> bool {
        !self.queue.is_empty() && self.blocked
    }
}

impl Shard {
    /// The group's home takes responsibility for a message, or refuses it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one piece of mail")]
    pub(super) fn send_to_group(
        &mut self,
        group: &str,
        from: Arc<str>,
        device: Arc<str>,
        session: SessionRef,
        id: Box<str>,
        message: Arc<Message>,
        io: &mut Io<Mail>,
    ) {
        let accepted = match self.group_parts(group, &from, io) {
            Ok(parts) => {
                let members: usize = parts.iter().map(|part| part.members.len()).sum();
                let accepted = self.accept_for_group(session, from, device, id, message, parts, io);
                if accepted.is_ok() {
                    self.metrics.group_fanout.observe((members - 1) as f64, &FANOUT_BOUNDS);
                    self.fanouts.outstanding += members;
                }
                accepted
            }
            Err(refusal) => Err((id, refusal)),
        };
        if let Err((id, refusal)) = accepted {
            io.post(session.shard, Mail::GroupSent { conn: session.conn, id, outcome: Err(refusal) });
        }
    }

    /// Hands an accepted message to the homes of the group's members. It is confirmed when it has gone to each of them: from then on
    /// it is owed to whoever is connected.
    pub(super) fn hand_out(
        &mut self,
        session: SessionRef,
        from: Arc<str>,
        id: Box<str>,
        message: &Arc<Message>,
        parts: Vec<Part>,
        io: &mut Io<Mail>,
    ) {
        self.fanouts.number += 1;
        let fanout = self.fanouts.number;
        let left = parts.iter().map(|part| part.members.len()).sum();
        self.fanouts.unconfirmed.insert(fanout, Unconfirmed { session, id, left });
        let mut next = 0;
        for Part { home, members } in parts {
            let (from, message, first) = (Arc::clone(&from), Arc::clone(message), next);
            next += members.len() as u32;
            io.post(home, Mail::FanOut { from, message, members, first, fanout });
        }
    }

    fn group_parts(&mut self, group: &str, from: &str, io: &Io<Mail>) -> Result<Vec<Part>, Refusal> {
        let parts = self.groups.parts(group, from, self.home(from, io))?;
        // One message is always let through: else a group above the bound could never be written to.
        let is_full = self.fanouts.outstanding >= self.shared.limits.fanout_max;
        if is_full || parts.iter().any(|part| io.congested(part.home)) {
            return Err(Refusal::Overloaded);
        }
        Ok(parts)
    }

    /// A message for members at home here.
    pub(super) fn fan_out(
        &mut self,
        group_home: ShardIndex,
        from: Arc<str>,
        message: Arc<Message>,
        members: Arc<[Arc<str>]>,
        first: u32,
        number: u64,
    ) {
        self.metrics.fanout_backlog.add(members.len() as i64);
        let fanout = Fanout { group_home, from, message, members, first, number, next: 0, parked: 0 };
        self.fanouts.queue.push_back(fanout);
    }

    /// A message has gone to so many more members.
    pub(super) fn fanned_out(&mut self, fanout: u64, members: usize, io: &mut Io<Mail>) {
        self.end_outstanding(members);
        let Entry::Occupied(mut unconfirmed) = self.fanouts.unconfirmed.entry(fanout) else { return };
        unconfirmed.get_mut().left -= members;
        if unconfirmed.get().left == 0 {
            let Unconfirmed { session, id, .. } = unconfirmed.remove();
            io.post(session.shard, Mail::GroupSent { conn: session.conn, id, outcome: Ok(()) });
        }
    }

    /// So many deliveries are no longer under way.
    pub(super) fn end_outstanding(&mut self, members: usize) {
        self.fanouts.outstanding = self.fanouts.outstanding.saturating_sub(members);
    }

    /// Serves the next portion of members.
    pub(super) fn continue_fanouts(&mut self, io: &mut Io<Mail>) {
        self.fanouts.blocked = false;
        let mut served = 0;
        while served < PORTION {
            let Some(mut fanout) = self.fanouts.queue.pop_front() else { break };
            served += self.serve(&mut fanout, PORTION - served, io);
            if fanout.next < fanout.members.len() {
                self.fanouts.queue.push_front(fanout);
                break;
            }
            let (number, members) = (fanout.number, fanout.members.len() - fanout.parked);
            io.post(fanout.group_home, Mail::FannedOut { fanout: number, members });
        }
        self.metrics.fanout_backlog.add(-(served as i64));
    }

    /// Serves at most `portion` members; how many it were. Fewer: done, or blocked.
    fn serve(&mut self, fanout: &mut Fanout, portion: usize, io: &mut Io<Mail>) -> usize {
        let begin = fanout.next;
        for member in fanout.members.iter().skip(begin).take(portion) {
            if *member != fanout.from {
                let recipient = fanout.first + fanout.next as u32;
                let origin = || Origin::Group { home: fanout.group_home, fanout: fanout.number };
                match self.route(member, Arc::clone(&fanout.message), recipient, origin, io) {
                    Ok(Some(_)) => {}
                    Ok(None) => fanout.parked += 1,
                    Err(Blocked::Congested) => {
                        self.fanouts.blocked = true;
                        break;
                    }
                    // A member whose queues are full misses the message; the others must not.
                    Err(Blocked::Parked) => {
                        self.metrics.accepted.increment();
                        let owed = Owed::new(Arc::clone(&fanout.message), recipient, 1);
                        self.lose(member, &owed, FailReason::QueueFull, io.now());
                    }
                }
            }
            fanout.next += 1;
        }
        fanout.next - begin
    }
}
