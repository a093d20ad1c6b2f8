//! What a client may cost: time for a head or a message to become complete, control frames, empty fragments, unread answers.
//!
//! Deadlines run over the whole head or message and not from byte to byte: a client that sends one byte a second (slowloris)
//! gains nothing by it. A session carries one [`Guard`].

use super::limits::{Bucket, Rate};
use super::mail::Mail;
use super::open::Session;
use super::rare::{Part, Rare};
use super::shard::{Shard, Timer, timer_key};
use crate::config::Limits;
use crate::metrics::CloseReason;
use wire::http::{HeadError, Request};
use wire::shard::{ConnId, Io};
use wire::time::Time;
use wire::ws::endpoint::Event;

/// Most parts of a message beyond one for each byte that it may have: who sends more sends them empty.
const EMPTY_PARTS_MAX: usize = 1024;
/// Close code for what breaks no rule of WebSocket and is refused all the same (RFC 6455 section 7.4.1).
const POLICY_VIOLATION: u16 = 1008;

/// What a session remembers of its client: nothing, while whole messages come and none is limited.
#[derive(Debug, Default)]
pub(super) struct Guard(Rare<Conduct>);

#[derive(Debug)]
struct Conduct {
    /// Frames that ask for something.
    messages: Bucket,
    /// Pings and pongs.
    control: Bucket,
    /// When the message or frame under way began; zero: none is.
    begun: Time,
    /// Parts so far of the message under way: fragments, and pieces in which they came.
    parts: u32,
    /// A whole message came since [`Guard::input_taken`] was last asked.
    completed: bool,
    /// A timer will look at `begun`.
    timer: bool,
}

/// What a client is disconnected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offence {
    ControlFrames,
    Fragments,
    Unfinished,
}

impl Offence {
    fn reason(self) -> CloseReason {
        match self {
            Offence::ControlFrames | Offence::Fragments => CloseReason::Flood,
            Offence::Unfinished => CloseReason::SlowSender,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Offence::ControlFrames => "too many pings or pongs",
            Offence::Fragments => "too many empty fragments",
            Offence::Unfinished => "the message was not completed in time",
        }
    }
}

impl Part for Conduct {
    const NEW: Conduct = Conduct {
        messages: Bucket::FULL,
        control: Bucket::FULL,
        begun: Time(0),
        parts: 0,
        completed: false,
        timer: false,
    };
    const IDLE: &'static Conduct = &Self::NEW;

    fn is_idle(&self, now: Time) -> bool {
        let is_under_way = self.begun != Time(0) || self.parts > 0 || self.timer;
        !is_under_way && self.messages.is_full(now) && self.control.is_full(now)
    }
}

impl Guard {
    /// Nothing has happened for a while: gives up what need not be remembered.
    pub(super) fn rest(&mut self, now: Time) {
        self.0.rest(now);
    }

    /// Whether one more frame may ask for something.
    pub(super) fn has_message(&self, rate: Option<Rate>, now: Time) -> bool {
        self.0.messages.has(rate, now)
    }

    /// One more frame has asked for something.
    pub(super) fn take_message(&mut self, rate: Option<Rate>, now: Time) {
        if rate.is_some() {
            self.0.messages.take(rate, now);
        }
    }

    /// One frame has come.
    pub(super) fn frame(&mut self, event: &Event<'_>, limits: &Limits, now: Time) -> Result<(), Offence> {
        match event {
            Event::Ping(_) | Event::Pong(_) if !self.0.control.take(limits.control_frames, now) => {
                return Err(Offence::ControlFrames);
            }
            Event::Ping(_) | Event::Pong(_) | Event::Close(_) => {}
            Event::Fragment if self.0.parts as usize >= limits.frame_bytes_max + EMPTY_PARTS_MAX => {
                return Err(Offence::Fragments);
            }
            Event::Fragment => self.0.parts += 1,
            Event::Text(_) | Event::Binary(_) if self.0.is_held() => {
                (self.0.parts, self.0.completed) = (0, true);
            }
            Event::Text(_) | Event::Binary(_) => {}
        }
        Ok(())
    }

    /// `taken` bytes were read and `left` are the beginning of a header or a control frame. Gives when a timer must look, if none will.
    fn input_taken(&mut self, taken: usize, left: usize, limits: &Limits, now: Time) -> Option<Time> {
        if left == 0 && !self.0.is_held() {
            return None;
        }
        let conduct = &mut *self.0;
        let completed = std::mem::take(&mut conduct.completed);
        if conduct.parts == 0 && left == 0 {
            conduct.begun = Time(0);
            return None;
        }
        // What was under way before has been completed, and something else begun.
        let is_another = completed || (conduct.parts == 0 && taken > 0);
        if is_another || conduct.begun == Time(0) {
            conduct.begun = now;
        }
        let is_looked_at = std::mem::replace(&mut conduct.timer, true);
        (!is_looked_at).then(|| conduct.begun + limits.message_timeout)
    }

    /// The timer has fired: gives when to look again, if anything is under way.
    fn look(&mut self, limits: &Limits, now: Time) -> Result<Option<Time>, Offence> {
        if !self.0.is_held() {
            return Ok(None);
        }
        self.0.timer = self.0.begun != Time(0);
        match self.0.begun + limits.message_timeout {
            _ if !self.0.timer => Ok(None),
            until if until <= now => Err(Offence::Unfinished),
            until => Ok(Some(until)),
        }
    }
}

/// Reads a request's head of at most `head_bytes_max` bytes; otherwise as [`Request::parse`].
pub(super) fn parse_head(input: &[u8], head_bytes_max: usize) -> Result<Option<Request<'_>>, HeadError> {
    match Request::parse(input)? {
        Some(request) if request.head_bytes > head_bytes_max => Err(HeadError::TooLarge),
        None if input.len() >= head_bytes_max => Err(HeadError::TooLarge),
        parsed => Ok(parsed),
    }
}

impl Shard {
    /// Disconnects a client.
    pub(super) fn punish(&mut self, session: &mut Session, offence: Offence, io: &mut Io<Mail>) {
        self.close_session(session, offence.reason(), POLICY_VIOLATION, offence.text(), io);
    }

    /// All whole frames at hand have been handled; `taken` and `left` as in [`Guard::input_taken`].
    pub(super) fn input_taken(
        &mut self,
        session: &mut Session,
        taken: usize,
        left: usize,
        io: &mut Io<Mail>,
    ) {
        if session.closing.is_some() {
            return;
        }
        let limits = &self.shared.limits;
        // Deliveries stop at `backlog_bytes_max`. What goes beyond it twice are answers to a client that goes on asking and
        // reads none of them.
        let unread_max = 2 * limits.backlog_bytes_max + limits.frame_bytes_max;
        if io.is_blocked(session.conn) && io.backlog(session.conn) > unread_max {
            return self.close_session(session, CloseReason::SlowReader, 1013, "answers are not read", io);
        }
        if let Some(look_at) = session.guard.input_taken(taken, left, limits, io.now()) {
            io.set_timer(look_at, timer_key(Timer::Incomplete, session.conn));
        }
    }

    /// A message may have been under way for too long.
    pub(super) fn message_timer(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let shared = std::sync::Arc::clone(&self.shared);
        let Some(open) = self.open_mut(conn) else { return };
        match open.session.guard.look(&shared.limits, io.now()) {
            Ok(None) => {}
            Ok(Some(look_at)) => io.set_timer(look_at, timer_key(Timer::Incomplete, conn)),
            Err(offence) => {
                self.close(conn, offence.reason(), POLICY_VIOLATION, offence.text(), io);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: u64) -> Time {
        Time(second * 1_000_000_000)
    }

    fn limits() -> Limits {
        Limits { message_timeout: Duration::from_secs(30), ..Limits::default() }
    }

    #[test]
    fn a_trickled_message_is_timed_from_its_first_byte() {
        let (mut guard, limits) = (Guard::default(), limits());
        assert_eq!(guard.input_taken(10, 0, &limits, at(1)), None, "nothing is under way");
        assert_eq!(guard.input_taken(0, 1, &limits, at(2)), Some(at(32)));
        for second in 3..32 {
            assert_eq!(guard.input_taken(0, second as usize, &limits, at(second)), None, "a timer is set");
        }
        assert_eq!(guard.look(&limits, at(31)), Ok(Some(at(32))));
        assert_eq!(guard.look(&limits, at(32)), Err(Offence::Unfinished));
    }

    #[test]
    fn a_busy_client_is_never_late() {
        let (mut guard, limits) = (Guard::default(), limits());
        let text = Event::Text("{}");
        assert_eq!(guard.input_taken(0, 3, &limits, at(1)), Some(at(31)));
        for second in 2..100 {
            // Each read completes a frame and begins another.
            guard.frame(&text, &limits, at(second)).unwrap();
            assert_eq!(guard.input_taken(9, 3, &limits, at(second)), None);
        }
        assert_eq!(guard.look(&limits, at(100)), Ok(Some(at(129))));
        guard.frame(&text, &limits, at(101)).unwrap();
        assert_eq!(guard.input_taken(9, 0, &limits, at(101)), None);
        assert_eq!(guard.look(&limits, at(129)), Ok(None));
        assert_eq!(guard.input_taken(0, 1, &limits, at(200)), Some(at(230)), "a timer is set again");
    }

    #[test]
    fn pings_between_fragments_prolong_nothing() {
        let (mut guard, limits) = (Guard::default(), limits());
        guard.frame(&Event::Fragment, &limits, at(1)).unwrap();
        assert_eq!(guard.input_taken(9, 0, &limits, at(1)), Some(at(31)));
        for second in 2..31 {
            guard.frame(&Event::Ping(b""), &limits, at(second)).unwrap();
            assert_eq!(guard.input_taken(6, 0, &limits, at(second)), None);
        }
        assert_eq!(guard.look(&limits, at(31)), Err(Offence::Unfinished));
    }

    #[test]
    fn floods_are_noticed() {
        let (mut guard, limits) = (Guard::default(), Limits { frame_bytes_max: 10, ..limits() });
        assert!((0..100).all(|_| guard.frame(&Event::Pong(b""), &limits, at(1)).is_ok()));
        assert_eq!(guard.frame(&Event::Ping(b""), &limits, at(1)), Err(Offence::ControlFrames));
        assert!((0..1034).all(|_| guard.frame(&Event::Fragment, &limits, at(1)).is_ok()));
        assert_eq!(guard.frame(&Event::Fragment, &limits, at(1)), Err(Offence::Fragments));
        guard.frame(&Event::Text(""), &limits, at(1)).unwrap();
        assert_eq!(guard.frame(&Event::Fragment, &limits, at(1)), Ok(()), "of the next message");
    }

    #[test]
    fn a_head_has_a_bound() {
        let head = "GET / HTTP/1.1\r\nA: b\r\n\r\n";
        let check =
            |text: &str, max: usize| parse_head(text.as_bytes(), max).map(|request| request.is_some());
        assert_eq!(check(head, head.len()), Ok(true));
        assert_eq!(check(head, head.len() - 1), Err(HeadError::TooLarge));
        assert_eq!(check(&head[..20], 21), Ok(false));
        assert_eq!(check(&head[..20], 20), Err(HeadError::TooLarge), "it can only become longer");
    }
}
