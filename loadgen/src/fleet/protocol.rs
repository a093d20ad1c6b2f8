//! The client's side of `im.v1`: what it writes and what it understands.

use super::plan::MessageNumber;
use serde::Deserialize;
use std::borrow::Cow;
use std::io::Write as _;

/// The protocol's name.
pub(super) const NAME: &str = "im.v1";
/// What offers it in the handshake.
pub(super) const OFFER: &str = "Sec-WebSocket-Protocol: im.v1";

/// Which message a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageKey {
    /// The traffic plan, by its place in the scenario.
    pub traffic: u8,
    /// The message.
    pub number: MessageNumber,
}

impl MessageKey {
    fn parse(id: &str) -> Option<MessageKey> {
        let (traffic, number) = id.strip_prefix('m')?.split_once('-')?;
        Some(MessageKey { traffic: traffic.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A frame from the gateway.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// The session has begun; this names its life, within which deliveries are numbered.
    Hello(Box<str>),
    /// Confirmed.
    Sent(MessageKey),
    /// Arrived, with the moment it was written by its sender, nanoseconds of the monotonic clock.
    Message {
        /// The delivery's number in the session.
        seq: u64,
        /// Which message; `None` if it is not one of ours.
        key: Option<MessageKey>,
        /// When its sender wrote it.
        written_ns: u64,
    },
    /// Refused, with the code.
    Error(Option<MessageKey>, String),
    /// Not a frame that this client knows.
    Unknown,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    epoch: Option<Cow<'a, str>>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    body: Option<Body>,
    #[serde(borrow, default)]
    code: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    t: u64,
}

/// Reads a text frame.
pub(super) fn parse(text: &str) -> Frame {
    let Ok(raw) = serde_json::from_str::<Raw<'_>>(text) else { return Frame::Unknown };
    let key = raw.id.as_deref().and_then(MessageKey::parse);
    match (&*raw.kind, key, raw.seq) {
        ("message", key, Some(seq)) => {
            Frame::Message { seq, key, written_ns: raw.body.map_or(0, |body| body.t) }
        }
        ("sent", Some(key), _) => Frame::Sent(key),
        ("hello", ..) => Frame::Hello(raw.epoch.unwrap_or_default().into()),
        ("error", key, _) => Frame::Error(key, raw.code.unwrap_or_default().into_owned()),
        _ => Frame::Unknown,
    }
}

/// Appends a `send` frame's payload whose body takes `body_bytes`, or as few more as its stamp needs.
pub(super) fn write_send(out: &mut Vec<u8>, key: MessageKey, to: &str, written_ns: u64, body_bytes: usize) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{{\"type\":\"send\",\"id\":\"m{}-{}\",\"to\":\"user:{to}\",\"body\":",
        key.traffic, key.number
    );
    let body = out.len();
    let _ = write!(out, "{{\"t\":{written_ns},\"p\":\"");
    let padding = body_bytes.saturating_sub(out.len() - body + 2);
    out.resize(out.len() + padding, b'x');
    out.extend_from_slice(b"\"}}");
}

/// Appends an `ack` frame's payload.
pub(super) fn write_ack(out: &mut Vec<u8>, seq: u64) {
    let _ = write!(out, "{{\"type\":\"ack\",\"seq\":{seq}}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_gateway_writes() {
        let key = MessageKey { traffic: 1, number: 77 };
        for (text, frame) in [
            (
                r#"{"type":"hello","session":"a/b","node":"n","epoch":"7f","seq":4,"heartbeat":30}"#,
                Frame::Hello("7f".into()),
            ),
            (r#"{"type":"sent","id":"m1-77"}"#, Frame::Sent(key)),
            (
                r#"{"type":"message","seq":3,"id":"m1-77","from":"user:u1","at":5,"body":{"t":9,"p":"xx"}}"#,
                Frame::Message { seq: 3, key: Some(key), written_ns: 9 },
            ),
            (
                r#"{"type":"error","id":"m1-77","code":"overloaded","reason":"r"}"#,
                Frame::Error(Some(key), "overloaded".into()),
            ),
            (r#"{"type":"joined","group":"dev"}"#, Frame::Unknown),
            ("nonsense", Frame::Unknown),
        ] {
            assert_eq!(parse(text), frame, "{text}");
        }
    }

    #[test]
    fn a_body_has_its_size() {
        for size in [0, 64, 128] {
            let mut out = Vec::new();
            write_send(&mut out, MessageKey { traffic: 0, number: 5 }, "u9", 123_456, size);
            let frame: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let body = frame["body"].to_string().len();
            assert!(body == size.max(19), "{size}: {body}");
        }
    }
}
