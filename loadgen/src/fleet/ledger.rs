//! The truth about every message: what became of sending it, and how often it arrived.
//!
//! The sender's thread writes the one half, the recipient's thread the other; they meet when the run is over. Pages are made
//! when first written, so memory follows the messages that were sent.

use super::plan::MessageNumber;
use std::collections::BTreeMap;

/// What became of sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Sending {
    /// Never attempted: the generator was late or had stopped.
    #[default]
    Missed = 0,
    /// Its sender was not connected.
    Offline = 1,
    /// The sender's socket took no more.
    Blocked = 2,
    /// The target refused it with a code.
    Refused = 3,
    /// Sent, and not confirmed (yet).
    Sent = 4,
    /// Confirmed.
    Confirmed = 5,
}

const SENDINGS: [Sending; 6] = [
    Sending::Missed,
    Sending::Offline,
    Sending::Blocked,
    Sending::Refused,
    Sending::Sent,
    Sending::Confirmed,
];

const PAGE_BYTES: usize = 4096;

/// Small numbers by index, in pages that are made when first written.
#[derive(Debug, Clone)]
struct Pages<const BITS: u32> {
    pages: Vec<Option<Box<[u8; PAGE_BYTES]>>>,
}

impl<const BITS: u32> Default for Pages<BITS> {
    fn default() -> Self {
        Pages { pages: Vec::new() }
    }
}

impl<const BITS: u32> Pages<BITS> {
    const PER_BYTE: u64 = 8 / BITS as u64;
    const MASK: u8 = (1 << BITS) - 1;

    fn place(index: u64) -> (usize, usize, u32) {
        let byte = index / Self::PER_BYTE;
        let shift = (index % Self::PER_BYTE) as u32 * BITS;
        ((byte / PAGE_BYTES as u64) as usize, (byte % PAGE_BYTES as u64) as usize, shift)
    }

    fn get(&self, index: u64) -> u8 {
        let (page, byte, shift) = Self::place(index);
        self.pages.get(page).and_then(Option::as_ref).map_or(0, |page| (page[byte] >> shift) & Self::MASK)
    }

    fn set(&mut self, index: u64, value: u8) {
        let (page, byte, shift) = Self::place(index);
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let page = self.pages[page].get_or_insert_with(|| Box::new([0; PAGE_BYTES]));
        page[byte] = page[byte] & !(Self::MASK << shift) | (value & Self::MASK) << shift;
    }
}

/// One thread's half of the truth about one traffic plan.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// By turn: message number divided by the number of threads.
    sendings: Pages<4>,
    /// By message number; 3 means three or more.
    arrivals: Pages<2>,
    /// Arrivals beyond three.
    surplus: BTreeMap<MessageNumber, u64>,
}

impl Ledger {
    /// Records what became of sending the thread's `turn`-th message.
    pub fn sending(&mut self, turn: u64, sending: Sending) {
        self.sendings.set(turn, sending as u8);
    }

    /// What became of sending the thread's `turn`-th message.
    pub fn sending_of(&self, turn: u64) -> Sending {
        SENDINGS.get(usize::from(self.sendings.get(turn))).copied().unwrap_or_default()
    }

    /// Records an arrival. True: it is the first.
    pub fn arrived(&mut self, number: MessageNumber) -> bool {
        match self.arrivals.get(number) {
            3 => *self.surplus.entry(number).or_default() += 1,
            seen => {
                self.arrivals.set(number, seen + 1);
                return seen == 0;
            }
        }
        false
    }

    /// How often a message arrived on this thread.
    pub fn arrivals_of(&self, number: MessageNumber) -> u64 {
        u64::from(self.arrivals.get(number)) + self.surplus.get(&number).copied().unwrap_or(0)
    }
}

/// The one class that every planned message ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The generator was late or had stopped.
    Missed,
    /// The sender was not connected.
    Offline,
    /// The sender's socket was full.
    Blocked,
    /// The target refused it.
    Refused,
    /// Sent, never confirmed, never arrived.
    Unconfirmed,
    /// Arrived.
    Delivered,
    /// Confirmed, for a user that never connects.
    Queued,
    /// Confirmed, never arrived.
    Lost,
}

/// All classes, in the order in which reports list them.
pub const CLASSES: [Class; 8] = [
    Class::Missed,
    Class::Offline,
    Class::Blocked,
    Class::Refused,
    Class::Unconfirmed,
    Class::Delivered,
    Class::Queued,
    Class::Lost,
];

/// The class of a message, once nothing more can arrive. `absent`: its recipient never connects.
pub fn classify(sending: Sending, arrivals: u64, absent: bool) -> Class {
    match sending {
        _ if arrivals > 0 => Class::Delivered,
        Sending::Missed => Class::Missed,
        Sending::Offline => Class::Offline,
        Sending::Blocked => Class::Blocked,
        Sending::Refused => Class::Refused,
        Sending::Sent => Class::Unconfirmed,
        Sending::Confirmed if absent => Class::Queued,
        Sending::Confirmed => Class::Lost,
    }
}

/// How many messages ended in each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By [`Class`].
    pub classes: [u64; 8],
    /// Arrivals after the first.
    pub duplicates: u64,
}

impl Counts {
    /// Adds one message.
    pub fn add(&mut self, class: Class, arrivals: u64) {
        self.classes[class as usize] += 1;
        self.duplicates += arrivals.saturating_sub(1);
    }

    /// Messages of a class.
    pub fn of(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// All messages that were planned: the sum of the classes.
    pub fn planned(&self) -> u64 {
        self.classes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_exactly_beyond_its_two_bits() {
        let mut ledger = Ledger::default();
        assert!(ledger.arrived(70_000));
        for _ in 0..9 {
            assert!(!ledger.arrived(70_000));
        }
        assert_eq!((ledger.arrivals_of(70_000), ledger.arrivals_of(69_999)), (10, 0));
    }

    #[test]
    fn one_class_each() {
        for (sending, arrivals, absent, class) in [
            (Sending::Missed, 0, false, Class::Missed),
            (Sending::Sent, 0, false, Class::Unconfirmed),
            (Sending::Sent, 1, false, Class::Delivered),
            (Sending::Confirmed, 2, false, Class::Delivered),
            (Sending::Confirmed, 0, false, Class::Lost),
            (Sending::Confirmed, 0, true, Class::Queued),
            (Sending::Refused, 0, false, Class::Refused),
        ] {
            assert_eq!(classify(sending, arrivals, absent), class);
        }
    }

    proptest! {
        #[test]
        fn remembers_what_was_written(writes in prop::collection::vec((0u64..50_000, 0usize..6, 0u64..6), 0..200)) {
            let (mut ledger, mut expected) = (Ledger::default(), BTreeMap::new());
            for (number, sending, arrivals) in writes {
                ledger.sending(number, SENDINGS[sending]);
                for _ in 0..arrivals {
                    ledger.arrived(number);
                }
                let entry: &mut (Sending, u64) = expected.entry(number).or_default();
                *entry = (SENDINGS[sending], entry.1 + arrivals);
            }
            for (number, (sending, arrivals)) in expected {
                prop_assert_eq!(ledger.sending_of(number), sending);
                prop_assert_eq!(ledger.arrivals_of(number), arrivals);
            }
        }
    }
}
