//! A message that was accepted: what its recipients get of it, serialised and compressed once for all of them.

use super::persist::Kept;
use super::protocol::json_string;
use crate::metrics::Kind;
use crate::trace::Place;
use std::sync::OnceLock;
use wire::time::Time;
use wire::ws::deflate::{Deflater, PAYLOAD_BYTES_MIN};
use wire::ws::extension::Deflate;

/// An accepted message, serialised once for all its recipients.
#[derive(Debug)]
pub struct Message {
    /// Everything of the `message` frame that follows the number: `,"id":…,"from":…,"at":…,"body":…}`.
    tail: Box<str>,
    /// The same, compressed once for all who take it so; empty if that does not pay.
    deflated: OnceLock<Box<[u8]>>,
    /// Its number in the store; 0: it is not kept there.
    pub number: u64,
    /// When the gateway took responsibility.
    pub accepted: Time,
    /// From then on it is not kept for an absent user any more.
    pub expires: Time,
    /// To a user or to a group.
    pub kind: Kind,
    /// What its deliveries stand below in its trace; boxed, because few are traced.
    trace: Option<Box<Place>>,
}

impl Message {
    /// `id` and `body` are JSON text; `from` is the sender's user name; `at_ms` is the wall clock, milliseconds since the epoch.
    pub fn new(
        id: &str,
        from: &str,
        at_ms: u64,
        body: &str,
        accepted: Time,
        expires: Time,
        kind: Kind,
    ) -> Message {
        let from = Escaped::new(from);
        let tail = join(&[
            ",\"id\":",
            id,
            ",\"from\":\"user:",
            from.text(),
            "\",\"at\":",
            itoa::Buffer::new().format(at_ms),
            ",\"body\":",
            body,
            "}",
        ]);
        Message { tail, deflated: OnceLock::new(), number: 0, accepted, expires, kind, trace: None }
    }

    /// What follows the head of the `message` frame, compressed by whichever shard asks first; `None` if that does not pay.
    pub fn deflated_tail(&self, deflater: &mut Deflater) -> Option<&[u8]> {
        if self.tail.len() < PAYLOAD_BYTES_MIN {
            return None;
        }
        if self.deflated.get().is_none() {
            let deflated = deflater.deflate(self.tail.as_bytes(), Deflate::FULL).unwrap_or_default();
            // Another shard may have been quicker. Nobody waits for it: its bytes are the same.
            let _ = self.deflated.set(deflated.into());
        }
        self.deflated.get().map(|deflated| &**deflated).filter(|deflated| !deflated.is_empty())
    }

    /// The same message under a number in the store.
    pub(crate) fn numbered(self, number: u64) -> Message {
        Message { number, ..self }
    }

    /// The same message in a trace.
    pub(crate) fn traced(self, place: Option<Place>) -> Message {
        Message { trace: place.map(Box::new), ..self }
    }

    /// What its deliveries stand below; `None`: it is not traced.
    pub(crate) fn trace(&self) -> Option<Place> {
        self.trace.as_deref().copied()
    }

    /// A message as it was kept.
    pub(crate) fn recovered(kept: &Kept, accepted: Time, expires: Time) -> Message {
        let kind = if kept.is_group { Kind::Group } else { Kind::Direct };
        let (tail, deflated) = (kept.tail.clone(), OnceLock::new());
        Message { tail, deflated, number: kept.number, accepted, expires, kind, trace: None }
    }

    /// The sender's id, as the client meant it.
    pub(crate) fn id(&self) -> Option<String> {
        let json = self.tail.strip_prefix(",\"id\":")?;
        serde_json::Deserializer::from_str(json).into_iter().next()?.ok()
    }

    /// What follows the number in the frame that delivers it.
    pub(crate) fn tail(&self) -> &str {
        &self.tail
    }
}

/// One allocation, of the length it keeps.
fn join(parts: &[&str]) -> Box<str> {
    let mut joined = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| joined.push_str(part));
    joined.into()
}

/// Text as it stands between the quotes of a JSON string. Most names stand there as they are.
enum Escaped<'a> {
    Plain(&'a str),
    /// With its quotes.
    Quoted(String),
}

impl<'a> Escaped<'a> {
    fn new(text: &'a str) -> Escaped<'a> {
        let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) { Escaped::Plain(text) } else { Escaped::Quoted(json_string(text)) }
    }

    fn text(&self) -> &str {
        match self {
            Escaped::Plain(text) => text,
            Escaped::Quoted(text) => &text[1..text.len() - 1],
        }
    }
}
