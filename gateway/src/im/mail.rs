//! What shards, and the edge, tell each other.

use super::faults::{Change, Faults};
use super::message::Message;
use super::owed::Owed;
use super::persist::Op;
use super::protocol::Refusal;
use super::session::{Resume, SessionState};
use crate::auth::Verifier;
use crate::log::Record;
use rustls::ServerConfig;
use std::sync::Arc;
use wire::shard::{ConnId, ShardIndex};
use wire::time::Time;

/// A session, wherever it lives. Never means another session: connection ids are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRef {
    /// The shard that accepted its connection.
    pub shard: ShardIndex,
    /// The connection there.
    pub conn: ConnId,
}

/// A piece of mail.
#[derive(Debug)]
pub enum Mail {
    /// To the user's home: a device has connected.
    Attach {
        /// The user.
        user: Arc<str>,
        /// The device.
        device: Arc<str>,
        /// Its new session.
        session: SessionRef,
        /// Deliveries up to this number arrived before, says the client.
        resume: Option<Resume>,
        /// When its request for the upgrade arrived.
        since: Time,
    },
    /// To the session's shard: the session may begin, with this state and all that the device is owed.
    Attached {
        /// The connection that asked.
        conn: ConnId,
        /// The user.
        user: Arc<str>,
        /// The device.
        device: Arc<str>,
        /// State of the device's last session, or a fresh one; the user's offline queue is the end of what waits in it.
        state: SessionState,
        /// Whether the user has other connected devices.
        several: bool,
    },
    /// To the session's shard: close; the device has connected elsewhere.
    Evict(ConnId),
    /// To the user's home: the session has ended and this is what it leaves.
    Detached {
        /// The user.
        user: Arc<str>,
        /// The session that ended.
        session: SessionRef,
        /// Its state.
        state: SessionState,
    },
    /// To the user's home: where are this user's sessions?
    WhereIs(Arc<str>),
    /// To a shard that asked: here; none means offline.
    Route {
        /// The user.
        user: Arc<str>,
        /// The connected sessions.
        sessions: Arc<[SessionRef]>,
    },
    /// To a shard that was told a route: forget it, and send a fence through each of these shards.
    Forget {
        /// The user.
        user: Arc<str>,
        /// The user's home.
        home: ShardIndex,
        /// The shards that the route led to.
        through: Arc<[ShardIndex]>,
    },
    /// Along the old way: everything before this has been sent by the old route. Goes on to the home.
    Fence {
        /// The user.
        user: Arc<str>,
        /// The user's home.
        home: ShardIndex,
    },
    /// To the user's home: a fence has passed.
    Fenced(Arc<str>),
    /// To the session's shard: a delivery.
    Deliver {
        /// The user.
        user: Arc<str>,
        /// The session's connection.
        conn: ConnId,
        /// The message.
        owed: Owed,
    },
    /// To the user's home: keep it for the user; `session` is where it was to be delivered and was not.
    Keep {
        /// The user.
        user: Arc<str>,
        /// The session that is gone; `None`: no device was connected, or none acknowledges.
        session: Option<SessionRef>,
        /// The message.
        owed: Owed,
    },
    /// To the group's home.
    Membership {
        /// The group.
        group: Arc<str>,
        /// The user.
        user: Arc<str>,
        /// Whose request it is.
        session: SessionRef,
        /// Join or leave.
        join: bool,
    },
    /// To the session's shard: the request's outcome.
    MembershipIs {
        /// The connection that asked.
        conn: ConnId,
        /// The group.
        group: Arc<str>,
        /// Member now, or not, or refused.
        outcome: Result<bool, Refusal>,
    },
    /// To the group's home: a message for all members.
    SendToGroup {
        /// The group.
        group: Arc<str>,
        /// The sender's user name.
        from: Arc<str>,
        /// The sender's device.
        device: Arc<str>,
        /// The sender's session.
        session: SessionRef,
        /// The sender's id, JSON text.
        id: Box<str>,
        /// The message.
        message: Arc<Message>,
    },
    /// From the group's home to the home of these members: a message for them, and not for the sender.
    FanOut {
        /// The sender's user name.
        from: Arc<str>,
        /// The message.
        message: Arc<Message>,
        /// Members at home there.
        members: Arc<[Arc<str>]>,
        /// The number of the first of them among all recipients.
        first: u32,
        /// The message's number at the group's home.
        fanout: u64,
    },
    /// To the group's home: the message has gone to so many more members.
    FannedOut {
        /// The message's number there.
        fanout: u64,
        /// How many.
        members: usize,
    },
    /// To the sender's shard: the message has gone to all members, or is refused.
    GroupSent {
        /// The sender's connection.
        conn: ConnId,
        /// The sender's id, JSON text.
        id: Box<str>,
        /// Taken, or refused.
        outcome: Result<(), Refusal>,
    },
    /// To the edge: keep this across a crash.
    Persist {
        /// Grows by one with each piece of this shard's mail.
        ticket: u64,
        /// What to keep, in order.
        ops: Vec<Op>,
        /// Whether somebody waits for the answer.
        is_awaited: bool,
    },
    /// From the edge: everything up to a ticket is kept, or nothing after the last that was.
    Persisted {
        /// The last ticket answered.
        up_to: u64,
        /// False: the store has failed, and takes nothing more.
        is_kept: bool,
    },
    /// To every shard: change the injected faults, if anything is to change, and answer with what is in force.
    Fault {
        /// Who asked.
        asker: SessionRef,
        /// What to change.
        change: Option<Change>,
    },
    /// The answer.
    FaultIs {
        /// The connection that asked.
        conn: ConnId,
        /// What is in force on one shard.
        faults: Faults,
    },
    /// From the edge to every shard: check tokens with these keys from now on.
    Keys(Verifier),
    /// From the edge to every shard: newcomers speak TLS with this from now on.
    Certificate(Arc<ServerConfig>),
    /// To the edge: messages wait for a user who is not connected.
    Push {
        /// The user.
        user: Arc<str>,
        /// How many wait.
        waiting: usize,
    },
    /// To the edge: what was said in a step.
    Log(Vec<Record>),
    /// From the edge to every shard: newcomers should look elsewhere.
    Leave,
    /// From the edge to every shard: take no new work.
    Drain,
    /// From the edge to every shard: close all sessions.
    CloseAll,
    /// From the edge to every shard: end.
    Stop,
}

impl Mail {
    /// Deliveries that travel with this mail, accepted and in no shard's figures: acknowledged, queued, in flight, failed or expired.
    pub fn deliveries(&self) -> usize {
        match self {
            Mail::Deliver { .. } | Mail::Keep { .. } => 1,
            Mail::Attached { state, .. } | Mail::Detached { state, .. } => state.owed(),
            _ => 0,
        }
    }
}
