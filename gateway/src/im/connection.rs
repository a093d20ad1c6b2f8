//! A connection until it is a session: HTTP requests, the upgrade, the token.

use super::delivery::Open;
use super::durable::Durable;
use super::faults::{Change, Failure, Faults, Latency, Pick};
use super::guard::parse_head;
use super::mail::{Mail, SessionRef};
use super::owed::Owed;
use super::shard::Shard;
use crate::auth::{Claims, Token, TokenError};
use crate::config;
use crate::metrics::{CONTENT_TYPE, ConnectError};
use std::sync::Arc;
use wire::http::{self, HeadError, Request};
use wire::shard::{ConnId, Io};
use wire::time::Time;
use wire::ws::extension::{self, Deflate};
use wire::ws::handshake;

/// Longest body that is read, bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What a connection is at present.
#[derive(Debug, Default)]
pub(super) enum Conn {
    /// Nothing.
    #[default]
    None,
    /// Speaks HTTP.
    Http {
        /// Which one it is.
        conn: ConnId,
        /// Whether the peer is on this machine.
        is_loopback: bool,
        /// When it last sent a whole request; `None`: not yet.
        requested: Option<Time>,
    },
    /// Upgraded; its session waits for the user's home.
    Attaching(Box<Attaching>),
    /// A session.
    Open(Box<Open>),
    /// Waits for all shards to answer about faults.
    Asking(Box<Asking>),
}

impl Conn {
    pub(super) fn id(&self) -> Option<ConnId> {
        match self {
            Conn::None => None,
            Conn::Http { conn, .. } => Some(*conn),
            Conn::Attaching(attaching) => Some(attaching.conn),
            Conn::Open(open) => Some(open.session.conn),
            Conn::Asking(asking) => Some(asking.conn),
        }
    }
}

#[derive(Debug)]
pub(super) struct Attaching {
    pub(super) conn: ConnId,
    pub(super) user: Arc<str>,
    /// When its token's time is over.
    pub(super) expires: Time,
    /// What was agreed about compression.
    pub(super) deflate: Option<Deflate>,
    /// Deliveries that came before the session's state.
    pub(super) parked: Vec<Owed>,
}

/// A request about faults under way through all shards.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) conn: ConnId,
    change: Option<Change>,
    is_latency: bool,
    answers: Vec<Faults>,
    shards: usize,
}

impl Asking {
    pub(super) fn change(&self) -> Option<Change> {
        self.change
    }

    /// Takes one shard's answer. True: it was the last.
    pub(super) fn add(&mut self, faults: Faults) -> bool {
        self.answers.push(faults);
        self.answers.len() == self.shards
    }
}

/// Answers with an error and closes.
pub(super) fn refuse(conn: ConnId, status: u16, code: &str, reason: &str, io: &mut Io<Mail>) {
    respond_error(conn, status, code, reason, io);
    io.close(conn);
}

fn respond_error(conn: ConnId, status: u16, code: &str, reason: &str, io: &mut Io<Mail>) {
    let body = serde_json::json!({ "error": code, "reason": reason }).to_string();
    respond(conn, status, "application/json", body.as_bytes(), io);
}

fn respond(conn: ConnId, status: u16, content_type: &str, body: &[u8], io: &mut Io<Mail>) {
    if let Some(out) = io.send(conn) {
        http::write_response(out, status, content_type, body);
    }
}

impl Shard {
    /// Answers the requests at the front of `input`; gives the bytes they took.
    pub(super) fn http(&mut self, conn: ConnId, input: &[u8], io: &mut Io<Mail>) -> usize {
        let mut taken = 0;
        let (now, head_bytes_max) = (io.now(), self.shared.limits.head_bytes_max);
        while let Some(Conn::Http { requested, .. }) = self.conn_mut(conn) {
            let request = match parse_head(&input[taken..], head_bytes_max) {
                Ok(Some(request)) if request.body_bytes > BODY_BYTES_MAX => {
                    refuse(conn, 413, "too_large", "the body is longer than 16 KiB", io);
                    return input.len();
                }
                Ok(Some(request)) => request,
                Ok(None) => return taken,
                Err(error) => {
                    self.metrics.connect_error(match error {
                        HeadError::TooLarge => ConnectError::TooLarge,
                        HeadError::Malformed => ConnectError::Protocol,
                    });
                    refuse(conn, error.status(), "bad_request", &error.to_string(), io);
                    return input.len();
                }
            };
            let end = taken + request.head_bytes + request.body_bytes;
            if end > input.len() {
                return taken;
            }
            *requested = Some(now);
            self.request(conn, &request, io);
            if !request.keeps_alive() && matches!(self.conn_mut(conn), Some(Conn::Http { .. })) {
                io.close(conn);
            }
            if !io.is_open(conn) {
                return input.len();
            }
            taken = end;
        }
        taken
    }

    fn request(&mut self, conn: ConnId, request: &Request<'_>, io: &mut Io<Mail>) {
        match (request.method, request.path()) {
            ("GET", "/ws") => self.upgrade(conn, request, io),
            ("GET", "/health") => respond(conn, 200, "text/plain", b"ok\n", io),
            ("GET", "/ready") if self.draining => respond(conn, 503, "text/plain", b"draining\n", io),
            ("GET", "/ready") if self.durable.as_ref().is_some_and(Durable::has_failed) => {
                respond(conn, 503, "text/plain", b"the store has failed\n", io);
            }
            ("GET", "/ready") => respond(conn, 200, "text/plain", b"ready\n", io),
            ("GET", "/metrics") => match self.shared.metrics.render() {
                Ok(text) => respond(conn, 200, CONTENT_TYPE, text.as_bytes(), io),
                Err(_) => respond_error(conn, 500, "internal", "the metrics could not be written", io),
            },
            (_, "/test/latency" | "/test/failure-rate") => self.fault_request(conn, request, io),
            (_, "/ws" | "/health" | "/ready" | "/metrics") => {
                respond_error(conn, 405, "method_not_allowed", "use GET", io);
            }
            _ => respond_error(conn, 404, "not_found", "there are /ws, /health, /ready and /metrics", io),
        }
    }

    fn upgrade(&mut self, conn: ConnId, request: &Request<'_>, io: &mut Io<Mail>) {
        if self.draining {
            self.metrics.connect_error(ConnectError::Draining);
            return refuse(conn, 503, "draining", "the gateway is shutting down", io);
        }
        let accept = match handshake::accept(request) {
            Ok(accept) => accept,
            Err(error) => {
                self.metrics.connect_error(ConnectError::Protocol);
                return refuse(conn, 426, "upgrade_required", &error.to_string(), io);
            }
        };
        let deflate = match extension::accept(request.headers("sec-websocket-extensions")) {
            Ok(deflate) => deflate.filter(|_| self.shared.deflate),
            Err(error) => {
                self.metrics.connect_error(ConnectError::Protocol);
                return refuse(conn, 400, "bad_request", &error.to_string(), io);
            }
        };
        let claims = match self.claims(request, io) {
            Ok(claims) => claims,
            Err(error) => {
                self.metrics.connect_error(ConnectError::Auth);
                self.metrics.token_validation(Err(error));
                return refuse(conn, 401, "unauthorized", &error.to_string(), io);
            }
        };
        self.metrics.token_validation(Ok(()));
        if let Some(out) = io.send(conn) {
            handshake::write_accepted_with(out, &accept, deflate);
        }
        let expires = self.shared.at_wall_ms(self.verifier.end_ms(&claims));
        let (user, device): (Arc<str>, Arc<str>) = (claims.sub.into(), claims.device.into());
        let resume = request.query("resume").and_then(|seq| seq.parse().ok());
        let session = SessionRef { shard: io.shard(), conn };
        self.conns[conn.index as usize] = Conn::Attaching(Box::new(Attaching {
            conn,
            user: Arc::clone(&user),
            expires,
            deflate,
            parked: Vec::new(),
        }));
        io.post(self.home(&user, io), Mail::Attach { user, device, session, resume });
    }

    fn claims(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<Claims, TokenError> {
        let token = match request.header("authorization").and_then(bearer) {
            Some(token) => Token::from(token),
            None => request.query("token").ok_or(TokenError::Missing)?.into(),
        };
        self.verifier.verify(&token, self.shared.wall_ms(io.now()))
    }

    fn fault_request(&mut self, conn: ConnId, request: &Request<'_>, io: &mut Io<Mail>) {
        let Some(Conn::Http { is_loopback, .. }) = self.conn_mut(conn) else { return };
        if !*is_loopback || !self.shared.test_faults {
            let reason = "start the gateway with --enable-test-faults and ask from the same machine";
            return respond_error(conn, 403, "test_faults_off", reason, io);
        }
        let is_latency = request.path() == "/test/latency";
        let change = match request.method {
            "GET" => Ok(None),
            "DELETE" if is_latency => Ok(Some(Change::Latency(None))),
            "DELETE" => Ok(Some(Change::Failure(None))),
            "POST" if is_latency => self.latency(request, io).map(Some),
            "POST" => self.failure(request, io).map(Some),
            _ => Err("use GET, POST or DELETE".to_owned()),
        };
        match change {
            Ok(change) => {
                let asking = Asking { conn, change, is_latency, answers: Vec::new(), shards: io.shards() };
                self.ask_all_shards(conn, asking, io);
            }
            Err(reason) => respond_error(conn, 400, "bad_fault", &reason, io),
        }
    }

    fn latency(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<Change, String> {
        let delay = request.query("delay").ok_or("say how long: delay=600ms")?;
        let delay = config::duration(&delay)?;
        if delay > self.shared.limits.fault_delay_max {
            return Err(format!("a delay is at most {:?}", self.shared.limits.fault_delay_max));
        }
        let share = share(request.query("share").as_deref().unwrap_or("1"))?;
        let latency = Latency { delay, share, until: self.until(request, io)? };
        Ok(Change::Latency((!delay.is_zero()).then_some(latency)))
    }

    fn failure(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<Change, String> {
        let share = share(&request.query("rate").ok_or("say which share: rate=0.02")?)?;
        let pick = match request.query("pick").as_deref() {
            None | Some("random") => Pick::Random,
            Some("even") => Pick::Even,
            Some(other) => return Err(format!("pick is random or even, not `{other}`")),
        };
        let failure = Failure { share, pick, until: self.until(request, io)? };
        Ok(Change::Failure((share > 0.0).then_some(failure)))
    }

    fn until(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<wire::time::Time, String> {
        let longest = self.shared.limits.fault_for_max;
        let asked = request.query("for").map(|text| config::duration(&text)).transpose()?;
        match asked {
            Some(asked) if asked > longest => Err(format!("a fault lasts at most {longest:?}")),
            asked => Ok(io.now() + asked.unwrap_or(longest)),
        }
    }

    /// All shards have answered: says what is in force, and on how many of them.
    pub(super) fn answer_fault_request(&mut self, conn: ConnId, io: &mut Io<Mail>) {
        let Some(Conn::Asking(asking)) = self.conn_mut(conn).map(std::mem::take) else { return };
        self.conns[conn.index as usize] = Conn::Http { conn, is_loopback: true, requested: Some(io.now()) };
        let describe = |faults: &Faults| -> Option<serde_json::Value> {
            if asking.is_latency {
                let latency = faults.latency?;
                Some(
                    serde_json::json!({ "delay_ms": latency.delay.as_millis() as u64, "share": latency.share }),
                )
            } else {
                let failure = faults.failure?;
                let pick = if failure.pick == Pick::Even { "even" } else { "random" };
                Some(serde_json::json!({ "rate": failure.share, "pick": pick }))
            }
        };
        let in_force: Vec<_> = asking.answers.iter().filter_map(describe).collect();
        let body = serde_json::json!({
            "fault": if asking.is_latency { "latency" } else { "failure-rate" },
            "in_force": in_force.first(),
            "shards_in_force": in_force.len(),
            "shards": asking.shards,
        });
        respond(conn, 200, "application/json", format!("{body}\n").as_bytes(), io);
        io.show_again(conn);
    }
}

/// The token of an Authorization header, if it is of that scheme; a scheme's case does not count (RFC 9110).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is no share; write a number from 0 to 1")),
    }
}
