//! Who sends what to whom, and when: all of it computable from the seed and a message's number.
//!
//! Pure. Nothing here knows whether a message could be sent or arrived.

use std::time::Duration;
use wire::time::Time;

/// A client of the population, from 0. Its user name is [`user_name`].
pub type ClientIndex = u32;

/// The user name of a client.
pub fn user_name(client: ClientIndex) -> String {
    format!("u{client}")
}

/// Whom the messages of a traffic plan are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    /// Any other client, by chance.
    RandomUser,
    /// Users that never connect: their messages queue up.
    AbsentUser,
    /// The sender itself.
    Sender,
}

/// How the gaps between messages are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly spaced.
    Even,
    /// At random with the given mean rate: the number of messages in a span is Poisson distributed.
    Poisson,
}

/// A stretch of schedule whose rate changes linearly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Length; the last segment of a plan goes on for ever at its final rate.
    pub length: Duration,
    /// Messages per second at its begin.
    pub rate_begin: f64,
    /// Messages per second at its end.
    pub rate_end: f64,
}

/// One traffic plan, as it stands in the scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Traffic {
    /// Its name.
    pub name: String,
    /// Rates over time from the begin of traffic.
    pub segments: Vec<Segment>,
    /// Spacing.
    pub arrivals: Arrivals,
    /// Whom to.
    pub to: Recipients,
    /// Size of a message's body, bytes.
    pub body_bytes: usize,
}

/// A message's number in its traffic plan, from 0 in order of intended time.
pub type MessageNumber = u64;

/// When message after message is due, from the begin of traffic on.
///
/// The rate can be changed on the way ([`Schedule::scale`]); every thread is told the same changes and computes the same times.
#[derive(Debug, Clone)]
pub struct Schedule {
    pieces: Vec<Piece>,
    arrivals: Arrivals,
    seed: u64,
    /// The plan's own segments, before scaling, and when they begin.
    segments: Vec<(Time, Segment)>,
}

/// A piece of schedule between two changes of rate: message `first + n` is due where the integral of the rate reaches n.
#[derive(Debug, Clone, Copy)]
struct Piece {
    begin: Time,
    /// Messages due before this piece, a real number: a piece may end between two messages.
    before: f64,
    rate: f64,
    /// Change of the rate, messages per second per second.
    slope: f64,
}

impl Schedule {
    /// The schedule of `traffic` from `begin` on.
    pub fn new(traffic: &Traffic, begin: Time, seed: u64) -> Schedule {
        let mut at = begin;
        let mut segments = Vec::new();
        for segment in &traffic.segments {
            segments.push((at, *segment));
            at = at + segment.length;
        }
        let mut schedule = Schedule { pieces: Vec::new(), arrivals: traffic.arrivals, seed, segments };
        schedule.append(begin, 1.0);
        schedule
    }

    /// From `at` on, the plan's rates times `factor`. `at` must not lie before an earlier change.
    pub fn scale(&mut self, at: Time, factor: f64) {
        let kept = self.pieces.partition_point(|piece| piece.begin < at);
        self.pieces.truncate(kept);
        self.append(at, factor);
    }

    fn append(&mut self, from: Time, factor: f64) {
        let last = self.segments.len().saturating_sub(1);
        let segments = std::mem::take(&mut self.segments);
        for (index, &(begin, segment)) in segments.iter().enumerate() {
            let (end, length) = (begin + segment.length, segment.length.as_secs_f64());
            if end <= from && index != last {
                continue;
            }
            let slope = if length > 0.0 { (segment.rate_end - segment.rate_begin) / length } else { 0.0 };
            let starts = begin.max(from);
            let rate = segment.rate_begin + slope * starts.since(begin).min(segment.length).as_secs_f64();
            if starts < end {
                self.push(Piece { begin: starts, before: 0.0, rate: rate * factor, slope: slope * factor });
            }
            if index == last {
                let begin = end.max(from);
                self.push(Piece { begin, before: 0.0, rate: segment.rate_end * factor, slope: 0.0 });
            }
        }
        self.segments = segments;
    }

    fn push(&mut self, mut piece: Piece) {
        piece.before = self.pieces.last().map_or(0.0, |last| last.before + last.count(piece.begin));
        self.pieces.push(piece);
    }

    /// When message `number` is due; `None` if the rate falls to zero before.
    pub fn due(&self, number: MessageNumber) -> Option<Time> {
        let position = match self.arrivals {
            Arrivals::Even => number as f64,
            Arrivals::Poisson => self.poisson_position(number),
        };
        let index = self.pieces.partition_point(|piece| piece.before <= position).saturating_sub(1);
        let piece = self.pieces.get(index)?;
        piece.time_of(position - piece.before)
    }

    /// Unit-rate Poisson arrivals that can be computed at any place: each block of 64 numbers covers exactly 64 units of the
    /// schedule, and the arrivals within are uniform and sorted. Within a block the process is Poisson conditioned on its count.
    fn poisson_position(&self, number: MessageNumber) -> f64 {
        const BLOCK: u64 = 64;
        let block = number / BLOCK;
        let mut random = SplitMix::new(self.seed ^ block.wrapping_mul(0xA076_1D64_78BD_642F));
        let mut places: [f64; BLOCK as usize] = std::array::from_fn(|_| random.fraction());
        places.sort_by(f64::total_cmp);
        (block * BLOCK) as f64 + places[(number % BLOCK) as usize] * BLOCK as f64
    }

    /// Messages due strictly before `at`.
    pub fn due_before(&self, at: Time) -> MessageNumber {
        let (mut low, mut high) = (0, 1);
        while self.due(high).is_some_and(|due| due < at) {
            low = high;
            high *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.due(middle).is_some_and(|due| due < at) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl Piece {
    /// Messages from its begin until `at`, a real number.
    fn count(&self, at: Time) -> f64 {
        let seconds = at.since(self.begin).as_secs_f64();
        (self.rate + self.slope * seconds / 2.0) * seconds
    }

    /// The moment at which `count` reaches `position`: the positive root of rate·t + slope·t²/2 = position.
    fn time_of(&self, position: f64) -> Option<Time> {
        if self.rate <= 0.0 && self.slope <= 0.0 {
            return None;
        }
        let root = (self.rate * self.rate + 2.0 * self.slope * position).sqrt();
        let seconds = if position <= 0.0 { 0.0 } else { 2.0 * position / (self.rate + root) };
        seconds.is_finite().then(|| Time(self.begin.0.saturating_add((seconds * 1e9).round() as u64)))
    }
}

/// A deterministic, seekable source of bits (SplitMix64).
#[derive(Debug, Clone)]
pub struct SplitMix(u64);

impl SplitMix {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> SplitMix {
        SplitMix(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in 0..1.
    pub fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0..`n`; 0 if `n` is 0. The bias is below 2^-32 for the populations we have.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }
}

/// Who sends a message, and to whom. Clients are dealt to threads round robin, and so are message numbers.
#[derive(Debug, Clone, Copy)]
pub struct Pairing {
    clients: ClientIndex,
    threads: u32,
    seed: u64,
    to: Recipients,
}

impl Pairing {
    /// Pairs for one traffic plan over `clients` clients on `threads` threads.
    pub fn new(clients: ClientIndex, threads: u32, seed: u64, to: Recipients) -> Pairing {
        Pairing { clients, threads, seed, to }
    }

    /// The thread that sends message `number`.
    pub fn thread(&self, number: MessageNumber) -> u32 {
        (number % u64::from(self.threads)) as u32
    }

    /// The sender: every client of its thread has its turn before one comes again.
    pub fn sender(&self, number: MessageNumber) -> ClientIndex {
        let (thread, turn) = (self.thread(number), number / u64::from(self.threads));
        let clients = u64::from((self.clients + self.threads - 1 - thread) / self.threads).max(1);
        let (round, place) = (turn / clients, turn % clients);
        let mut random =
            SplitMix::new(self.seed ^ round.wrapping_mul(0xE703_7ED1_A0B4_28DB) ^ u64::from(thread));
        // An affine map is a permutation when its factor shares no divisor with the size.
        let offset = random.below(clients);
        let factor =
            (0..).map(|_| 1 + random.below(clients)).find(|factor| gcd(*factor, clients) == 1).unwrap_or(1);
        let index = (u128::from(place) * u128::from(factor) + u128::from(offset)) % u128::from(clients);
        index as u32 * self.threads + thread
    }

    /// The recipient; `None` for users that never connect.
    pub fn recipient(&self, number: MessageNumber) -> Option<ClientIndex> {
        let sender = self.sender(number);
        match self.to {
            Recipients::Sender => Some(sender),
            Recipients::AbsentUser => None,
            Recipients::RandomUser if self.clients < 2 => Some(sender),
            Recipients::RandomUser => {
                let mut random = SplitMix::new(self.seed ^ number.wrapping_mul(0x8EBC_6AF0_9C88_C6E3));
                let other = random.below(u64::from(self.clients) - 1) as u32;
                Some(if other >= sender { other + 1 } else { other })
            }
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn traffic(segments: &[(u64, f64, f64)], arrivals: Arrivals) -> Traffic {
        let segment = |&(seconds, rate_begin, rate_end): &(u64, f64, f64)| Segment {
            length: Duration::from_secs(seconds),
            rate_begin,
            rate_end,
        };
        Traffic {
            name: "chat".into(),
            segments: segments.iter().map(segment).collect(),
            arrivals,
            to: Recipients::RandomUser,
            body_bytes: 0,
        }
    }

    fn second(seconds: f64) -> Time {
        Time((seconds * 1e9) as u64)
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced() {
        let schedule = Schedule::new(&traffic(&[(0, 500.0, 500.0)], Arrivals::Even), second(10.0), 1);
        assert_eq!(schedule.due(0), Some(second(10.0)));
        assert_eq!(schedule.due(1), Some(second(10.002)));
        assert_eq!(schedule.due(5000), Some(second(20.0)));
        assert_eq!(schedule.due_before(second(20.0)), 5000);
    }

    #[test]
    fn ramps_send_the_area_under_their_rate() {
        // 0 to 100/s in 10 s are 500 messages; then 100/s.
        let schedule = Schedule::new(&traffic(&[(10, 0.0, 100.0)], Arrivals::Even), second(0.0), 1);
        assert_eq!(schedule.due_before(second(10.0)), 500);
        assert_eq!(schedule.due_before(second(11.0)), 600);
        // Down to nothing: what is beyond is never due.
        let schedule = Schedule::new(&traffic(&[(10, 100.0, 0.0)], Arrivals::Even), second(0.0), 1);
        assert_eq!((schedule.due_before(second(1e6)), schedule.due(501)), (500, None));
    }

    #[test]
    fn the_rate_can_be_scaled_on_the_way() {
        let mut schedule = Schedule::new(&traffic(&[(0, 100.0, 100.0)], Arrivals::Even), second(0.0), 1);
        let before = schedule.due(150);
        schedule.scale(second(2.0), 3.0);
        assert_eq!(schedule.due(150), before, "the past stays");
        assert_eq!(schedule.due_before(second(3.0)), 500);
        schedule.scale(second(3.0), 1.0);
        assert_eq!(schedule.due_before(second(4.0)), 600);
    }

    #[test]
    fn every_client_has_its_turn() {
        for (clients, threads) in [(10u32, 2u32), (7, 3), (1, 1), (1000, 4)] {
            let pairing = Pairing::new(clients, threads, 42, Recipients::RandomUser);
            for thread in 0..threads {
                let mine = u64::from((clients + threads - 1 - thread) / threads);
                let numbers = (0..mine).map(|turn| turn * u64::from(threads) + u64::from(thread));
                let mut senders: Vec<_> = numbers.map(|number| pairing.sender(number)).collect();
                senders.sort_unstable();
                let expected: Vec<_> = (0..clients).filter(|client| client % threads == thread).collect();
                assert_eq!(senders, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn due_never_goes_back(
            segments in prop::collection::vec((1u64..20, 0.0f64..500.0, 0.0f64..500.0), 1..5),
            poisson in any::<bool>(), scale_at in 0.0f64..40.0, factor in 0.1f64..5.0, seed in any::<u64>(),
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Even };
            let mut schedule = Schedule::new(&traffic(&segments, arrivals), second(5.0), seed);
            schedule.scale(second(5.0 + scale_at), factor);
            let mut last = second(5.0);
            for number in 0..2000 {
                let Some(due) = schedule.due(number) else { break };
                prop_assert!(due >= last, "{number}: {due:?} before {last:?}");
                last = due;
            }
        }

        #[test]
        fn nobody_writes_to_themselves(clients in 2u32..500, threads in 1u32..5, seed in any::<u64>(), number in 0u64..1_000_000) {
            let pairing = Pairing::new(clients, threads.min(clients), seed, Recipients::RandomUser);
            let (sender, recipient) = (pairing.sender(number), pairing.recipient(number).unwrap());
            prop_assert!(sender != recipient && sender < clients && recipient < clients);
            prop_assert_eq!(sender % threads.min(clients), pairing.thread(number));
        }
    }
}
