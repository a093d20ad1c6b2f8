//! A connection until it is a session: the upgrade, the token; and requests about faults.

use super::faults::{Change, Failure, Faults, Latency, Pick, Setting};
use super::http::{Asked, Http};
use super::mail::{Mail, SessionRef};
use super::open::Open;
use super::owed::Owed;
use super::protocol::SUBPROTOCOL;
use super::session::Resume;
use super::shard::Shard;
use crate::auth::{Claims, Token, TokenError};
use crate::config;
use crate::log::Event;
use crate::metrics::{AuthMethod, ConnectError, Status};
use crate::stage::Stage;
use std::net::SocketAddr;
use std::sync::Arc;
use wire::http::Request;
use wire::shard::{ConnId, Io};
use wire::time::Time;
use wire::ws::extension::{self, Deflate};
use wire::ws::handshake;

/// What a connection is at present.
#[derive(Debug, Default)]
pub(super) enum Conn {
    /// Nothing.
    #[default]
    None,
    /// Speaks HTTP.
    Http(Box<Http>),
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
            Conn::Http(http) => Some(http.conn),
            Conn::Attaching(attaching) => Some(attaching.asked.conn),
            Conn::Open(open) => Some(open.session.conn),
            Conn::Asking(asking) => Some(asking.asked.conn),
        }
    }
}

#[derive(Debug)]
pub(super) struct Attaching {
    pub(super) user: Arc<str>,
    /// When its token's time is over.
    pub(super) expires: Time,
    /// What was agreed about compression.
    pub(super) deflate: Option<Deflate>,
    /// The subprotocol that was selected.
    pub(super) protocol: Option<&'static str>,
    /// The upgrade, to be answered.
    pub(super) asked: Asked,
    /// The value that accepts the upgrade; it leaves together with the session's first words.
    pub(super) accept: String,
    /// Deliveries that came before the session's state.
    pub(super) parked: Vec<Owed>,
}

/// A request about faults under way through all shards.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) asked: Asked,
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

impl Shard {
    pub(super) fn upgrade(&mut self, asked: &Asked, request: &Request<'_>, io: &mut Io<Mail>) {
        let (conn, peer, now) = (asked.conn, asked.peer, io.now());
        self.trace_request(conn, request, now);
        if self.stage >= Stage::Draining {
            self.connect_failed(ConnectError::Draining, Some((conn, peer)), now);
            return self.refuse(asked, Status::Unavailable, "draining", "the gateway is shutting down", io);
        }
        let accept = match handshake::accept(request) {
            Ok(accept) => accept,
            Err(error) => {
                self.connect_failed(ConnectError::Protocol, Some((conn, peer)), now);
                let reason = error.to_string();
                return self.refuse(asked, Status::UpgradeRequired, "upgrade_required", &reason, io);
            }
        };
        if !self.shared.sessions.has_free() {
            return self.no_seat((conn, peer), io);
        }
        let deflate = match extension::accept(request.headers("sec-websocket-extensions")) {
            Ok(deflate) => deflate.filter(|_| self.shared.deflate),
            Err(error) => {
                self.connect_failed(ConnectError::Protocol, Some((conn, peer)), now);
                return self.refuse(asked, Status::BadRequest, "bad_request", &error.to_string(), io);
            }
        };
        let claims = match self.claims(request, io) {
            Ok(claims) => claims,
            Err(error) => {
                self.auth_failed(error, (conn, peer), now);
                return self.refuse(asked, Status::Unauthorized, "unauthorized", &error.to_string(), io);
            }
        };
        // Only now, so that whom we refuse takes no place from anybody.
        if !self.shared.sessions.take() {
            return self.no_seat((conn, peer), io);
        }
        let expires = self.shared.at_wall_ms(self.verifier.end_ms(&claims));
        let user: Arc<str> = claims.sub.into();
        let device = self.names.shared(&claims.device, &self.hasher);
        let resume = resume(request);
        let session = SessionRef { shard: io.shard(), conn };
        self.conns[conn.index as usize] = Conn::Attaching(Box::new(Attaching {
            user: Arc::clone(&user),
            expires,
            deflate,
            protocol: handshake::select_protocol(request, SUBPROTOCOL),
            asked: *asked,
            accept,
            parked: Vec::new(),
        }));
        let since = io.arrived();
        io.time_arrivals(conn, false);
        io.post(self.home(&user, io), Mail::Attach { user, device, session, resume, since });
    }

    /// The node is full. At the door there are more places than for sessions, so that a scrape finds one.
    fn no_seat(&mut self, (conn, peer): (ConnId, SocketAddr), io: &mut Io<Mail>) {
        self.connect_failed(ConnectError::Limit, Some((conn, peer)), io.now());
        // Said to nobody but the trace: who is turned away is reset.
        self.trace_refused(conn, Status::Unavailable, "limit", io.now());
        io.reset(conn);
    }

    fn auth_failed(&mut self, error: TokenError, (conn, peer): (ConnId, SocketAddr), now: Time) {
        self.metrics.connect_error(ConnectError::Auth);
        let place = self.place(conn);
        self.journal.say(Event::AuthFailed, now, "a token was refused", |record| {
            let record = record.within(place);
            record.text("error", error.to_string()).text("remote_addr", peer.to_string())
        });
    }

    fn claims(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<Claims, TokenError> {
        let (method, token) = credentials(request);
        let wall_ms = self.shared.wall_ms(io.now());
        let claims = token.ok_or(TokenError::Missing).and_then(|token| self.verifier.verify(&token, wall_ms));
        self.metrics.authenticated(method, claims.as_ref().map(|_| ()).map_err(|error| *error));
        claims
    }

    pub(super) fn fault_request(&mut self, asked: &Asked, request: &Request<'_>, io: &mut Io<Mail>) {
        if !asked.peer.ip().is_loopback() || !self.shared.test_faults {
            let reason = "start the gateway with --enable-test-faults and ask from the same machine";
            return self.respond_error(asked, Status::Forbidden, "test_faults_off", reason, io);
        }
        let is_latency = request.path() == "/test/latency";
        let change = match request.method {
            "GET" => Ok(None),
            "DELETE" if is_latency => change(request, Setting::Latency(None)).map(Some),
            "DELETE" => change(request, Setting::Failure(None)).map(Some),
            "POST" if is_latency => self.latency(request, io).map(Some),
            "POST" => self.failure(request, io).map(Some),
            _ => return self.refuse_method(asked, io),
        };
        match change {
            Ok(change) => {
                let shards = io.shards();
                let asking = Asking { asked: *asked, change, is_latency, answers: Vec::new(), shards };
                self.ask_all_shards(asking, io);
            }
            Err(reason) => self.respond_error(asked, Status::BadRequest, "bad_fault", &reason, io),
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
        change(request, Setting::Latency((!delay.is_zero()).then_some(latency)))
    }

    fn failure(&self, request: &Request<'_>, io: &Io<Mail>) -> Result<Change, String> {
        let share = share(&request.query("rate").ok_or("say which share: rate=0.02")?)?;
        let pick = match request.query("pick").as_deref() {
            None | Some("random") => Pick::Random,
            Some("even") => Pick::Even,
            Some(other) => return Err(format!("pick is random or even, not `{other}`")),
        };
        let failure = Failure { share, pick, until: self.until(request, io)? };
        change(request, Setting::Failure((share > 0.0).then_some(failure)))
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
        let begun = Some(asking.asked.begun);
        let http = Http { conn, peer: asking.asked.peer, requested: Some(io.now()), begun };
        self.conns[conn.index as usize] = Conn::Http(Box::new(http));
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
        let body = format!("{body}\n");
        self.respond(&asking.asked, Status::Ok, "application/json", body.as_bytes(), io);
        if !asking.asked.keeps_alive {
            return io.close(conn);
        }
        io.show_again(conn);
    }
}

/// A change, with the moment at which it was asked for, where the request has one.
fn change(request: &Request<'_>, to: Setting) -> Result<Change, String> {
    let heals = matches!(to, Setting::Latency(None) | Setting::Failure(None));
    let unknown = if heals { 0 } else { u64::MAX };
    let asked_us = request.query("asked").map_or(Ok(unknown), |asked| asked.parse());
    let asked_us = asked_us.map_err(|_| "asked is a number of microseconds since 1970".to_owned())?;
    Ok(Change { to, asked_us })
}

/// How a client says who it is, and its token.
fn credentials<'a>(request: &Request<'a>) -> (AuthMethod, Option<Token<'a>>) {
    if let Some(token) = request.header("authorization").and_then(bearer) {
        return (AuthMethod::Header, Some(Token::from(token)));
    }
    match request.query("token") {
        Some(token) => (AuthMethod::Query, Some(token.into())),
        None => (AuthMethod::None, None),
    }
}

/// What the client says that it has processed, if it says of which life of its session.
fn resume(request: &Request<'_>) -> Option<Resume> {
    let seq = request.query("resume")?.parse().ok()?;
    Some(Resume { epoch: request.query("epoch")?.parse().ok()?, seq })
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
