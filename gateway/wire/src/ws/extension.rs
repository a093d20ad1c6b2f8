//! permessage-deflate's negotiation, both sides (RFC 7692 sections 5 and 7.1).
//!
//! Neither side ever keeps a context from one message to the next, so that one codec serves all connections of a shard: a server
//! says so for both, a client asks for both and refuses a server that will not.

use std::borrow::Cow;

const NAME: &str = "permessage-deflate";
/// A client's whole header line.
pub const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits";

/// That both ends agreed, and what our end must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// Base-2 logarithm of the window that our end may use, 8 to 15. The window of what we receive does not matter to us.
    pub window_bits: u8,
}

impl Deflate {
    /// No limit on the window.
    pub const FULL: Deflate = Deflate { window_bits: 15 };
}

/// A header that cannot be agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// Not a list of extensions.
    #[error("Sec-WebSocket-Extensions is malformed")]
    Malformed,
    /// The server's answer names what was not offered, or takes it otherwise than offered.
    #[error("the server agreed to an extension that was not offered so")]
    NotOffered,
}

/// What a server agrees to, from the client's headers: the first offer it can keep, or nothing.
pub fn accept<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Option<Deflate>, ExtensionError> {
    let mut agreed = None;
    for header in headers {
        for extension in parse(header)? {
            agreed = agreed.or_else(|| accept_offer(&extension));
        }
    }
    Ok(agreed)
}

/// `None`: this offer is not for us, or has a parameter that we do not know or that has no such value.
fn accept_offer(extension: &Extension<'_>) -> Option<Deflate> {
    let parameters = Parameters::read(extension)?;
    Some(Deflate { window_bits: parameters.server_window.flatten().unwrap_or(15) })
}

/// Appends a server's header line, with its end.
pub fn write_answer(out: &mut Vec<u8>, deflate: Deflate) {
    out.extend_from_slice(b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if deflate.window_bits < 15 {
        out.extend_from_slice(format!("; server_max_window_bits={}", deflate.window_bits).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// What a server agreed to after [`OFFER`]; `None`: it goes on without.
pub fn read_answer<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Option<Deflate>, ExtensionError> {
    let mut agreed = None;
    for header in headers {
        for extension in parse(header)? {
            let parameters = Parameters::read(&extension).ok_or(ExtensionError::NotOffered)?;
            if agreed.is_some() || !parameters.server_forgets || parameters.client_window == Some(None) {
                return Err(ExtensionError::NotOffered);
            }
            agreed = Some(Deflate { window_bits: parameters.client_window.flatten().unwrap_or(15) });
        }
    }
    Ok(agreed)
}

/// The parameters of permessage-deflate; a window is `Some(None)` where it was named without a number.
#[derive(Debug, Default)]
struct Parameters {
    server_forgets: bool,
    client_forgets: bool,
    server_window: Option<Option<u8>>,
    client_window: Option<Option<u8>>,
}

impl Parameters {
    fn read(extension: &Extension<'_>) -> Option<Parameters> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut read = Parameters::default();
        for (name, value) in &extension.parameters {
            let value = value.as_deref();
            let is_new = match *name {
                "server_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut read.server_forgets, true)
                }
                "client_no_context_takeover" if value.is_none() => {
                    !std::mem::replace(&mut read.client_forgets, true)
                }
                "server_max_window_bits" => read.server_window.replace(Some(window_bits(value?)?)).is_none(),
                "client_max_window_bits" => {
                    let window = value.map(|value| window_bits(value).ok_or(())).transpose().ok()?;
                    read.client_window.replace(window).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }
}

/// 8 to 15, without a leading zero.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits: &u8| (8..=15).contains(bits))?;
    (value == bits.to_string()).then_some(bits)
}

#[derive(Debug)]
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// One header's value: `name; parameter=value; parameter, name …` (RFC 6455 section 9.1).
fn parse(header: &str) -> Result<Vec<Extension<'_>>, ExtensionError> {
    let mut rest = Rest(header);
    let mut extensions = Vec::new();
    loop {
        // HTTP lists may have empty elements.
        while rest.eat(',') {}
        if rest.0.is_empty() {
            return Ok(extensions);
        }
        let name = rest.token()?;
        let mut parameters = Vec::new();
        while rest.eat(';') {
            let name = rest.token()?;
            let value = if rest.eat('=') { Some(rest.value()?) } else { None };
            parameters.push((name, value));
        }
        extensions.push(Extension { name, parameters });
        if !rest.0.is_empty() && !rest.0.starts_with(',') {
            return Err(ExtensionError::Malformed);
        }
    }
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Skips spaces, and `what` with the spaces after it if it is there.
    fn eat(&mut self, what: char) -> bool {
        self.0 = self.0.trim_start_matches([' ', '\t']);
        let after = self.0.strip_prefix(what);
        self.0 = after.map_or(self.0, |after| after.trim_start_matches([' ', '\t']));
        after.is_some()
    }

    fn token(&mut self) -> Result<&'a str, ExtensionError> {
        let end = self.0.find(|c| !is_token_char(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        if token.is_empty() { Err(ExtensionError::Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted one.
    fn value(&mut self) -> Result<Cow<'a, str>, ExtensionError> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(Cow::Borrowed) };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().and_then(|c| if c == '\\' { chars.next() } else { Some(c) }) {
                Some('"') => break,
                Some(c) if is_token_char(c) => value.push(c),
                _ => return Err(ExtensionError::Malformed),
            }
        }
        self.0 = chars.as_str();
        if value.is_empty() { Err(ExtensionError::Malformed) } else { Ok(Cow::Owned(value)) }
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(header: &str) -> Result<Option<u8>, ExtensionError> {
        accept([header].into_iter()).map(|deflate| deflate.map(|deflate| deflate.window_bits))
    }

    #[test]
    fn a_server_takes_the_first_offer_it_can_keep() {
        for (header, expected) in [
            ("permessage-deflate", Some(15)),
            ("permessage-deflate; client_max_window_bits", Some(15)),
            ("Permessage-Deflate;client_max_window_bits=10;server_no_context_takeover", Some(15)),
            ("permessage-deflate; server_max_window_bits=9", Some(9)),
            ("permessage-deflate; server_max_window_bits=\"1\\2\"", Some(12)),
            (", permessage-deflate ; server_max_window_bits = 8 ,", Some(8)),
            ("x-other; a=b, permessage-deflate", Some(15)),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(10)),
            // Not to be had: the next alternative counts.
            ("permessage-deflate; mode=fast, permessage-deflate; server_max_window_bits=11", Some(11)),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=7", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=09", None),
            ("permessage-deflate; server_max_window_bits=+9", None),
            ("permessage-deflate; client_max_window_bits=99", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("x-webkit-deflate-frame", None),
            ("", None),
        ] {
            assert_eq!(accepts(header), Ok(expected), "{header}");
        }
        for header in
            ["permessage-deflate;", "a b", "a; b=", "a; b=\"", "a; b=\"\"", "a; b=\"x y\"", "=", "a;; b"]
        {
            assert_eq!(accepts(header), Err(ExtensionError::Malformed), "{header}");
        }
    }

    #[test]
    fn a_client_holds_the_server_to_its_offer() {
        let reads = |header: &'static str| {
            read_answer([header].into_iter()).map(|deflate| deflate.map(|deflate| deflate.window_bits))
        };
        assert_eq!(read_answer([].into_iter()), Ok(None));
        assert_eq!(reads("permessage-deflate; server_no_context_takeover"), Ok(Some(15)));
        assert_eq!(
            reads(
                "permessage-deflate; server_no_context_takeover; client_max_window_bits=9; server_max_window_bits=8"
            ),
            Ok(Some(9))
        );
        for header in [
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_no_context_takeover; more",
            "x-other",
        ] {
            assert_eq!(reads(header), Err(ExtensionError::NotOffered), "{header}");
        }
    }

    #[test]
    fn both_sides_agree() {
        let (_, offer) = OFFER.split_once(": ").unwrap();
        assert_eq!(accepts(offer), Ok(Some(15)));
        for window_bits in 8..=15 {
            let mut answer = Vec::new();
            write_answer(&mut answer, Deflate { window_bits });
            let answer = String::from_utf8(answer).unwrap();
            let (_, value) = answer.trim_end().split_once(": ").unwrap();
            assert_eq!(
                read_answer([value].into_iter()),
                Ok(Some(Deflate::FULL)),
                "the limit is not the client's"
            );
            assert_eq!(value.contains("server_max_window_bits"), window_bits < 15);
        }
    }

    proptest! {
        #[test]
        fn never_panics(header in "[a-z;,=\" \\\\0-9\\PC]{0,60}") {
            let _ = accepts(&header);
            let _ = read_answer([&*header].into_iter());
        }
    }
}
