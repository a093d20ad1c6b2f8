//! A small HTTP/1.1: enough to answer `/metrics`, `/health` and webhooks from the shard that accepted the connection.

mod preference;

pub use preference::{Preference, preferences};

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

/// Longest head (request line and headers) that is read, bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// A head that cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP/1.1.
    #[error("malformed HTTP head")]
    Malformed,
    /// Longer than [`HEAD_BYTES_MAX`], or more than 64 headers.
    #[error("HTTP head too large")]
    TooLarge,
}

impl HeadError {
    /// The status that tells the peer.
    pub fn status(self) -> u16 {
        match self {
            HeadError::Malformed => 400,
            HeadError::TooLarge => 431,
        }
    }
}

/// Header fields in the order received.
#[derive(Debug)]
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>]) -> Result<Fields<'a>, HeadError> {
        let field = |header: &httparse::Header<'a>| {
            std::str::from_utf8(header.value)
                .map(|value| (header.name, value.trim()))
                .map_err(|_| HeadError::Malformed)
        };
        headers.iter().map(field).collect::<Result<_, _>>().map(Fields)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Whether `token` is in the comma-separated lists of all fields of that name.
    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|list| list.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }
}

/// A request's head.
pub struct Request<'a> {
    /// `GET`, `POST` ….
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    /// HTTP/1.1, not 1.0.
    pub is_http_1_1: bool,
    fields: Fields<'a>,
    /// Length of the head, bytes.
    pub head_bytes: usize,
    /// Length of the body that follows, bytes.
    pub body_bytes: usize,
}

/// Without the query and the values of headers: both can carry what must not be shown, such as a token.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.0.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

impl<'a> Request<'a> {
    /// Reads a head. `Ok(None)`: more bytes are needed.
    pub fn parse(input: &'a [u8]) -> Result<Option<Request<'a>>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let Some(head_bytes) = head(request.parse(input), input)? else { return Ok(None) };
        let (Some(method), Some(target)) = (request.method, request.path) else {
            return Err(HeadError::Malformed);
        };
        let is_http_1_1 = request.version == Some(1);
        let fields = Fields::read(request.headers)?;
        // A body of unknown length is not read: whoever sends one gets 400 instead of a request smuggled behind it.
        if fields.get("transfer-encoding").is_some() {
            return Err(HeadError::Malformed);
        }
        let body_bytes = body_bytes(&fields)?;
        Ok(Some(Request { method, target, is_http_1_1, fields, head_bytes, body_bytes }))
    }

    /// A header's value, by name in any case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name)
    }

    /// The values of all headers of that name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields.all(name)
    }

    /// Whether a header that is a comma-separated list has `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields.has_token(name, token)
    }

    /// What the headers of that name list, with how much each entry is wanted.
    pub fn preferences(&self, name: &str) -> impl Iterator<Item = Preference<'a>> {
        preferences(self.fields.all(name))
    }

    /// The target without its query.
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, percent-decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }

    /// Whether the connection stays open after the answer: in HTTP/1.1, unless the client says otherwise.
    pub fn keeps_alive(&self) -> bool {
        self.is_http_1_1 && !self.has_token("connection", "close")
    }
}

/// A response's head.
#[derive(Debug)]
pub struct Response<'a> {
    /// `200`, `101` ….
    pub status: u16,
    fields: Fields<'a>,
    /// Length of the head, bytes.
    pub head_bytes: usize,
}

impl<'a> Response<'a> {
    /// Reads a head. `Ok(None)`: more bytes are needed.
    pub fn parse(input: &'a [u8]) -> Result<Option<Response<'a>>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let Some(head_bytes) = head(response.parse(input), input)? else { return Ok(None) };
        let status = response.code.ok_or(HeadError::Malformed)?;
        Ok(Some(Response { status, fields: Fields::read(response.headers)?, head_bytes }))
    }

    /// A header's value, by name in any case.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name)
    }

    /// The values of all headers of that name, in order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields.all(name)
    }

    /// Whether a header that is a comma-separated list has `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields.has_token(name, token)
    }
}

/// Length of the body that follows. Lengths that differ, and what others may not read as this number, would be two requests to a
/// proxy before us and one to us (RFC 9112 section 6.3).
fn body_bytes(fields: &Fields<'_>) -> Result<usize, HeadError> {
    let mut lengths = fields.all("content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    if lengths.any(|other| other != length) || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeadError::Malformed);
    }
    length.parse().map_err(|_| HeadError::Malformed)
}

fn head(parsed: httparse::Result<usize>, input: &[u8]) -> Result<Option<usize>, HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(head_bytes)) if head_bytes <= HEAD_BYTES_MAX => Ok(Some(head_bytes)),
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
        Err(_) => Err(HeadError::Malformed),
    }
}

/// Appends a whole response.
pub fn write_response(out: &mut Vec<u8>, status: u16, content_type: &str, body: &[u8]) {
    write_response_with(out, status, &[("Content-Type", content_type)], body);
}

/// Appends a whole response with these headers; its length is added to them.
pub fn write_response_with(out: &mut Vec<u8>, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {}\r\n", reason_phrase(status));
    if status == 426 {
        // Who asked for the wrong thing is told what to ask for (RFC 9110 section 15.5.22, RFC 6455 section 4.4).
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    }
    for (name, value) in headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    if status == 204 {
        // It has no body, nor the length of one (RFC 9110 section 8.6).
        out.extend_from_slice(b"\r\n");
        return;
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(body);
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_request() {
        let input =
            b"POST /test/latency?delay=600ms&note=a%20b+c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
        let request = Request::parse(input).unwrap().unwrap();
        assert_eq!((request.method, request.path(), request.body_bytes), ("POST", "/test/latency", 2));
        assert_eq!(request.query("note").as_deref(), Some("a b c"));
        assert_eq!(request.query("delay").as_deref(), Some("600ms"));
        assert_eq!(request.query("absent"), None);
        assert_eq!(&input[request.head_bytes..], b"hi");
    }

    #[test]
    fn who_asks_for_the_end_gets_it() {
        let check = |version: &str, headers: &str, expected: bool| {
            let input = format!("GET / HTTP/{version}\r\n{headers}\r\n");
            assert_eq!(Request::parse(input.as_bytes()).unwrap().unwrap().keeps_alive(), expected, "{input}");
        };
        check("1.1", "", true);
        check("1.1", "Connection: TE, Close\r\n", false);
        check("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false);
        check("1.1", "Connection: closed\r\n", true);
        check("1.0", "", false);
    }

    #[test]
    fn a_request_is_shown_without_query_and_header_values() {
        let input = b"GET /ws?token=hidden HTTP/1.1\r\nAuthorization: Bearer hidden\r\n\r\n";
        let shown = format!("{:?}", Request::parse(input));
        assert!(
            shown.contains("/ws") && shown.contains("Authorization") && !shown.contains("hidden"),
            "{shown}"
        );
    }

    #[test]
    fn refuses_bad_heads() {
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        for (input, error) in [
            ("\0\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::Malformed),
            (&endless, HeadError::TooLarge),
            (&many, HeadError::TooLarge),
        ] {
            assert_eq!(Request::parse(input.as_bytes()).unwrap_err(), error, "{input:.40}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), query in "\\PC{0,40}") {
            let _ = Request::parse(&bytes);
            let _ = Response::parse(&bytes);
            let _ = percent_decode(&query);
        }
    }
}
