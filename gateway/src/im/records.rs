//! The rows of the store: how they are written, and what they mean when they are read again.
//!
//! Numbers are big-endian, so that rows lie in the order of their numbers. A name is its length in two bytes, then the name.

use super::message::Message;
use super::persist::{Kept, Recipients, Recovered, RecoveredDevice, RecoveredMessage, RecoveredUser};
use crate::metrics::Kind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use wire::shard::ShardIndex;

/// The tables, and what their rows are: key -> value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// number -> kind (1 byte), tail (4 bytes of length, then it), count of recipients (4 bytes), their names
    Messages,
    /// number, recipient (4 bytes) -> nothing: this recipient is not owed the message any more
    Settled,
    /// number -> user, device, id: a message with this id was accepted from that device
    SentIds,
    /// user, device -> nothing: the device is known
    Devices,
    /// group, user -> nothing: the user is a member
    Members,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 5] =
        [Table::Messages, Table::Settled, Table::SentIds, Table::Devices, Table::Members];
}

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A row that is not what its table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of table {0:?} is damaged")]
pub struct Damaged(pub Table);

/// What is shown a row's key and value.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), Damaged>;

/// Rows that can be read; the store's on a disk, or a simulation's in memory.
pub trait Rows {
    /// Why they cannot be read.
    type Error: From<Damaged>;

    /// Shows all rows of a table, in the order of their keys.
    fn each(&self, table: Table, visit: Visit<'_>) -> Result<(), Self::Error>;
}

/// Which shard is home to a name.
pub type Home<'a> = &'a dyn Fn(&str) -> ShardIndex;

/// Key of what concerns a whole message.
pub(super) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Key of two names.
pub(super) fn pair(first: &str, second: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(first.len() + second.len() + 4);
    write_name(&mut key, first);
    write_name(&mut key, second);
    key
}

pub(super) fn settled(number: u64, recipient: u32) -> Row {
    let key = [&number.to_be_bytes()[..], &recipient.to_be_bytes()].concat();
    Row { table: Table::Settled, key, value: Vec::new() }
}

pub(super) fn sent_id(number: u64, user: &str, device: &str, id: &str) -> Row {
    let mut value = Vec::with_capacity(user.len() + device.len() + id.len() + 6);
    for name in [user, device, id] {
        write_name(&mut value, name);
    }
    Row { table: Table::SentIds, key: number.to_be_bytes().to_vec(), value }
}

pub(super) fn message(message: &Message, recipients: &Recipients) -> Row {
    let tail = message.tail();
    let mut value = Vec::with_capacity(tail.len() + 64);
    value.push(u8::from(message.kind == Kind::Group));
    value.extend_from_slice(&(tail.len() as u32).to_be_bytes());
    value.extend_from_slice(tail.as_bytes());
    match recipients {
        Recipients::User(user) => {
            value.extend_from_slice(&1u32.to_be_bytes());
            write_name(&mut value, user);
        }
        Recipients::Group { members, .. } => {
            let count: usize = members.iter().map(|part| part.len()).sum();
            value.extend_from_slice(&(count as u32).to_be_bytes());
            for member in members.iter().flat_map(|part| part.iter()) {
                write_name(&mut value, member);
            }
        }
    }
    Row { table: Table::Messages, key: number(message.number).to_vec(), value }
}

/// Names are at most 256 bytes, ids in JSON a little more.
fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(&(name.len() as u16).to_be_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Reads fields from the front.
struct Reader<'a> {
    table: Table,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Damaged(self.table))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.bytes(N)?.try_into().map_err(|_| Damaged(self.table))
    }

    fn text(&mut self, count: usize) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes(count)?).map_err(|_| Damaged(self.table))
    }

    fn name(&mut self) -> Result<&'a str, Damaged> {
        let count = u16::from_be_bytes(self.array()?);
        self.text(usize::from(count))
    }
}

/// A message's number and how many are still owed it, and whether anybody has had it; for [`super::ledger::Ledger`].
pub type OpenMessage = (u64, u32, bool);

/// What the rows mean, for a gateway of `shards` shards with these homes. Ids sent before number `ids_from` are left out.
pub fn recover<R: Rows>(
    rows: &R,
    shards: usize,
    home: Home<'_>,
    ids_from: u64,
) -> Result<(Vec<Recovered>, Vec<OpenMessage>), R::Error> {
    let mut users: BTreeMap<Arc<str>, RecoveredUser> = BTreeMap::new();
    read_devices(rows, &mut users, ids_from)?;
    let open = read_messages(rows, &mut users)?;
    let mut recovered = vec![Recovered::default(); shards];
    for (name, user) in users {
        recovered[home(&name)].users.push(user);
    }
    let mut groups: BTreeMap<Arc<str>, Vec<Arc<str>>> = BTreeMap::new();
    rows.each(Table::Members, &mut |key, _| {
        let mut reader = Reader { table: Table::Members, rest: key };
        groups.entry(reader.name()?.into()).or_default().push(reader.name()?.into());
        Ok(())
    })?;
    for (name, members) in groups {
        recovered[home(&name)].groups.push((name, members));
    }
    for shard in &mut recovered {
        shard.number_max = open.last().map_or(0, |(number, ..)| *number);
    }
    Ok((recovered, open))
}

fn user_entry<'a>(users: &'a mut BTreeMap<Arc<str>, RecoveredUser>, name: &str) -> &'a mut RecoveredUser {
    users.entry(name.into()).or_insert_with_key(|name| RecoveredUser {
        name: Arc::clone(name),
        devices: Vec::new(),
        owed: Vec::new(),
    })
}

fn read_devices<R: Rows>(
    rows: &R,
    users: &mut BTreeMap<Arc<str>, RecoveredUser>,
    ids_from: u64,
) -> Result<(), R::Error> {
    rows.each(Table::Devices, &mut |key, _| {
        let mut reader = Reader { table: Table::Devices, rest: key };
        let (user, device) = (reader.name()?, reader.name()?);
        user_entry(users, user).devices.push(RecoveredDevice { name: device.into(), sent: Vec::new() });
        Ok(())
    })?;
    rows.each(Table::SentIds, &mut |key, value| {
        let number = u64::from_be_bytes(Reader { table: Table::SentIds, rest: key }.array()?);
        let mut reader = Reader { table: Table::SentIds, rest: value };
        let (user, device, id) = (reader.name()?, reader.name()?, reader.name()?);
        let device =
            users.get_mut(user).and_then(|user| user.devices.iter_mut().find(|known| &*known.name == device));
        if let Some(device) = device.filter(|_| number >= ids_from) {
            device.sent.push((id.into(), number));
        }
        Ok(())
    })
}

fn read_messages<R: Rows>(
    rows: &R,
    users: &mut BTreeMap<Arc<str>, RecoveredUser>,
) -> Result<Vec<OpenMessage>, R::Error> {
    let mut settled: BTreeSet<(u64, u32)> = BTreeSet::new();
    rows.each(Table::Settled, &mut |key, _| {
        let mut reader = Reader { table: Table::Settled, rest: key };
        settled.insert((u64::from_be_bytes(reader.array()?), u32::from_be_bytes(reader.array()?)));
        Ok(())
    })?;
    let mut open = Vec::new();
    rows.each(Table::Messages, &mut |key, value| {
        let number = u64::from_be_bytes(Reader { table: Table::Messages, rest: key }.array()?);
        let mut reader = Reader { table: Table::Messages, rest: value };
        let is_group = reader.array::<1>()? == [1];
        let tail_bytes = u32::from_be_bytes(reader.array()?) as usize;
        let message = Arc::new(Kept { number, tail: reader.text(tail_bytes)?.into(), is_group });
        let count = u32::from_be_bytes(reader.array()?);
        let mut owed = 0;
        for recipient in 0..count {
            let name = reader.name()?;
            if !settled.contains(&(number, recipient)) {
                owed += 1;
                let message = RecoveredMessage { message: Arc::clone(&message), recipient };
                user_entry(users, name).owed.push(message);
            }
        }
        open.push((number, owed, owed < count));
        Ok(())
    })?;
    Ok(open)
}
