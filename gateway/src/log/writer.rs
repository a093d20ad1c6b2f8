//! The thread that writes lines to standard error, and what the threads of the edge hold of it.

use super::{Event, Exports, Format, Gate, Level, Record, line};
use crate::store::lock;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use wire::time::Time;

/// How lines are written.
#[derive(Debug, Clone)]
pub struct Start<'a> {
    /// How they look.
    pub format: Format,
    /// How much is said at first.
    pub level: Level,
    /// This node's name.
    pub node: &'a str,
    /// What all threads look at.
    pub gate: Arc<Gate>,
    /// The wall clock at monotonic time zero, nanoseconds since the Unix epoch.
    pub wall_offset_ns: u64,
    /// Where records go besides; `None`: nowhere.
    pub exports: Option<Arc<Exports>>,
}

/// Where records are put; for any thread of the main descriptor table. Never blocks for longer than it takes to move a vector.
#[derive(Debug, Clone)]
pub struct Logger {
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    wall_offset_ns: u64,
    exports: Option<Arc<Exports>>,
}

/// The running thread.
#[derive(Debug)]
pub struct Running {
    queue: Arc<Queue>,
    /// Closed by the thread's end.
    ended: mpsc::Receiver<()>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

/// Bounded by the gate.
#[derive(Debug, Default)]
struct Waiting {
    records: Vec<Record>,
    is_over: bool,
}

impl Start<'_> {
    /// Starts the thread.
    pub fn start(self) -> io::Result<(Logger, Running)> {
        self.gate.set_level(self.level);
        let queue = Arc::new(Queue::default());
        let (alive, ended) = mpsc::channel();
        let (taken, gate, format, node) =
            (Arc::clone(&queue), Arc::clone(&self.gate), self.format, self.node.to_owned());
        let thread = move || {
            taken.write_all(format, &node, &gate);
            drop(alive);
        };
        std::thread::Builder::new().name("log".into()).spawn(thread)?;
        let Start { gate, wall_offset_ns, exports, .. } = self;
        let logger = Logger { queue: Arc::clone(&queue), gate, wall_offset_ns, exports };
        Ok((logger, Running { queue, ended }))
    }
}

impl Logger {
    /// Takes what a shard has said and the gate has let through.
    pub fn take(&self, records: Vec<Record>) {
        // Here and not where lines are written: standard error may be full.
        if let Some(exports) = &self.exports {
            exports.put(&records);
        }
        lock(&self.queue.waiting).records.extend(records);
        self.queue.bell.notify_one();
    }

    /// Says something now, if anybody wants to know; `complete` adds to it.
    pub fn say(
        &self,
        event: Event,
        message: impl Into<std::borrow::Cow<'static, str>>,
        complete: impl FnOnce(Record) -> Record,
    ) {
        if self.gate.wants(event.level()) && self.gate.enter(1) == 1 {
            let at_ms = (self.wall_offset_ns + Time::now().0) / 1_000_000;
            self.take(vec![complete(Record::new(event, at_ms, message))]);
        }
    }

    /// What all threads look at.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

impl Queue {
    /// Writes until it is over and nothing is left.
    fn write_all(&self, format: Format, node: &str, gate: &Gate) {
        let mut lines = Vec::new();
        while let Some(records) = self.next() {
            lines.clear();
            for record in &records {
                line::write(&mut lines, format, record, node);
            }
            // Nobody reading it must not end the gateway, and there is nowhere else to say so.
            let _ = io::stderr().write_all(&lines);
            gate.leave(records.len());
        }
    }

    /// Waits for records; `None`: there will be none any more.
    fn next(&self) -> Option<Vec<Record>> {
        let mut waiting = lock(&self.waiting);
        while waiting.records.is_empty() && !waiting.is_over {
            waiting = self.bell.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        (!waiting.records.is_empty()).then(|| std::mem::take(&mut waiting.records))
    }
}

impl Running {
    /// Writes what waits, at most for `patience`: standard error may be full, and nobody there to read it.
    pub fn end(self, patience: Duration) {
        lock(&self.queue.waiting).is_over = true;
        self.queue.bell.notify_one();
        // Nothing is ever sent: this ends by time, or by the thread's end.
        let _ = self.ended.recv_timeout(patience);
    }
}
