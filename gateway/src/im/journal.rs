//! What a shard has to say of a step: records gather here and leave in one piece of mail.
//!
//! What is not wanted costs one load. What happens again and again is said so often in a second and no more, so that an outage
//! is not drowned in its own words; the next record of the kind says how many are missing. Each connection and delivery is said
//! where the level asks for that.

use super::limits::{Bucket, Rate};
use super::mail::Mail;
use super::message::Message;
use super::owed::Owed;
use super::shard::Shard;
use crate::log::{Event, Gate, Level, Record};
use crate::metrics::{Dropped, FailReason};
use std::sync::Arc;
use std::time::Duration;
use wire::shard::Io;
use wire::time::Time;

/// How often a shard says the same warning in a second.
const WARNINGS_PER_SECOND: u32 = 10;
/// Records of one step; what is beyond is dropped before it takes memory.
const RECORDS_MAX: usize = 4096;
/// From accept to acknowledgement: the operators' bound for an alarm.
const HIGH_LATENCY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Journal {
    gate: Arc<Gate>,
    /// Wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    wall_offset_ns: u64,
    records: Vec<Record>,
    kinds: [Kind; Event::COUNT],
    rate: Option<Rate>,
}

/// How often an event is said.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    bucket: Bucket,
    /// How often it happened since it was said last.
    suppressed: u64,
}

impl Journal {
    pub(super) fn new(gate: Arc<Gate>, wall_offset_ns: u64) -> Journal {
        let rate = Rate::per_second(WARNINGS_PER_SECOND);
        Journal { gate, wall_offset_ns, records: Vec::new(), kinds: Default::default(), rate }
    }

    /// Says that something has happened, if anybody wants to know; `complete` adds who and what.
    pub(super) fn say(
        &mut self,
        event: Event,
        now: Time,
        message: &'static str,
        complete: impl FnOnce(Record) -> Record,
    ) {
        let level = event.level();
        if !self.gate.wants(level) {
            return;
        }
        let kind = &mut self.kinds[event as usize];
        let why = if self.records.len() >= RECORDS_MAX {
            Some(Dropped::QueueFull)
        } else if level <= Level::Warn && !kind.bucket.take(self.rate, now) {
            Some(Dropped::RateLimit)
        } else {
            None
        };
        if let Some(why) = why {
            kind.suppressed += 1;
            return self.gate.count_dropped(why, 1);
        }
        let suppressed = std::mem::take(&mut kind.suppressed);
        let at_ms = (self.wall_offset_ns + now.0) / 1_000_000;
        let record = complete(Record::new(event, at_ms, message));
        self.records.push(if suppressed > 0 { record.count("suppressed", suppressed) } else { record });
    }

    /// A delivery was acknowledged.
    pub(super) fn delivered(
        &mut self,
        (user, device): (&Arc<str>, &Arc<str>),
        message: &Message,
        latency: Duration,
        now: Time,
    ) {
        let complete = |record: Record| Record {
            latency: Some(latency),
            message_id: message.id(),
            ..record.of(user, Some(device)).within(message.trace())
        };
        if latency >= HIGH_LATENCY {
            self.say(Event::HighLatency, now, "a delivery took long to be acknowledged", complete);
        }
        self.say(Event::MessageDelivered, now, "a delivery was acknowledged", complete);
    }

    /// A confirmed message is lost for a recipient.
    pub(super) fn lost(&mut self, user: &Arc<str>, message: &Message, reason: FailReason, now: Time) {
        self.say(Event::MessageDeliveryFailed, now, "a confirmed message is lost for this user", |record| {
            let record = record.of(user, None).within(message.trace()).text("error", reason.name());
            Record { message_id: message.id(), ..record }
        });
    }
}

impl Shard {
    /// Says what the users who are at home here have lost in this step.
    pub(super) fn tell_lost(&mut self, now: Time) {
        for (user, owed) in self.registry.take_lost() {
            self.tell_loss(&user, &owed, FailReason::QueueFull, now);
        }
    }

    pub(super) fn tell_loss(&mut self, user: &Arc<str>, owed: &Owed, reason: FailReason, now: Time) {
        self.trace_loss(owed, user, reason, now);
        self.journal.lost(user, owed, reason, now);
    }

    /// Hands what was said in this step to the edge.
    pub(super) fn post_records(&mut self, io: &mut Io<Mail>) {
        if self.journal.records.is_empty() {
            return;
        }
        let mut records = std::mem::take(&mut self.journal.records);
        records.truncate(self.journal.gate.enter(records.len()));
        if !records.is_empty() {
            io.post(io.edge(), Mail::Log(records));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Detail;

    fn journal(level: Level) -> Journal {
        let gate = Arc::new(Gate::default());
        gate.set_level(level);
        Journal::new(gate, 0)
    }

    fn say_at(journal: &mut Journal, event: Event, times: usize, now: Time) -> Vec<Record> {
        (0..times).for_each(|_| journal.say(event, now, "it happened", |record| record));
        std::mem::take(&mut journal.records)
    }

    fn say(journal: &mut Journal, event: Event, times: usize) -> usize {
        say_at(journal, event, times, Time(1)).len()
    }

    fn suppressed(records: &[Record]) -> Vec<u64> {
        let of = |record: &Record| match record.details[..] {
            [("suppressed", Detail::Count(count))] => count,
            _ => 0,
        };
        records.iter().map(of).collect()
    }

    #[test]
    fn what_is_not_wanted_is_not_made() {
        let mut journal = journal(Level::Info);
        assert_eq!(say(&mut journal, Event::ConnectionClosed, 3), 0);
        assert_eq!(say(&mut journal, Event::AuthFailed, 3), 3);
        journal.gate.set_level(Level::Debug);
        assert_eq!(say(&mut journal, Event::ConnectionClosed, 3), 3);
    }

    #[test]
    fn warnings_are_said_so_often_and_the_rest_is_counted() {
        let mut journal = journal(Level::Debug);
        let often = WARNINGS_PER_SECOND as usize;
        assert_eq!(say(&mut journal, Event::AuthFailed, often + 7), often);
        assert_eq!(journal.gate.dropped(Dropped::RateLimit), 7);
        assert_eq!(say(&mut journal, Event::ConnectionError, 1), 1, "another warning has its own measure");
        assert_eq!(say(&mut journal, Event::ConnectionClosed, often + 7), often + 7);
        assert_eq!(say(&mut journal, Event::ConnectionClosed, RECORDS_MAX + 2), RECORDS_MAX);
        assert_eq!(journal.gate.dropped(Dropped::QueueFull), 2);
    }

    #[test]
    fn the_next_record_says_how_many_are_missing() {
        let mut journal = journal(Level::Debug);
        let (often, second) = (WARNINGS_PER_SECOND as usize, 1_000_000_000);
        let first = say_at(&mut journal, Event::HighLatency, often + 7, Time(second));
        assert_eq!(suppressed(&first), vec![0; often], "those that come first miss none");
        assert!(say_at(&mut journal, Event::HighLatency, 5, Time(second + 1)).is_empty());
        let again = say_at(&mut journal, Event::HighLatency, 2, Time(3 * second));
        assert_eq!(suppressed(&again), [12, 0]);
        assert_eq!(suppressed(&say_at(&mut journal, Event::AuthFailed, 1, Time(3 * second))), [0]);
        say_at(&mut journal, Event::ConnectionClosed, RECORDS_MAX + 2, Time(3 * second));
        assert_eq!(suppressed(&say_at(&mut journal, Event::ConnectionClosed, 1, Time(3 * second))), [2]);
    }

    /// However long it lasts: no more than a second's worth and what time brings, and each that happened is said or counted.
    #[test]
    fn a_flood_of_an_hour_is_told_in_full_and_not_drowned_in() {
        const A_SECOND: u64 = 1000;
        let mut journal = journal(Level::Info);
        let (mut lines, mut missing) = (0, 0);
        for at in 0..3600 * A_SECOND {
            let said = say_at(&mut journal, Event::HighLatency, 1, Time(at * 1_000_000_000 / A_SECOND));
            lines += said.len() as u64;
            missing += suppressed(&said).iter().sum::<u64>();
        }
        assert!(lines <= u64::from(WARNINGS_PER_SECOND) * 3601, "{lines}");
        assert_eq!(lines + journal.gate.dropped(Dropped::RateLimit), 3600 * A_SECOND);
        let untold = journal.kinds[Event::HighLatency as usize].suppressed;
        assert_eq!(missing + untold, journal.gate.dropped(Dropped::RateLimit));
        assert!(untold < A_SECOND / u64::from(WARNINGS_PER_SECOND), "{untold}");
    }
}
