//! What a shard remembers of where users are, bounded; and messages that wait for an answer.

use super::mail::SessionRef;
use super::message::Message;
use super::{Map, SeededState};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use wire::shard::{ConnId, ShardIndex};

/// Users asked for at once; beyond it the homes do not keep up.
const ASKED_MAX: usize = 64 * 1024;

/// Where a message to a user goes.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// Known. No session: the user is offline, the home keeps it.
    Known(Arc<str>, Arc<[SessionRef]>),
    /// Asked already; the message waits.
    Asked,
    /// Not known: ask the home, the message waits.
    Ask(Arc<str>),
    /// Too many messages wait for this user.
    Full,
}

/// Who is to know that a message that waited for its route has gone.
#[derive(Debug)]
pub(crate) enum Origin {
    /// A session of this shard.
    Session {
        /// Its connection.
        conn: ConnId,
        /// The sender's id, JSON text.
        id: Box<str>,
    },
    /// A group's home.
    Group {
        /// The shard.
        home: ShardIndex,
        /// The group message's number there.
        fanout: u64,
    },
}

/// A message that waits for its route.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) message: Arc<Message>,
    /// Which of its recipients the user is.
    pub(crate) recipient: u32,
    pub(crate) origin: Origin,
}

/// The route cache of one shard.
#[derive(Debug)]
pub(crate) struct Routes {
    known: LruCache<Arc<str>, Arc<[SessionRef]>, SeededState>,
    asked: Map<Arc<str>, Vec<Parked>>,
    parked_max: usize,
}

impl Routes {
    pub(crate) fn new(size: usize, parked_max: usize, hasher: SeededState) -> Routes {
        let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
        // The cache grows with use; its bound must not be allocated up front.
        let mut known = LruCache::unbounded_with_hasher(hasher.clone());
        known.resize(size);
        Routes { known, asked: Map::with_hasher(hasher), parked_max }
    }

    /// Where `message` goes, whose recipient number `recipient` the user is; it is kept here while the route is asked for.
    pub(crate) fn look_up(
        &mut self,
        user: &str,
        message: &Arc<Message>,
        recipient: u32,
        origin: impl FnOnce() -> Origin,
    ) -> Route {
        if let Some((user, sessions)) = self.known.get_key_value(user) {
            return Route::Known(Arc::clone(user), Arc::clone(sessions));
        }
        let park = || Parked { message: Arc::clone(message), recipient, origin: origin() };
        if let Some(parked) = self.asked.get_mut(user) {
            if parked.len() >= self.parked_max {
                return Route::Full;
            }
            parked.push(park());
            return Route::Asked;
        }
        if self.asked.len() >= ASKED_MAX {
            return Route::Full;
        }
        let user: Arc<str> = user.into();
        self.asked.insert(Arc::clone(&user), vec![park()]);
        Route::Ask(user)
    }

    /// Whether no more messages for this user may wait for its route.
    pub(crate) fn is_full(&self, user: &str) -> bool {
        self.asked.get(user).is_some_and(|parked| parked.len() >= self.parked_max)
    }

    /// Lets a message wait for the route all the same. False: nobody has asked for the route.
    pub(crate) fn park(
        &mut self,
        user: &str,
        message: &Arc<Message>,
        recipient: u32,
        origin: impl FnOnce() -> Origin,
    ) -> bool {
        let Some(parked) = self.asked.get_mut(user) else { return false };
        parked.push(Parked { message: Arc::clone(message), recipient, origin: origin() });
        true
    }

    /// Remembers the answer and gives back what waited for it.
    pub(crate) fn learn(&mut self, user: &Arc<str>, sessions: &Arc<[SessionRef]>) -> Vec<Parked> {
        self.known.put(Arc::clone(user), Arc::clone(sessions));
        self.asked.remove(user).unwrap_or_default()
    }

    /// Takes back a question that was not sent, with the message that waits for its answer.
    pub(crate) fn unask(&mut self, user: &str) {
        self.asked.remove(user);
    }

    pub(crate) fn forget(&mut self, user: &str) {
        self.known.pop(user);
    }

    /// Routes remembered.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}
