//! Which of a session's message ids were seen lately.

use super::SeededState;
use std::collections::VecDeque;
use std::time::Duration;
use wire::time::Time;

/// The last ids of one session, as 64-bit keyed hashes: bounded in number and in time. Owns nothing until the first id.
#[derive(Debug, Default)]
pub(crate) struct Dedup {
    seen: VecDeque<(u64, Time)>,
}

impl Dedup {
    /// Whether `id` was accepted within `window`.
    pub(crate) fn is_repeated(
        &mut self,
        id: &str,
        now: Time,
        hasher: &SeededState,
        window: Duration,
    ) -> bool {
        let hash = hasher.hash_one(id);
        while self.seen.front().is_some_and(|(_, at)| now.since(*at) > window) {
            self.seen.pop_front();
        }
        self.seen.iter().any(|(known, _)| *known == hash)
    }

    /// Remembers an accepted id; of more than `ids_max`, the oldest is forgotten.
    pub(crate) fn remember(&mut self, id: &str, now: Time, hasher: &SeededState, ids_max: usize) {
        if self.seen.len() >= ids_max {
            self.seen.pop_front();
        }
        self.seen.push_back((hasher.hash_one(id), now));
    }

    /// Forgets an id whose message was refused after all.
    pub(crate) fn forget(&mut self, id: &str, hasher: &SeededState) {
        let hash = hasher.hash_one(id);
        self.seen.retain(|(known, _)| *known != hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_within_its_bounds() {
        let hasher = SeededState::with_seeds(1, 2, 3, 4);
        let mut dedup = Dedup::default();
        let mut seen = |id: &str, second: u64| {
            let now = Time(second * 1_000_000_000);
            let repeated = dedup.is_repeated(id, now, &hasher, Duration::from_secs(10));
            if !repeated {
                dedup.remember(id, now, &hasher, 2);
            }
            repeated
        };
        assert!(!seen("a", 0) && seen("a", 10));
        assert!(!seen("a", 11), "the window is over");
        assert!(!seen("b", 11) && !seen("c", 11) && seen("b", 12));
        assert!(!seen("a", 12), "only two ids are kept");
        dedup.forget("a", &hasher);
        assert!(!dedup.is_repeated("a", Time(12_000_000_000), &hasher, Duration::from_secs(10)));
    }
}
