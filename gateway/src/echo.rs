//! A gateway that answers each message with itself: what a conformance suite talks to, and the bare cost of a frame.
//!
//! It runs on the same shards, endpoint and frames as the IM core, and on nothing above them.

use crate::im::mail::Mail;
use crate::stage::Stage;
use wire::http::{self, Request};
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex};
use wire::ws::deflate::{Deflater, Inflater};
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::extension;
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

/// Answers that a client may leave unread before it is cut off.
const BACKLOG_BYTES_MAX: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
enum Conn {
    #[default]
    None,
    Http,
    Open(ConnId, Endpoint),
}

impl Conn {
    fn open(&self) -> Option<ConnId> {
        match self {
            Conn::Open(conn, _) => Some(*conn),
            Conn::None | Conn::Http => None,
        }
    }
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Echo {
    conns: Vec<Conn>,
    message_bytes_max: usize,
    agrees_to_deflate: bool,
    stage: Stage,
    inflater: Inflater,
    deflater: Deflater,
}

impl Echo {
    pub(crate) fn new(message_bytes_max: usize, agrees_to_deflate: bool) -> Echo {
        Echo {
            conns: Vec::new(),
            message_bytes_max,
            agrees_to_deflate,
            stage: Stage::Serving,
            inflater: Inflater::default(),
            deflater: Deflater::default(),
        }
    }

    fn close_all(&mut self, io: &mut Io<Mail>) {
        let open: Vec<ConnId> = self.conns.iter().filter_map(Conn::open).collect();
        let mut farewell = Vec::new();
        frame::write_close(&mut farewell, 1001, "the gateway is shutting down", None);
        io.send_to_all(open.iter().copied(), &farewell);
        open.into_iter().for_each(|conn| io.close(conn));
    }

    fn upgrade(&mut self, conn: ConnId, input: &[u8], io: &mut Io<Mail>) -> usize {
        let request = match Request::parse(input) {
            Ok(Some(request)) => request,
            Ok(None) => return 0,
            Err(error) => return refuse(conn, error.status(), &error.to_string(), input, io),
        };
        match handshake::accept(&request) {
            Ok(_) if self.stage >= Stage::Draining => refuse(conn, 503, "draining", input, io),
            Ok(accept) => {
                let deflate = match extension::accept(request.headers("sec-websocket-extensions")) {
                    Ok(deflate) => deflate.filter(|_| self.agrees_to_deflate),
                    Err(error) => return refuse(conn, 400, &error.to_string(), input, io),
                };
                if let Some(out) = io.send(conn) {
                    handshake::write_accepted_with(out, &accept, None, deflate);
                }
                self.conns[conn.index as usize] =
                    Conn::Open(conn, Endpoint::with_deflate(Role::Server, deflate));
                request.head_bytes
            }
            Err(_) if request.path() == "/health" => refuse(conn, 200, "ok", input, io),
            Err(_) if request.path() == "/ready" => match self.stage.why_not_ready() {
                Some(why) => refuse(conn, 503, why.trim_end(), input, io),
                None => refuse(conn, 200, "ok", input, io),
            },
            Err(error) => refuse(conn, 426, &error.to_string(), input, io),
        }
    }
}

/// Answers a request that is no upgrade, and closes. All of the input is done with.
fn refuse(conn: ConnId, status: u16, reason: &str, input: &[u8], io: &mut Io<Mail>) -> usize {
    if let Some(out) = io.send(conn) {
        http::write_response(out, status, "text/plain", format!("{reason}\n").as_bytes());
    }
    io.close(conn);
    input.len()
}

fn close(conn: ConnId, code: u16, reason: &str, io: &mut Io<Mail>) {
    if let Some(out) = io.send(conn) {
        frame::write_close(out, code, reason, None);
    }
    io.close(conn);
}

impl Echo {
    /// Answers the frames at the front of `input`; gives the bytes they took.
    fn frames(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let Some(Conn::Open(_, endpoint)) = self.conns.get_mut(conn.index as usize) else { return 0 };
        let deflate = endpoint.deflate();
        let mut taken = 0;
        while io.is_open(conn) {
            match endpoint.next_inflated(&mut input[taken..], self.message_bytes_max, &mut self.inflater) {
                Ok(Some((event, bytes))) => {
                    taken += bytes;
                    let (opcode, payload) = match event {
                        Event::Text(text) => (Opcode::Text, text.as_bytes()),
                        Event::Binary(bytes) => (Opcode::Binary, bytes),
                        Event::Ping(payload) => (Opcode::Pong, payload),
                        Event::Pong(_) | Event::Fragment => continue,
                        Event::Close(code) => {
                            close(conn, code, "", io);
                            continue;
                        }
                    };
                    if io.backlog(conn) > BACKLOG_BYTES_MAX {
                        io.reset(conn);
                        return input.len();
                    }
                    if let Some(out) = io.send(conn) {
                        let deflate = deflate.filter(|_| !opcode.is_control());
                        self.deflater.write(out, opcode, payload, deflate, None);
                    }
                }
                Ok(None) => break,
                Err(violation) => close(conn, violation.close_code(), &violation.to_string(), io),
            }
        }
        taken
    }
}

impl Application for Echo {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, _origin: Origin, _io: &mut Io<Mail>) {
        let index = conn.index as usize;
        if self.conns.len() <= index {
            self.conns.resize_with(index + 1, || Conn::None);
        }
        self.conns[index] = Conn::Http;
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        match self.conns.get_mut(conn.index as usize) {
            Some(Conn::Http) => {
                let head = self.upgrade(conn, input, io);
                // Nothing would show what has come together with the request.
                head + self.frames(conn, &mut input[head..], io)
            }
            Some(Conn::Open(..)) => self.frames(conn, input, io),
            Some(Conn::None) | None => 0,
        }
    }

    fn closed(&mut self, conn: ConnId, _how: Closed, _io: &mut Io<Mail>) {
        if let Some(conn) = self.conns.get_mut(conn.index as usize) {
            *conn = Conn::None;
        }
    }

    fn mail(&mut self, _from: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Leave => self.stage = Stage::Leaving,
            Mail::Drain => self.stage = Stage::Draining,
            Mail::CloseAll => self.close_all(io),
            Mail::Stop => io.stop(),
            Mail::Certificate(config) => io.accept_tls(config),
            _ => {}
        }
    }

    fn timer(&mut self, _key: u64, _io: &mut Io<Mail>) {}
}
