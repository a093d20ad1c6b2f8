//! Rule time: how a moment on the wall reads on the rules' clock, and when the next scrape is due.
//!
//! Pure. On the real clock both run together; on the stretched one each phase has its factor, and rule time stands still
//! between phases, while a heal is being proven.

use assertions::time::Millis;
use std::time::Duration;
use wire::time::Time;

/// A phase as it began.
#[derive(Debug, Clone, Copy)]
struct Piece {
    begin: Time,
    rule_begin: Millis,
    real: Duration,
    stands_for: Duration,
}

/// The relation of wall and rule time so far.
#[derive(Debug, Clone)]
pub struct RuleClock {
    is_real: bool,
    start: Millis,
    interval: Duration,
    pieces: Vec<Piece>,
    /// Scrapes asked for since the first phase, or since the present one on the stretched clock.
    slots: u64,
}

impl RuleClock {
    /// A clock whose first phase begins at `start`; scrapes are `interval` of rule time apart.
    pub fn new(is_real: bool, start: Millis, interval: Duration) -> RuleClock {
        RuleClock { is_real, start, interval, pieces: Vec::new(), slots: 0 }
    }

    /// The next phase begins at `begin`: `real` on the wall stands for `stands_for`.
    pub fn begin_phase(&mut self, begin: Time, real: Duration, stands_for: Duration) {
        let rule_begin = match self.pieces.last() {
            None => self.start,
            Some(_) if self.is_real => self.rule_time(begin),
            Some(last) => last.rule_begin.after(last.stands_for),
        };
        if !self.is_real {
            self.slots = 0;
        }
        self.pieces.push(Piece { begin, rule_begin, real, stands_for });
    }

    /// The present phase goes on under its factor for at least `by` on the wall, to the next whole scrape.
    pub fn prolong(&mut self, by: Duration) {
        let interval = self.interval;
        if let Some(piece) = self.pieces.last_mut() {
            let factor = piece.factor();
            let slots = (by.as_secs_f64() * factor / interval.as_secs_f64()).ceil();
            let more = interval.mul_f64(slots);
            piece.stands_for += more;
            piece.real += more.div_f64(factor);
        }
    }

    /// Rule time at a moment on the wall.
    pub fn rule_time(&self, at: Time) -> Millis {
        let index = self.pieces.partition_point(|piece| piece.begin <= at).saturating_sub(1);
        let Some(piece) = self.pieces.get(index) else { return self.start };
        let passed = at.since(piece.begin);
        if self.is_real {
            return piece.rule_begin.after(passed);
        }
        piece.rule_begin.after(passed.mul_f64(piece.factor()).min(piece.stands_for))
    }

    /// The moment on the wall that a rule time stood for; `None` before the first phase.
    pub fn wall_time(&self, at: Millis) -> Option<Time> {
        let piece = self.pieces.iter().rev().find(|piece| piece.rule_begin < at).or(self.pieces.first())?;
        let factor = if self.is_real { 1.0 } else { piece.factor() };
        Some(piece.begin + at.since(piece.rule_begin).div_f64(factor))
    }

    /// The next scrape: when on the wall, and its stamp. `None` after the last of a stretched phase.
    pub fn next_slot(&self) -> Option<(Time, Millis)> {
        let passed = self.interval.saturating_mul(u32::try_from(self.slots + 1).unwrap_or(u32::MAX));
        if self.is_real {
            let first = self.pieces.first()?;
            return Some((first.begin + passed, self.start.after(passed)));
        }
        let piece = self.pieces.last()?;
        let wall = piece.begin + passed.div_f64(piece.factor());
        (passed <= piece.stands_for).then(|| (wall, piece.rule_begin.after(passed)))
    }

    /// The next slot was used, or missed.
    pub fn slot_done(&mut self) {
        self.slots += 1;
    }

    /// How many seconds of rule time a second on the wall stands for at present.
    pub fn factor(&self) -> f64 {
        if self.is_real { 1.0 } else { self.pieces.last().map_or(1.0, Piece::factor) }
    }

    /// Wall time between scrapes at present.
    pub fn slot_distance(&self) -> Duration {
        self.interval.div_f64(self.factor())
    }
}

impl Piece {
    fn factor(&self) -> f64 {
        self.stands_for.as_secs_f64() / self.real.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(seconds: f64) -> Time {
        Time((seconds * 1e9) as u64)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn stretched_phases_have_their_own_pace_and_gaps_stand_still() {
        let mut clock = RuleClock::new(false, Millis(0), seconds(15));
        clock.begin_phase(wall(100.0), seconds(20), seconds(1200));
        assert_eq!(clock.next_slot(), Some((wall(100.25), Millis(15_000))));
        assert_eq!(clock.rule_time(wall(110.0)), Millis(600_000));
        (0..79).for_each(|_| clock.slot_done());
        assert_eq!(clock.next_slot(), Some((wall(120.0), Millis(1_200_000))), "a scrape closes the phase");
        clock.slot_done();
        assert_eq!(clock.next_slot(), None);
        assert_eq!(clock.rule_time(wall(120.5)), Millis(1_200_000));
        clock.begin_phase(wall(121.0), seconds(5), seconds(60));
        assert_eq!(clock.rule_time(wall(122.0)), Millis(1_212_000));
        assert_eq!(clock.next_slot(), Some((wall(122.25), Millis(1_215_000))));
    }

    #[test]
    fn a_prolonged_phase_keeps_its_pace_and_ends_with_a_scrape() {
        let mut clock = RuleClock::new(false, Millis(0), seconds(15));
        clock.begin_phase(wall(100.0), seconds(20), seconds(1200));
        (0..80).for_each(|_| clock.slot_done());
        assert_eq!(clock.next_slot(), None);
        clock.prolong(Duration::from_millis(600));
        assert_eq!(clock.next_slot(), Some((wall(120.25), Millis(1_215_000))));
        (0..3).for_each(|_| clock.slot_done());
        assert_eq!(clock.next_slot(), None, "600 ms are 36 s, which is three scrapes");
        assert_eq!(clock.rule_time(wall(120.5)), Millis(1_230_000));
    }

    #[test]
    fn real_time_goes_on_between_phases() {
        let mut clock = RuleClock::new(true, Millis(0), seconds(5));
        clock.begin_phase(wall(100.0), seconds(8), seconds(8));
        clock.slot_done();
        clock.begin_phase(wall(108.1), seconds(80), seconds(80));
        assert_eq!(clock.rule_time(wall(110.0)), Millis(10_000));
        assert_eq!(clock.next_slot(), Some((wall(110.0), Millis(10_000))));
    }
}
