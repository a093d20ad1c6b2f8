//! A message on its way: from the session that sends it to the shards where its recipients are.

use super::dedup::Repetition;
use super::fanout::Blocked;
use super::mail::{Mail, SessionRef};
use super::message::Message;
use super::open::Session;
use super::owed::Owed;
use super::protocol::{self, Address, Refusal};
use super::routes::{Origin, Route};
use super::shard::Shard;
use crate::metrics::{Frame, Kind};
use crate::stage::Stage;
use std::sync::Arc;
use wire::shard::{ConnId, Io};

impl Shard {
    pub(super) fn send(
        &mut self,
        session: &mut Session,
        id: &str,
        to: &Address<'_>,
        body: &str,
        io: &mut Io<Mail>,
    ) {
        let (now, conn) = (io.now(), session.conn);
        if self.stage >= Stage::Draining {
            return self.refuse_frame(conn, Some(id), Refusal::Draining, io);
        }
        match session.state.queues.dedup.look_up(id, now, &self.hasher, self.shared.limits.dedup_window) {
            Repetition::New => {}
            Repetition::Undecided => return self.refuse_frame(conn, Some(id), Refusal::Overloaded, io),
            Repetition::Repeated => {
                self.metrics.duplicates.increment();
                return self.write(conn, Frame::Sent, io, |out| protocol::write_sent(out, id));
            }
        }
        if !self.takes_messages() {
            return self.refuse_frame(conn, Some(id), Refusal::CircuitOpen, io);
        }
        let (at_ms, expires) = (self.shared.wall_ms(now), now + self.shared.message_ttl);
        let number = self.number(now, io.shard());
        let kind = match to {
            Address::User(_) => Kind::Direct,
            Address::Group(_) => Kind::Group,
        };
        let place = self.trace_message(session);
        let message =
            Message::new(id, &session.user, at_ms, body, now, expires, kind).numbered(number).traced(place);
        let is_on_its_way = match to {
            Address::User(user) => self.accept(session, id, user, message, io),
            Address::Group(group) => self.ask_group(session, id, group, message, io),
        };
        self.trace_sent(session, place, (kind, id), is_on_its_way.as_ref().err().copied(), now);
        match is_on_its_way {
            Ok(is_on_its_way) => {
                let ids_max = self.shared.limits.dedup_ids;
                session.state.queues.dedup.remember(id, now, &self.hasher, ids_max, !is_on_its_way);
                if is_on_its_way {
                    self.write(conn, Frame::Sent, io, |out| protocol::write_sent(out, id));
                } else {
                    session.unconfirmed += 1;
                }
            }
            Err(refusal) => self.refuse_frame(conn, Some(id), refusal, io),
        }
    }

    /// Hands a message to the group's home, which answers. Never true: see [`Shard::accept`].
    fn ask_group(
        &mut self,
        session: &Session,
        id: &str,
        group: &str,
        message: Message,
        io: &mut Io<Mail>,
    ) -> Result<bool, Refusal> {
        let home = self.home(group, io);
        if io.congested(home) {
            return Err(Refusal::Overloaded);
        }
        let session_ref = SessionRef { shard: io.shard(), conn: session.conn };
        let mail = Mail::SendToGroup {
            group: group.into(),
            from: Arc::clone(&session.user),
            device: Arc::clone(&session.device),
            session: session_ref,
            id: id.into(),
            message: Arc::new(message),
        };
        io.post(home, mail);
        Ok(false)
    }

    /// Sends a message to all sessions of a user, or to the home that keeps it: gives the shards it has gone to, one bit each. `None`:
    /// it waits for the answer where that is, and `origin` is told when it has gone.
    pub(super) fn route(
        &mut self,
        user: &str,
        message: Arc<Message>,
        recipient: u32,
        origin: impl FnOnce() -> Origin,
        io: &mut Io<Mail>,
    ) -> Result<Option<u64>, Blocked> {
        match self.routes.look_up(user, &message, recipient, origin) {
            Route::Known(user, sessions) => {
                let is_congested = match &*sessions {
                    [] => io.congested(self.home(&user, io)),
                    sessions => sessions.iter().any(|session| io.congested(session.shard)),
                };
                if is_congested {
                    return Err(Blocked::Congested);
                }
                self.metrics.cache_hits.increment();
                return Ok(Some(self.dispatch(&user, &sessions, &message, recipient, io)));
            }
            Route::Asked => self.metrics.cache_misses.increment(),
            Route::Ask(user) => {
                self.metrics.cache_misses.increment();
                let home = self.home(&user, io);
                if io.congested(home) {
                    self.routes.unask(&user);
                    return Err(Blocked::Congested);
                }
                io.post(home, Mail::WhereIs(user));
            }
            Route::Full => return Err(Blocked::Parked),
        }
        Ok(None)
    }

    /// From here on the message is owed to these sessions, whatever becomes of them; or to the user, if there are none.
    fn dispatch(
        &mut self,
        user: &Arc<str>,
        sessions: &[SessionRef],
        message: &Arc<Message>,
        recipient: u32,
        io: &mut Io<Mail>,
    ) -> u64 {
        let deliveries = sessions.len().max(1);
        self.metrics.accepted.add(deliveries as u64);
        if sessions.len() > 1 {
            self.metrics.multi_device.add(sessions.len() as u64);
        }
        let owed = || Owed::new(Arc::clone(message), recipient, deliveries);
        if sessions.is_empty() {
            self.keep(user, None, owed(), io);
            return 1 << self.home(user, io);
        }
        let mut shards = 0;
        for session in sessions {
            let (user, owed) = (Arc::clone(user), owed());
            io.post(session.shard, Mail::Deliver { user, conn: session.conn, owed });
            shards |= 1 << session.shard;
        }
        shards
    }

    /// Hands a message to the user's home.
    pub(super) fn keep(
        &mut self,
        user: &Arc<str>,
        session: Option<SessionRef>,
        owed: Owed,
        io: &mut Io<Mail>,
    ) {
        io.post(self.home(user, io), Mail::Keep { user: Arc::clone(user), session, owed });
    }

    /// The home has answered where a user is.
    pub(super) fn learn(&mut self, user: &Arc<str>, sessions: &Arc<[SessionRef]>, io: &mut Io<Mail>) {
        for parked in self.routes.learn(user, sessions) {
            let shards = self.dispatch(user, sessions, &parked.message, parked.recipient, io);
            match parked.origin {
                Origin::Session { conn, id } => self.confirm(conn, &id, Ok(shards), io),
                Origin::Group { home, fanout } => io.post(home, Mail::FannedOut { fanout, members: 1 }),
            }
        }
    }

    /// Tells the sender what became of a message, and remembers its id or not. `Ok`: the shards it has gone to, one bit each.
    pub(super) fn confirm(
        &mut self,
        conn: ConnId,
        id: &str,
        outcome: Result<u64, Refusal>,
        io: &mut Io<Mail>,
    ) {
        let hasher = self.hasher.clone();
        let Some(open) = self.open_mut(conn) else { return self.confirm_lingering(conn, id, outcome, io) };
        let session = &mut open.session;
        session.state.conclude(id, outcome, &hasher);
        session.unconfirmed = session.unconfirmed.saturating_sub(1);
        match outcome {
            Ok(_) => self.write(conn, Frame::Sent, io, |out| protocol::write_sent(out, id)),
            Err(refusal) => self.refuse_frame(conn, Some(id), refusal, io),
        }
    }
}
