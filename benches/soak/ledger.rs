//! What became of each message: kept until it is both confirmed and with everybody it is for.

use std::collections::HashMap;

/// A message: its sender's number, and which of the sender's messages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) sender: u32,
    pub(crate) number: u32,
}

/// A message that is not settled.
#[derive(Debug, Clone, Copy)]
struct Open {
    is_confirmed: bool,
    /// One bit for each recipient that has not had it.
    missing: u32,
}

/// Totals of a run.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    /// First arrivals, one for each recipient.
    pub(crate) arrived: u64,
    /// Arrivals of what had arrived before.
    pub(crate) repeated: u64,
    /// Refused, and not sent again.
    pub(crate) refused: u64,
    /// Refused when sent again, so that nobody knows whether it was accepted; sent once more.
    pub(crate) retried: u64,
    /// Messages between two who stay connected that arrived after a later one.
    pub(crate) overtaken: u64,
    /// Frames that make no sense.
    pub(crate) unexpected: u64,
}

/// The truth about all messages. Its size is that of what is open.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    open: HashMap<Key, Open>,
    /// By sender, recipient and whether it came through a group: the highest number that arrived.
    last: HashMap<(u32, u32, bool), u32>,
    pub(crate) totals: Totals,
}

impl Ledger {
    /// A message leaves for the first time; `recipients` has a bit for each.
    pub(crate) fn sent(&mut self, key: Key, recipients: u32) {
        self.totals.sent += 1;
        self.open.insert(key, Open { is_confirmed: false, missing: recipients });
    }

    pub(crate) fn confirmed(&mut self, key: Key) {
        self.totals.confirmed += 1;
        match self.open.get_mut(&key) {
            Some(open) if !open.is_confirmed => open.is_confirmed = true,
            _ => self.totals.unexpected += 1,
        }
        self.settle(key);
    }

    /// It was not accepted, and never will be.
    pub(crate) fn refused(&mut self, key: Key) {
        self.totals.refused += 1;
        self.open.remove(&key);
    }

    /// It came to the recipient with this bit; whether for the first time. What is not open came before: keys are only made by senders.
    pub(crate) fn arrived(&mut self, key: Key, recipient: u32) -> bool {
        match self.open.get_mut(&key) {
            Some(open) if open.missing & recipient != 0 => {
                open.missing &= !recipient;
                self.totals.arrived += 1;
                self.settle(key);
                true
            }
            _ => {
                self.totals.repeated += 1;
                false
            }
        }
    }

    /// It came, from a sender that stays connected to a recipient that does.
    pub(crate) fn in_order(&mut self, key: Key, recipient: u32, is_group: bool) {
        let last = self.last.entry((key.sender, recipient, is_group)).or_default();
        if *last > key.number {
            self.totals.overtaken += 1;
        }
        *last = key.number.max(*last);
    }

    fn settle(&mut self, key: Key) {
        if self.open.get(&key).is_some_and(|open| open.is_confirmed && open.missing == 0) {
            self.open.remove(&key);
        }
    }

    /// Messages that are not settled.
    pub(crate) fn open(&self) -> u64 {
        self.open.len() as u64
    }

    /// Confirmed and not with everybody; not confirmed.
    pub(crate) fn unsettled(&self) -> (u64, u64) {
        let lost = self.open.values().filter(|open| open.is_confirmed).count() as u64;
        (lost, self.open() - lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { sender: 1, number: 2 };

    #[test]
    fn settled_when_confirmed_and_with_everybody_in_any_order() {
        let mut ledger = Ledger::default();
        ledger.sent(KEY, 0b101);
        ledger.arrived(KEY, 0b001);
        ledger.confirmed(KEY);
        assert_eq!(ledger.unsettled(), (1, 0), "one member has not had it");
        ledger.arrived(KEY, 0b001);
        assert_eq!((ledger.totals.arrived, ledger.totals.repeated), (1, 1));
        ledger.arrived(KEY, 0b100);
        assert_eq!(ledger.unsettled(), (0, 0));
        ledger.confirmed(KEY);
        assert_eq!(ledger.totals.unexpected, 1, "confirmed twice");
    }

    #[test]
    fn what_is_missing_is_told() {
        let mut ledger = Ledger::default();
        ledger.sent(KEY, 1);
        assert_eq!(ledger.unsettled(), (0, 1));
        ledger.arrived(KEY, 1);
        assert_eq!(ledger.unsettled(), (0, 1), "it arrived, but nobody confirmed it");
        ledger.refused(KEY);
        assert_eq!(ledger.unsettled(), (0, 0));
        for number in [1, 3, 2] {
            ledger.in_order(Key { sender: 1, number }, 9, false);
        }
        ledger.in_order(Key { sender: 1, number: 1 }, 9, true);
        assert_eq!(ledger.totals.overtaken, 1, "what goes to a group has an order of its own");
    }
}
