//! What became of log records.

use super::Metrics;
use super::labels::Dropped;
use super::snapshot::{Families, by};

impl Metrics {
    pub(super) fn log_families(&self, families: &mut Families) {
        families.counter("im_gateway_log_records_written", "Log records written", self.log.written());
        let dropped = |why: Dropped| self.log.dropped(why);
        let help = "Log records not written: the same too often in a second, or too many waiting";
        families.counters("im_gateway_log_records_dropped", help, by("reason", dropped));
    }
}
