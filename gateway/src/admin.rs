//! What operators ask of a running gateway, on an address of its own (`--admin`): it answers when all seats are taken, while TLS is
//! broken, and however busy the shards are.
//!
//! An edge thread with a tokio runtime: it reads figures that have a single writer elsewhere, sets the level of the log, and rings
//! for the drain; it never sees a shard's mail. Who may reach the address may do all of it, so it belongs on loopback or a private
//! network. A request that a browser makes for a page of somebody else is refused.

use crate::log::{Event, Level, Logger};
use crate::metrics::{Format, Metrics};
use crate::stage::Stage;
use crate::store::lock;
use rustix::event::{EventfdFlags, eventfd};
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::http::{self, Request};

/// Connections served at once; further ones are ended at once.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for its next request, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Wait after the listener failed, such as for want of descriptors.
const RETRY: Duration = Duration::from_millis(100);
/// Longest body that is read, and thrown away.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the thread and the rest of the gateway have in common.
#[derive(Debug)]
pub(crate) struct Admin {
    metrics: Metrics,
    logger: Logger,
    /// Sessions that the gateway takes.
    connections_max: usize,
    stage: Mutex<Stage>,
    /// Readable once a drain was asked for.
    bell: OwnedFd,
}

/// An answer before it is written.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: &'static str,
    body: String,
    /// Of a refused method: those that are taken.
    allow: Option<&'static str>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: String) -> Answer {
        Answer { status, content_type, body, allow: None }
    }
}

impl Admin {
    pub(crate) fn new(metrics: Metrics, logger: Logger, connections_max: usize) -> io::Result<Arc<Admin>> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let stage = Mutex::new(Stage::Serving);
        Ok(Arc::new(Admin { metrics, logger, connections_max, stage, bell }))
    }

    /// Listens on `address` and answers until the process ends. Gives the address with its port.
    pub(crate) fn start(self: Arc<Admin>, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let serve = move || tokio::task::LocalSet::new().block_on(&runtime, self.serve(listener));
        std::thread::Builder::new().name("admin".into()).spawn(serve)?;
        Ok(address)
    }

    /// Readable once somebody has asked for a drain.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Whether a drain was asked for since this was asked last.
    pub(crate) fn takes_drain(&self) -> bool {
        rustix::io::read(&self.bell, &mut [0; 8]).is_ok()
    }

    /// How far the gateway's end is from now on.
    pub(crate) fn is_at(&self, stage: Stage) {
        *lock(&self.stage) = stage;
    }

    async fn serve(self: Arc<Admin>, listener: tokio::net::TcpListener) {
        let open = Rc::new(Cell::new(0));
        loop {
            match listener.accept().await {
                Ok((stream, _)) if open.get() < CONNECTIONS_MAX => {
                    let (admin, open) = (Arc::clone(&self), Rc::clone(&open));
                    open.set(open.get() + 1);
                    tokio::task::spawn_local(async move {
                        // Who breaks off has what he wanted, or tells us nothing that would help.
                        let _ = admin.connection(&stream).await;
                        open.set(open.get() - 1);
                    });
                }
                Ok(_) => {}
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Answers requests until the client wants no more.
    async fn connection(&self, stream: &TcpStream) -> io::Result<()> {
        let mut input = Vec::new();
        loop {
            let mut out = Vec::new();
            let (taken, goes_on) = match Request::parse(&input) {
                Ok(Some(request)) if request.body_bytes > BODY_BYTES_MAX => {
                    write(
                        &mut out,
                        request.method,
                        &error(413, "too_large", "the body is longer than 16 KiB"),
                    );
                    (0, false)
                }
                Ok(Some(request)) if input.len() >= request.head_bytes + request.body_bytes => {
                    write(&mut out, request.method, &self.answer(&request));
                    (request.head_bytes + request.body_bytes, request.keeps_alive())
                }
                Ok(_) => {
                    if !receive(stream, &mut input).await? {
                        return Ok(());
                    }
                    continue;
                }
                Err(malformed) => {
                    write(&mut out, "", &error(malformed.status(), "bad_request", &malformed.to_string()));
                    (0, false)
                }
            };
            timeout(PATIENCE, send(stream, &out)).await??;
            input.drain(..taken);
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        if request.header("origin").is_some() {
            return error(403, "forbidden", "this is not for browsers");
        }
        let method = if request.method == "HEAD" { "GET" } else { request.method };
        match (method, request.path()) {
            ("GET", "/metrics") => {
                let format = Format::negotiate(request.preferences("accept"));
                Answer::new(200, format.content_type(), self.metrics.snapshot().text(format))
            }
            ("GET", "/health") => Answer::new(200, "text/plain", "ok\n".into()),
            ("GET", "/ready") => self.ready(),
            ("GET", "/connections") => {
                let sessions = self.metrics.level(|shard| shard.active_connections.get()).max(0);
                json(200, &serde_json::json!({ "sessions": sessions, "max": self.connections_max }))
            }
            ("GET", "/log-level") => self.level(),
            ("PUT" | "POST", "/log-level") => self.set_level(request),
            ("POST", "/drain") => {
                // Fails only when it was rung 2^64 times.
                let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
                json(202, &serde_json::json!({ "draining": true }))
            }
            (_, "/metrics" | "/health" | "/ready" | "/connections") => not_allowed("GET, HEAD", "use GET"),
            (_, "/log-level") => {
                not_allowed("GET, HEAD, PUT, POST", "use GET, or PUT /log-level?level=debug")
            }
            (_, "/drain") => not_allowed("POST", "use POST"),
            _ => {
                let there = "there are /metrics, /health, /ready, /connections, /log-level and /drain";
                error(404, "not_found", there)
            }
        }
    }

    fn ready(&self) -> Answer {
        if let Some(why) = lock(&self.stage).why_not_ready() {
            return Answer::new(503, "text/plain", why.into());
        }
        if self.metrics.store().has_failed() {
            return Answer::new(503, "text/plain", "the store has failed\n".into());
        }
        Answer::new(200, "text/plain", "ready\n".into())
    }

    fn level(&self) -> Answer {
        json(200, &serde_json::json!({ "level": self.logger.gate().level().name() }))
    }

    fn set_level(&self, request: &Request<'_>) -> Answer {
        let asked = request.query("level").unwrap_or_default();
        let Some(level) = Level::ALL.into_iter().find(|level| level.name() == asked) else {
            let reason = format!(
                "`{asked}` is no level; write for example /log-level?level=debug (error, warn, info, debug, trace)"
            );
            return error(400, "bad_level", &reason);
        };
        self.logger.gate().set_level(level);
        self.logger
            .say(Event::LevelChanged, "another level is in force", |record| record.text("to", level.name()));
        self.level()
    }
}

fn json(status: u16, body: &serde_json::Value) -> Answer {
    Answer::new(status, "application/json", format!("{body}\n"))
}

fn error(status: u16, code: &str, reason: &str) -> Answer {
    json(status, &serde_json::json!({ "error": code, "reason": reason }))
}

fn not_allowed(methods: &'static str, reason: &str) -> Answer {
    Answer { allow: Some(methods), ..error(405, "method_not_allowed", reason) }
}

/// Appends it as the answer to a request with that method.
fn write(out: &mut Vec<u8>, method: &str, answer: &Answer) {
    let allow = answer.allow.map(|methods| ("Allow", methods));
    let headers: Vec<_> = [("Content-Type", answer.content_type)].into_iter().chain(allow).collect();
    http::write_response_with(out, answer.status, &headers, answer.body.as_bytes());
    if method == "HEAD" {
        out.truncate(out.len() - answer.body.len());
    }
}

/// Appends what comes next. False: the client has ended, or takes too long.
async fn receive(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 4096];
    loop {
        if timeout(PATIENCE, stream.readable()).await.is_err() {
            return Ok(false);
        }
        match stream.try_read(&mut bytes) {
            Ok(count) => {
                input.extend_from_slice(&bytes[..count]);
                return Ok(count > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
