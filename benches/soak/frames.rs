//! What a client of the soak reads and writes in im.v1, without a JSON library in its way.

use crate::ledger::Key;
use crate::plan::To;
use std::fmt::Write as _;

/// A frame from the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello {
        seq: u64,
    },
    Sent(Key),
    Message {
        seq: u64,
        key: Key,
    },
    /// `joined` or `left`.
    Membership,
    Refused {
        key: Key,
        code: &'a str,
    },
    Unknown,
}

/// The value after `"name":`, without its quotes.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = text.find(name)? + name.len();
    let value = text[begin..].strip_prefix("\":")?;
    let value = value.strip_prefix('"').unwrap_or(value);
    let end = value.find(['"', ',', '}'])?;
    Some(&value[..end])
}

fn key(text: &str) -> Option<Key> {
    let (sender, number) = field(text, "\"id")?.split_once('-')?;
    Some(Key { sender: sender.parse().ok()?, number: number.parse().ok()? })
}

fn seq(text: &str) -> Option<u64> {
    field(text, "\"seq")?.parse().ok()
}

/// Reads a text frame.
pub(crate) fn parse(text: &str) -> Frame<'_> {
    let frame = match field(text, "\"type") {
        Some("message") => seq(text).zip(key(text)).map(|(seq, key)| Frame::Message { seq, key }),
        Some("sent") => key(text).map(Frame::Sent),
        Some("hello") => seq(text).map(|seq| Frame::Hello { seq }),
        Some("joined" | "left") => Some(Frame::Membership),
        Some("error") => key(text).zip(field(text, "\"code")).map(|(key, code)| Frame::Refused { key, code }),
        _ => None,
    };
    frame.unwrap_or(Frame::Unknown)
}

/// The name of a user.
pub(crate) fn name(user: u32) -> String {
    format!("u{user}")
}

/// Appends a `send` frame's payload.
pub(crate) fn write_send(out: &mut String, key: Key, to: To) {
    let Key { sender, number } = key;
    // Writing to a String cannot fail.
    let _ = write!(out, r#"{{"type":"send","id":"{sender}-{number}","to":""#);
    let _ = match to {
        To::User(user) => write!(out, "user:u{user}"),
        To::Group(group) => write!(out, "group:g{group}"),
    };
    let _ = write!(out, r#"","body":"{BODY}"}}"#);
}

const BODY: &str = "0123456789012345678901234567890123456789";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_gateway_writes() {
        let key = Key { sender: 17, number: 3 };
        for (text, frame) in [
            (
                r#"{"type":"hello","session":"a/b","node":"n","seq":4,"heartbeat":30}"#,
                Frame::Hello { seq: 4 },
            ),
            (r#"{"type":"sent","id":"17-3"}"#, Frame::Sent(key)),
            (
                r#"{"type":"message","seq":9,"id":"17-3","from":"user:u17","at":5,"body":"x"}"#,
                Frame::Message { seq: 9, key },
            ),
            (
                r#"{"type":"error","id":"17-3","code":"overloaded","reason":"r"}"#,
                Frame::Refused { key, code: "overloaded" },
            ),
            (r#"{"type":"joined","group":"g1"}"#, Frame::Membership),
            (r#"{"type":"error","id":null,"code":"bad_frame","reason":"r"}"#, Frame::Unknown),
            ("nonsense", Frame::Unknown),
            (r#"{"type":"sent","id":"17-"#, Frame::Unknown),
        ] {
            assert_eq!(parse(text), frame, "{text}");
        }
    }

    #[test]
    fn writes_what_the_gateway_reads() {
        let mut out = String::new();
        write_send(&mut out, Key { sender: 1, number: 2 }, To::Group(3));
        assert!(out.starts_with(r#"{"type":"send","id":"1-2","to":"group:g3","body":""#), "{out}");
    }
}
