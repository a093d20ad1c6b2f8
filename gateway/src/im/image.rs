//! Rows in memory: what a disk would hold, for a simulation that crashes and for tests.

use super::ledger::Change;
use super::records::{Damaged, Rows, Table, Visit};
use std::collections::BTreeMap;

/// Tables of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    tables: [BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()],
}

impl Image {
    /// Makes a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(row) => {
                self.tables[row.table as usize].insert(row.key, row.value);
            }
            Change::Remove(table, key) => {
                self.tables[table as usize].remove(&key);
            }
            Change::RemoveRange(table, from, to) => {
                self.tables[table as usize].retain(|key, _| key[..] < from[..] || key[..] >= to[..]);
            }
        }
    }

    /// Rows of a table.
    pub fn len(&self, table: Table) -> usize {
        self.tables[table as usize].len()
    }

    /// Whether a table has no row.
    pub fn is_empty(&self, table: Table) -> bool {
        self.len(table) == 0
    }
}

impl Rows for Image {
    type Error = Damaged;

    fn each(&self, table: Table, visit: Visit<'_>) -> Result<(), Damaged> {
        self.tables[table as usize].iter().try_for_each(|(key, value)| visit(key, value))
    }
}
