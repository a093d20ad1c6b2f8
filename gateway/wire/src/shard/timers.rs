//! A hashed timer wheel: set in O(1), expire in O(due).
//!
//! There is no cancel: who sets a timer checks, when it fires, whether it still means anything. Resolution is one
//! millisecond, rounded up: a timer is never early.

use crate::time::Time;

const SLOTS: u64 = 4096;
const TICK_NS: u64 = 1_000_000;

/// Timers by deadline; keys are the caller's.
#[derive(Debug)]
pub struct Timers {
    /// Per slot: (tick, key). A slot also holds entries of later rounds.
    slots: Vec<Vec<(u64, u64)>>,
    /// One bit per slot that holds anything.
    occupied: [u64; (SLOTS / 64) as usize],
    /// All ticks up to this one have been expired.
    done: u64,
    len: usize,
}

impl Timers {
    /// An empty wheel whose time begins at `now`.
    pub fn new(now: Time) -> Timers {
        Timers {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; (SLOTS / 64) as usize],
            done: now.0 / TICK_NS,
            len: 0,
        }
    }

    /// Number of timers set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fires `key` at `at`, or at the next millisecond if that has passed.
    pub fn set(&mut self, at: Time, key: u64) {
        let tick = at.0.div_ceil(TICK_NS).max(self.done + 1);
        let slot = tick % SLOTS;
        self.slots[slot as usize].push((tick, key));
        self.occupied[(slot / 64) as usize] |= 1 << (slot % 64);
        self.len += 1;
    }

    /// Moves the keys of all timers due by `now` into `due`, earliest tick first.
    pub fn expire(&mut self, now: Time, due: &mut Vec<u64>) {
        let until = now.0 / TICK_NS;
        if until.saturating_sub(self.done) >= SLOTS {
            self.expire_whole_rounds(until, due);
            return;
        }
        while self.done < until && self.len > 0 {
            self.done += 1;
            self.expire_slot(self.done, due);
        }
        self.done = self.done.max(until);
    }

    /// After a standstill longer than the wheel: every slot is looked at once, and the due ones sorted.
    fn expire_whole_rounds(&mut self, until: u64, due: &mut Vec<u64>) {
        let mut late: Vec<(u64, u64)> = Vec::new();
        for slot in &mut self.slots {
            late.extend(slot.extract_if(.., |(tick, _)| *tick <= until));
        }
        late.sort_by_key(|(tick, _)| *tick);
        self.len -= late.len();
        due.extend(late.into_iter().map(|(_, key)| key));
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.is_empty() {
                self.occupied[index / 64] &= !(1 << (index % 64));
            }
        }
        self.done = until;
    }

    fn expire_slot(&mut self, tick: u64, due: &mut Vec<u64>) {
        let index = (tick % SLOTS) as usize;
        let slot = &mut self.slots[index];
        if slot.is_empty() {
            return;
        }
        let before = slot.len();
        due.extend(slot.extract_if(.., |(at, _)| *at <= tick).map(|(_, key)| key));
        self.len -= before - slot.len();
        if slot.is_empty() {
            self.occupied[index / 64] &= !(1 << (index % 64));
        }
    }

    /// When [`Timers::expire`] should be called next. May be early by whole rounds, never late.
    pub fn next(&self) -> Option<Time> {
        if self.len == 0 {
            return None;
        }
        let first = self.done + 1;
        let start = first % SLOTS;
        let (word, bit) = ((start / 64) as usize, start % 64);
        let words = self.occupied.len();
        // Once around, a word at a time; the word begun with is looked at twice, its end first and its beginning last.
        (0..=words).find_map(|step| {
            let at = (word + step) % words;
            let wanted = match step {
                0 => u64::MAX << bit,
                step if step == words => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let bits = self.occupied[at] & wanted;
            let slot = at as u64 * 64 + u64::from(bits.trailing_zeros());
            (bits != 0).then(|| Time((first + (slot + SLOTS - start) % SLOTS) * TICK_NS))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Whatever is set fires once, never early, and no later than the first expiry at or after its millisecond.
        #[test]
        fn fires_once_and_in_time(
            sets in prop::collection::vec((0u64..20_000, 0u64..30_000_000_000), 1..60),
            steps in prop::collection::vec(1u64..9_000, 1..40),
        ) {
            let mut timers = Timers::new(Time(0));
            for (key, (_, at)) in sets.iter().enumerate() {
                timers.set(Time(*at), key as u64);
            }
            let (mut now, mut fired) = (Time(0), std::collections::BTreeMap::new());
            for step in steps {
                let before = now;
                now = now + Duration::from_millis(step);
                if let Some(next) = timers.next() {
                    prop_assert!(next > before);
                    // The nearest timer, or one that shares its place on the wheel and is due rounds later.
                    let pending = sets.iter().enumerate().filter(|(key, _)| !fired.contains_key(&(*key as u64)));
                    let ticks = pending.map(|(_, (_, at))| at.div_ceil(TICK_NS).max(1));
                    let near = ticks.map(|tick| (tick - before.0 / TICK_NS - 1) % SLOTS).min();
                    prop_assert_eq!(near, Some(next.0 / TICK_NS - before.0 / TICK_NS - 1));
                }
                let mut due = Vec::new();
                timers.expire(now, &mut due);
                for key in due {
                    prop_assert!(fired.insert(key, now).is_none(), "fired twice");
                    let at = sets[key as usize].1;
                    prop_assert!(at <= now.0, "early");
                    prop_assert!(at.div_ceil(TICK_NS).max(1) * TICK_NS > before.0, "late");
                }
            }
            let pending = sets.len() - fired.len();
            prop_assert_eq!(timers.len(), pending);
            prop_assert!(sets.iter().enumerate().all(|(key, (_, at))| fired.contains_key(&(key as u64)) == (at.div_ceil(TICK_NS).max(1) * TICK_NS <= now.0)));
        }
    }
}
