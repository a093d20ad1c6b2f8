//! One connection: its two ways, and what is to happen to it as a whole.

use super::Way;
use super::pipe::{End, Input, Pipe, Verdict};
use super::protocol::Protocol;
use super::rules::{How, Rules, Selected};
use std::rc::Rc;
use wire::shard::virtual_time::Random;
use wire::time::Time;
use wire::ws::frame;

/// What is to become of the whole connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Goes,
    /// Both sides are to be cut now.
    Reset,
    /// Both sides are to be closed now.
    Close,
    /// The side that this way leads to is to be cut; the other hears nothing of it.
    HalfOpen(Way),
}

/// A connection through the proxy.
#[derive(Debug)]
pub struct Link {
    opened: Time,
    /// One for each way.
    pipes: [Pipe; 2],
    protocol: Protocol,
    selected: Rc<Selected>,
    /// Nothing gets through any more: one side has been cut and the other is not to know.
    is_mute: bool,
    /// The end by a code is on its way, and the cut is done.
    is_closing: bool,
    /// The rules have gone that the connection cannot outlive.
    is_over: bool,
}

impl Link {
    /// Connection `number`, opened at `now`.
    pub fn new(seed: u64, number: u64, selected: Rc<Selected>, now: Time) -> Link {
        let mut random = Random::new(Random::new(seed).bits() ^ number);
        let pipes = [Pipe::new(random.bits()), Pipe::new(random.bits())];
        Link {
            opened: now,
            pipes,
            protocol: Protocol::default(),
            selected,
            is_mute: false,
            is_closing: false,
            is_over: false,
        }
    }

    /// Whether it is to be turned away at the door.
    pub fn is_refused(&self) -> bool {
        self.selected.refuses
    }

    fn rules(&self, way: Way) -> &Rules {
        self.selected.rules(way)
    }

    /// Bytes have come. Those that may leave at once are appended to `out`, if there is one; the rest, or all, waits for [`Link::pull`].
    pub fn input(&mut self, way: Way, bytes: &[u8], now: Time, out: Option<&mut Vec<u8>>) {
        if self.is_mute || self.is_closing {
            return;
        }
        let is_first = way == Way::Up && self.protocol.is_asking();
        let seen = self.protocol.see(way, bytes);
        if let Some(has_context) = seen.upgraded {
            self.pipes.iter_mut().for_each(|pipe| pipe.frames.has_context = has_context);
        }
        let is_framed = self.protocol.is_websocket();
        let rules = self.selected.rules(way);
        let pipe = &mut self.pipes[way as usize];
        match out {
            Some(out) if pipe.is_open(rules) => {
                if is_framed {
                    pipe.frames.follow(&bytes[seen.plain..]);
                }
                out.extend_from_slice(bytes);
            }
            _ => pipe.push(bytes, Input { plain: seen.plain, is_framed, is_first }, now, rules),
        }
    }

    /// A side has ended; `way` leads away from it.
    pub fn ended(&mut self, way: Way, end: End, now: Time) {
        if !self.is_mute {
            let rules = self.selected.rules(way);
            self.pipes[way as usize].end(end, now, rules);
        }
    }

    /// The side that `way` leads to is gone: nothing is kept for it.
    pub fn gone(&mut self, way: Way) {
        self.pipes[way as usize].discard();
    }

    /// Appends what is to leave by `now`.
    pub fn pull(&mut self, way: Way, now: Time, out: &mut Vec<u8>) -> Verdict {
        let rules = self.selected.rules(way);
        self.pipes[way as usize].pull(now, rules, out)
    }

    /// Bytes that wait.
    pub fn held(&self, way: Way) -> usize {
        self.pipes[way as usize].held()
    }

    /// Beyond so many the sender has to wait.
    pub fn held_max(&self, way: Way) -> usize {
        self.rules(way).held_max()
    }

    /// Other toxics hold from now on. False: they are the same, and nothing has happened.
    pub fn apply(&mut self, selected: Rc<Selected>, now: Time) -> bool {
        if selected.ids == self.selected.ids {
            return false;
        }
        let before = std::mem::replace(&mut self.selected, selected);
        for way in Way::ALL {
            let rules = self.selected.rules(way);
            // What has vanished is missing for ever: such a stream must not go on.
            self.is_over |= before.rules(way).drops && !rules.drops;
            self.pipes[way as usize].replan(now, rules);
        }
        self.is_over |= self.is_mute && self.selected.half_open.is_none();
        true
    }

    /// When [`Link::pull`] has something to give this way: bytes, or an end.
    pub fn due(&self, way: Way) -> Option<Time> {
        self.pipes[way as usize].due(self.rules(way))
    }

    /// When [`Link::fate`] has something to say.
    pub fn cut_due(&self) -> Option<Time> {
        self.cuts().map(|(at, _)| at).min()
    }

    fn cuts(&self) -> impl Iterator<Item = (Time, &How)> {
        let cuts = self.selected.cuts.iter().filter(|_| !self.is_closing);
        cuts.filter(|cut| match cut.how {
            How::Code { ways, .. } => self.takes_code(ways),
            How::Reset | How::Close => true,
        })
        .map(|cut| (self.opened.max(cut.since) + cut.after, &cut.how))
    }

    /// Whether a frame that closes it can be put into these ways now. If not, the bytes that come next may change it.
    fn takes_code(&self, ways: [bool; 2]) -> bool {
        let is_between = |way: Way| !ways[way as usize] || self.pipes[way as usize].frames.is_between();
        self.protocol.is_websocket() && Way::ALL.into_iter().all(is_between)
    }

    /// What is to become of it by `now`. A close with a code is put into the ways here, and comes out of [`Link::pull`].
    pub fn fate(&mut self, now: Time) -> Fate {
        if self.is_over {
            return if self.is_mute { Fate::Reset } else { Fate::Close };
        }
        if let Some((way, since)) = self.selected.half_open
            && !self.is_mute
            && self.opened < since
        {
            self.is_mute = true;
            self.pipes.iter_mut().for_each(Pipe::discard);
            return Fate::HalfOpen(way);
        }
        let due = self.cuts().filter(|(at, _)| *at <= now).min_by_key(|(at, _)| *at);
        match due.map(|(_, how)| how.clone()) {
            None => Fate::Goes,
            Some(How::Reset) => Fate::Reset,
            Some(How::Close) => Fate::Close,
            Some(How::Code { code, reason, ways }) => {
                self.close_with(code, &reason, ways, now);
                Fate::Goes
            }
        }
    }

    /// Says the code behind the frames that have come.
    fn close_with(&mut self, code: u16, reason: &str, ways: [bool; 2], now: Time) {
        self.is_closing = true;
        for way in Way::ALL.into_iter().filter(|way| ways[*way as usize]) {
            let mut last = Vec::new();
            // Zero is as good a mask as any: who masks is to be told from who does not.
            let mask = (way == Way::Up).then_some([0; 4]);
            frame::write_close(&mut last, code, reason, mask);
            let rules = self.selected.rules(way);
            self.pipes[way as usize].close(&last, now, rules);
        }
    }
}
