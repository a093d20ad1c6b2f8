//! The bare protocol on our own shards: what the gateway's floor costs without accounts, JSON, ACKs or timers.

use benches::bare::{Mode, SENDER};
use std::process::ExitCode;
use wire::http::Request;
use wire::shard::event_loop;
use wire::shard::{Application, Closed, ConnId, Io, Origin, ShardIndex, mailbox};
use wire::ws::endpoint::{Endpoint, Event, Role};
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

struct Bare {
    mode: Mode,
    endpoints: Vec<Option<Endpoint>>,
    /// By the number with which a connection has registered.
    peers: Vec<Option<ConnId>>,
    scratch: Vec<u8>,
}

impl Bare {
    fn upgrade(&mut self, conn: ConnId, input: &[u8], io: &mut Io<()>) -> usize {
        let Ok(Some(request)) = Request::parse(input) else { return 0 };
        if let (Ok(accept), Some(out)) = (handshake::accept(&request), io.send(conn)) {
            handshake::write_accepted(out, &accept);
            self.endpoints[conn.index as usize] = Some(Endpoint::new(Role::Server));
            return request.head_bytes;
        }
        io.close(conn);
        input.len()
    }

    fn message(&mut self, conn: ConnId, message: &[u8], io: &mut Io<()>) {
        let Some((head, rest)) = message.split_first_chunk::<4>().filter(|_| self.mode != Mode::Echo) else {
            return send(conn, message, io);
        };
        let id = u32::from_le_bytes(*head);
        match self.mode {
            _ if rest.is_empty() => {
                self.register(conn, id);
                send(conn, message, io);
            }
            Mode::Fanout => {
                self.scratch.clear();
                frame::write(&mut self.scratch, Opcode::Binary, message, None);
                io.send_to_all(self.peers.iter().flatten().copied(), &self.scratch);
            }
            Mode::Route | Mode::Echo => {
                if let Some(Some(peer)) = self.peers.get(id as usize) {
                    send(*peer, message, io);
                }
                send(conn, head, io);
            }
        }
    }

    fn register(&mut self, conn: ConnId, id: u32) {
        if id == SENDER || id > 1_000_000 {
            return;
        }
        if self.peers.len() <= id as usize {
            self.peers.resize(id as usize + 1, None);
        }
        self.peers[id as usize] = Some(conn);
    }
}

fn send(conn: ConnId, message: &[u8], io: &mut Io<()>) {
    if let Some(out) = io.send(conn) {
        frame::write(out, Opcode::Binary, message, None);
    }
}

impl Application for Bare {
    type Mail = ();

    fn opened(&mut self, conn: ConnId, _: Origin, _: &mut Io<()>) {
        let index = conn.index as usize;
        if self.endpoints.len() <= index {
            self.endpoints.resize_with(index + 1, || None);
        }
        self.endpoints[index] = None;
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<()>) -> usize {
        let Some(mut endpoint) = self.endpoints[conn.index as usize].take() else {
            return self.upgrade(conn, input, io);
        };
        let mut taken = 0;
        loop {
            match endpoint.next(&mut input[taken..], MESSAGE_BYTES_MAX) {
                Ok(Some((Event::Binary(message), bytes))) => {
                    self.message(conn, message, io);
                    taken += bytes;
                }
                Ok(Some((Event::Close(_), _))) | Err(_) => {
                    io.close(conn);
                    break;
                }
                Ok(Some((_, bytes))) => taken += bytes,
                Ok(None) => break,
            }
        }
        self.endpoints[conn.index as usize] = Some(endpoint);
        taken
    }

    fn closed(&mut self, conn: ConnId, _: Closed, _: &mut Io<()>) {
        self.endpoints[conn.index as usize] = None;
        for peer in self.peers.iter_mut().filter(|peer| **peer == Some(conn)) {
            *peer = None;
        }
    }

    fn mail(&mut self, _: ShardIndex, (): (), _: &mut Io<()>) {}

    fn timer(&mut self, _: u64, _: &mut Io<()>) {}
}

fn main() -> ExitCode {
    let Some((mode, port, _)) = benches::bare::arguments() else { return ExitCode::from(2) };
    let Ok(mut mailboxes) = mailbox::network(2) else { return ExitCode::FAILURE };
    // The edge: nobody writes to it, but the network has one.
    let edge = mailboxes.pop();
    let Some(mailbox) = mailboxes.pop() else { return ExitCode::FAILURE };
    let listen = Some(([127, 0, 0, 1], port).into());
    let config = event_loop::Config { listen, ..event_loop::Config::default() };
    let bare = Bare { mode, endpoints: Vec::new(), peers: Vec::new(), scratch: Vec::new() };
    event_loop::run(
        &config,
        mailbox,
        || bare,
        |listening| {
            if let Err(error) = listening {
                eprintln!("cannot listen on {port}: {error}");
            }
        },
    );
    drop(edge);
    ExitCode::FAILURE
}
