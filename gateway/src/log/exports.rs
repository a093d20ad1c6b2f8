//! Records on their way to the export of telemetry, beside those on their way to standard error.

use super::Record;
use crate::metrics::{Fate, Metrics, Signal};
use crate::store::lock;
use std::collections::VecDeque;
use std::sync::Mutex;

/// A bounded queue. Who puts something into it wakes nobody: the exporter looks into it in its own time.
#[derive(Debug)]
pub struct Exports {
    waiting: Mutex<VecDeque<Record>>,
    waiting_max: usize,
    metrics: Metrics,
}

impl Exports {
    /// Room for so many records.
    pub fn new(waiting_max: usize, metrics: Metrics) -> Exports {
        Exports { waiting: Mutex::default(), waiting_max, metrics }
    }

    /// Takes copies of what there is room for, and counts the rest as dropped.
    pub(super) fn put(&self, records: &[Record]) {
        let mut waiting = lock(&self.waiting);
        let taken = records.len().min(self.waiting_max.saturating_sub(waiting.len()));
        waiting.extend(records[..taken].iter().cloned());
        drop(waiting);
        let telemetry = self.metrics.telemetry();
        telemetry.left(Signal::Logs, taken as u64);
        telemetry.count(Signal::Logs, Fate::Dropped, (records.len() - taken) as u64);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// The next ones, at most `count`, oldest first.
    pub(crate) fn take(&self, count: usize) -> Vec<Record> {
        let mut waiting = lock(&self.waiting);
        let count = count.min(waiting.len());
        let taken: Vec<Record> = waiting.drain(..count).collect();
        drop(waiting);
        self.metrics.telemetry().took(Signal::Logs, taken.len() as u64);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Event;
    use crate::metrics::Format;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_order_is_kept() {
        let metrics = Metrics::new("n", 1);
        let exports = Exports::new(3, metrics.clone());
        let records: Vec<Record> = (0..5).map(|at| Record::new(Event::Listening, at, "")).collect();
        exports.put(&records[..2]);
        exports.put(&records[2..]);
        let times = |records: Vec<Record>| records.iter().map(|record| record.at_ms).collect::<Vec<_>>();
        assert_eq!((exports.waiting(), times(exports.take(2))), (3, vec![0, 1]));
        assert_eq!(times(exports.take(9)), [2]);
        assert_eq!(exports.waiting(), 0);
        let text = metrics.snapshot().text(Format::negotiate(std::iter::empty()));
        for (name, value) in [("items_total{", " 2"), ("queue_size{", " 0")] {
            let name = format!("im_gateway_telemetry_{name}");
            let of_logs = |line: &&str| line.starts_with(&name) && line.contains("signal=\"logs\"");
            let is_dropped = |line: &str| name.ends_with("size{") || line.contains("result=\"dropped\"");
            let line = text.lines().filter(of_logs).find(|line| is_dropped(line)).unwrap();
            assert!(line.ends_with(value), "{line}");
        }
    }
}
