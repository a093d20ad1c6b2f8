//! What was sent, what was promised for it, and what came of it: the model that the gateway is held against.

use crate::settings::Settings;
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
    /// The gateway's life in which it was last written.
    pub(crate) life: u32,
    /// How often it was written.
    pub(crate) asks: u32,
    /// The connection it was last written on.
    pub(crate) on: Option<End>,
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
    /// By then it has certainly been sent on its way. The gateway decides that a little after it has confirmed, and a device that
    /// leaves before it does is not owed it.
    routed_by: Time,
    /// The connection it was there with; while that lasts, the message must come soon.
    end: End,
}

#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) life: u32,
    pub(crate) messages: Vec<Message>,
    numbers: BTreeMap<(usize, u32, u64), usize>,
    /// The newest message that arrived, by sending connection, recipient and receiving device.
    newest: BTreeMap<(Option<End>, To, usize), usize>,
    obligations: Vec<Obligation>,
    /// When users became members, by group and user.
    members: BTreeMap<(usize, usize), Time>,
    /// Who has ever asked to become one.
    ever: BTreeSet<(usize, usize)>,
    /// Members that may have left.
    doubtful: BTreeSet<(usize, usize)>,
    /// For each device, the times in which it did not do its part: from, to.
    pub(crate) troubles: BTreeMap<usize, Vec<(Time, Time)>>,
}

impl Truth {
    /// Everything that was only in memory is gone.
    pub(crate) fn restarted(&mut self) {
        self.life += 1;
        self.obligations.clear();
        self.members.clear();
        self.doubtful.clear();
    }

    pub(crate) fn asked(&mut self, from: usize, to: To, now: Time) -> usize {
        let life = self.life;
        let (owed, arrivals) = (Vec::new(), Vec::new());
        let message =
            Message { from, to, asked: now, life, asks: 0, on: None, answer: Answer::None, owed, arrivals };
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
        let mut owed = self.recipients(&self.messages[message], sender, users);
        let record = &mut self.messages[message];
        // A known limit: the group's refusal of an earlier asking may have been lost with its connection, and then the id counts as
        // accepted. PROTOCOL.md says so.
        if record.asks > 1 && matches!(record.to, To::Group(_)) {
            owed.clear();
        }
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
    pub(crate) fn owe(&mut self, message: usize, device: usize, end: End, (now, routed_by): (Time, Time)) {
        if !self.has(message, device) {
            self.obligations.push(Obligation { message, device, since: now, routed_by, end });
        }
    }

    /// A shard stands still: what is on its way may be until `until`.
    pub(crate) fn stalled(&mut self, now: Time, until: Time) {
        for owed in self.obligations.iter_mut().filter(|owed| owed.routed_by >= now) {
            owed.routed_by = owed.routed_by.max(until);
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

    pub(crate) fn arrived(
        &mut self,
        (device, user): (usize, usize),
        (lineage, seq): (u32, u64),
        message: usize,
        now: Time,
        settings: &Settings,
    ) -> Result<(), String> {
        let known = *self.numbers.entry((device, lineage, seq)).or_insert(message);
        // Where devices are forgotten, numbers may have begun again and gone on without the device seeing it.
        if known != message && !settings.is_tight {
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
        let is_new_number = !arrivals.contains(&(device, lineage, seq));
        // Given up, or its session forgotten: then it has been in the offline queue, behind others and without its number.
        let give_up = settings.ack_timeout * u32::from(settings.limits.attempts_max);
        let may_be_queued = settings.is_tight || now.since(record.asked) >= give_up;
        if !is_first && is_new_number && !may_be_queued {
            return Err(format!(
                "m{message} comes to device {device} twice, now as number {seq}: {record:?}"
            ));
        }
        // Asked on two connections, it may have been accepted on either.
        let is_ordered = record.asks == 1 && !may_be_queued;
        let newest = self.newest.entry((record.on, record.to, device)).or_insert(message);
        if is_first && *newest > message && is_ordered {
            return Err(format!("m{message} comes to device {device} behind m{newest}"));
        }
        *newest = (*newest).max(message);
        self.messages[message].arrivals.push((device, lineage, seq));
        Ok(())
    }

    /// Everybody has been connected and has acknowledged everything: what was promised must have come. `lost`: as many deliveries as
    /// the gateway says have failed or expired.
    pub(crate) fn settled(&self, users: &[usize], lost: u64, settings: &Settings) -> Result<(), String> {
        let mut missing = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            if message.life != self.life || message.answer != Answer::Sent {
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
        for owed in self.obligations.iter().filter(|_| !settings.is_tight) {
            if !self.has(owed.message, owed.device) && !self.is_excused(owed, settings) {
                return Err(format!("m{} was owed to device {} and never came", owed.message, owed.device));
            }
        }
        Ok(())
    }

    /// The device was away, or did not do its part, for so long that the message went to the offline queue, for any device.
    fn is_excused(&self, owed: &Obligation, settings: &Settings) -> bool {
        let give_up = settings.ack_timeout * u32::from(settings.limits.attempts_max) - settings.bound(4);
        let troubles = || self.troubles.get(&owed.device).into_iter().flatten();
        if troubles().any(|(from, _)| (owed.since..=owed.routed_by).contains(from)) {
            return true;
        }
        let after = troubles().filter(|(_, to)| *to >= owed.since);
        after.map(|(from, to)| to.since(*from)).sum::<Duration>() >= give_up
    }
}
