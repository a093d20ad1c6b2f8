//! What a gateway says of itself.

use super::gateway::PATIENCE;
use wire::time::Time;

/// The text of `/metrics`.
#[derive(Debug)]
pub(crate) struct Exposition(pub(crate) String);

impl Exposition {
    /// The sum of the series that `selector` picks, `family` or `family{name="value",…}`; panics if there is none.
    pub(crate) fn sum(&self, selector: &str) -> f64 {
        let (family, labels) = selector.split_once('{').unwrap_or((selector, "}"));
        let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        let is_picked = |line: &&str| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        let values: Vec<f64> = self.0.lines().filter(is_picked).map(value).collect();
        assert!(!values.is_empty(), "no {selector} in\n{}", self.0);
        values.iter().sum()
    }

    /// What is accepted, and what has become of it: delivered, queued, expired, failed, in flight.
    pub(crate) fn conservation(&self) -> (f64, [f64; 5]) {
        let parts = [
            "im_gateway_messages_delivered_total",
            "im_service_offline_queue_size",
            "im_gateway_messages_expired_total",
            "im_gateway_messages_failed_total",
            "im_gateway_messages_in_flight",
        ];
        (self.sum("im_gateway_messages_accepted_total"), parts.map(|part| self.sum(part)))
    }
}

/// Asks again until the sum that `selector` picks is as wanted, and gives it.
pub(crate) fn wait_until(selector: &str, ask: impl Fn() -> Exposition, wanted: impl Fn(f64) -> bool) -> f64 {
    let until = Time::now() + PATIENCE;
    loop {
        let value = ask().sum(selector);
        if wanted(value) {
            return value;
        }
        assert!(Time::now() < until, "{selector} stays at {value}");
        std::thread::yield_now();
    }
}
