//! wss and https at the real binary: foreign peers, refusals, and certificates that change under load.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "driver/mod.rs"]
mod driver;

use driver::{Exposition, Gateway, KEY, Member, exchange, send, wait_until};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest as _;

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn certificates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/tests/tls")
}

/// A gateway with a certificate of its own, which is known to the test's clients.
struct Tls {
    gateway: Gateway,
    folder: PathBuf,
}

impl Tls {
    fn start(name: &str, flags: &[&str]) -> Tls {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        put_certificate(&folder, "one");
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let files = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        Tls { gateway: Gateway::start(&[&files, flags].concat()), folder }
    }

    fn port(&self) -> String {
        self.gateway.address.port().to_string()
    }

    fn connect(&self, config: &Arc<ClientConfig>) -> Stream {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        StreamOwned::new(tls, self.gateway.connect())
    }

    fn session(&self, user: &str, config: &Arc<ClientConfig>) -> Member<Stream> {
        let url = format!("wss://localhost:{}/ws", self.port());
        Member::over(self.connect(config), &url, (user, "d"), &[])
    }

    fn wait_for(&self, selector: &str, expected: usize) {
        let ask = || {
            let answer = exchange(self.connect(&client()), "GET", "/metrics", "");
            Exposition(String::from_utf8(answer.body).unwrap())
        };
        wait_until(selector, ask, |value| value == expected as f64);
    }

    fn await_reloads(&self, result: &str, count: usize) {
        let labels = format!("part=\"certificate\",result=\"{result}\"");
        self.wait_for(&format!("im_gateway_config_reloads_total{{{labels}}}"), count);
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

#[test]
fn messages_travel_between_sessions() {
    let tls = Tls::start("messages", &[]);
    let (mut al, mut bob) = (tls.session("al", &client()), tls.session("bob", &client()));
    for id in 0..100 {
        let id = format!("m-{id}");
        assert_eq!(al.ask(&send(&id, "bob", "1")), "sent");
        assert_eq!(bob.delivery()["id"], id);
    }
    bob.close();
    tls.wait_for("im_gateway_connections_closed_total{reason=\"client\"}", 1);
    tls.gateway.stop();
}

#[test]
fn curl_and_openssl_are_served() {
    let tls = Tls::start("foreign", &[]);
    let url = format!("https://localhost:{}/ready", tls.port());
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--resolve"])
        .arg(format!("localhost:{}:127.0.0.1", tls.port()))
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
            .args([
                "s_client",
                "-connect",
                &tls.gateway.address.to_string(),
                "-servername",
                "localhost",
                version,
            ])
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
    tls.wait_for("im_gateway_connection_errors_total{error_type=\"tls\"}", 1);
    tls.gateway.stop();
}

#[test]
fn failed_and_half_handshakes_end_and_are_counted() {
    let tls = Tls::start("half", &[]);
    let mut silent = tls.gateway.connect();
    let mut half = tls.gateway.connect();
    half.write_all(&[0x16, 3, 1, 1, 0, 1]).unwrap();
    let mut plain = tls.gateway.connect();
    plain.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("plain_http"), "{answer}");
    let errors = |kind: &str, count: usize| {
        tls.wait_for(&format!("im_gateway_connection_errors_total{{error_type=\"{kind}\"}}"), count);
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
    tls.gateway.stop();
}

#[test]
fn a_certificate_changes_under_load_and_a_broken_one_does_not() {
    let tls = Tls::start("reload", &[]);
    let first = {
        let mut stream = tls.connect(&client());
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        shown(&stream)
    };
    let (stop, sent, reloads) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for user in ["al", "bob"] {
            let (tls, stop, sent, reloads) = (&tls, &stop, &sent, &reloads);
            scope.spawn(move || {
                let mut member = tls.session(user, &client());
                let mut id = 0;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(member.ask(&send(&format!("m-{id}"), "nobody", "1")), "sent");
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
        std::fs::write(tls.folder.join("chain.pem"), "no certificate").unwrap();
        tls.gateway.hang_up();
        tls.await_reloads("failed", 1);
        std::fs::copy(certificates().join("two.pem"), tls.folder.join("chain.pem")).unwrap();
        tls.gateway.hang_up();
        // The key is still that of the first certificate.
        tls.await_reloads("failed", 2);
        progress();
        for round in 1..=4 {
            put_certificate(&tls.folder, if round % 2 == 1 { "two" } else { "one" });
            tls.gateway.hang_up();
            tls.await_reloads("ok", round);
            loop {
                let mut stream = tls.connect(&client());
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
    let written = tls.gateway.stop();
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
    let tls = Tls::start("echo", &["--echo"]);
    let request = format!("wss://localhost:{}/", tls.port()).into_client_request().unwrap();
    let (mut socket, _) = tungstenite::client(request, tls.connect(&client())).unwrap();
    for bytes in [0, 1, 125, 126, 16_383, 16_384, 65_536, 1_000_000] {
        let message = Message::binary(vec![7; bytes]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    put_certificate(&tls.folder, "two");
    tls.gateway.hang_up();
    let before = shown(socket.get_ref());
    loop {
        let request = format!("wss://localhost:{}/", tls.port()).into_client_request().unwrap();
        let (mut other, _) = tungstenite::client(request, tls.connect(&client())).unwrap();
        other.send(Message::text("x")).unwrap();
        other.read().unwrap();
        if shown(other.get_ref()) != before {
            break;
        }
    }
    socket.send(Message::text("still")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still"));
    tls.gateway.stop();
}
