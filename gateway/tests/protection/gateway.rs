//! A gateway as a child process, on a port of its own.

use gateway::auth::{Claims, Signer};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wire::time::Time;

const KEY: &str = "a-key-for-tests-only";
/// Longest wait for anything; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Gateway {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    pub(crate) fn start(flags: &[&str]) -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--follow-stdin", "--enable-test-faults"])
            .args(flags)
            .env("GATEWAY_AUTH_KEY", KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
        Gateway { child, address: said["address"].as_str().unwrap().parse().unwrap() }
    }

    /// One shard, so that everybody meets in one step.
    pub(crate) fn start_alone(flags: &[&str]) -> Gateway {
        Gateway::start(&[&["--shards", "1"], flags].concat())
    }

    /// Its standard input ends.
    pub(crate) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(crate) fn ended(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks over a connection of its own; gives status and body.
    pub(crate) fn ask(&self, method: &str, target: &str) -> (u16, String) {
        let mut stream = self.connect();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = BufReader::new(stream);
        let mut lines = answer.by_ref().lines().map(Result::unwrap);
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        answer.read_exact(&mut body).unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// The sum of all series of `family` that have all of `labels`; panics if there is none.
    pub(crate) fn metric(&self, family: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.ask("GET", "/metrics");
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(!values.is_empty(), "no {family} {labels:?} in\n{text}");
        values.iter().sum()
    }

    /// Waits until the metric is `wanted`.
    pub(crate) fn wait_for(&self, family: &str, labels: &[&str], wanted: impl Fn(f64) -> bool) -> f64 {
        let until = Time::now() + PATIENCE;
        loop {
            let value = self.metric(family, labels);
            if wanted(value) {
                return value;
            }
            assert!(Time::now() < until, "{family} {labels:?} stays at {value}");
        }
    }

    /// Sessions ended for `reason`.
    pub(crate) fn closed(&self, reason: &str) -> f64 {
        self.metric("im_gateway_connections_closed_total", &[&format!("reason=\"{reason}\"")])
    }

    /// Connects that failed with `error_type`.
    pub(crate) fn connect_errors(&self, error_type: &str) -> f64 {
        self.metric("im_gateway_connection_errors_total", &[&format!("error_type=\"{error_type}\"")])
    }

    /// Nothing is lost: what was accepted is acknowledged, kept, given up with a reason, or under way.
    pub(crate) fn assert_conservation(&self) {
        let until = Time::now() + PATIENCE;
        loop {
            let (_, text) = self.ask("GET", "/metrics");
            let sum = |family: &str| -> f64 {
                text.lines()
                    .filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with('{')))
                    .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
                    .sum()
            };
            let accepted = sum("im_gateway_messages_accepted_total");
            let accounted = sum("im_gateway_messages_delivered_total")
                + sum("im_service_offline_queue_size")
                + sum("im_gateway_messages_expired_total")
                + sum("im_gateway_messages_failed_total")
                + sum("im_gateway_messages_in_flight");
            if accepted == accounted {
                return;
            }
            assert!(Time::now() < until, "accepted {accepted}, accounted for {accounted}\n{text}");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A gateway that hangs would not drain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token for a user's device.
pub(crate) fn token(user: &str, device: &str) -> String {
    let claims = Claims { sub: user.into(), device: device.into(), exp: u64::from(u32::MAX) };
    Signer::new(KEY.as_bytes()).sign(&claims).unwrap()
}

/// A `send` frame to a user.
pub(crate) fn send(id: &str, to: &str, body: &str) -> String {
    format!(r#"{{"type":"send","id":"{id}","to":"user:{to}","body":{body}}}"#)
}
