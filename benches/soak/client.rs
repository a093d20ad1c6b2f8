//! One client of the soak: what it is doing, what it has had, what it waits for.

use crate::plan::Kind;
use std::collections::VecDeque;
use wire::shard::ConnId;
use wire::ws::endpoint::{Endpoint, Role};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Away.
    Idle,
    /// TCP, the upgrade, `hello`, and `joined` where it has a group.
    Connecting,
    Open,
    /// Has left; the connection is not gone yet.
    Leaving,
}

/// A message that was sent and not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    pub(crate) number: u32,
    /// It was sent before, on a connection that ended.
    pub(crate) is_again: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: u32,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    pub(crate) conn: Option<ConnId>,
    /// `None` until the upgrade.
    pub(crate) endpoint: Option<Endpoint>,
    /// The last delivery it has processed.
    pub(crate) seq: u64,
    pub(crate) acked: u64,
    /// Number of its next message.
    pub(crate) next: u32,
    pub(crate) unanswered: VecDeque<Unanswered>,
    /// A slow reader that does not read: it throws away what comes, and has none of it.
    pub(crate) is_stalled: bool,
    /// A visitor that has had its message to itself.
    pub(crate) is_served: bool,
    /// Timers of an earlier number are void.
    pub(crate) timer: u32,
}

impl Client {
    pub(crate) fn new(user: u32, kind: Kind) -> Client {
        Client {
            user,
            kind,
            state: State::Idle,
            conn: None,
            endpoint: None,
            seq: 0,
            acked: 0,
            next: 0,
            unanswered: VecDeque::new(),
            is_stalled: false,
            is_served: false,
            timer: 0,
        }
    }

    /// The client's end of a connection that was just upgraded.
    pub(crate) fn upgraded(&mut self) {
        self.endpoint = Some(Endpoint::new(Role::Client));
    }

    /// The connection is gone. What was not answered is to be sent again.
    pub(crate) fn gone(&mut self) {
        self.state = State::Idle;
        self.conn = None;
        self.endpoint = None;
        self.is_stalled = false;
        self.acked = self.seq;
        self.unanswered.iter_mut().for_each(|message| message.is_again = true);
    }

    /// Takes the message that was answered; `None`: it does not wait for one.
    pub(crate) fn answered(&mut self, number: u32) -> Option<Unanswered> {
        let place = self.unanswered.iter().position(|message| message.number == number)?;
        self.unanswered.remove(place)
    }
}
