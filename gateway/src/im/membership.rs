//! Joining and leaving groups: asked by a session, decided by the group's home.

use super::mail::{Mail, SessionRef};
use super::open::Session;
use super::protocol::{self, Refusal};
use super::shard::Shard;
use crate::metrics::Frame;
use std::sync::Arc;
use wire::shard::{ConnId, Io};

impl Shard {
    pub(super) fn ask_membership(&mut self, session: &Session, group: String, join: bool, io: &mut Io<Mail>) {
        let (user, session) =
            (Arc::clone(&session.user), SessionRef { shard: io.shard(), conn: session.conn });
        io.post(self.home(&group, io), Mail::Membership { group: group.into(), user, session, join });
    }

    pub(super) fn membership(
        &mut self,
        group: Arc<str>,
        user: Arc<str>,
        session: SessionRef,
        join: bool,
        io: &mut Io<Mail>,
    ) {
        let home = self.home(&user, io);
        let outcome = if join { self.groups.join(&group, Arc::clone(&user), home) } else { Ok(()) };
        if let Err(refusal) = outcome {
            let mail = Mail::MembershipIs { conn: session.conn, group, outcome: Err(refusal) };
            return io.post(session.shard, mail);
        }
        if !join {
            self.groups.leave(&group, &user, home);
        }
        self.keep_membership(session, group, user, join, io);
    }

    pub(super) fn membership_is(
        &mut self,
        conn: ConnId,
        group: &str,
        outcome: Result<bool, Refusal>,
        io: &mut Io<Mail>,
    ) {
        match outcome {
            Ok(joined) => {
                let frame = if joined { Frame::Joined } else { Frame::Left };
                self.write(conn, frame, io, |out| protocol::write_membership(out, joined, group));
            }
            Err(refusal) => self.refuse_frame(conn, None, refusal, io),
        }
    }
}
