//! TLS over the production driver, against rustls with buffers of its own, and against ourselves.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, StreamOwned,
};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use wire::shard::event_loop::{Config, reserve, run};
use wire::shard::{Application, Closed, ConnId, Io, Origin, Seats, ShardIndex, TlsClient, mailbox};

const CA: &[u8] = include_bytes!("tls/ca.pem");
const CERTIFICATES: [(&[u8], &[u8]); 2] = [
    (include_bytes!("tls/one.pem"), include_bytes!("tls/one.key")),
    (include_bytes!("tls/two.pem"), include_bytes!("tls/two.key")),
];

enum Mail {
    Stop,
    Accept(Arc<ServerConfig>),
    Connect(SocketAddr, TlsClient),
    /// What the other end sent to a connection that we opened, and how it ended.
    Line(String),
    Closed(Closed),
}

/// Echoes lines; `close` closes. Connections that it opens say hello at once, and pass on what they hear.
#[derive(Default)]
struct Echo {
    opened: Vec<ConnId>,
}

impl Application for Echo {
    type Mail = Mail;

    fn opened(&mut self, conn: ConnId, origin: Origin, io: &mut Io<Mail>) {
        if origin == Origin::Connected {
            self.opened.push(conn);
            io.send(conn).unwrap().extend_from_slice(b"hello\n");
        }
    }

    fn received(&mut self, conn: ConnId, input: &mut [u8], io: &mut Io<Mail>) -> usize {
        let mut taken = 0;
        for line in input.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            taken += line.len();
            if self.opened.contains(&conn) {
                let text = String::from_utf8(line.to_vec()).unwrap();
                let end = text == "end\n";
                io.post(io.edge(), Mail::Line(text));
                if end {
                    io.close(conn);
                }
            } else if line == b"close\n" {
                io.close(conn);
            } else if io.is_open(conn) {
                io.send(conn).unwrap().extend_from_slice(line);
            }
        }
        taken
    }

    fn closed(&mut self, _: ConnId, how: Closed, io: &mut Io<Mail>) {
        io.post(io.edge(), Mail::Closed(how));
    }

    fn mail(&mut self, _: ShardIndex, mail: Mail, io: &mut Io<Mail>) {
        match mail {
            Mail::Stop => io.stop(),
            Mail::Accept(config) => io.accept_tls(config),
            Mail::Connect(to, tls) => {
                io.connect_tls(to, None, tls);
            }
            Mail::Line(_) | Mail::Closed(_) => {}
        }
    }

    fn timer(&mut self, _: u64, _: &mut Io<Mail>) {}
}

struct Server {
    address: SocketAddr,
    edge: mailbox::Mailbox<Mail>,
    mail: std::collections::VecDeque<Mail>,
    thread: std::thread::JoinHandle<()>,
}

fn certificate(number: usize) -> Arc<ServerConfig> {
    let (chain, key) = CERTIFICATES[number];
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().unwrap();
    Arc::new(config)
}

fn start() -> Server {
    let reserved = reserve(([127, 0, 0, 1], 0).into()).unwrap();
    let mut mailboxes = mailbox::network(2).unwrap();
    let edge = mailboxes.pop().unwrap();
    let shard = mailboxes.pop().unwrap();
    let config = Config {
        listen: Some(reserved.address),
        seats: Seats::new(100),
        tls: Some(certificate(0)),
        timer_slack: Duration::from_nanos(1),
        ..Config::default()
    };
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        run(&config, shard, Echo::default, |tables| ready.send(tables.map(drop)).unwrap());
    });
    is_ready.recv().unwrap().unwrap();
    Server { address: reserved.address, edge, mail: Default::default(), thread }
}

impl Server {
    fn next_mail(&mut self) -> Mail {
        let mut mail = Vec::new();
        loop {
            self.edge.receive(&mut mail);
            self.mail.extend(mail.drain(..).map(|(_, mail)| mail));
            if let Some(mail) = self.mail.pop_front() {
                return mail;
            }
            std::thread::yield_now();
        }
    }

    fn closed(&mut self) -> Closed {
        loop {
            if let Mail::Closed(how) = self.next_mail() {
                return how;
            }
        }
    }

    fn tell(&mut self, mail: Mail) {
        self.edge.post(0, mail);
        self.edge.flush();
    }

    fn stop(mut self) {
        self.tell(Mail::Stop);
        self.thread.join().unwrap();
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn client(&self, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), self.tcp())
    }
}

fn trusting(version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(CA).map(Result::unwrap));
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client() -> Arc<ClientConfig> {
    Arc::new(trusting(&rustls::version::TLS13))
}

fn line(stream: &mut impl std::io::Read) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn both_versions_carry_lines_and_end_in_order() {
    let mut server = start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(trusting(version));
        let mut stream = server.client(&config);
        stream.write_all(b"hel").unwrap();
        stream.write_all(b"lo\nagain\n").unwrap();
        assert_eq!((line(&mut stream), line(&mut stream)), ("hello\n".into(), "again\n".into()));
        stream.write_all(b"last\nclose\n").unwrap();
        assert_eq!(line(&mut stream), "last\n");
        // rustls gives an end of file only after close_notify, else `UnexpectedEof`.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(server.closed(), Closed::Local);

        let mut stream = server.client(&config);
        stream.write_all(b"bye\n").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        assert_eq!(line(&mut stream), "bye\n", "what was asked before the end is answered");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(server.closed(), Closed::Eof);
        assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));

        let mut stream = server.client(&config);
        stream.write_all(b"cut\n").unwrap();
        assert_eq!(line(&mut stream), "cut\n");
        stream.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.closed(), Closed::Truncated);
    }
    server.stop();
}

#[test]
fn a_byte_at_a_time_is_enough() {
    let mut server = start();
    let mut socket = server.tcp();
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(client(), name).unwrap();
    let mut plain = Vec::new();
    session.writer().write_all(b"slow\n").unwrap();
    while plain != b"slow\n" {
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records).unwrap();
        }
        for byte in records {
            socket.write_all(&[byte]).unwrap();
        }
        let mut byte = [0];
        assert_eq!(socket.read(&mut byte).unwrap(), 1);
        session.read_tls(&mut &byte[..]).unwrap();
        session.process_new_packets().unwrap();
        match session.reader().read_to_end(&mut plain) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
    }
    drop(socket);
    server.closed();
    server.stop();
}

#[test]
fn a_slow_reader_loses_nothing() {
    let mut server = start();
    let mut stream = server.client(&client());
    let sent: String = (0..200_000).map(|number| format!("line {number}\n")).collect();
    // The client writes all before it reads anything, so that both directions fill up.
    let mut socket = stream.sock.try_clone().unwrap();
    stream.write_all(b"first\n").unwrap();
    assert_eq!(line(&mut stream), "first\n");
    let mut records = Vec::new();
    for part in sent.as_bytes().chunks(16 * 1024) {
        stream.conn.writer().write_all(part).unwrap();
        while stream.conn.wants_write() {
            stream.conn.write_tls(&mut records).unwrap();
        }
    }
    let writer = std::thread::spawn(move || socket.write_all(&records).unwrap());
    let mut other = server.client(&client());
    other.write_all(b"quick\n").unwrap();
    assert_eq!(line(&mut other), "quick\n");
    writer.join().unwrap();
    let mut received = vec![0; sent.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == sent.as_bytes());
    drop(stream);
    server.closed();
    server.stop();
}

#[test]
fn what_is_no_handshake_is_told_so() {
    let mut server = start();
    let mut http = server.tcp();
    http.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("this port speaks TLS"), "{answer}");
    assert_eq!(server.closed(), Closed::Tls);

    let mut noise = server.tcp();
    noise.write_all(&[0x16, 3, 1, 0, 6, 1, 0, 0, 2, 9, 9]).unwrap();
    let mut alert = Vec::new();
    noise.read_to_end(&mut alert).unwrap();
    assert_eq!(alert.first(), Some(&21), "an alert");
    assert_eq!(server.closed(), Closed::Tls);

    let half = server.tcp();
    (&half).write_all(&[0x16, 3, 1, 1]).unwrap();
    drop(half);
    assert_eq!(server.closed(), Closed::Tls);
    drop(server.tcp());
    assert_eq!(server.closed(), Closed::Eof, "nobody tried");
    server.stop();
}

#[test]
fn only_http_1_1_is_spoken() {
    let mut server = start();
    for (offered, chosen) in [(&[&b"h2"[..], b"http/1.1"][..], true), (&[], true), (&[b"h2"], false)] {
        let mut config = trusting(&rustls::version::TLS13);
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let mut stream = server.client(&Arc::new(config));
        let written = stream.write_all(b"x\n").and_then(|()| stream.read(&mut [0]));
        if chosen {
            assert_eq!(written.unwrap(), 1);
            let expected = (!offered.is_empty()).then_some(&b"http/1.1"[..]);
            assert_eq!(stream.conn.alpn_protocol(), expected);
            drop(stream);
        } else {
            let error = written.unwrap_err().to_string();
            assert!(error.contains("NoApplicationProtocol"), "{error}");
        }
        assert_eq!(server.closed() == Closed::Tls, !chosen);
    }
    server.stop();
}

#[test]
fn a_new_certificate_is_for_newcomers() {
    let mut server = start();
    // No resumption, which would show no certificate at all.
    let mut config = trusting(&rustls::version::TLS13);
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let shown = |stream: &StreamOwned<ClientConnection, TcpStream>| {
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let mut old = server.client(&config);
    old.write_all(b"old\n").unwrap();
    assert_eq!(line(&mut old), "old\n");
    server.tell(Mail::Accept(certificate(1)));
    loop {
        let mut new = server.client(&config);
        new.write_all(b"new\n").unwrap();
        assert_eq!(line(&mut new), "new\n");
        if shown(&new) != shown(&old) {
            break;
        }
    }
    old.write_all(b"still here\n").unwrap();
    assert_eq!(line(&mut old), "still here\n");
    server.stop();
}

#[test]
fn our_own_client_speaks_it_too() {
    let mut server = start();
    let to = server.address;
    let name = ServerName::try_from("localhost").unwrap();
    server.tell(Mail::Connect(to, TlsClient { config: client(), name }));
    assert!(matches!(server.next_mail(), Mail::Line(text) if text == "hello\n"));

    let name = ServerName::try_from("elsewhere.example").unwrap();
    server.tell(Mail::Connect(to, TlsClient { config: client(), name }));
    // The client finds the wrong name and says so to the server.
    assert_eq!((server.closed(), server.closed()), (Closed::Tls, Closed::Tls));

    let mut unknown = trusting(&rustls::version::TLS12);
    unknown.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    server.tell(Mail::Connect(to, TlsClient { config: Arc::new(unknown), name }));
    assert!(matches!(server.next_mail(), Mail::Line(text) if text == "hello\n"));
    server.stop();
}

#[test]
fn a_key_update_in_mid_stream_is_followed() {
    let server = start();
    let mut stream = server.client(&client());
    for round in 0..20 {
        stream.write_all(format!("{round}\n").as_bytes()).unwrap();
        assert_eq!(line(&mut stream), format!("{round}\n"));
        assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        stream.conn.refresh_traffic_keys().unwrap();
    }
    server.stop();
}
