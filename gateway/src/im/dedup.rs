//! Which of a session's message ids were seen lately.

use super::SeededState;
use std::collections::VecDeque;
use std::time::Duration;
use wire::time::Time;

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// Not seen lately.
    New,
    /// Its message is not kept yet, and may still be refused.
    Undecided,
    /// Its message was accepted.
    Repeated,
}

#[derive(Debug)]
struct Seen {
    hash: u64,
    at: Time,
    is_undecided: bool,
}

/// The last ids of one session, as 64-bit keyed hashes: bounded in number and in time. Owns nothing until the first id.
#[derive(Debug)]
pub(crate) struct Dedup {
    seen: VecDeque<Seen>,
}

impl Dedup {
    pub(crate) const NEW: Dedup = Dedup { seen: VecDeque::new() };

    /// Whether no id is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Forgets ids older than `window`.
    pub(crate) fn forget(&mut self, now: Time, window: Duration) {
        while self.seen.front().is_some_and(|seen| now.since(seen.at) > window) {
            self.seen.pop_front();
        }
    }

    /// Ids remembered.
    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether `id` was seen within `window`.
    pub(crate) fn look_up(
        &mut self,
        id: &str,
        now: Time,
        hasher: &SeededState,
        window: Duration,
    ) -> Repetition {
        let hash = hasher.hash_one(id);
        self.forget(now, window);
        match self.seen.iter().find(|seen| seen.hash == hash) {
            None => Repetition::New,
            Some(seen) if seen.is_undecided => Repetition::Undecided,
            Some(_) => Repetition::Repeated,
        }
    }

    /// Remembers an accepted id; of more than `ids_max`, the oldest is forgotten. Undecided: until [`Dedup::conclude`].
    pub(crate) fn remember(
        &mut self,
        id: &str,
        now: Time,
        hasher: &SeededState,
        ids_max: usize,
        is_undecided: bool,
    ) {
        if self.seen.len() >= ids_max {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { hash: hasher.hash_one(id), at: now, is_undecided });
    }

    /// The message is accepted for good, or was refused after all; its id is then forgotten.
    pub(crate) fn conclude(&mut self, id: &str, hasher: &SeededState, is_accepted: bool) {
        let hash = hasher.hash_one(id);
        self.seen.retain_mut(|seen| {
            let is_it = seen.hash == hash;
            seen.is_undecided &= !is_it;
            is_accepted || !is_it
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_within_its_bounds() {
        let hasher = SeededState::with_seeds(1, 2, 3, 4);
        let mut dedup = Dedup::NEW;
        let mut seen = |id: &str, second: u64| {
            let now = Time(second * 1_000_000_000);
            let is_new = dedup.look_up(id, now, &hasher, Duration::from_secs(10)) == Repetition::New;
            if is_new {
                dedup.remember(id, now, &hasher, 2, false);
            }
            !is_new
        };
        assert!(!seen("a", 0) && seen("a", 10));
        assert!(!seen("a", 11), "the window is over");
        assert!(!seen("b", 11) && !seen("c", 11) && seen("b", 12));
        assert!(!seen("a", 12), "only two ids are kept");
    }

    #[test]
    fn is_undecided_until_it_is_concluded() {
        let hasher = SeededState::with_seeds(1, 2, 3, 4);
        let mut dedup = Dedup::NEW;
        let look_up = |dedup: &mut Dedup| dedup.look_up("a", Time(1), &hasher, Duration::from_secs(10));
        dedup.remember("a", Time(0), &hasher, 2, true);
        assert_eq!(look_up(&mut dedup), Repetition::Undecided);
        dedup.conclude("a", &hasher, true);
        assert_eq!(look_up(&mut dedup), Repetition::Repeated);
        dedup.conclude("a", &hasher, false);
        assert_eq!(look_up(&mut dedup), Repetition::New);
    }
}
