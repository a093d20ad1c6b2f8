//! The opening handshake, both sides (RFC 6455 section 4).

use super::extension::{self, Deflate};
use crate::http::{HeadError, Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why an upgrade was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeError {
    /// Not `GET` over HTTP/1.1 with `Upgrade: websocket` and `Connection: Upgrade`.
    #[error("not a WebSocket upgrade")]
    NotAnUpgrade,
    /// No `Host`.
    #[error("Host is missing")]
    Host,
    /// A version other than 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// No key, or not 16 bytes of base64.
    #[error("Sec-WebSocket-Key must be 16 bytes of base64")]
    Key,
}

/// Checks an upgrade request and gives the value for `Sec-WebSocket-Accept`.
pub fn accept(request: &Request<'_>) -> Result<String, UpgradeError> {
    if request.method != "GET"
        || !request.is_http_1_1
        || !request.has_token("upgrade", "websocket")
        || !request.has_token("connection", "upgrade")
    {
        return Err(UpgradeError::NotAnUpgrade);
    }
    if request.header("host").is_none() {
        return Err(UpgradeError::Host);
    }
    if request.header("sec-websocket-version") != Some("13") {
        return Err(UpgradeError::Version);
    }
    let mut keys = request.headers("sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(UpgradeError::Key) };
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(accept_value(key)),
        _ => Err(UpgradeError::Key),
    }
}

/// The subprotocol to be spoken, of those that the server has: `ours`, if the client offers it among its own (RFC 6455 section
/// 4.2.2). `None`: the client offers none, or others only; then the answer names none, and the client may give up.
pub fn select_protocol<'a>(request: &Request<'_>, ours: &'a str) -> Option<&'a str> {
    let mut offered = request.headers("sec-websocket-protocol").flat_map(|list| list.split(','));
    // Unlike other tokens of HTTP these are compared as they are written (section 11.3.4).
    offered.any(|name| name.trim() == ours).then_some(ours)
}

/// Appends the `101 Switching Protocols` answer, without extensions or subprotocol.
pub fn write_accepted(out: &mut Vec<u8>, accept_value: &str) {
    write_accepted_with(out, accept_value, None, None);
}

/// The same, with the subprotocol that was selected and what was agreed about compression.
pub fn write_accepted_with(
    out: &mut Vec<u8>,
    accept_value: &str,
    protocol: Option<&str>,
    deflate: Option<Deflate>,
) {
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    if let Some(deflate) = deflate {
        extension::write_answer(out, deflate);
    }
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        out.extend_from_slice(protocol.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept_value.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends a client's request. `headers` are whole lines without line ends (`Authorization: Bearer …`, [`extension::OFFER`],
/// `Sec-WebSocket-Protocol: …`).
pub fn write_request(out: &mut Vec<u8>, host: &str, target: &str, nonce: [u8; 16], headers: &[&str]) {
    let key = STANDARD.encode(nonce);
    for part in ["GET ", target, " HTTP/1.1\r\nHost: ", host] {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
    );
    out.extend_from_slice(key.as_bytes());
    for header in headers {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(header.as_bytes());
    }
    out.extend_from_slice(b"\r\n\r\n");
}

/// How the server answered a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Upgraded; the head took this many bytes.
    Accepted(usize),
    /// Refused with this HTTP status.
    Refused(u16),
}

/// Reads the server's answer. `Ok(None)`: more bytes are needed. `Err`: not an answer to this handshake, which offered nothing.
pub fn read_answer(input: &[u8], nonce: [u8; 16]) -> Result<Option<Answer>, HeadError> {
    read_answer_without_extension(input, nonce, None)
}

/// The same for a request that offered one subprotocol: the answer selects that one, or none.
pub fn read_answer_to_protocol(
    input: &[u8],
    nonce: [u8; 16],
    protocol: &str,
) -> Result<Option<Answer>, HeadError> {
    read_answer_without_extension(input, nonce, Some(protocol))
}

fn read_answer_without_extension(
    input: &[u8],
    nonce: [u8; 16],
    protocol: Option<&str>,
) -> Result<Option<Answer>, HeadError> {
    match read_any_answer(input, nonce, protocol)? {
        Some((_, Some(_))) => Err(HeadError::Malformed),
        answer => Ok(answer.map(|(answer, _)| answer)),
    }
}

/// The same for a request that had [`extension::OFFER`], with what was agreed about compression.
pub fn read_answer_to_offer(
    input: &[u8],
    nonce: [u8; 16],
) -> Result<Option<(Answer, Option<Deflate>)>, HeadError> {
    read_any_answer(input, nonce, None)
}

fn read_any_answer(
    input: &[u8],
    nonce: [u8; 16],
    protocol: Option<&str>,
) -> Result<Option<(Answer, Option<Deflate>)>, HeadError> {
    let Some(response) = Response::parse(input)? else { return Ok(None) };
    if response.status != 101 {
        return Ok(Some((Answer::Refused(response.status), None)));
    }
    let expected = accept_value(&STANDARD.encode(nonce));
    let is_upgraded =
        response.has_token("upgrade", "websocket") && response.has_token("connection", "upgrade");
    // What was not offered cannot be selected (RFC 6455 section 4.1).
    let selected = response.header("sec-websocket-protocol");
    if !is_upgraded
        || response.header("sec-websocket-accept") != Some(&expected)
        || (selected.is_some() && selected != protocol)
    {
        return Err(HeadError::Malformed);
    }
    let deflate = extension::read_answer(response.headers("sec-websocket-extensions"))
        .map_err(|_| HeadError::Malformed)?;
    Ok(Some((Answer::Accepted(response.head_bytes), deflate)))
}

fn accept_value(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_example() {
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn both_ends_agree() {
        let mut request = Vec::new();
        write_request(&mut request, "localhost", "/ws?token=x", [7; 16], &["Authorization: Bearer t"]);
        let parsed = Request::parse(&request).unwrap().unwrap();
        assert_eq!((parsed.path(), parsed.query("token").as_deref()), ("/ws", Some("x")));
        let mut answer = Vec::new();
        write_accepted(&mut answer, &accept(&parsed).unwrap());
        assert_eq!(read_answer(&answer, [7; 16]), Ok(Some(Answer::Accepted(answer.len()))));
        assert!(read_answer(&answer, [8; 16]).is_err(), "an answer to another key is no answer");
        assert_eq!(read_answer(&answer[..20], [7; 16]), Ok(None));
        answer.clear();
        write_accepted_with(&mut answer, &accept(&parsed).unwrap(), None, Some(Deflate { window_bits: 9 }));
        let accepted = (Answer::Accepted(answer.len()), Some(Deflate::FULL));
        assert_eq!(read_answer_to_offer(&answer, [7; 16]), Ok(Some(accepted)));
        assert!(read_answer(&answer, [7; 16]).is_err(), "what was not offered cannot be agreed to");
    }

    #[test]
    fn a_subprotocol_is_selected_if_it_was_offered() {
        let selected = |headers: &[&str]| {
            let mut request = Vec::new();
            write_request(&mut request, "h", "/ws", [7; 16], headers);
            select_protocol(&Request::parse(&request).unwrap().unwrap(), "im.v1")
        };
        assert_eq!(selected(&["Sec-WebSocket-Protocol: im.v1"]), Some("im.v1"));
        assert_eq!(selected(&["Sec-WebSocket-Protocol: im.v2, im.v1"]), Some("im.v1"));
        assert_eq!(
            selected(&["Sec-WebSocket-Protocol: a", "sec-websocket-protocol: im.v1 ,b"]),
            Some("im.v1")
        );
        for none in ["X: y", "Sec-WebSocket-Protocol: im.v2", "Sec-WebSocket-Protocol: IM.V1"] {
            assert_eq!(selected(&[none]), None, "{none}");
        }
        let accept = accept_value(&STANDARD.encode([7; 16]));
        let answer = |protocol| {
            let mut answer = Vec::new();
            write_accepted_with(&mut answer, &accept, protocol, None);
            answer
        };
        let (with, without) = (answer(Some("im.v1")), answer(None));
        for good in [&with, &without] {
            let accepted = Ok(Some(Answer::Accepted(good.len())));
            assert_eq!(read_answer_to_protocol(good, [7; 16], "im.v1"), accepted);
        }
        assert!(read_answer_to_protocol(&with, [7; 16], "im.v2").is_err());
        assert!(read_answer(&with, [7; 16]).is_err(), "nothing was offered");
    }

    #[test]
    fn refuses_what_is_no_upgrade() {
        let good = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let check = |text: String| accept(&Request::parse(text.as_bytes()).unwrap().unwrap());
        assert!(check(good.into()).is_ok());
        assert!(check(good.replace(": keep-alive, Up", ": keep-alive\r\nConnection: Up")).is_ok());
        for (part, other) in
            [("GET", "POST"), ("HTTP/1.1", "HTTP/1.0"), (": websocket", ": h2c"), ("alive, Upgrade", "alive")]
        {
            assert_eq!(check(good.replace(part, other)), Err(UpgradeError::NotAnUpgrade), "{other}");
        }
        assert_eq!(check(good.replace("Host: h\r\n", "")), Err(UpgradeError::Host));
        assert_eq!(check(good.replace(": 13", ": 8")), Err(UpgradeError::Version));
        assert_eq!(check(good.replace("dGhl", "aGhl=")), Err(UpgradeError::Key));
        let twice = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key";
        assert_eq!(check(good.replace("Sec-WebSocket-Key", twice)), Err(UpgradeError::Key));
    }
}
