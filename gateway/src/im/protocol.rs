//! The frames of `im.v1`: text, one JSON object each. PROTOCOL.md describes them.

use super::message::Message;
use super::session::Epoch;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The protocol's name in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "im.v1";

/// A frame from a client. Unknown fields are ignored, so that clients may be newer than the gateway.
#[derive(Debug, Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    group: Option<Cow<'a, str>>,
    seq: Option<u64>,
}

/// What a client asks for.
#[derive(Debug)]
pub enum Request<'a> {
    /// Send a message.
    Send {
        /// The sender's id, as JSON text with its quotes.
        id: &'a str,
        /// Whom to.
        to: Address<'a>,
        /// Any JSON.
        body: &'a str,
    },
    /// Every delivery up to this number arrived.
    Ack(u64),
    /// Become a member.
    Join(Cow<'a, str>),
    /// End membership.
    Leave(Cow<'a, str>),
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address<'a> {
    /// `user:NAME`
    User(Cow<'a, str>),
    /// `group:NAME`
    Group(Cow<'a, str>),
}

/// Why a frame was refused; the code in an `error` frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not JSON, or a field is missing or of the wrong type.
    #[error("not a frame of im.v1")]
    BadFrame,
    /// A `type` that im.v1 does not have.
    #[error("unknown type; clients send send, ack, join and leave")]
    UnknownType,
    /// `to` is neither `user:NAME` nor `group:NAME`.
    #[error("`to` must be user:NAME or group:NAME")]
    BadRecipient,
    /// A name or id longer than the limit.
    #[error("an id or name is longer than the limit")]
    TooLong,
    /// The sender is not in the group.
    #[error("the sender is not a member of the group")]
    NotMember,
    /// The group has as many members as it may have.
    #[error("the group is full")]
    GroupFull,
    /// A queue inside the gateway is full; send again later.
    #[error("the gateway is overloaded; send again later")]
    Overloaded,
    /// The store does not work; nothing is accepted that could be lost.
    #[error("the gateway cannot store messages; send again later, or elsewhere")]
    Unavailable,
    /// The gateway is shutting down; connect again.
    #[error("the gateway is shutting down; connect again")]
    Draining,
    /// More frames than the connection or the user may send.
    #[error("too many messages; send more slowly")]
    RateLimited,
    /// A body with more levels of lists and objects than allowed.
    #[error("the body is nested more deeply than allowed")]
    TooDeep,
    /// Too many messages are being lost.
    #[error("too many messages are being lost; send again later")]
    CircuitOpen,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refusal; 12] = [
        Refusal::BadFrame,
        Refusal::UnknownType,
        Refusal::BadRecipient,
        Refusal::TooLong,
        Refusal::NotMember,
        Refusal::GroupFull,
        Refusal::Overloaded,
        Refusal::Unavailable,
        Refusal::Draining,
        Refusal::RateLimited,
        Refusal::TooDeep,
        Refusal::CircuitOpen,
    ];

    /// The code in the frame.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::BadFrame => "bad_frame",
            Refusal::UnknownType => "unknown_type",
            Refusal::BadRecipient => "bad_recipient",
            Refusal::TooLong => "too_long",
            Refusal::NotMember => "not_member",
            Refusal::GroupFull => "group_full",
            Refusal::Overloaded => "overloaded",
            Refusal::Unavailable => "unavailable",
            Refusal::Draining => "draining",
            Refusal::RateLimited => "rate_limited",
            Refusal::TooDeep => "too_deep",
            Refusal::CircuitOpen => "circuit_open",
        }
    }
}

/// A client's frame as it was read. A refusal names the frame's id where it could be read.
pub type Parsed<'a> = Result<Request<'a>, (Option<&'a str>, Refusal)>;

/// Reads a client's frame.
pub fn parse(text: &str, name_bytes_max: usize) -> Parsed<'_> {
    let frame: Frame<'_> = serde_json::from_str(text).map_err(|_| (None, Refusal::BadFrame))?;
    // An id is echoed as it was written, so it must be a string, and a short one.
    let id = frame.id.map(RawValue::get);
    let short = |name: Cow<'_, str>| name.len() <= name_bytes_max;
    // An empty one would make the second message of a client that never sets it a repetition, confirmed and lost.
    if id.is_some_and(|id| !id.starts_with('"') || id == "\"\"") {
        return Err((None, Refusal::BadFrame));
    }
    if id.is_some_and(|id| id.len() > name_bytes_max + 2) {
        return Err((None, Refusal::TooLong));
    }
    let name = |name: Option<Cow<'_, str>>| match name {
        Some(name) if name.is_empty() => Err((id, Refusal::BadFrame)),
        Some(name) if !short(Cow::Borrowed(&name)) => Err((id, Refusal::TooLong)),
        Some(name) => Ok(name.into_owned()),
        None => Err((id, Refusal::BadFrame)),
    };
    match &*frame.kind {
        "send" => {
            let (Some(id), Some(to), Some(body)) = (id, frame.to, frame.body) else {
                return Err((id, Refusal::BadFrame));
            };
            let to = address(to).ok_or((Some(id), Refusal::BadRecipient))?;
            let (Address::User(recipient) | Address::Group(recipient)) = &to;
            if recipient.len() > name_bytes_max {
                return Err((Some(id), Refusal::TooLong));
            }
            Ok(Request::Send { id, to, body: body.get() })
        }
        "ack" => frame.seq.map(Request::Ack).ok_or((id, Refusal::BadFrame)),
        "join" => name(frame.group).map(|group| Request::Join(Cow::Owned(group))),
        "leave" => name(frame.group).map(|group| Request::Leave(Cow::Owned(group))),
        _ => Err((id, Refusal::UnknownType)),
    }
}

fn address(to: Cow<'_, str>) -> Option<Address<'_>> {
    fn rest<'a>(to: &Cow<'a, str>, prefix: &str) -> Option<Cow<'a, str>> {
        let name = match to {
            Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(prefix)?),
            Cow::Owned(text) => Cow::Owned(text.strip_prefix(prefix)?.to_owned()),
        };
        (!name.is_empty()).then_some(name)
    }
    rest(&to, "user:").map(Address::User).or_else(|| rest(&to, "group:").map(Address::Group))
}

/// Whether lists and objects in `json`, which must be valid, are nested more than `depth_max` deep.
pub(crate) fn is_deeper(json: &str, depth_max: usize) -> bool {
    let opens = |byte: u8| matches!(byte, b'[' | b'{');
    // A level takes two bytes, one of which opens it: most bodies are too short, or have too few, to be looked at closely.
    if json.len() <= 2 * depth_max || json.bytes().filter(|byte| opens(*byte)).count() <= depth_max {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            byte if opens(byte) => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth > depth_max {
            return true;
        }
    }
    false
}

/// Appends the payload of a `message` frame.
pub fn write_message(out: &mut Vec<u8>, seq: u64, message: &Message) {
    write_message_head(out, seq);
    out.extend_from_slice(message.tail().as_bytes());
}

/// Appends what is each recipient's own in the payload of a `message` frame: its beginning.
pub fn write_message_head(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b"{\"type\":\"message\",\"seq\":");
    out.extend_from_slice(itoa::Buffer::new().format(seq).as_bytes());
}

/// Appends the payload of a `hello` frame.
pub fn write_hello(
    out: &mut Vec<u8>,
    session: &str,
    node: &str,
    epoch: Epoch,
    seq: u64,
    heartbeat_seconds: u64,
) {
    let (session, node) = (json_string(session), json_string(node));
    append(
        out,
        format_args!(
            "{{\"type\":\"hello\",\"session\":{session},\"node\":{node},\"epoch\":\"{epoch}\",\"seq\":{seq},\"heartbeat\":{heartbeat_seconds}}}"
        ),
    );
}

/// Appends the payload of a `sent` frame; `id` is JSON text.
pub fn write_sent(out: &mut Vec<u8>, id: &str) {
    for part in ["{\"type\":\"sent\",\"id\":", id, "}"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the payload of a `joined` or `left` frame.
pub fn write_membership(out: &mut Vec<u8>, joined: bool, group: &str) {
    let kind = if joined { "joined" } else { "left" };
    append(out, format_args!("{{\"type\":\"{kind}\",\"group\":{}}}", json_string(group)));
}

/// Appends the payload of an `error` frame; `id` is JSON text.
pub fn write_error(out: &mut Vec<u8>, id: Option<&str>, refusal: Refusal) {
    let (id, code) = (id.unwrap_or("null"), refusal.code());
    append(
        out,
        format_args!("{{\"type\":\"error\",\"id\":{id},\"code\":\"{code}\",\"reason\":\"{refusal}\"}}"),
    );
}

fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

/// Text as a JSON string, with its quotes.
pub(super) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Kind;
    use wire::time::Time;

    fn check(text: &str, expected: &str) {
        assert_eq!(format!("{:?}", parse(text, 8)), expected, "{text}");
    }

    #[test]
    fn reads_frames() {
        check(
            r#"{"type":"send","id":"m-1","to":"user:bob","body":{"a":[1]},"more":1}"#,
            r#"Ok(Send { id: "\"m-1\"", to: User("bob"), body: "{\"a\":[1]}" })"#,
        );
        check(
            r#"{"type":"send","id":"\"","to":"group:d\u0065v","body":"x"}"#,
            r#"Ok(Send { id: "\"\\\"\"", to: Group("dev"), body: "\"x\"" })"#,
        );
        check(r#"{"type":"ack","seq":17}"#, "Ok(Ack(17))");
        check(r#"{"type":"join","group":"dev"}"#, r#"Ok(Join("dev"))"#);
        check(r#"{"type":"leave","group":"dev"}"#, r#"Ok(Leave("dev"))"#);
    }

    #[test]
    fn refuses_with_a_code() {
        check("{", "Err((None, BadFrame))");
        check("[]", "Err((None, BadFrame))");
        check(r#"{"type":"ack","seq":-1}"#, "Err((None, BadFrame))");
        check(r#"{"type":"shout","id":"a"}"#, r#"Err((Some("\"a\""), UnknownType))"#);
        check(r#"{"type":"send","id":7,"to":"user:b","body":1}"#, "Err((None, BadFrame))");
        check(r#"{"type":"send","id":"","to":"user:b","body":1}"#, "Err((None, BadFrame))");
        check(r#"{"type":"send","id":"a","to":"bob","body":1}"#, r#"Err((Some("\"a\""), BadRecipient))"#);
        check(r#"{"type":"send","id":"a","to":"user:","body":1}"#, r#"Err((Some("\"a\""), BadRecipient))"#);
        check(r#"{"type":"send","id":"a","to":"user:b"}"#, r#"Err((Some("\"a\""), BadFrame))"#);
        check(r#"{"type":"send","id":"123456789","to":"user:b","body":1}"#, "Err((None, TooLong))");
        check(r#"{"type":"join","group":"123456789"}"#, "Err((None, TooLong))");
    }

    #[test]
    fn depth_is_that_of_brackets_outside_of_strings() {
        let nested = |levels: usize| format!("{}1{}", "[{\"k\":".repeat(levels), "}]".repeat(levels));
        for (json, deeper) in [
            ("1".to_owned(), false),
            (nested(2), false),
            (nested(3), true),
            (format!("[{}]", ["[1]"; 99].join(",")), false),
            (format!("\"{}\"", "[".repeat(99)), false),
            (format!("[\"\\\"{}\"]", "[".repeat(99)), false),
            (format!("[\"\\\\\",{}]", nested(2)), true),
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            assert_eq!(is_deeper(&json, 4), deeper, "{json}");
        }
    }

    #[test]
    fn every_refusal_has_its_number_and_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<_> =
            Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
        assert!(Refusal::ALL.iter().enumerate().all(|(index, refusal)| *refusal as usize == index));
    }

    #[test]
    fn what_is_written_is_json() {
        let message = Message::new("\"m\\\"1\"", "al \"x\"", 5, "{\"k\":1}", Time(0), Time(9), Kind::Direct);
        for write in [
            |out: &mut Vec<u8>, m: &Message| write_message(out, 3, m),
            |out: &mut Vec<u8>, _: &Message| write_hello(out, "al/phone", "n\"1", Epoch(7), 3, 30),
            |out: &mut Vec<u8>, _: &Message| write_sent(out, "\"m-1\""),
            |out: &mut Vec<u8>, _: &Message| write_membership(out, true, "dev"),
            |out: &mut Vec<u8>, _: &Message| write_error(out, None, Refusal::UnknownType),
            |out: &mut Vec<u8>, _: &Message| write_error(out, Some("\"m\""), Refusal::BadRecipient),
        ] {
            let mut out = Vec::new();
            write(&mut out, &message);
            assert!(
                serde_json::from_slice::<serde_json::Value>(&out).is_ok(),
                "{}",
                String::from_utf8_lossy(&out)
            );
        }
    }
}
