//! What was sent, what was promised for it, and what came of it: the model that the gateway is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use wire::shard::virtual_time::End;
use wire::time::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum To {
    User(usize),
    Group(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    None,
    Sent,
    Refused,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: usize,
    pub(crate) to: To,
    /// When it was first written.
    pub(crate) asked: Time,
    /// The gateway's lives in which it was first and last written.
    born: u32,
    pub(crate) life: u32,
    /// How often it was written.
    pub(crate) asks: u32,
    pub(crate) answer: Answer,
    /// Users to whom it was certainly owed when it was accepted.
    pub(crate) owed: Vec<usize>,
    /// Device, its lineage and number.
    arrivals: Vec<(usize, u32, u64)>,
}

/// A device that was there when a message was accepted, and must have it.
#[derive(Debug)]
struct Obligation {
    message: usize,
    device: usize,
    since: Time,
    /// The connection it was there with; while that lasts, the message must come soon.
    end: End,
}

/// What has an order: sending device, recipient, and receiving device with its lineage.
type Stream = (usize, To, (usize, u32));

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) life: u32,
    pub(crate) messages: Vec<Message>,
    numbers: BTreeMap<(usize, u32, u64), usize>,
    /// The newest message that arrived.
    newest: BTreeMap<Stream, usize>,
    obligations: Vec<Obligation>,
    /// When users became members, by group and user.
    members: BTreeMap<(usize, usize), Time>,
    /// Who has ever asked to become one.
    ever: BTreeSet<(usize, usize)>,
    /// Members that may have left.
    doubtful: BTreeSet<(usize, usize)>,
}

impl Truth {
    /// Everything that was only in memory is gone.
    pub(crate) fn restarted(&mut self, is_durable: bool) {
        self.life += 1;
        self.obligations.clear();
        if !is_durable {
            self.members.clear();
            self.doubtful.clear();
        }
    }

    pub(crate) fn asked(&mut self, from: usize, to: To, now: Time) -> usize {
        let life = self.life;
        let (owed, arrivals) = (Vec::new(), Vec::new());
        let message =
            Message { from, to, asked: now, born: life, life, asks: 0, answer: Answer::None, owed, arrivals };
        self.messages.push(message);
        self.messages.len() - 1
    }

    pub(crate) fn joins(&mut self, group: usize, user: usize) {
        self.ever.insert((group, user));
    }

    pub(crate) fn joined(&mut self, group: usize, user: usize, now: Time) {
        self.members.entry((group, user)).or_insert(now);
    }

    /// Somebody has asked to leave: from now on nothing is certain.
    pub(crate) fn leaves(&mut self, group: usize, user: usize) {
        self.doubtful.insert((group, user));
    }

    pub(crate) fn is_member(&self, group: usize, user: usize) -> bool {
        self.members.contains_key(&(group, user)) && !self.doubtful.contains(&(group, user))
    }

    /// Whether the user had become a member by `at`.
    pub(crate) fn was_member(&self, group: usize, user: usize, at: Time) -> bool {
        self.members.get(&(group, user)).is_some_and(|since| *since < at)
    }

    /// The users to whom a message of `sender` is certainly owed if it is accepted now or was since it was asked.
    fn recipients(&self, message: &Message, sender: usize, users: usize) -> Vec<usize> {
        match message.to {
            To::User(user) => vec![user],
            To::Group(group) => (0..users)
                .filter(|&user| user != sender && self.is_member(group, user))
                .filter(|&user| self.members.get(&(group, user)).is_some_and(|at| *at < message.asked))
                .collect(),
        }
    }

    /// The gateway has taken responsibility for `message`, sent by `sender`.
    pub(crate) fn confirmed(&mut self, message: usize, sender: usize, users: usize) -> Result<(), String> {
        let owed = self.recipients(&self.messages[message], sender, users);
        let record = &mut self.messages[message];
        match record.answer {
            Answer::Refused => Err(format!("m{message} was refused and is confirmed")),
            Answer::Sent => Ok(()),
            Answer::None => {
                (record.answer, record.owed) = (Answer::Sent, owed);
                Ok(())
            }
        }
    }

    pub(crate) fn refused(&mut self, message: usize) {
        let record = &mut self.messages[message];
        // Of several askings an earlier one may have been accepted.
        if record.answer == Answer::None && record.asks == 1 {
            record.answer = Answer::Refused;
        }
    }

    /// `device` was connected by `end` when `message` was accepted.
    pub(crate) fn owe(&mut self, message: usize, device: usize, end: End, now: Time) {
        if !self.has(message, device) {
            self.obligations.push(Obligation { message, device, since: now, end });
        }
    }

    fn has(&self, message: usize, device: usize) -> bool {
        self.messages[message].arrivals.iter().any(|(at, ..)| *at == device)
    }

    /// A delivery that is overdue: its device has been there all the time. `end_of` gives the end of a device that does its part.
    pub(crate) fn overdue(
        &self,
        now: Time,
        quiet_from: Time,
        bound: Duration,
        end_of: impl Fn(usize) -> Option<End>,
    ) -> Result<(), String> {
        for owed in &self.obligations {
            let due = owed.since.max(quiet_from) + bound;
            if end_of(owed.device) == Some(owed.end) && due < now && !self.has(owed.message, owed.device) {
                return Err(format!("m{} does not come to device {}", owed.message, owed.device));
            }
        }
        Ok(())
    }

    /// A delivery has come. `is_exact`: neither receiver nor sender may have been forgotten, and no fault has let others overtake it.
    pub(crate) fn arrived(
        &mut self,
        (device, user): (usize, usize),
        (lineage, seq): (u32, u64),
        message: usize,
        is_exact: bool,
    ) -> Result<(), String> {
        let known = *self.numbers.entry((device, lineage, seq)).or_insert(message);
        if known != message {
            return Err(format!("number {seq} of device {device} was m{known} and is m{message}"));
        }
        let Some(record) = self.messages.get(message) else {
            return Err(format!("m{message} was never sent"));
        };
        let is_for = match record.to {
            To::User(to) => to == user,
            To::Group(group) => self.ever.contains(&(group, user)),
        };
        if !is_for || record.answer == Answer::Refused {
            return Err(format!("m{message} ({record:?}) comes to device {device} of user {user}"));
        }
        let arrivals = &record.arrivals;
        let is_first = !arrivals.iter().any(|(at, ..)| *at == device);
        // A new life gives a new number to what it does not know to be acknowledged; once.
        let is_other = |at: &(usize, u32, u64)| at.0 == device && (at.1, at.2) != (lineage, seq);
        let is_new_number = !arrivals.contains(&(device, lineage, seq))
            && arrivals.iter().any(|at| is_other(at) && (at.1 == lineage || record.born == self.life));
        if is_new_number && is_exact {
            return Err(format!(
                "m{message} comes to device {device} twice, now as number {seq}: {record:?}"
            ));
        }
        // Asked twice, it may have been lost or refused first, and so be accepted behind what was asked between.
        let is_ordered = is_exact && record.asks == 1;
        let newest = self.newest.entry((record.from, record.to, (device, lineage))).or_insert(message);
        if is_first && *newest > message && is_ordered {
            return Err(format!("m{message} comes to device {device} behind m{newest}"));
        }
        *newest = (*newest).max(message);
        self.messages[message].arrivals.push((device, lineage, seq));
        Ok(())
    }

    /// Everybody has been connected and has acknowledged everything: what was promised must have come. `lost`: as many deliveries as
    /// the gateway says have failed or expired.
    pub(crate) fn settled(
        &self,
        users: &[usize],
        lost: u64,
        is_durable: bool,
        may_forget: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let mut missing = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            let is_kept = is_durable || message.life == self.life;
            if !is_kept || message.answer != Answer::Sent {
                continue;
            }
            for &user in &message.owed {
                if !message.arrivals.iter().any(|(device, ..)| users[*device] == user) {
                    missing.push(format!("m{number} to user {user}"));
                }
            }
        }
        if missing.len() as u64 > lost {
            return Err(format!("confirmed and never delivered, {lost} said to be lost: {missing:?}"));
        }
        for owed in &self.obligations {
            if !self.has(owed.message, owed.device) && !may_forget(owed.device) {
                return Err(format!("m{} was owed to device {} and never came", owed.message, owed.device));
            }
        }
        Ok(())
    }
}
