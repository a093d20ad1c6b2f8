//! What is owed to whom, as rows: turns operations into the fewest rows to write, and rows into what to go on with.
//!
//! Pure, and shared by the store on a disk and by a simulation. A message is one row for all its recipients. Where it has many,
//! each that is served leaves a mark; with the last one, message and marks go.

use super::persist::{Debt, Op, Recipients};
use super::records::{self, Row, Table};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A change to the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Write a row.
    Put(Row),
    /// Remove the row with this key.
    Remove(Table, Vec<u8>),
    /// Remove all rows from the first key up to, and not with, the second.
    RemoveRange(Table, [u8; 8], [u8; 8]),
}

/// Counts what is open. Its size follows the messages that are kept.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<u64, Open>,
    /// Settled deliveries of recipients with several of them.
    partly: BTreeMap<(u64, u32), u16>,
    /// Marks not written yet; those of a message that ends before never are.
    marks: BTreeSet<(u64, u32)>,
}

#[derive(Debug)]
struct Open {
    /// Recipients who are still owed it.
    recipients: u32,
    /// Whether any mark of it is among the rows.
    has_marks: bool,
}

impl Ledger {
    /// A message that is among the rows, with recipients who are still owed it.
    pub fn recovered(&mut self, number: u64, recipients: u32, has_marks: bool) {
        self.open.insert(number, Open { recipients, has_marks });
    }

    /// Messages that are kept.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Appends the changes that `op` means. Marks come with [`Ledger::take_marks`].
    pub fn apply(&mut self, op: &Op, changes: &mut Vec<Change>) {
        match op {
            Op::Accept { message, recipients, from, id } => {
                let number = message.number;
                let (owed, sender) = match recipients {
                    Recipients::User(_) => (1, None),
                    Recipients::Group { members, sender } => {
                        let members: usize = members.iter().map(|part| part.len()).sum();
                        (members as u32 - 1, Some(*sender))
                    }
                };
                changes.push(Change::Put(records::sent_id(number, &from.0, &from.1, id)));
                if owed == 0 {
                    return;
                }
                changes.push(Change::Put(records::message(message, recipients)));
                self.open.insert(number, Open { recipients: owed, has_marks: false });
                if let Some(sender) = sender {
                    self.marks.insert((number, sender));
                }
            }
            Op::Settle(debt) => self.settle(*debt, changes),
            Op::Device { user, device, is_known } => {
                changes.push(flag(Table::Devices, user, device, *is_known))
            }
            Op::Member { group, user, is_member } => {
                changes.push(flag(Table::Members, group, user, *is_member))
            }
        }
    }

    fn settle(&mut self, debt: Debt, changes: &mut Vec<Change>) {
        let Debt { number, recipient, deliveries } = debt;
        if deliveries > 1 {
            let settled = self.partly.entry((number, recipient)).or_default();
            *settled += 1;
            if *settled < deliveries {
                return;
            }
            self.partly.remove(&(number, recipient));
        }
        let Entry::Occupied(mut open) = self.open.entry(number) else { return };
        open.get_mut().recipients -= 1;
        if open.get().recipients > 0 {
            self.marks.insert((number, recipient));
            return;
        }
        let open = open.remove();
        changes.push(Change::Remove(Table::Messages, records::number(number).to_vec()));
        while let Some(&key) = self.marks.range((number, 0)..=(number, u32::MAX)).next() {
            self.marks.remove(&key);
        }
        if open.has_marks {
            changes.push(Change::RemoveRange(
                Table::Settled,
                records::number(number),
                records::number(number + 1),
            ));
        }
    }

    /// Appends the marks that are still needed. Called once for each group of changes that is written together.
    pub fn take_marks(&mut self, changes: &mut Vec<Change>) {
        while let Some((number, recipient)) = self.marks.pop_first() {
            if let Some(open) = self.open.get_mut(&number) {
                open.has_marks = true;
            }
            changes.push(Change::Put(records::settled(number, recipient)));
        }
    }
}

/// A yes-or-no fact about two names, as a row that is there or not.
fn flag(table: Table, first: &str, second: &str, is_set: bool) -> Change {
    let key = records::pair(first, second);
    if is_set { Change::Put(Row { table, key, value: Vec::new() }) } else { Change::Remove(table, key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::im::image::Image;
    use crate::im::message::Message;
    use crate::im::records::recover;
    use crate::metrics::Kind;
    use proptest::prelude::*;
    use std::sync::Arc;
    use wire::time::Time;

    /// Who is owed what, by message and recipient: deliveries left, and the name.
    type Model = BTreeMap<(u64, u32), (u16, String)>;

    #[derive(Debug, Clone)]
    enum Act {
        /// A message to so many users; the first is the sender if it is a group's.
        Accept { users: usize, is_group: bool, deliveries: u16 },
        /// The n-th open debt, modulo their number.
        Settle(usize),
        /// What was applied is written together.
        Commit,
        /// What was not written is lost, and a new process goes on.
        Crash,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (1usize..5, any::<bool>(), 1u16..4).prop_map(|(users, is_group, deliveries)| Act::Accept {
                users,
                is_group,
                deliveries
            }),
            6 => any::<usize>().prop_map(Act::Settle),
            2 => Just(Act::Commit),
            1 => Just(Act::Crash),
        ]
    }

    struct World {
        ledger: Ledger,
        changes: Vec<Change>,
        image: Image,
        /// What is owed now, and what was when it was last written.
        now: Model,
        written: Model,
        /// Deliveries that each recipient's share became.
        deliveries: BTreeMap<(u64, u32), u16>,
        number: u64,
    }

    impl World {
        fn accept(&mut self, users: usize, is_group: bool, deliveries: u16) {
            self.number += 64;
            let users = if is_group { users } else { 1 };
            let names: Vec<Arc<str>> = (0..users).map(|user| format!("u{user}").into()).collect();
            let message = Message::new("\"m\"", "al", 0, "1", Time(0), Time(9), Kind::Group);
            let message = Arc::new(message.numbered(self.number));
            let recipients = if is_group {
                let (first, rest) = names.split_at(users / 2);
                Recipients::Group { members: vec![first.into(), rest.into()], sender: 0 }
            } else {
                Recipients::User(Arc::clone(&names[0]))
            };
            let from = (Arc::from("al"), Arc::from("d"));
            let op = Op::Accept { message, recipients, from, id: "\"m\"".into() };
            self.ledger.apply(&op, &mut self.changes);
            for (recipient, name) in names.iter().enumerate().skip(usize::from(is_group)) {
                let key = (self.number, recipient as u32);
                self.now.insert(key, (deliveries, name.to_string()));
                self.deliveries.insert(key, deliveries);
            }
        }

        fn settle(&mut self, pick: usize) {
            let Some(&key) = self.now.keys().nth(pick % self.now.len().max(1)) else { return };
            let debt = Debt { number: key.0, recipient: key.1, deliveries: self.deliveries[&key] };
            self.ledger.apply(&Op::Settle(debt), &mut self.changes);
            let left = &mut self.now.get_mut(&key).unwrap().0;
            *left -= 1;
            if *left == 0 {
                self.now.remove(&key);
            }
        }

        fn commit(&mut self) {
            self.ledger.take_marks(&mut self.changes);
            for change in self.changes.drain(..) {
                self.image.apply(change);
            }
            self.written = self.now.clone();
        }

        /// A new process owes every recipient's whole share again.
        fn crash(&mut self) {
            self.changes.clear();
            let (recovered, open) = recover(&self.image, 1, &|_| 0, 0).unwrap();
            let mut found = Model::new();
            for user in &recovered[0].users {
                for owed in &user.owed {
                    let key = (owed.message.number, owed.recipient);
                    found.insert(key, (self.deliveries[&key], user.name.to_string()));
                }
            }
            let expected =
                self.written.iter().map(|(key, (_, name))| (*key, (self.deliveries[key], name.clone())));
            assert_eq!(found, expected.collect::<Model>());
            self.ledger = Ledger::default();
            for (number, recipients, has_marks) in open {
                self.ledger.recovered(number, recipients, has_marks);
            }
            self.now = found.clone();
            self.written = found;
        }
    }

    proptest! {
        /// After a crash exactly what was written and not settled is owed; what is settled leaves no row behind.
        #[test]
        fn a_crash_keeps_what_was_written(acts in prop::collection::vec(act(), 1..80)) {
            let mut world = World {
                ledger: Ledger::default(),
                changes: Vec::new(),
                image: Image::default(),
                now: Model::new(),
                written: Model::new(),
                deliveries: BTreeMap::new(),
                number: 0,
            };
            for act in acts {
                match act {
                    Act::Accept { users, is_group, deliveries } => world.accept(users, is_group, deliveries),
                    Act::Settle(pick) => world.settle(pick),
                    Act::Commit => world.commit(),
                    Act::Crash => world.crash(),
                }
            }
            while !world.now.is_empty() {
                world.settle(0);
            }
            world.commit();
            world.crash();
            prop_assert!(world.image.is_empty(Table::Messages) && world.image.is_empty(Table::Settled));
            prop_assert!(world.ledger.is_empty());
        }
    }
}
