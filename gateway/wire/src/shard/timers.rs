//! A hashed timer wheel: set in O(1), expire in O(due).
//!
//! There is no cancel: who sets a timer checks, when it fires, whether it still means anything. Resolution is one
//! millisecond, rounded up: a timer is never early.

use crate::time::Time;

const SLOTS: u64 = 4096;
const TICK_NS: u64 = 1_000_000;

const NONE: u32 = u32::MAX;

/// Timers by deadline; keys are the caller's. Each takes 16 bytes, in one table for all.
#[derive(Debug)]
pub struct Timers {
    /// Per slot of the wheel the timer set last, in `entries`; the others follow it.
    heads: Box<[u32]>,
    entries: Vec<Entry>,
    /// The first unused entry; the others follow it.
    free: u32,
    /// One bit per slot that holds anything.
    occupied: [u64; (SLOTS / 64) as usize],
    /// All ticks up to this one have been expired.
    done: u64,
    len: usize,
}

#[derive(Debug)]
struct Entry {
    key: u64,
    /// Of the wheel: a slot also holds timers of later rounds.
    round: u32,
    next: u32,
}

impl Timers {
    /// An empty wheel whose time begins at `now`.
    pub fn new(now: Time) -> Timers {
        Timers {
            heads: vec![NONE; SLOTS as usize].into(),
            entries: Vec::new(),
            free: NONE,
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
        let slot = (tick % SLOTS) as usize;
        let entry = Entry { key, round: round(tick), next: self.heads[slot] };
        self.heads[slot] = self.place(entry);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        self.len += 1;
    }

    fn place(&mut self, entry: Entry) -> u32 {
        let free = self.free;
        match self.entries.get_mut(free as usize) {
            Some(unused) => {
                self.free = unused.next;
                *unused = entry;
                free
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        }
    }

    /// Moves the keys of all timers due by `now` into `due`, earliest tick first, those of a tick in the order they were set.
    pub fn expire(&mut self, now: Time, due: &mut Vec<u64>) {
        let until = now.0 / TICK_NS;
        if until.saturating_sub(self.done) >= SLOTS {
            self.expire_whole_rounds(until, due);
            return;
        }
        while self.done < until && self.len > 0 {
            self.done += 1;
            let tick = self.done;
            self.expire_slot((tick % SLOTS) as usize, tick, |_, key| due.push(key));
        }
        self.done = self.done.max(until);
    }

    /// After a standstill longer than the wheel: every slot is looked at once, and the due ones sorted.
    fn expire_whole_rounds(&mut self, until: u64, due: &mut Vec<u64>) {
        let mut late: Vec<(u64, u64)> = Vec::new();
        for slot in 0..SLOTS {
            self.expire_slot(slot as usize, until, |tick, key| late.push((tick, key)));
        }
        late.sort_by_key(|(tick, _)| *tick);
        due.extend(late.into_iter().map(|(_, key)| key));
        self.done = until;
    }

    /// Gives tick and key of the slot's timers that are due by the tick `until`, in the order they were set.
    fn expire_slot(&mut self, slot: usize, until: u64, mut due: impl FnMut(u64, u64)) {
        let (mut at, mut kept, mut taken) = (self.heads[slot], NONE, NONE);
        // The list is turned round, so that the first set comes first, and the rest is turned back.
        while let Some(entry) = self.entries.get_mut(at as usize) {
            let list = if tick(entry.round, slot) <= until { &mut taken } else { &mut kept };
            (at, entry.next, *list) = (entry.next, *list, at);
        }
        while let Some(entry) = self.entries.get_mut(taken as usize) {
            due(tick(entry.round, slot), entry.key);
            (taken, entry.next, self.free) = (entry.next, self.free, taken);
            self.len -= 1;
        }
        self.heads[slot] = NONE;
        while let Some(entry) = self.entries.get_mut(kept as usize) {
            (kept, entry.next, self.heads[slot]) = (entry.next, self.heads[slot], kept);
        }
        if self.heads[slot] == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
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

/// The times a wheel has gone round before this tick; 500 years fit.
fn round(tick: u64) -> u32 {
    u32::try_from(tick / SLOTS).unwrap_or(u32::MAX)
}

fn tick(round: u32, slot: usize) -> u64 {
    u64::from(round) * SLOTS + slot as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn those_of_a_tick_fire_in_the_order_they_were_set_and_places_are_used_again() {
        let mut timers = Timers::new(Time(0));
        for round in 0..100 {
            let (now, later) = (Time(round * 2_000_000), Time((round * 2 + 2 * SLOTS) * TICK_NS));
            for key in 0..4 {
                timers.set(if key == 2 { later } else { now + Duration::from_millis(1) }, key);
            }
            let mut due = Vec::new();
            timers.expire(now + Duration::from_millis(1), &mut due);
            assert_eq!(due, [0, 1, 3]);
        }
        assert_eq!((timers.len(), timers.entries.len()), (100, 103));
    }

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
