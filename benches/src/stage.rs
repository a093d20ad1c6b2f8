//! One shard of the gateway, stepped by hand, with sessions that are open.
//!
//! What it costs is what the gateway's own code costs: frames, JSON, routes, sessions, timers. No socket, thread or clock.

use gateway::auth::{Claims, Key, Policy, Signer, Verifier};
use gateway::config::Limits;
use gateway::im::{Shard, Shared};
use gateway::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;
use wire::shard::direct::{Direct, Link};
use wire::time::Time;
use wire::ws::frame::{self, Opcode};
use wire::ws::handshake;

const KEY: &[u8] = b"a key for benches, and for nothing else";
const BODY: &str = "0123456789012345678901234567890123456789";
const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 1);
const MASK: [u8; 4] = [1, 2, 3, 4];
/// A step for every so much time.
const STEP: Duration = Duration::from_micros(100);

/// A shard with open sessions, users `u0`, `u1` ….
pub struct Stage {
    shard: Direct<Shard>,
    sessions: Vec<Session>,
    now: Time,
    sent: u64,
    text: String,
    frame: Vec<u8>,
    metrics: Metrics,
    /// Asks for the metrics; connected when it does first, for who is silent for long is disconnected.
    scraper: Option<Link>,
}

struct Session {
    link: Link,
    acked: u64,
}

impl Stage {
    /// Opens `sessions` sessions.
    ///
    /// # Errors
    /// A session could not be opened.
    pub fn new(sessions: usize) -> anyhow::Result<Stage> {
        let metrics = Metrics::new("bench", 1);
        let name_bytes_max = Limits::default().name_bytes_max;
        let policy = Policy { leeway: Duration::from_secs(60), audience: None, issuer: None, name_bytes_max };
        let verifier = Verifier::new(Key::secret(KEY)?.into(), policy);
        let shared = Shared::new("bench", verifier, metrics.clone());
        let shard = Direct::new(Time(0), Shard::new(Arc::new(shared), 0));
        let (sent, text, frame) = (0, String::new(), Vec::new());
        let mut stage =
            Stage { shard, sessions: Vec::new(), now: Time(0), sent, text, frame, metrics, scraper: None };
        for index in 0..sessions {
            stage.open(index)?;
        }
        Ok(stage)
    }

    fn open(&mut self, index: usize) -> anyhow::Result<()> {
        let link = self.shard.open(PEER.into());
        let claims = Claims { sub: format!("u{index}"), device: "phone".into(), exp: 1 << 40 };
        let authorization = format!("Authorization: Bearer {}", Signer::new(KEY).sign(&claims)?);
        let mut request = Vec::new();
        handshake::write_request(&mut request, "bench", "/ws", [7; 16], &[&authorization]);
        self.shard.send(link, &request);
        self.step();
        let output = self.shard.output(link);
        anyhow::ensure!(output.windows(7).any(|part| part == b"\"hello\""), "no hello");
        self.shard.forget_output(link);
        self.sessions.push(Session { link, acked: 0 });
        Ok(())
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        self.shard.step(self.now);
    }

    /// Writes a frame of these parts. Not formatted: that would be a good part of what is measured.
    fn write(&mut self, from: usize, parts: &[&str]) {
        self.text.clear();
        parts.iter().for_each(|part| self.text.push_str(part));
        self.frame.clear();
        frame::write(&mut self.frame, Opcode::Text, self.text.as_bytes(), Some(MASK));
        self.shard.send(self.sessions[from].link, &self.frame);
    }

    fn write_send(&mut self, from: usize, id: u64, [kind, name]: [&str; 2]) {
        let id = id.to_string();
        let parts =
            ["{\"type\":\"send\",\"id\":\"", &id, "\",\"to\":\"", kind, name, "\",\"body\":\"", BODY, "\"}"];
        self.write(from, &parts);
    }

    /// Every session sends one message of 100 bytes to its neighbour; a step later each acknowledges what it got.
    pub fn everyone_writes(&mut self) {
        let count = self.sessions.len();
        let first = self.sent;
        self.sent += count as u64;
        for from in 0..count {
            let to = from ^ 1;
            let id = first + from as u64;
            self.write_send(from, id, ["user:u", &to.to_string()]);
        }
        self.step();
        self.acknowledge(0..count);
    }

    /// Everyone becomes a member.
    pub fn everyone_joins(&mut self, group: &str) {
        for from in 0..self.sessions.len() {
            self.write(from, &["{\"type\":\"join\",\"group\":\"", group, "\"}"]);
        }
        self.step();
        for session in &self.sessions {
            self.shard.forget_output(session.link);
        }
    }

    /// The first session sends `messages` to the group at once; all others acknowledge them together.
    pub fn first_writes_to(&mut self, group: &str, messages: usize) {
        for _ in 0..messages {
            self.sent += 1;
            self.write_send(0, self.sent, ["group:", group]);
        }
        self.step();
        // A fan-out is worked off in portions, one a step.
        while self.shard.deadline() == Some(Time(0)) {
            self.step();
        }
        for session in &mut self.sessions[1..] {
            session.acked += messages as u64 - 1;
        }
        self.acknowledge(1..self.sessions.len());
        self.shard.forget_output(self.sessions[0].link);
    }

    fn acknowledge(&mut self, who: std::ops::Range<usize>) {
        for index in who {
            let session = &mut self.sessions[index];
            session.acked += 1;
            self.shard.forget_output(session.link);
            let seq = session.acked.to_string();
            self.write(index, &["{\"type\":\"ack\",\"seq\":", &seq, "}"]);
        }
        self.step();
    }

    /// Asks for the metrics with these headers (lines that end in CRLF), over a connection that stays open. Gives the answer's
    /// length, bytes.
    pub fn scrape(&mut self, headers: &str) -> usize {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: bench\r\n{headers}\r\n");
        let scraper = *self.scraper.get_or_insert_with(|| self.shard.open(PEER.into()));
        self.shard.send(scraper, request.as_bytes());
        self.step();
        let bytes = self.shard.output(scraper).len();
        self.shard.forget_output(scraper);
        bytes
    }

    /// Deliveries acknowledged so far.
    pub fn delivered(&self) -> u64 {
        self.metrics.total(|shard| shard.delivered.iter().map(|counter| counter.get()).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_happens() {
        let mut stage = Stage::new(10).unwrap();
        stage.everyone_writes();
        stage.everyone_writes();
        assert_eq!(stage.delivered(), 20);
        assert!(stage.scrape("") > 10_000 && stage.scrape("Accept-Encoding: gzip\r\n") < 10_000);
        stage.everyone_joins("dev");
        stage.first_writes_to("dev", 8);
        stage.first_writes_to("dev", 1);
        assert_eq!(stage.delivered(), 20 + 9 * 9);
    }
}
