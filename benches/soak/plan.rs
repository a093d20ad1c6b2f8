//! Who is who, and which message goes where: all of it computable from numbers, so that nothing has to be written down.

/// Members of a group.
pub(crate) const MEMBERS: u32 = 20;
/// Of the messages of a group's member, one in so many goes to the group.
const GROUP_EVERY: u64 = 16;
/// Users who never come have numbers from here on.
const STRANGERS: u32 = 1 << 31;
/// Messages that a visitor sends; the last is to itself.
pub(crate) const VISITOR_MESSAGES: u32 = 4;

/// How a user behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Stays connected.
    Steady,
    /// Leaves after seconds, with or without a close handshake, and comes back with `?resume=`.
    Churner,
    /// Is away most of the time; what it is sent waits in its offline queue.
    Sleeper,
    /// Stops reading now and then, until it is thrown out or comes back.
    Slow,
    /// Comes once, under a name never used before, and never again.
    Visitor,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// A user, by number.
    User(u32),
    /// The group of the users from `20 * n` on.
    Group(u32),
}

/// How many there are of each kind. Users are numbered in this order; visitors from `users()` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) steady: u32,
    pub(crate) churners: u32,
    pub(crate) sleepers: u32,
    pub(crate) slow: u32,
    /// Visitors present at a time.
    pub(crate) visitors: u32,
    /// Groups; their members are the first steady users.
    pub(crate) groups: u32,
    /// Of a million messages, so many go to users who never come: a leak, to be found.
    pub(crate) leak_ppm: u32,
}

impl Plan {
    /// Users that have a name for the whole run.
    pub(crate) fn users(&self) -> u32 {
        self.steady + self.churners + self.sleepers + self.slow
    }

    /// Users that send on the schedule.
    pub(crate) fn senders(&self) -> u32 {
        self.steady + self.churners
    }

    pub(crate) fn kind(&self, user: u32) -> Kind {
        match user {
            _ if user < self.steady => Kind::Steady,
            _ if user < self.senders() => Kind::Churner,
            _ if user < self.senders() + self.sleepers => Kind::Sleeper,
            _ if user < self.users() => Kind::Slow,
            _ => Kind::Visitor,
        }
    }

    pub(crate) fn group(&self, user: u32) -> Option<u32> {
        Some(user / MEMBERS).filter(|group| *group < self.groups)
    }

    /// Where message `number` of `sender` goes: of 100 direct ones, one to a sleeper and two to slow readers.
    pub(crate) fn recipient(&self, sender: u32, number: u32) -> To {
        let hash = mix(u64::from(sender) << 32 | u64::from(number));
        if self.kind(sender) == Kind::Visitor {
            let is_last = number + 1 == VISITOR_MESSAGES;
            return To::User(if is_last { sender } else { below(hash, self.steady) });
        }
        if self.kind(sender) == Kind::Steady && mix(hash) % 1_000_000 < u64::from(self.leak_ppm) {
            return To::User(STRANGERS | hash as u32);
        }
        let pick = hash >> 32;
        if let (Some(group), 0) = (self.group(sender), pick % GROUP_EVERY) {
            return To::Group(group);
        }
        To::User(match pick / GROUP_EVERY % 100 {
            0 => self.senders() + below(hash, self.sleepers),
            1..3 => self.senders() + self.sleepers + below(hash, self.slow),
            _ => below(hash, self.senders()),
        })
    }
}

impl Plan {
    /// Who is to get a message: a bit for each member of a group, one for a user, none if nobody ever comes for it.
    pub(crate) fn owed(&self, sender: u32, to: To) -> u32 {
        match to {
            To::User(user) if user >= STRANGERS => 0,
            To::User(_) => 1,
            To::Group(_) => !self.bit(sender, to) & ((1 << MEMBERS) - 1),
        }
    }

    /// The bit of `user` in what is [`Plan::owed`].
    pub(crate) fn bit(&self, user: u32, to: To) -> u32 {
        match to {
            To::User(_) => 1,
            To::Group(_) => 1 << (user % MEMBERS),
        }
    }
}

fn below(hash: u64, count: u32) -> u32 {
    ((u64::from(hash as u32) * u64::from(count)) >> 32) as u32
}

/// Spreads a number over all bits (SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_to_in_its_share() {
        let plan =
            Plan { steady: 600, churners: 300, sleepers: 50, slow: 4, visitors: 5, groups: 10, leak_ppm: 0 };
        let mut counts = [0_u32; 5];
        for number in 0..100_000 {
            match plan.recipient(7, number) {
                To::Group(group) => {
                    assert_eq!(group, 0);
                    counts[4] += 1;
                }
                To::User(user) => counts[plan.kind(user) as usize] += 1,
            }
        }
        let near = |count: u32, share: f64| (f64::from(count) / 100_000.0 - share).abs() < 0.01;
        let direct = 15.0 / 16.0;
        assert!(near(counts[Kind::Steady as usize], direct * 0.97 * 2.0 / 3.0), "{counts:?}");
        assert!(near(counts[Kind::Churner as usize], direct * 0.97 / 3.0), "{counts:?}");
        assert!(near(counts[Kind::Sleeper as usize], direct * 0.01), "{counts:?}");
        assert!(near(counts[Kind::Slow as usize], direct * 0.02), "{counts:?}");
        assert!(near(counts[4], 1.0 / 16.0), "{counts:?}");
        let visitor = plan.users() + 3;
        assert_eq!(plan.recipient(visitor, VISITOR_MESSAGES - 1), To::User(visitor));
        assert!(matches!(plan.recipient(visitor, 0), To::User(user) if user < 600));
    }
}
