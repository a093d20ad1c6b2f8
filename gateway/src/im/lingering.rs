//! Sessions whose connection is gone and whose last messages are not decided: the store, a group's home or a recipient's has not
//! answered yet.
//!
//! They go home when all is answered. So a refusal is known to the session even if its client never heard of it, and the device's
//! next messages, on whatever shard, cannot overtake its last ones.

use super::mail::{Mail, SessionRef};
use super::open::Session;
use super::owed::Owed;
use super::protocol::Refusal;
use super::session::SessionState;
use super::shard::Shard;
use crate::metrics::FailReason;
use std::sync::Arc;
use wire::shard::{ConnId, Io};

/// A session without a connection.
#[derive(Debug)]
pub(super) struct Lingering {
    user: Arc<str>,
    state: SessionState,
    /// Messages sent and not answered; never 0.
    unconfirmed: u32,
}

impl Shard {
    /// A session has ended: its state goes home, now or when its last messages are answered.
    pub(super) fn linger_or_go_home(&mut self, session: Session, io: &mut Io<Mail>) {
        let Session { conn, user, state, unconfirmed, .. } = session;
        if unconfirmed == 0 {
            return self.go_home(conn, user, state, io);
        }
        // Counted as in flight here until it is counted at home.
        self.lingering.insert(conn, Lingering { user, state, unconfirmed });
    }

    fn go_home(&mut self, conn: ConnId, user: Arc<str>, state: SessionState, io: &mut Io<Mail>) {
        self.metrics.in_flight.add(-(state.owed() as i64));
        let session = SessionRef { shard: io.shard(), conn };
        io.post(self.home(&user, io), Mail::Detached { user, session, state });
    }

    /// One of its messages is answered. `Ok`: the shards it has gone to, one bit each.
    pub(super) fn confirm_lingering(
        &mut self,
        conn: ConnId,
        id: &str,
        outcome: Result<u64, Refusal>,
        io: &mut Io<Mail>,
    ) {
        let Some(mut lingering) = self.lingering.remove(&conn) else { return };
        lingering.state.conclude(id, outcome, &self.hasher);
        lingering.unconfirmed -= 1;
        if lingering.unconfirmed > 0 {
            self.lingering.insert(conn, lingering);
            return;
        }
        self.go_home(conn, lingering.user, lingering.state, io);
    }

    /// A delivery for a session that has no connection: it goes along, or back to the user's home.
    pub(super) fn deliver_to_gone(&mut self, user: &Arc<str>, conn: ConnId, owed: Owed, io: &mut Io<Mail>) {
        let Some(lingering) = self.lingering.get_mut(&conn) else {
            let session = SessionRef { shard: io.shard(), conn };
            return self.keep(user, Some(session), owed, io);
        };
        if lingering.state.owed() >= self.shared.limits.device_owed_max() {
            return self.lose(user, &owed, FailReason::QueueFull, io.now());
        }
        lingering.state.queues.waiting.push_back(owed);
        self.metrics.in_flight.add(1);
    }
}
