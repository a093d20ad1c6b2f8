//! A gateway as its own process, on a port of its own.

use super::exposition::{Exposition, wait_until};
use gateway::auth::{Claims, Signer};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use wire::time::Time;

/// What its tokens are signed with.
pub(crate) const KEY: &str = "a key for tests, and for nothing else";
/// Longest wait for anything that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Flags that are in force where a test does not give others. On a machine with much to do a client may be late with its
/// acknowledgements; a test that is not about that must not see things twice for it.
const DEFAULTS: [(&str, &str); 4] =
    [("--listen", "127.0.0.1:0"), ("--shards", "2"), ("--drain-timeout", "2s"), ("--ack-timeout", "1m")];

/// A token for a user's device, which does not expire.
pub(crate) fn token(user: &str, device: &str) -> String {
    sign(KEY, user, device, u64::MAX / 2)
}

/// A token by another key, or that expires: at second `exp` since 1970.
pub(crate) fn sign(key: &str, user: &str, device: &str, exp: u64) -> String {
    Signer::new(key.as_bytes()).sign(&Claims { sub: user.into(), device: device.into(), exp }).unwrap()
}

/// A gateway process; it dies with the test, and ends with its standard input.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it listens for operators.
    admin: Option<SocketAddr>,
    /// What it writes to standard error, when it has ended.
    written: Option<JoinHandle<String>>,
}

impl Gateway {
    /// Starts one on a free port, with faults allowed, and these flags besides.
    pub(crate) fn start(flags: &[&str]) -> Gateway {
        Gateway::start_in(&[], flags)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_in(variables: &[(&str, &str)], flags: &[&str]) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.envs(variables.iter().copied());
        Gateway::spawn(&mut command, flags).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// One whose standard error nobody reads; end it by [`Gateway::ask_to_end`].
    pub(crate) fn start_unread(flags: &[&str]) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        Gateway::spawn_and(&mut command, flags, false).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    /// One shard, so that everybody meets in one step.
    pub(crate) fn start_alone(flags: &[&str]) -> Gateway {
        Gateway::start(&[&["--shards", "1"], flags].concat())
    }

    /// Starts one; `Err`: what it said on standard error instead.
    pub(crate) fn try_start(flags: &[&str]) -> Result<Gateway, String> {
        Gateway::spawn(&mut Command::new(env!("CARGO_BIN_EXE_gateway")), flags)
    }

    /// One that can write no file beyond so many blocks of 512 bytes, as if its disk were full.
    pub(crate) fn with_file_limit(blocks: u64, flags: &[&str]) -> Gateway {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_gateway")]);
        Gateway::spawn(&mut command, flags).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    fn spawn(command: &mut Command, flags: &[&str]) -> Result<Gateway, String> {
        Gateway::spawn_and(command, flags, true)
    }

    fn spawn_and(command: &mut Command, flags: &[&str], reads_log: bool) -> Result<Gateway, String> {
        let missing = DEFAULTS.iter().filter(|(flag, _)| !flags.contains(flag));
        if !flags.contains(&"--auth-key-file") {
            command.env("GATEWAY_AUTH_KEY", KEY);
        }
        let mut child = command
            .args(["--follow-stdin", "--enable-test-faults"])
            .args(missing.flat_map(|(flag, value)| [flag, value]))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Read all along: a gateway whose pipe is full would wait.
        let stderr = reads_log.then(|| child.stderr.take().unwrap());
        let read = |stderr| std::thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        let written = stderr.map(read);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(listening) = serde_json::from_str::<Value>(&line) else {
            child.wait().unwrap();
            return Err(written.map(|written| written.join().unwrap()).unwrap_or_default());
        };
        let address = |name: &str| listening[name].as_str().map(|address| address.parse().unwrap());
        let (address, admin) = (address("address").unwrap(), address("admin"));
        Ok(Gateway { child, address, admin, written })
    }

    /// SIGKILL: it gets no chance to do anything.
    pub(crate) fn kill(self) {
        self.killed();
    }

    /// The same, with all that it has written to standard error.
    pub(crate) fn killed(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.written.take().map(|written| written.join().unwrap()).unwrap_or_default()
    }

    /// It stands still until this is over: what comes meanwhile meets in one step.
    pub(crate) fn while_it_stands<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(rustix::process::Signal::STOP);
        let done = act();
        self.signal(rustix::process::Signal::CONT);
        done
    }

    /// SIGHUP: it reads again what may change.
    pub(crate) fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// SIGTERM: it drains and ends.
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its standard input ends.
    pub(crate) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it politely and gives all that it has written to standard error.
    pub(crate) fn stop(mut self) -> String {
        self.ask_to_end();
        let is_success = self.ended().success();
        let written = self.written.take().unwrap().join().unwrap();
        assert!(is_success, "{written}");
        written
    }

    /// A connection that waits for nothing longer than [`PATIENCE`].
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks over a connection of its own, with these headers (lines that end in CRLF) besides.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        exchange(self.connect(), method, target, headers)
    }

    /// A connection to the operators' address.
    pub(crate) fn connect_admin(&self) -> TcpStream {
        let stream = TcpStream::connect(self.admin.unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The same at the operators' address: status and body.
    pub(crate) fn ask_admin(&self, method: &str, target: &str, headers: &str) -> (u16, String) {
        let answer = exchange(self.connect_admin(), method, target, headers);
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    /// GET: status and body.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let answer = self.ask("GET", path, "");
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    /// What it says of itself.
    pub(crate) fn exposition(&self) -> Exposition {
        Exposition(self.get("/metrics").1)
    }

    /// The sum of the series that the selector picks; panics if there is none: see [`Exposition::sum`].
    pub(crate) fn metric(&self, selector: &str) -> f64 {
        self.exposition().sum(selector)
    }

    /// Waits until a metric has this value.
    pub(crate) fn wait_for(&self, selector: &str, expected: f64) {
        self.wait_until(selector, |value| value == expected);
    }

    /// Waits until a metric is as wanted, and gives it.
    pub(crate) fn wait_until(&self, selector: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        wait_until(selector, || self.exposition(), wanted)
    }

    /// Sessions ended for `reason`.
    pub(crate) fn closed(&self, reason: &str) -> f64 {
        self.metric(&format!("im_gateway_connections_closed_total{{reason=\"{reason}\"}}"))
    }

    /// Connects that failed with `error_type`.
    pub(crate) fn connect_errors(&self, error_type: &str) -> f64 {
        self.metric(&format!("im_gateway_connection_errors_total{{error_type=\"{error_type}\"}}"))
    }

    /// accepted = acknowledged + queued + expired + failed + in flight, once nothing travels between shards.
    pub(crate) fn check_conservation(&self) {
        let until = Time::now() + PATIENCE;
        loop {
            let (accepted, parts) = self.exposition().conservation();
            if accepted == parts.iter().sum::<f64>() {
                return;
            }
            let parts_of = "delivered, queued, expired, failed, in flight";
            assert!(Time::now() < until, "{accepted} accepted, and {parts_of}: {parts:?}");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Asks over this connection, which is closed then.
pub(crate) fn exchange(mut stream: impl Read + Write, method: &str, target: &str, headers: &str) -> Answer {
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "it ends within its head: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    answer.read_exact(&mut body).unwrap();
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
}
