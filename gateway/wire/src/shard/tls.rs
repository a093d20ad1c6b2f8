//! One TLS session, sans-IO: ciphertext in and out of the shard's own buffers, plaintext for the application.
//!
//! rustls keeps no buffers here (its unbuffered interface), so an idle session costs its keys. What a session sends is gathered
//! as plaintext like on any connection and becomes records when it leaves, once per flush.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, Error, ServerConfig};
use std::sync::Arc;

/// Plaintext of one record, at most.
const RECORD_PLAIN_BYTES: usize = 16 * 1024;
/// What a record adds, at most: header, nonce, tag and content type.
const RECORD_EXTRA_BYTES: usize = 5 + 8 + 16 + 1;
/// Room for what may have to leave before the first record: a key update, an alert.
const SPARE_BYTES: usize = 256;

/// What a client does before it speaks.
#[derive(Debug, Clone)]
pub struct TlsClient {
    /// Trusted roots, protocols.
    pub config: Arc<ClientConfig>,
    /// Whom the server's certificate must name.
    pub name: ServerName<'static>,
}

/// A handshake that failed, a record that cannot be read, or keys that are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// One end of a TLS session.
pub(super) struct Tls {
    session: Session,
    /// Received, and not yet a whole record or handshake message.
    tail: Vec<u8>,
    /// Bytes at the front of the connection's output that are records already; what follows is plaintext.
    pub(super) sealed: usize,
    /// Anything has been received.
    is_begun: bool,
    /// The peer has said that it will send no more.
    pub(super) is_peer_done: bool,
    /// Application data may be sent.
    can_write: bool,
}

enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// Either kind of rustls session; its `process_tls_records` is not generic.
trait Records {
    type Data;

    /// Whether records wait to be encoded.
    fn has_output(&self) -> bool;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn has_output(&self) -> bool {
        self.wants_write()
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Tls {
    /// The end of a connection that was accepted.
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Tls, Error> {
        UnbufferedServerConnection::new(config).map(|session| Tls::new(Session::Server(session)))
    }

    /// The end of a connection that we open.
    pub(super) fn client(client: TlsClient) -> Result<Tls, Error> {
        let session = UnbufferedClientConnection::new(client.config, client.name)?;
        Ok(Tls::new(Session::Client(session)))
    }

    fn new(session: Session) -> Tls {
        Tls { session, tail: Vec::new(), sealed: 0, is_begun: false, is_peer_done: false, can_write: false }
    }

    /// Whether nothing was received yet.
    pub(super) fn is_untouched(&self) -> bool {
        !self.is_begun
    }

    /// Whether the handshake is not over.
    pub(super) fn is_handshaking(&self) -> bool {
        match &self.session {
            Session::Server(session) => session.is_handshaking(),
            Session::Client(session) => session.is_handshaking(),
        }
    }

    /// Puts what is left of earlier input to the front of `input`; gives its length.
    pub(super) fn restore_tail(&mut self, input: &mut [u8]) -> usize {
        let length = self.tail.len();
        input[..length].copy_from_slice(&self.tail);
        length
    }

    /// Takes records from the front of `input` and keeps what is incomplete.
    ///
    /// Appends plaintext to `plain`, and what the session must send by itself to `out`, also where it ends. Without input, a
    /// client begins its handshake.
    pub(super) fn unseal(
        &mut self,
        input: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failed> {
        self.is_begun |= !input.is_empty();
        let (taken, progress) = match &mut self.session {
            Session::Server(session) => advance(session, input, plain, out),
            Session::Client(session) => advance(session, input, plain, out),
        };
        // A session that is idle between records must not keep what once was its longest one.
        self.tail = input[taken..].to_vec();
        match progress {
            Ok(progress) => {
                self.can_write = progress.can_write;
                self.is_peer_done |= progress.is_closed;
                Ok(())
            }
            Err(_) => Err(Failed),
        }
    }

    /// Appends `plain` as records to `out`. False: it can't be sent yet, and is still plaintext.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, Failed> {
        let records = plain.len().div_ceil(RECORD_PLAIN_BYTES);
        let room = plain.len() + records * RECORD_EXTRA_BYTES + SPARE_BYTES;
        self.write(out, room, &mut |writer, buffer| match writer {
            Writer::Server(traffic) => traffic.encrypt(plain, buffer),
            Writer::Client(traffic) => traffic.encrypt(plain, buffer),
        })
    }

    /// Appends the word that nothing more will be sent to `out`, if the session has come that far.
    pub(super) fn say_goodbye(&mut self, out: &mut Vec<u8>) {
        // Whoever fails to say it just ends.
        let _ = self.write(out, SPARE_BYTES, &mut |writer, buffer| match writer {
            Writer::Server(traffic) => traffic.queue_close_notify(buffer),
            Writer::Client(traffic) => traffic.queue_close_notify(buffer),
        });
    }

    fn write(&mut self, out: &mut Vec<u8>, room: usize, write: &mut Write<'_>) -> Result<bool, Failed> {
        if !self.can_write {
            return Ok(false);
        }
        let Tls { session, tail, .. } = self;
        // rustls remembers how far it has read in the incomplete input, and must be shown it whenever it is asked for anything.
        let written = match session {
            Session::Server(session) => match session.process(tail).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    append(out, room, |buffer| write(Writer::Server(&mut traffic), buffer))
                }
                _ => return Err(Failed),
            },
            Session::Client(session) => match session.process(tail).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    append(out, room, |buffer| write(Writer::Client(&mut traffic), buffer))
                }
                _ => return Err(Failed),
            },
        };
        written.map(|()| true).map_err(|_| Failed)
    }
}

type Write<'w> = dyn FnMut(Writer<'_, '_>, &mut [u8]) -> Result<usize, EncryptError> + 'w;

enum Writer<'t, 'c> {
    Server(&'t mut rustls::unbuffered::WriteTraffic<'c, ServerConnectionData>),
    Client(&'t mut rustls::unbuffered::WriteTraffic<'c, ClientConnectionData>),
}

/// Lets `write` fill `room` bytes behind `out`, or as many as it says it needs.
fn append(
    out: &mut Vec<u8>,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), EncryptError> {
    let start = out.len();
    out.resize(start + room, 0);
    let written = match write(&mut out[start..]) {
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
            out.resize(start + required_size, 0);
            write(&mut out[start..])
        }
        written => written,
    };
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(drop)
}

struct Progress {
    can_write: bool,
    is_closed: bool,
}

/// Lets the session take what it can of `input`; gives the number of bytes that are done with.
fn advance<R: Records>(
    session: &mut R,
    input: &mut [u8],
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Progress, Error>) {
    let mut taken = 0;
    let mut progress = Progress { can_write: false, is_closed: false };
    loop {
        let UnbufferedStatus { mut discard, state } = session.process(&mut input[taken..]);
        let mut is_waiting = false;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            plain.extend_from_slice(record.payload);
                            discard += record.discard;
                        }
                        Err(error) => return (taken, Err(error)),
                    }
                }
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(out, |buffer| data.encode(buffer)),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => progress.is_closed = true,
            Ok(ConnectionState::WriteTraffic(_)) => {
                progress.can_write = true;
                is_waiting = true;
            }
            // The handshake waits for the peer; or both sides are done. Early data is never offered.
            Ok(_) => is_waiting = true,
            Err(error) => {
                taken += discard;
                // What was to be sent before, and the alert that tells the peer. Asked for more, it would fail anew.
                while session.has_output()
                    && let Ok(ConnectionState::EncodeTlsData(mut data)) =
                        session.process(&mut input[taken..]).state
                {
                    encode(out, |buffer| data.encode(buffer));
                }
                return (taken, Err(error));
            }
        }
        taken += discard;
        if is_waiting {
            return (taken, Ok(progress));
        }
    }
}

fn encode(out: &mut Vec<u8>, mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>) {
    // Asked without room it says how much it needs, and is unchanged.
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = encode(&mut []) {
        let start = out.len();
        out.resize(start + required_size, 0);
        let written = encode(&mut out[start..]).unwrap_or(0);
        out.truncate(start + written);
    }
}
