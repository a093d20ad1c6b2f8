//! wss and https at the real binary: foreign peers, refusals, and certificates that change under load.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use gateway::auth::{Claims, Signer};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

const KEY: &str = "a key for tests, and for nothing else";

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/tests/tls")
}

struct Gateway {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Gateway {
    fn start(name: &str, flags: &[&str]) -> Gateway {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        put_certificate(&folder, "one");
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--shards", "2", "--follow-stdin", "--drain-timeout", "1s"])
            .arg("--tls-cert")
            .arg(folder.join("chain.pem"))
            .arg("--tls-key")
            .arg(folder.join("key.pem"))
            .args(flags)
            .env("GATEWAY_AUTH_KEY", KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = listening["address"].as_str().unwrap().to_owned();
        Gateway { child, address, folder }
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn tls(&self, config: &Arc<ClientConfig>) -> Stream {
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), self.tcp())
    }

    fn session(&self, user: &str, config: &Arc<ClientConfig>) -> WebSocket<Stream> {
        let claims = Claims { sub: user.into(), device: "d".into(), exp: 1 << 40 };
        let token = Signer::new(KEY.as_bytes()).sign(&claims).unwrap();
        let mut request = format!("wss://localhost:{}/ws", self.port()).into_client_request().unwrap();
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
        let (mut socket, _) = tungstenite::client(request, self.tls(config)).unwrap();
        assert!(socket.read().unwrap().to_text().unwrap().contains("hello"));
        socket
    }

    fn metrics(&self) -> String {
        let mut stream = self.tls(&client());
        stream.write_all(b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Asks for the metrics until `line` is among them; the test runner's time limit ends a wait in vain.
    fn await_metric(&self, line: &str) {
        while !self.metrics().lines().any(|found| found == line) {
            std::thread::yield_now();
        }
    }

    fn await_reloads(&self, result: &str, count: usize) {
        self.await_metric(&format!(
            "im_gateway_config_reloads_total{{node=\"gateway-1\",part=\"certificate\",result=\"{result}\"}} {count}"
        ));
    }

    fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    }

    /// Ends it and gives all that it has written.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut written = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut written).unwrap();
        assert!(self.child.wait().unwrap().success());
        written
    }
}

fn put_certificate(folder: &Path, name: &str) {
    std::fs::copy(certificates().join(format!("{name}.pem")), folder.join("chain.pem")).unwrap();
    std::fs::copy(certificates().join(format!("{name}.key")), folder.join("key.pem")).unwrap();
}

/// Trusts the test's own authority; resumes nothing, so that each connection is shown the certificate.
fn client() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(certificates().join("ca.pem")).unwrap();
    roots.add(authority).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0].clone()
}

fn send(socket: &mut WebSocket<Stream>, id: usize, to: &str) {
    let frame = format!(r#"{{"type":"send","id":"m-{id}","to":"user:{to}","body":{id}}}"#);
    socket.send(Message::text(frame)).unwrap();
    assert!(socket.read().unwrap().to_text().unwrap().contains("\"sent\""));
}

#[test]
fn messages_travel_between_sessions() {
    let gateway = Gateway::start("messages", &[]);
    let (mut al, mut bob) = (gateway.session("al", &client()), gateway.session("bob", &client()));
    for id in 0..100 {
        send(&mut al, id, "bob");
        assert!(bob.read().unwrap().to_text().unwrap().contains(&format!("\"m-{id}\"")));
    }
    bob.close(None).unwrap();
    assert!(bob.read().unwrap().is_close());
    gateway.await_metric("im_gateway_connections_closed_total{node=\"gateway-1\",reason=\"client\"} 1");
    gateway.end();
}

#[test]
fn curl_and_openssl_are_served() {
    let gateway = Gateway::start("foreign", &[]);
    let url = format!("https://localhost:{}/ready", gateway.port());
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", gateway.port()))
        .arg("--cacert")
        .arg(certificates().join("ca.pem"))
        .args(["--write-out", "%{http_version} %{ssl_verify_result}", &url])
        .output();
    match curl {
        Ok(output) => {
            let (said, complaint) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
            assert_eq!(said.unwrap(), "ready\n1.1 0", "{complaint:?}");
        }
        Err(error) => eprintln!("skipped: there is no curl: {error}"),
    }
    for (version, alpn, expected) in [
        ("-tls1_3", "h2,http/1.1", "ALPN protocol: http/1.1"),
        ("-tls1_2", "http/1.1", "ALPN protocol: http/1.1"),
        ("-tls1_3", "h2", "no application protocol"),
    ] {
        let child = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address, "-servername", "localhost", version])
            .args(["-alpn", alpn, "-ign_eof", "-CAfile"])
            .arg(certificates().join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no openssl");
            continue;
        };
        // Fails where the handshake has failed already.
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let _ = child.stdin.take().unwrap().write_all(request);
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(expected), "{version} {alpn}: {said}");
        assert_eq!(said.contains("HTTP/1.1 200 OK"), alpn != "h2", "{said}");
        assert!(alpn == "h2" || said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    gateway.await_metric("im_gateway_connection_errors_total{node=\"gateway-1\",error_type=\"tls\"} 1");
    gateway.end();
}

#[test]
fn failed_and_half_handshakes_end_and_are_counted() {
    let gateway = Gateway::start("half", &[]);
    let mut silent = gateway.tcp();
    let mut half = gateway.tcp();
    half.write_all(&[0x16, 3, 1, 1, 0, 1]).unwrap();
    let mut plain = gateway.tcp();
    plain.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("plain_http"), "{answer}");
    let errors = |kind: &str, count: u32| {
        gateway.await_metric(&format!(
            "im_gateway_connection_errors_total{{node=\"gateway-1\",error_type=\"{kind}\"}} {count}"
        ));
    };
    errors("tls", 1);
    // Both are over at the handshake's deadline. Nothing can be said to them: there are no keys yet.
    for stream in [&mut silent, &mut half] {
        match stream.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    errors("timeout", 2);
    errors("tls", 1);
    gateway.end();
}

#[test]
fn a_certificate_changes_under_load_and_a_broken_one_does_not() {
    let gateway = Gateway::start("reload", &[]);
    let first = {
        let mut stream = gateway.tls(&client());
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        shown(&stream)
    };
    let (stop, sent, reloads) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for user in ["al", "bob"] {
            let (gateway, stop, sent, reloads) = (&gateway, &stop, &sent, &reloads);
            scope.spawn(move || {
                let mut socket = gateway.session(user, &client());
                let mut id = 0;
                while !stop.load(Ordering::Relaxed) {
                    send(&mut socket, id, "nobody");
                    sent.fetch_add(1, Ordering::Relaxed);
                    id += 1;
                }
                assert!(reloads.load(Ordering::Relaxed) > 0);
            });
        }
        let progress = || {
            let now = sent.load(Ordering::Relaxed);
            while sent.load(Ordering::Relaxed) < now + 20 {
                std::thread::yield_now();
            }
        };
        progress();
        std::fs::write(gateway.folder.join("chain.pem"), "no certificate").unwrap();
        gateway.hang_up();
        gateway.await_reloads("failed", 1);
        std::fs::copy(certificates().join("two.pem"), gateway.folder.join("chain.pem")).unwrap();
        gateway.hang_up();
        // The key is still that of the first certificate.
        gateway.await_reloads("failed", 2);
        progress();
        for round in 1..=4 {
            put_certificate(&gateway.folder, if round % 2 == 1 { "two" } else { "one" });
            gateway.hang_up();
            gateway.await_reloads("ok", round);
            loop {
                let mut stream = gateway.tls(&client());
                stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
                stream.read_exact(&mut [0]).unwrap();
                if (shown(&stream) == first) == (round % 2 == 0) {
                    break;
                }
            }
            progress();
            reloads.fetch_add(1, Ordering::Relaxed);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let written = gateway.end();
    assert!(written.contains("holds no certificate") && written.contains("is not that of"), "{written}");
    assert!(!written.contains("BEGIN"), "{written}");
}

#[test]
fn files_that_do_not_fit_refuse_the_start() {
    let folder = certificates();
    let start = |chain: &str, key: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--tls-cert"])
            .arg(folder.join(chain))
            .arg("--tls-key")
            .arg(folder.join(key))
            .env("GATEWAY_AUTH_KEY", KEY)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(113));
        String::from_utf8(output.stderr).unwrap()
    };
    for (chain, key, expected) in [
        ("one.pem", "two.key", "is not that of the first certificate"),
        ("one.key", "one.key", "holds no certificate"),
        ("one.pem", "one.pem", "cannot read"),
        ("absent.pem", "one.key", "cannot read"),
    ] {
        let said = start(chain, key);
        assert!(said.contains(expected), "{chain} {key}: {said}");
    }
}

#[test]
fn an_echo_speaks_tls_too() {
    let gateway = Gateway::start("echo", &["--echo"]);
    let request = format!("wss://localhost:{}/", gateway.port()).into_client_request().unwrap();
    let (mut socket, _) = tungstenite::client(request, gateway.tls(&client())).unwrap();
    for bytes in [0, 1, 125, 126, 16_383, 16_384, 65_536, 1_000_000] {
        let message = Message::binary(vec![7; bytes]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    put_certificate(&gateway.folder, "two");
    gateway.hang_up();
    let before = shown(socket.get_ref());
    loop {
        let request = format!("wss://localhost:{}/", gateway.port()).into_client_request().unwrap();
        let (mut other, _) = tungstenite::client(request, gateway.tls(&client())).unwrap();
        other.send(Message::text("x")).unwrap();
        other.read().unwrap();
        if shown(other.get_ref()) != before {
            break;
        }
    }
    socket.send(Message::text("still")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still"));
    gateway.end();
}
