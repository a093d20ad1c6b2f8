//! HTTP requests and their answers, before and beside the upgrade.

use super::connection::Conn;
use super::durable::Durable;
use super::guard::parse_head;
use super::mail::Mail;
use super::shard::Shard;
use crate::metrics::{ConnectError, Endpoint, Format, Method, Status};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use wire::http::{self, HeadError, Request};
use wire::shard::{ConnId, Io};
use wire::time::Time;

/// Longest body that is read, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// A connection that speaks HTTP.
#[derive(Debug)]
pub(super) struct Http {
    /// Which one it is.
    pub(super) conn: ConnId,
    /// Who it is.
    pub(super) peer: SocketAddr,
    /// When it last sent a whole request; `None`: not yet.
    pub(super) requested: Option<Time>,
    /// When the request under way began to come; `None`: none is.
    pub(super) begun: Option<Time>,
}

/// A request under way, as it is counted once it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) peer: SocketAddr,
    /// Whether more may follow on the connection.
    pub(super) keeps_alive: bool,
    method: Method,
    endpoint: Endpoint,
    /// Of head and body, what has come.
    bytes: usize,
    pub(super) begun: Time,
}

impl Asked {
    fn new(conn: ConnId, request: &Request<'_>, bytes: usize, (peer, begun): (SocketAddr, Time)) -> Asked {
        let keeps_alive = request.keeps_alive();
        let (method, endpoint) = (Method::of(request.method), Endpoint::of(request.path()));
        Asked { conn, peer, keeps_alive, method, endpoint, bytes, begun }
    }

    /// One that cannot be read, or never came to its end.
    pub(super) fn unread(conn: ConnId, bytes: usize, (peer, begun): (SocketAddr, Time)) -> Asked {
        let (method, endpoint) = (Method::Other, Endpoint::Other);
        Asked { conn, peer, keeps_alive: false, method, endpoint, bytes, begun }
    }
}

impl Shard {
    /// Answers the requests at the front of `input`; gives the bytes they took.
    pub(super) fn http(&mut self, conn: ConnId, input: &[u8], io: &mut Io<Mail>) -> usize {
        let mut taken = 0;
        while taken < input.len()
            && let Some(begun) = self.begin_request(conn, io.now())
        {
            // A request is a thousandth of some answers: who asks on without reading would fill the memory.
            if io.backlog(conn) > self.shared.limits.backlog_bytes_max {
                self.connect_failed(ConnectError::SlowReader, Some((conn, begun.0)), io.now());
                io.reset(conn);
                return input.len();
            }
            let rest = &input[taken..];
            let request = match parse_head(rest, self.shared.limits.head_bytes_max) {
                Ok(Some(request)) if request.body_bytes > BODY_BYTES_MAX => {
                    let asked = Asked::new(conn, &request, rest.len(), begun);
                    self.refuse(
                        &asked,
                        Status::BodyTooLarge,
                        "too_large",
                        "the body is longer than 16 KiB",
                        io,
                    );
                    return input.len();
                }
                Ok(Some(request)) => request,
                Ok(None) => return taken,
                Err(error) => {
                    self.refuse_head(&Asked::unread(conn, rest.len(), begun), error, io);
                    return input.len();
                }
            };
            let bytes = request.head_bytes + request.body_bytes;
            if bytes > rest.len() {
                return taken;
            }
            if let Some(Conn::Http(http)) = self.conn_mut(conn) {
                http.requested = Some(io.now());
            }
            self.request(&Asked::new(conn, &request, bytes, begun), &request, io);
            if !request.keeps_alive() && matches!(self.conn_mut(conn), Some(Conn::Http(_))) {
                io.close(conn);
            }
            if !io.is_open(conn) {
                return input.len();
            }
            taken += bytes;
        }
        taken
    }

    /// Who sends the request that `conn` has begun to send, and when it began; `None`: it does not speak HTTP any more.
    pub(super) fn begin_request(&mut self, conn: ConnId, now: Time) -> Option<(SocketAddr, Time)> {
        let Some(Conn::Http(http)) = self.conn_mut(conn) else { return None };
        let is_new = http.begun.is_none();
        let begun = (http.peer, *http.begun.get_or_insert(now));
        self.metrics.http.in_flight.add(i64::from(is_new));
        Some(begun)
    }

    fn refuse_head(&mut self, asked: &Asked, error: HeadError, io: &mut Io<Mail>) {
        let (counted, status) = match error {
            HeadError::TooLarge => (ConnectError::TooLarge, Status::HeadTooLarge),
            HeadError::Malformed => (ConnectError::Protocol, Status::BadRequest),
        };
        self.connect_failed(counted, Some((asked.conn, asked.peer)), io.now());
        self.refuse(asked, status, "bad_request", &error.to_string(), io);
    }

    fn request(&mut self, asked: &Asked, request: &Request<'_>, io: &mut Io<Mail>) {
        let reason = "there are /ws, /health, /ready and /metrics";
        match (asked.endpoint, asked.method) {
            (Endpoint::Ws, Method::Get) => self.upgrade(asked, request, io),
            (Endpoint::Health, Method::Get | Method::Head) => {
                self.respond(asked, Status::Ok, "text/plain", b"ok\n", io)
            }
            (Endpoint::Ready, Method::Get | Method::Head) => self.ready(asked, io),
            (Endpoint::Metrics, Method::Get | Method::Head) => self.expose(asked, request, io),
            (Endpoint::TestLatency | Endpoint::TestFailureRate, _) => self.fault_request(asked, request, io),
            (Endpoint::Other, _) => self.respond_error(asked, Status::NotFound, "not_found", reason, io),
            _ => self.refuse_method(asked, io),
        }
    }

    pub(super) fn refuse_method(&mut self, asked: &Asked, io: &mut Io<Mail>) {
        let reason = format!("use {}", methods(asked.endpoint));
        self.respond_error(asked, Status::MethodNotAllowed, "method_not_allowed", &reason, io);
    }

    fn ready(&mut self, asked: &Asked, io: &mut Io<Mail>) {
        let (status, text) = if let Some(why) = self.stage.why_not_ready() {
            (Status::Unavailable, why)
        } else if self.durable.as_ref().is_some_and(Durable::has_failed) {
            (Status::Unavailable, "the store has failed\n")
        } else {
            (Status::Ok, "ready\n")
        };
        self.respond(asked, status, "text/plain", text.as_bytes(), io);
    }

    /// The metrics, in the form and encoding that the client wants.
    fn expose(&mut self, asked: &Asked, request: &Request<'_>, io: &mut Io<Mail>) {
        let format = Format::negotiate(request.preferences("accept"));
        let text = self.shared.metrics.snapshot().text(format).into_bytes();
        let mut headers = vec![("Content-Type", format.content_type()), ("Vary", "Accept, Accept-Encoding")];
        let gzipped = if takes_gzip(request) { gzip(&text).ok() } else { None };
        if gzipped.is_some() {
            headers.push(("Content-Encoding", "gzip"));
        }
        self.respond_with(asked, Status::Ok, &headers, &gzipped.unwrap_or(text), io);
    }

    /// Answers with an error and closes.
    pub(super) fn refuse(
        &mut self,
        asked: &Asked,
        status: Status,
        code: &'static str,
        reason: &str,
        io: &mut Io<Mail>,
    ) {
        self.trace_refused(asked.conn, status, code, io.now());
        self.respond_error(asked, status, code, reason, io);
        io.close(asked.conn);
    }

    pub(super) fn respond_error(
        &mut self,
        asked: &Asked,
        status: Status,
        code: &str,
        reason: &str,
        io: &mut Io<Mail>,
    ) {
        let body = serde_json::json!({ "error": code, "reason": reason }).to_string();
        let mut headers = vec![("Content-Type", "application/json")];
        // These two have to say what would be taken (RFC 9110 sections 15.5.2 and 15.5.6).
        match status {
            Status::Unauthorized => headers.push(("WWW-Authenticate", "Bearer")),
            Status::MethodNotAllowed => headers.push(("Allow", methods(asked.endpoint))),
            _ => {}
        }
        self.respond_with(asked, status, &headers, body.as_bytes(), io);
    }

    pub(super) fn respond(
        &mut self,
        asked: &Asked,
        status: Status,
        content_type: &str,
        body: &[u8],
        io: &mut Io<Mail>,
    ) {
        self.respond_with(asked, status, &[("Content-Type", content_type)], body, io);
    }

    fn respond_with(
        &mut self,
        asked: &Asked,
        status: Status,
        headers: &[(&str, &str)],
        body: &[u8],
        io: &mut Io<Mail>,
    ) {
        let write = |out: &mut Vec<u8>| {
            http::write_response_with(out, status.code(), headers, body);
            if asked.method == Method::Head {
                // The head says how long the body would be (RFC 9110 section 9.3.2).
                out.truncate(out.len() - body.len());
            }
        };
        self.answer(asked, status, write, io);
    }

    /// Writes an answer and counts it. An answer to a connection that is gone is not counted.
    pub(super) fn answer(
        &mut self,
        asked: &Asked,
        status: Status,
        write: impl FnOnce(&mut Vec<u8>),
        io: &mut Io<Mail>,
    ) {
        if let Some(Conn::Http(http)) = self.conn_mut(asked.conn) {
            http.begun = None;
        }
        self.metrics.http.in_flight.add(-1);
        let Some(out) = io.send(asked.conn) else { return };
        let before = out.len();
        write(out);
        let response_bytes = out.len() - before;
        let took = io.clock().since(asked.begun);
        let http = &self.metrics.http;
        http.answered(asked.method, asked.endpoint, status, took, (asked.bytes, response_bytes));
    }
}

/// What a route is for.
fn methods(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Health | Endpoint::Ready | Endpoint::Metrics => "GET, HEAD",
        Endpoint::TestLatency | Endpoint::TestFailureRate => "GET, POST, DELETE",
        Endpoint::Ws | Endpoint::Other => "GET",
    }
}

fn takes_gzip(request: &Request<'_>) -> bool {
    request.preferences("accept-encoding").any(|wanted| wanted.is("gzip") && wanted.quality > 0.0)
}

fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}
