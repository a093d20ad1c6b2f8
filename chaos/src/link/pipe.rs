//! One direction of a connection: what came and when it leaves.

use super::frames::Frames;
use super::line::{Line, portion};
use super::rules::Rules;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use wire::shard::virtual_time::Random;
use wire::time::Time;

/// How the sender's side ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Orderly: nothing follows.
    Fin,
    /// It was cut.
    Reset,
}

/// What is to be done with the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing but to write what came out.
    Open,
    /// End the side there, behind what came out; the other way goes on.
    End,
    /// Close both connections, behind what came out.
    Close,
    /// Cut both.
    Reset,
}

/// What bytes are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Input {
    /// So many at the front are no frames.
    pub(super) plain: usize,
    /// The others are.
    pub(super) is_framed: bool,
    /// They are the first of a client.
    pub(super) is_first: bool,
}

/// One direction of a connection. One that holds nothing is a few words.
#[derive(Debug)]
pub struct Pipe {
    pub(super) frames: Frames,
    /// Of all that is left to chance here.
    seed: u64,
    is_ended: bool,
    held: Option<Box<Held>>,
}

/// What has come and not left.
#[derive(Debug)]
struct Held {
    queue: VecDeque<Chunk>,
    /// In the queue.
    bytes: usize,
    random: Random,
    /// When the last of the queue is ready: nothing overtakes.
    last_ready: Time,
    /// When the next slice may be ready.
    slice_free: Time,
    line: Line,
    /// Bytes that are on the line, and when they have passed.
    portion: Option<(usize, Time)>,
    /// Bytes that a limit has let through, and that limit's number.
    limited: (u64, u64),
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Chunk {
    what: What,
    arrived: Time,
    /// The first bytes of a client.
    is_first: bool,
    ready: Time,
    /// It leaves in a step of its own.
    is_slice: bool,
}

#[derive(Debug)]
enum What {
    /// Those from the second field on have not left.
    Bytes(Vec<u8>, usize),
    Fin,
    Reset,
    Close,
}

impl Pipe {
    /// A pipe that chance treats by `seed`.
    pub(super) fn new(seed: u64) -> Pipe {
        Pipe { frames: Frames::default(), seed, is_ended: false, held: None }
    }

    /// Whether what comes may leave as it is, at once.
    pub(super) fn is_open(&self, rules: &Rules) -> bool {
        rules.is_none() && self.held.is_none() && self.frames.is_clean()
    }

    /// Bytes that wait here.
    pub fn held(&self) -> usize {
        let queue = self.held.as_ref().map_or(0, |held| held.bytes + held.queue.len() * size_of::<Chunk>());
        queue + self.frames.held()
    }

    /// When `pull` has something to give next, if nothing comes before.
    pub fn due(&self, rules: &Rules) -> Option<Time> {
        if rules.holds {
            return None;
        }
        let head = self.held.as_ref().and_then(|held| {
            let head = held.queue.front()?;
            Some(held.portion.map_or(head.ready, |(_, at)| at))
        });
        [head, self.frames.due()].into_iter().flatten().min()
    }

    /// Bytes have come.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        Input { plain, is_framed, is_first }: Input,
        now: Time,
        rules: &Rules,
    ) {
        if self.is_ended {
            return;
        }
        let frames = &mut self.frames;
        let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.seed, now)));
        let (plain, rest) = bytes.split_at(plain.min(bytes.len()));
        let mut scratch = std::mem::take(&mut held.scratch);
        scratch.extend_from_slice(plain);
        if !is_framed || (rules.frames.is_none() && frames.is_clean()) {
            if is_framed {
                frames.follow(rest);
            }
            scratch.extend_from_slice(rest);
        } else {
            frames.filter(rest, &rules.frames, now, &mut held.random, &mut scratch);
        }
        self.is_ended = held.admit(&scratch, is_first, now, rules);
        scratch.clear();
        scratch.shrink_to(64 * 1024);
        held.scratch = scratch;
    }

    /// Puts bytes of our own behind what has come, and then the end of both connections. Nothing that comes later is taken.
    pub(super) fn close(&mut self, last: &[u8], now: Time, rules: &Rules) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.seed, now)));
        let mut kept = Vec::new();
        self.frames.finish(&mut kept);
        held.enqueue(&kept, false, now, rules);
        held.enqueue(last, false, now, rules);
        held.queue_end(What::Close, now, rules);
    }

    /// The sender's side has ended.
    pub(super) fn end(&mut self, end: End, now: Time, rules: &Rules) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.seed, now)));
        let mut last = Vec::new();
        self.frames.finish(&mut last);
        held.enqueue(&last, false, now, rules);
        match end {
            End::Fin => held.queue_end(What::Fin, now, rules),
            End::Reset => held.queue_end(What::Reset, now, rules),
        }
    }

    /// Appends what is to leave by now to `out`.
    pub(super) fn pull(&mut self, now: Time, rules: &Rules, out: &mut Vec<u8>) -> Verdict {
        if rules.holds {
            return Verdict::Open;
        }
        if self.frames.due().is_some_and(|at| at <= now) {
            let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.seed, now)));
            let mut late = Vec::new();
            self.frames.release(now, &mut late);
            held.enqueue(&late, false, now, rules);
        }
        let Some(held) = &mut self.held else { return Verdict::Open };
        let verdict = held.pull(now, rules, out);
        // What it has counted and drawn is of use while rules hold; without, an idle pipe costs nothing.
        if held.queue.is_empty() && rules.is_none() {
            self.held = None;
        }
        verdict
    }

    /// Other rules hold from now on: what waits is planned anew, as if it had come under them.
    pub(super) fn replan(&mut self, now: Time, rules: &Rules) {
        if rules.frames.is_none() && self.frames.held() > 0 {
            let held = self.held.get_or_insert_with(|| Box::new(Held::new(self.seed, now)));
            let mut last = Vec::new();
            self.frames.flush(&mut last);
            held.enqueue(&last, false, now, rules);
        }
        if let Some(held) = &mut self.held {
            held.replan(now, rules);
        }
    }

    /// The receiver is gone: nothing is kept for it.
    pub(super) fn discard(&mut self) {
        self.held = None;
        self.is_ended = true;
    }
}

impl Held {
    fn new(seed: u64, now: Time) -> Held {
        Held {
            queue: VecDeque::new(),
            bytes: 0,
            random: Random::new(seed),
            last_ready: now,
            slice_free: now,
            line: Line::default(),
            portion: None,
            limited: (0, 0),
            scratch: Vec::new(),
        }
    }

    /// Takes what may pass. True: a limit is reached, and the end is in the queue.
    fn admit(&mut self, bytes: &[u8], is_first: bool, now: Time, rules: &Rules) -> bool {
        if rules.drops {
            return false;
        }
        let Some(limit) = rules.limit.filter(|_| !bytes.is_empty()) else {
            self.enqueue(bytes, is_first, now, rules);
            return false;
        };
        if self.limited.1 != limit.id {
            self.limited = (0, limit.id);
        }
        let left = limit.bytes.saturating_sub(self.limited.0);
        let passing = &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.limited.0 += passing.len() as u64;
        self.enqueue(passing, is_first, now, rules);
        let is_reached = self.limited.0 >= limit.bytes;
        if is_reached {
            self.queue_end(What::Close, now, rules);
        }
        is_reached
    }

    fn enqueue(&mut self, bytes: &[u8], is_first: bool, now: Time, rules: &Rules) {
        if bytes.is_empty() {
            return;
        }
        let ready = now + rules.delay(&mut self.random) + rules.extra(is_first, false);
        let Some(slicer) = rules.slicer else {
            return self.put(bytes, is_first, now, ready, false);
        };
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let least = slicer.average - slicer.variation;
            let size = least + self.random.below(2 * slicer.variation + 1);
            let (slice, rest) = bytes.split_at(bytes.len().min(size as usize));
            let at = ready.max(self.slice_free);
            self.put(slice, is_first, now, at, true);
            self.slice_free = self.last_ready + slicer.delay;
            bytes = rest;
        }
    }

    fn put(&mut self, bytes: &[u8], is_first: bool, now: Time, ready: Time, is_slice: bool) {
        self.last_ready = self.last_ready.max(ready);
        self.bytes += bytes.len();
        // What came in one step and leaves in one step is one chunk.
        if let Some(Chunk { what: What::Bytes(last, _), arrived, ready, is_slice: false, .. }) =
            self.queue.back_mut()
            && (*arrived, *ready, is_slice) == (now, self.last_ready, false)
        {
            return last.extend_from_slice(bytes);
        }
        let what = What::Bytes(bytes.to_vec(), 0);
        self.queue.push_back(Chunk { what, arrived: now, is_first, ready: self.last_ready, is_slice });
    }

    fn queue_end(&mut self, what: What, now: Time, rules: &Rules) {
        let is_fin = matches!(what, What::Fin);
        let ready = now + rules.delay(&mut self.random) + rules.extra(false, is_fin);
        self.last_ready = self.last_ready.max(ready);
        let (ready, arrived) = (self.last_ready, now);
        self.queue.push_back(Chunk { what, arrived, is_first: false, ready, is_slice: false });
    }

    fn pull(&mut self, now: Time, rules: &Rules, out: &mut Vec<u8>) -> Verdict {
        while let Some(head) = self.queue.front_mut().filter(|head| head.ready <= now) {
            let What::Bytes(bytes, left_from) = &mut head.what else {
                let verdict = match head.what {
                    What::Fin => Verdict::End,
                    What::Reset => Verdict::Reset,
                    What::Close | What::Bytes(..) => Verdict::Close,
                };
                self.queue.pop_front();
                return verdict;
            };
            let left = bytes.len() - *left_from;
            let (count, at) = match self.portion {
                Some(portion) => portion,
                None => next_portion(left, head.ready, rules, &self.line),
            };
            if at > now {
                self.portion = Some((count, at));
                return Verdict::Open;
            }
            self.portion = None;
            out.extend_from_slice(&bytes[*left_from..*left_from + count]);
            *left_from += count;
            self.bytes -= count;
            // The next portion follows this one on the line.
            head.ready = head.ready.max(at);
            if count == left {
                let is_slice = head.is_slice;
                self.queue.pop_front();
                if is_slice {
                    return Verdict::Open;
                }
            }
        }
        Verdict::Open
    }

    fn replan(&mut self, now: Time, rules: &Rules) {
        self.portion = None;
        self.line.free(now);
        (self.last_ready, self.slice_free) = (now, now);
        if rules.drops {
            self.queue.retain(|chunk| !matches!(chunk.what, What::Bytes(..)));
            self.bytes = 0;
        }
        for chunk in &mut self.queue {
            let extra = rules.extra(chunk.is_first, matches!(chunk.what, What::Fin));
            let ready = chunk.arrived + rules.delay(&mut self.random) + extra;
            let is_paced = chunk.is_slice && rules.slicer.is_some();
            let ready = if is_paced { ready.max(self.slice_free) } else { ready };
            self.last_ready = self.last_ready.max(ready);
            chunk.ready = self.last_ready;
            chunk.is_slice = is_paced;
            if let Some(slicer) = rules.slicer.filter(|_| is_paced) {
                self.slice_free = self.last_ready + slicer.delay;
            }
        }
    }
}

/// How many of the `left` bytes at the queue's head leave next, and when, taking their place on the lines.
fn next_portion(left: usize, ready: Time, rules: &Rules, own: &Line) -> (usize, Time) {
    let shared = rules.shared.as_ref().map(|(rate, line)| (*rate, &**line));
    let lines = [rules.rate.map(|rate| (rate, own)), shared];
    let slowest: Option<NonZeroU64> = lines.iter().flatten().map(|(rate, _)| *rate).min();
    let count = slowest.map_or(left, |rate| left.min(portion(rate)));
    let at = lines.into_iter().flatten().fold(ready, |ready, (rate, line)| line.pass(ready, count, rate));
    (count, at)
}
