//! WebSocket frames on their way: messages that vanish, come twice or come later; pings that vanish.
//!
//! Bytes are passed as they came, headers and masks included: only whole messages are left out, repeated or put behind others.
//! A header that is not complete yet is kept back only while a rule needs to see it. A message of which a part has passed
//! passes, whatever is asked for meanwhile.

use super::chance::happens;
use super::rules::FrameRules;
use wire::shard::virtual_time::Random;
use wire::time::Time;
use wire::ws::frame::{self, Header, Opcode};

/// Longer messages are not repeated or put behind others: they would have to be kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Longest header.
const HEADER_BYTES_MAX: usize = 14;

/// What becomes of a message, or of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Passes,
    Vanishes,
    Twice,
    Later,
}

/// Where one way of a connection is within its frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Payload of the present frame that is still to come.
    left: u64,
    /// The header under way, and how much of it has been passed on.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    passed_bytes: u8,
    frame: Fate,
    /// Of the data message under way.
    message: Fate,
    /// The present frame is the last of its message.
    is_last: bool,
    /// A data message has begun and not ended.
    is_inside: bool,
    /// These are no frames, after all: nothing happens to them any more.
    is_lost: bool,
    /// Compressed messages depend on those before them, and so can't be left out or moved.
    pub(super) has_context: bool,
    kept: Option<Box<Kept>>,
}

/// Messages that are kept.
#[derive(Debug, Default)]
struct Kept {
    copy: Vec<u8>,
    later: Vec<u8>,
    /// The message in `later` is whole, and is to be passed then, or behind the next one.
    later_at: Option<Time>,
}

impl Frames {
    /// Nothing is kept back and nothing half done: bytes may pass as they come, if [`Frames::follow`] sees them.
    pub(super) fn is_clean(&self) -> bool {
        self.header_bytes == self.passed_bytes
            && self.kept.is_none()
            && self.frame == Fate::Passes
            && self.message == Fate::Passes
    }

    /// Whether a frame could be put in here.
    pub(super) fn is_between(&self) -> bool {
        self.left == 0 && self.header_bytes == 0 && !self.is_lost
    }

    /// When a message that is kept is to be passed. `None` also where it would fall into another one, whose end passes it.
    pub(super) fn due(&self) -> Option<Time> {
        self.kept.as_ref()?.later_at.filter(|_| self.is_clear())
    }

    /// Whether a message could be put in here: nothing of another one, or of a frame, has passed and waits for the rest.
    fn is_clear(&self) -> bool {
        let has_passed = |fate| matches!(fate, Fate::Passes | Fate::Twice);
        let is_in_frame = self.passed_bytes > 0 || (self.left > 0 && has_passed(self.frame));
        self.is_lost || !(is_in_frame || (self.is_inside && has_passed(self.message)))
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.copy.len() + kept.later.len())
    }

    /// Bytes have passed.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_lost {
            if self.left > 0 {
                let count = self.left.min(bytes.len() as u64);
                self.left -= count;
                bytes = &bytes[count as usize..];
            } else if let Some(header) = self.read_header(&mut bytes) {
                self.enter(&header);
            } else {
                self.passed_bytes = self.header_bytes;
                continue;
            }
            if self.left == 0 {
                self.leave();
            }
        }
    }

    /// A header is complete.
    fn enter(&mut self, header: &Header) {
        self.left = header.payload_bytes;
        (self.header_bytes, self.passed_bytes) = (0, 0);
        self.is_inside |= !header.opcode.is_control();
        self.is_last = header.fin && !header.opcode.is_control();
    }

    /// The present frame is complete. True: and with it a data message.
    fn leave(&mut self) -> bool {
        let is_last = std::mem::take(&mut self.is_last);
        self.is_inside &= !is_last;
        is_last
    }

    /// Appends to `out` what of `bytes`, and of what was kept, is to go on now.
    pub(super) fn filter(
        &mut self,
        mut bytes: &[u8],
        rules: &FrameRules,
        now: Time,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) {
        while !bytes.is_empty() {
            if self.is_lost {
                out.extend_from_slice(bytes);
                return;
            }
            if self.left > 0 {
                let count = self.left.min(bytes.len() as u64);
                let (payload, rest) = bytes.split_at(count as usize);
                self.left -= count;
                self.put(payload, out);
                bytes = rest;
            } else if let Some(header) = self.read_header(&mut bytes) {
                self.begin(&header, rules, random, out);
            } else {
                let is_untouched = self.message == Fate::Passes && self.kept.is_none();
                if self.is_lost || (rules.is_none() && is_untouched) {
                    self.pass_header(out);
                }
                continue;
            }
            if self.left == 0 {
                self.end(rules, now, out);
            }
        }
    }

    /// Passes a message whose time has come.
    pub(super) fn release(&mut self, now: Time, out: &mut Vec<u8>) {
        if self.due().is_some_and(|at| at <= now) {
            self.pass_later(out);
        }
    }

    /// Passes all that is kept as soon as it can be: the rules are gone.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        if self.message == Fate::Twice {
            // Half of it has passed, and once is enough now.
            self.spare();
            if let Some(kept) = &mut self.kept {
                kept.copy = Vec::new();
            }
            self.tidy();
        }
        self.give_up_later(out);
        if self.frame == Fate::Passes && self.message == Fate::Passes {
            self.pass_header(out);
        }
    }

    /// The same, and nothing follows: what cannot be passed, because a message was broken off, is lost with that one.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        self.flush(out);
        self.kept = None;
    }

    /// Takes the header's bytes; `None`: more are needed, or these are no frames.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Option<Header> {
        let had = usize::from(self.header_bytes);
        let count = bytes.len().min(HEADER_BYTES_MAX - had);
        self.header[had..had + count].copy_from_slice(&bytes[..count]);
        let header = match frame::parse(&self.header[..had + count], true) {
            Ok(header) => header,
            Err(_) => {
                // What was had before goes on by itself, the rest with what follows.
                self.is_lost = true;
                return None;
            }
        };
        let taken = header.map_or(count, |header| header.header_bytes - had);
        self.header_bytes = (had + taken) as u8;
        *bytes = &bytes[taken..];
        header
    }

    fn begin(&mut self, header: &Header, rules: &FrameRules, random: &mut Random, out: &mut Vec<u8>) {
        let fate = match header.opcode {
            Opcode::Close => {
                self.give_up_later(out);
                Fate::Passes
            }
            Opcode::Ping | Opcode::Pong if rules.no_pings => Fate::Vanishes,
            Opcode::Ping | Opcode::Pong => Fate::Passes,
            Opcode::Continuation => self.message,
            Opcode::Text | Opcode::Binary => {
                self.message = self.choose(header, rules, random);
                self.message
            }
        };
        let is_begun = self.passed_bytes > 0;
        self.frame = if is_begun { Fate::Passes } else { fate };
        if is_begun && !header.opcode.is_control() {
            self.message = Fate::Passes;
        }
        let (from, to) = (usize::from(self.passed_bytes), usize::from(self.header_bytes));
        let bytes = self.header;
        self.enter(header);
        self.put(&bytes[from..to], out);
    }

    fn choose(&self, header: &Header, rules: &FrameRules, random: &mut Random) -> Fate {
        if header.compressed && self.has_context {
            return Fate::Passes;
        }
        let keeps_another = self.kept.as_ref().is_some_and(|kept| !kept.later.is_empty());
        if happens(random, rules.loss) {
            Fate::Vanishes
        } else if happens(random, rules.twice) {
            Fate::Twice
        } else if !keeps_another && rules.later.is_some_and(|(share, _)| happens(random, share)) {
            Fate::Later
        } else {
            Fate::Passes
        }
    }

    /// A part of the present frame.
    fn put(&mut self, part: &[u8], out: &mut Vec<u8>) {
        match self.frame {
            Fate::Passes => out.extend_from_slice(part),
            Fate::Vanishes => {}
            Fate::Twice => {
                out.extend_from_slice(part);
                let kept = self.kept.get_or_insert_default();
                kept.copy.extend_from_slice(part);
                if kept.copy.len() > KEPT_BYTES_MAX {
                    kept.copy = Vec::new();
                    (self.frame, self.message) = (Fate::Passes, Fate::Passes);
                    self.tidy();
                }
            }
            Fate::Later => {
                let kept = self.kept.get_or_insert_default();
                kept.later.extend_from_slice(part);
                if kept.later.len() > KEPT_BYTES_MAX {
                    (self.frame, self.message) = (Fate::Passes, Fate::Passes);
                    self.pass_later(out);
                }
            }
        }
    }

    /// The present frame is complete.
    fn end(&mut self, rules: &FrameRules, now: Time, out: &mut Vec<u8>) {
        let was = std::mem::take(&mut self.frame);
        if !self.leave() {
            return;
        }
        self.message = Fate::Passes;
        match was {
            Fate::Later => {
                let (_, hold) = rules.later.unwrap_or_default();
                if let Some(kept) = &mut self.kept {
                    kept.later_at = Some(now + hold);
                }
            }
            Fate::Twice => {
                if let Some(kept) = &mut self.kept {
                    out.append(&mut kept.copy);
                }
                self.pass_later(out);
            }
            Fate::Passes => self.pass_later(out),
            Fate::Vanishes => self.release(now, out),
        }
    }

    fn pass_header(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header[usize::from(self.passed_bytes)..usize::from(self.header_bytes)]);
        self.passed_bytes = self.header_bytes;
    }

    fn pass_later(&mut self, out: &mut Vec<u8>) {
        if let Some(kept) = &mut self.kept {
            out.append(&mut kept.later);
            kept.later_at = None;
        }
        self.tidy();
    }

    /// Passes what is kept for later, be it whole or not; the rest of it follows as it comes. If it can't be passed here, it is as soon
    /// as it can.
    fn give_up_later(&mut self, out: &mut Vec<u8>) {
        if !self.is_clear() {
            if let Some(at) = self.kept.as_mut().and_then(|kept| kept.later_at.as_mut()) {
                *at = Time(0);
            }
            return;
        }
        self.pass_later(out);
        if self.message == Fate::Later {
            self.spare();
        }
    }

    /// Lets the rest of the present message pass; a ping within it keeps its fate.
    fn spare(&mut self) {
        if self.frame == self.message {
            self.frame = Fate::Passes;
        }
        self.message = Fate::Passes;
    }

    fn tidy(&mut self) {
        if self.held() == 0 {
            self.kept = None;
        }
    }
}
