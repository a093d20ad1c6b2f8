//! What the gateway's protections did. Names follow those that the API gateway's operators use.

use super::{LimitScope, Metrics};
use crate::im::protocol::Refusal;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// Metric families of this file.
pub(super) const INSTRUMENTS: u64 = 3;

impl Metrics {
    pub(super) fn protection(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refused = Refusal::ALL.iter().map(|&refusal| {
            (vec![("code", refusal.code())], self.total(|s| s.refused[refusal as usize].get()))
        });
        let help = "Frames refused with an error code";
        self.counters(encoder, "im_gateway_messages_refused", help, refused.collect())?;
        let limited = |scope: LimitScope| self.total(|s| s.rate_limited[scope as usize].get());
        let all_limited = LimitScope::ALL.iter().map(|&(scope, _)| limited(scope)).sum();
        self.counters(
            encoder,
            "im_gateway_rate_limit_requests",
            "Frames that a rate limit was asked about",
            vec![
                (vec![("result", "allowed")], self.total(|s| s.rate_allowed.get())),
                (vec![("result", "limited")], all_limited),
            ],
        )?;
        // By whose limit it was, never by client: clients are unbounded.
        let violations = LimitScope::ALL.iter().map(|&(scope, name)| (vec![("scope", name)], limited(scope)));
        let help = "Frames above a rate limit";
        self.counters(encoder, "im_gateway_rate_limit_violations", help, violations.collect())
    }
}
