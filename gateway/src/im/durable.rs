//! A shard's part in keeping what was accepted: nothing is confirmed, and nothing delivered, before it is kept.
//!
//! What a step wants kept leaves in one piece of mail with a ticket; who waits for it stands in line here until the answer comes.
//! Without a store none of this exists, and messages take the way they always took.

use super::fanout::Blocked;
use super::groups::Part;
use super::mail::{Mail, SessionRef};
use super::message::Message;
use super::open::Session;
use super::persist::{Debt, Op, Recipients, SHARD_MASK, number_at};
use super::protocol::Refusal;
use super::routes::Origin;
use super::shard::Shard;
use std::collections::VecDeque;
use std::sync::Arc;
use wire::shard::{ConnId, Io, ShardIndex};
use wire::time::Time;

/// Requests that may wait for the store; beyond it new messages are refused.
const WAITING_MAX: usize = 64 * 1024;

/// What a shard has asked the store for.
#[derive(Debug)]
pub(super) struct Durable {
    /// Not posted yet.
    ops: Vec<Op>,
    /// Somebody waits for one of them.
    is_awaited: bool,
    /// Of the next piece of mail.
    ticket: u64,
    /// In the order of their tickets.
    waiting: VecDeque<(u64, Waiting)>,
    /// Kept; to be gone on with as soon as the way is free.
    ready: VecDeque<Waiting>,
    number_last: u64,
    has_failed: bool,
}

/// What goes on when it is kept.
#[derive(Debug)]
enum Waiting {
    Direct {
        conn: ConnId,
        id: Box<str>,
        to: Arc<str>,
        message: Arc<Message>,
    },
    Group {
        session: SessionRef,
        id: Box<str>,
        from: Arc<str>,
        message: Arc<Message>,
        parts: Vec<Part>,
    },
    Membership {
        session: SessionRef,
        group: Arc<str>,
        is_member: bool,
    },
    /// To begin a session, or to end it; in order.
    Mail {
        shard: ShardIndex,
        mail: Box<Mail>,
    },
}

impl Durable {
    pub(super) fn new(number_max: u64) -> Durable {
        Durable {
            ops: Vec::new(),
            is_awaited: false,
            ticket: 1,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            number_last: number_max,
            has_failed: false,
        }
    }

    /// Whether the store has stopped working; nothing is accepted any more.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Whether something is kept that cannot go on yet, because another shard has fallen behind.
    pub(super) fn is_blocked(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether there is something to post.
    pub(super) fn has_work(&self) -> bool {
        !self.ops.is_empty()
    }

    /// One delivery is over.
    pub(super) fn settle(&mut self, debt: Option<Debt>) {
        if let Some(debt) = debt {
            self.ops.push(Op::Settle(debt));
        }
    }

    /// The number of a message accepted now.
    pub(super) fn number(&mut self, wall_ns: u64, shard: ShardIndex) -> u64 {
        let after_last = number_at(self.number_last) + SHARD_MASK + 1;
        self.number_last = number_at(wall_ns).max(after_last) | shard as u64;
        self.number_last
    }

    /// Deliveries in mail that waits for the store.
    pub(super) fn deliveries_held(&self) -> usize {
        let waiting = self.waiting.iter().map(|(_, waiting)| waiting).chain(&self.ready);
        let deliveries = |waiting: &Waiting| match waiting {
            Waiting::Mail { mail, .. } => mail.deliveries(),
            _ => 0,
        };
        waiting.map(deliveries).sum()
    }

    fn wait(&mut self, op: Op, waiting: Waiting) {
        self.ops.push(op);
        self.is_awaited = true;
        self.waiting.push_back((self.ticket, waiting));
    }
}

impl Shard {
    /// Whether a message can be accepted now.
    fn check_store(&self, io: &Io<Mail>) -> Result<(), Refusal> {
        let Some(durable) = &self.durable else { return Ok(()) };
        if durable.has_failed {
            return Err(Refusal::Unavailable);
        }
        let is_full = durable.waiting.len() + durable.ready.len() >= WAITING_MAX;
        if is_full || io.congested(io.edge()) { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Accepts a message to a user: it goes on its way when it is kept, or at once where there is no store.
    /// True: it is on its way, confirm it now. False: [`Shard::confirm`] will be called.
    pub(super) fn accept(
        &mut self,
        session: &mut Session,
        id: &str,
        to: &str,
        message: Message,
        io: &mut Io<Mail>,
    ) -> Result<bool, Refusal> {
        self.check_store(io)?;
        let message = Arc::new(message);
        let Some(durable) = &mut self.durable else {
            let origin = || Origin::Session { conn: session.conn, id: id.into() };
            let shards = self.route(to, message, 0, origin, io)?;
            session.state.sent_to |= shards.unwrap_or_default();
            return Ok(shards.is_some());
        };
        if self.routes.is_full(to) {
            return Err(Refusal::Overloaded);
        }
        let to: Arc<str> = to.into();
        let op = Op::Accept {
            message: Arc::clone(&message),
            recipients: Recipients::User(Arc::clone(&to)),
            from: (Arc::clone(&session.user), Arc::clone(&session.device)),
            id: id.into(),
        };
        durable.wait(op, Waiting::Direct { conn: session.conn, id: id.into(), to, message });
        Ok(false)
    }

    /// The group's home accepts a message for its members.
    #[expect(clippy::too_many_arguments, reason = "the parts of one piece of mail")]
    pub(super) fn accept_for_group(
        &mut self,
        session: SessionRef,
        from: Arc<str>,
        device: Arc<str>,
        id: Box<str>,
        message: Arc<Message>,
        parts: Vec<Part>,
        io: &mut Io<Mail>,
    ) -> Result<(), (Box<str>, Refusal)> {
        if let Err(refusal) = self.check_store(io) {
            return Err((id, refusal));
        }
        let Some(durable) = &mut self.durable else {
            self.hand_out(session, from, id, &message, parts, io);
            return Ok(());
        };
        let members: Vec<_> = parts.iter().map(|part| Arc::clone(&part.members)).collect();
        // Members are sorted within each part, and the sender is one of them.
        let mut first = 0;
        let sender = parts.iter().find_map(|part| {
            let place = part.members.binary_search(&from).ok().map(|place| (first + place) as u32);
            first += part.members.len();
            place
        });
        let op = Op::Accept {
            message: Arc::clone(&message),
            recipients: Recipients::Group { members, sender: sender.unwrap_or(u32::MAX) },
            from: (Arc::clone(&from), device),
            id: id.clone(),
        };
        durable.wait(op, Waiting::Group { session, id, from, message, parts });
        Ok(())
    }

    /// Answers a membership when it is kept.
    pub(super) fn keep_membership(
        &mut self,
        session: SessionRef,
        group: Arc<str>,
        user: Arc<str>,
        is_member: bool,
        io: &mut Io<Mail>,
    ) {
        let Some(durable) = &mut self.durable else {
            let outcome = Ok(is_member);
            return io.post(session.shard, Mail::MembershipIs { conn: session.conn, group, outcome });
        };
        if durable.has_failed {
            let mail = Mail::MembershipIs { conn: session.conn, group, outcome: Err(Refusal::Unavailable) };
            return io.post(session.shard, mail);
        }
        let op = Op::Member { group: Arc::clone(&group), user, is_member };
        durable.wait(op, Waiting::Membership { session, group, is_member });
    }

    /// A delivery is over: acknowledged, expired or lost.
    pub(super) fn settle(&mut self, debt: Option<Debt>) {
        if let Some(durable) = &mut self.durable {
            durable.settle(debt);
        }
    }

    /// Takes over what the users at home here want kept, and what must wait for it.
    fn take_duties(&mut self) {
        let Some(durable) = &mut self.durable else { return };
        let (ops, held) = self.registry.take_duties();
        durable.ops.extend(ops);
        for (shard, mail) in held {
            let waiting = Waiting::Mail { shard, mail: Box::new(mail) };
            match durable.waiting.back() {
                // Nothing will be kept any more, and what was confirmed earlier can still be delivered.
                _ if durable.has_failed => durable.ready.push_back(waiting),
                _ if !durable.ops.is_empty() => {
                    durable.is_awaited = true;
                    durable.waiting.push_back((durable.ticket, waiting));
                }
                Some(&(ticket, _)) => durable.waiting.push_back((ticket, waiting)),
                None => durable.ready.push_back(waiting),
            }
        }
    }

    /// Posts what this step wants kept.
    pub(super) fn post_ops(&mut self, io: &mut Io<Mail>) {
        self.take_duties();
        self.continue_ready(io);
        let Some(durable) = &mut self.durable else { return };
        if durable.has_failed {
            durable.ops.clear();
        }
        if durable.ops.is_empty() {
            return;
        }
        self.metrics.persist_asked.add(durable.ops.len() as u64);
        let (ticket, ops) = (durable.ticket, std::mem::take(&mut durable.ops));
        let is_awaited = std::mem::take(&mut durable.is_awaited);
        durable.ticket += 1;
        io.post(io.edge(), Mail::Persist { ticket, ops, is_awaited });
        self.metrics.persist_waiting.set(durable.waiting.len() + durable.ready.len());
    }

    /// The store has answered.
    pub(super) fn persisted(&mut self, up_to: u64, is_kept: bool, io: &mut Io<Mail>) {
        let Some(durable) = &mut self.durable else { return };
        durable.has_failed |= !is_kept;
        let count = durable.waiting.partition_point(|(ticket, _)| *ticket <= up_to);
        let answered: Vec<_> = durable.waiting.drain(..count).map(|(_, waiting)| waiting).collect();
        if is_kept {
            durable.ready.extend(answered);
            return self.continue_ready(io);
        }
        for waiting in answered {
            self.not_kept(waiting, io);
        }
    }

    /// Goes on with what is kept, in order; stops where a shard on the way has fallen behind.
    fn continue_ready(&mut self, io: &mut Io<Mail>) {
        while let Some(waiting) = self.durable.as_mut().and_then(|durable| durable.ready.pop_front()) {
            match waiting {
                Waiting::Direct { conn, id, to, message } => {
                    let origin = || Origin::Session { conn, id: id.clone() };
                    match self.route(&to, Arc::clone(&message), 0, origin, io) {
                        Ok(Some(shards)) => self.confirm(conn, &id, Ok(shards), io),
                        Ok(None) => {}
                        // What is kept must not wait here for a route: what the route waits for may stand behind it.
                        Err(Blocked::Parked) if self.routes.park(&to, &message, 0, origin) => {}
                        Err(_) => {
                            let waiting = Waiting::Direct { conn, id, to, message };
                            if let Some(durable) = &mut self.durable {
                                durable.ready.push_front(waiting);
                            }
                            break;
                        }
                    }
                }
                Waiting::Group { session, id, from, message, parts } => {
                    self.hand_out(session, from, id, &message, parts, io);
                }
                Waiting::Membership { session, group, is_member } => {
                    let outcome = Ok(is_member);
                    io.post(session.shard, Mail::MembershipIs { conn: session.conn, group, outcome });
                }
                Waiting::Mail { shard, mail } => io.post(shard, *mail),
            }
        }
        if let Some(durable) = &self.durable {
            self.metrics.persist_waiting.set(durable.waiting.len() + durable.ready.len());
        }
    }

    fn not_kept(&mut self, waiting: Waiting, io: &mut Io<Mail>) {
        let refusal = Refusal::Unavailable;
        match waiting {
            Waiting::Direct { conn, id, .. } => self.confirm(conn, &id, Err(refusal), io),
            Waiting::Group { session, id, parts, .. } => {
                self.end_outstanding(parts.iter().map(|part| part.members.len()).sum());
                let outcome = Err(refusal);
                io.post(session.shard, Mail::GroupSent { conn: session.conn, id, outcome });
            }
            Waiting::Membership { session, group, .. } => {
                let outcome = Err(refusal);
                io.post(session.shard, Mail::MembershipIs { conn: session.conn, group, outcome });
            }
            // What was confirmed earlier can still be delivered.
            Waiting::Mail { shard, mail } => io.post(shard, *mail),
        }
    }

    /// The number that a message accepted now is kept under; 0 where nothing is kept.
    pub(super) fn number(&mut self, now: Time, shard: ShardIndex) -> u64 {
        let wall_ns = self.shared.wall_offset_ns + now.0;
        self.durable.as_mut().map_or(0, |durable| durable.number(wall_ns, shard))
    }
}
