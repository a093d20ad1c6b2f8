//! What a shard asks to be kept across a crash, and what it is answered: plain data, by mail to and from the edge.
//!
//! A shard posts [`Mail::Persist`](super::mail::Mail::Persist) with a ticket and the operations of one step. The edge makes them
//! durable in the order of each shard's tickets and answers with [`Mail::Persisted`](super::mail::Mail::Persisted): all up to a
//! ticket are kept, or none after the last that was; then it is asked for nothing more. `store` does that on a
//! disk; a simulation on one that loses at a crash what was not synced.

use super::message::Message;
use std::sync::Arc;

/// Something to be kept, or kept no longer.
#[derive(Debug, Clone)]
pub enum Op {
    /// A message was accepted.
    Accept {
        /// The message; its number is unique and grows in the order of acceptance.
        message: Arc<Message>,
        /// Whom it is owed to.
        recipients: Recipients,
        /// The sender's user name and device.
        from: (Arc<str>, Arc<str>),
        /// The sender's id, JSON text.
        id: Box<str>,
    },
    /// One delivery of a message has come to its end: acknowledged, expired or failed.
    Settle(Debt),
    /// A device is known of a user, or forgotten.
    Device {
        /// The user.
        user: Arc<str>,
        /// The device.
        device: Arc<str>,
        /// Known from now on.
        is_known: bool,
    },
    /// A user is in a group, or no longer.
    Member {
        /// The group.
        group: Arc<str>,
        /// The user.
        user: Arc<str>,
        /// Joined.
        is_member: bool,
    },
}

/// Whom a message is owed to.
#[derive(Debug, Clone)]
pub enum Recipients {
    /// A user: recipient 0.
    User(Arc<str>),
    /// Users, numbered through all lists; the sender, who gets none, is `sender`.
    Group {
        /// The members, in portions by home.
        members: Vec<Arc<[Arc<str>]>>,
        /// The sender's number among them.
        sender: u32,
    },
}

/// One delivery that is owed. A message to a user becomes one per connected device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Debt {
    /// The message's number.
    pub number: u64,
    /// Which of its recipients.
    pub recipient: u32,
    /// Deliveries that this recipient's share became; it is settled when all of them are.
    pub deliveries: u16,
}

/// What was owed and known when the last process ended, for one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Users at home on this shard.
    pub users: Vec<RecoveredUser>,
    /// Groups at home on this shard, and their members.
    pub groups: Vec<(Arc<str>, Vec<Arc<str>>)>,
    /// How often a gateway was started on these data before. Sessions count their deliveries from here on, shifted left by 32
    /// bits, so that a number given before a crash is never given again.
    pub starts: u32,
    /// Highest number of a message that is kept.
    pub number_max: u64,
}

/// A user of whom something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredUser {
    /// The name.
    pub name: Arc<str>,
    /// The devices known.
    pub devices: Vec<RecoveredDevice>,
    /// What the user is owed, in order of acceptance.
    pub owed: Vec<RecoveredMessage>,
}

/// A device that was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredDevice {
    /// The name.
    pub name: Arc<str>,
    /// Ids that it has had accepted, JSON text, with the wall clock in nanoseconds; oldest first.
    pub sent: Vec<(Box<str>, u64)>,
}

/// A message that a user is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredMessage {
    /// The message as it was kept.
    pub message: Arc<Kept>,
    /// Which of its recipients the user is.
    pub recipient: u32,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub number: u64,
    /// The end of the frame that delivers it.
    pub tail: Box<str>,
    /// To a user or to a group.
    pub is_group: bool,
}

/// Number of the first message accepted at `wall_ns` (nanoseconds since the Unix epoch) or later. Numbers are wall clock time with
/// the shard in the lowest bits, so that they grow over all shards and over restarts.
pub fn number_at(wall_ns: u64) -> u64 {
    wall_ns & !SHARD_MASK
}

/// The bits of a number that name the shard.
pub(super) const SHARD_MASK: u64 = super::user::SHARDS_MAX as u64 - 1;
