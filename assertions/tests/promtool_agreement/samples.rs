//! Seeded random samples of the im-gateway's metrics: calm traffic with bursts of every fault the rules know.

use crate::dice::Dice;
use assertions::labels::Labels;
use assertions::series::stale_marker;

/// How long and how wild.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Distance of samples and evaluations, ms.
    pub(crate) step_ms: i64,
    /// Samples a series.
    pub(crate) steps: usize,
    /// Bursts of each kind of fault.
    pub(crate) bursts: usize,
    /// Gateways.
    pub(crate) nodes: usize,
}

/// A series and its points, one a step.
#[derive(Debug, Clone)]
pub(crate) struct Sampled {
    pub(crate) labels: Labels,
    pub(crate) points: Vec<Option<f64>>,
}

/// What each kind of burst does to the gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Down,
    Loss,
    Latency,
    AckTimeouts,
    Duplicates,
    OfflineQueue,
    ConnectionErrors,
    Crowd,
    ColdCache,
}

const FAULTS: [Fault; 9] = [
    Fault::Down,
    Fault::Loss,
    Fault::Latency,
    Fault::AckTimeouts,
    Fault::Duplicates,
    Fault::OfflineQueue,
    Fault::ConnectionErrors,
    Fault::Crowd,
    Fault::ColdCache,
];

const BOUNDS: [&str; 8] = ["0.005", "0.05", "0.1", "0.2", "0.5", "1", "2.5", "+Inf"];

struct World {
    dice: Dice,
    steps: usize,
    /// (fault, first step, one past the last)
    bursts: Vec<(Fault, usize, usize)>,
    /// Steps at which a node restarts: its counters begin again.
    restarts: Vec<usize>,
}

/// The samples of one seed.
pub(crate) fn generate(plan: &Plan, seed: u64) -> Vec<Sampled> {
    let mut all = Vec::new();
    for node in ["gw-1", "gw-2"].into_iter().take(plan.nodes) {
        let mut world = World::new(plan, seed ^ u64::from(node.as_bytes()[3]) << 32);
        all.extend(world.node(node));
    }
    all
}

impl World {
    fn new(plan: &Plan, seed: u64) -> World {
        let mut dice = Dice(seed);
        let mut bursts = Vec::new();
        for fault in FAULTS {
            for _ in 0..plan.bursts {
                let start = dice.below(plan.steps as u64) as usize;
                let length = 1 + dice.below(plan.steps as u64 / 6) as usize;
                bursts.push((fault, start, start + length));
            }
        }
        let restarts = (0..3).map(|_| dice.below(plan.steps as u64) as usize).collect();
        World { dice, steps: plan.steps, bursts, restarts }
    }

    fn has(&self, fault: Fault, step: usize) -> bool {
        self.bursts.iter().any(|(kind, from, until)| *kind == fault && (*from..*until).contains(&step))
    }

    fn node(&mut self, node: &str) -> Vec<Sampled> {
        let down: Vec<bool> =
            (0..self.steps).map(|step| self.has(Fault::Down, step) && step % 7 != 3).collect();
        let up = down.iter().map(|down| Some(if *down { 0.0 } else { 1.0 })).collect();
        let mut all = vec![self.sampled("up", node, &[], up, None)];
        let traffic: Vec<u64> = (0..self.steps).map(|_| 900 + self.dice.below(200)).collect();
        for (kind, share) in [("direct", 1), ("group", 3)] {
            let types = [("type", kind)];
            let delivered: Vec<u64> = traffic.iter().map(|count| count / share).collect();
            all.push(self.counter("im_gateway_messages_delivered_total", node, &types, &delivered, &down));
            let lost = self.faulty(Fault::Loss, &delivered, 40, 100_000);
            let reason = [("type", kind), ("reason", "test")];
            all.push(self.counter("im_gateway_messages_failed_total", node, &reason, &lost, &down));
            all.extend(self.histogram(node, kind, &delivered, &down));
        }
        let per_fault = [
            ("im_gateway_ack_timeout_total", Fault::AckTimeouts, 8, 500),
            ("im_gateway_message_duplication_total", Fault::Duplicates, 30, 1000),
            ("im_gateway_connection_errors_total", Fault::ConnectionErrors, 4, 100),
        ];
        for (name, fault, often, rare) in per_fault {
            let counts = self.faulty(fault, &traffic, often, rare);
            all.push(self.counter(name, node, &[], &counts, &down));
        }
        all.push(self.counter("im_gateway_connections_established_total", node, &[], &traffic, &down));
        let misses = self.faulty(Fault::ColdCache, &traffic, 2, 20);
        all.push(self.counter("im_gateway_cache_hits_total", node, &[], &traffic, &down));
        all.push(self.counter("im_gateway_cache_misses_total", node, &[], &misses, &down));
        let queue = self.gauge(Fault::OfflineQueue, 500, 15_000);
        all.push(self.sampled("im_service_offline_queue_size", node, &[], queue, Some(&down)));
        let connections = self.gauge(Fault::Crowd, 80_000, 100_001);
        all.push(self.sampled("im_gateway_active_connections", node, &[], connections, Some(&down)));
        all
    }

    /// One of `often` events in a burst of the fault, one of `rare` else.
    fn faulty(&mut self, fault: Fault, traffic: &[u64], often: u64, rare: u64) -> Vec<u64> {
        let share = |world: &mut World, step: usize, count: u64| {
            let of = if world.has(fault, step) { often } else { rare };
            count / of + u64::from(world.dice.below(of) < count % of)
        };
        traffic.iter().enumerate().map(|(step, count)| share(self, step, *count)).collect()
    }

    fn gauge(&mut self, fault: Fault, calm: u64, burst: u64) -> Vec<Option<f64>> {
        let level = |world: &mut World, step| if world.has(fault, step) { burst } else { calm } + world.dice.below(100);
        (0..self.steps).map(|step| Some(level(self, step) as f64)).collect()
    }

    fn histogram(&mut self, node: &str, kind: &str, delivered: &[u64], down: &[bool]) -> Vec<Sampled> {
        let mut per_bucket = vec![vec![0_u64; self.steps]; BOUNDS.len()];
        for (step, count) in delivered.iter().enumerate() {
            let fastest = if self.has(Fault::Latency, step) { 2 + self.dice.below(5) as usize } else { 0 };
            let slow = self.dice.below(count / 60 + 1);
            for (bucket, counts) in per_bucket.iter_mut().enumerate() {
                let within = if bucket > fastest {
                    *count
                } else if bucket == fastest {
                    count - slow
                } else {
                    0
                };
                counts[step] = within;
            }
        }
        let name = "im_gateway_message_delivery_latency_seconds_bucket";
        let series = per_bucket.iter().zip(BOUNDS);
        series
            .map(|(counts, bound)| self.counter(name, node, &[("type", kind), ("le", bound)], counts, down))
            .collect()
    }

    /// A counter of these events a step; it begins again at a restart.
    fn counter(
        &mut self,
        name: &str,
        node: &str,
        labels: &[(&str, &str)],
        counts: &[u64],
        down: &[bool],
    ) -> Sampled {
        let mut total = 0;
        let mut points = Vec::with_capacity(counts.len());
        for (step, count) in counts.iter().enumerate() {
            if self.restarts.contains(&step) {
                total = 0;
            }
            total += count;
            points.push(Some(total as f64));
        }
        self.sampled(name, node, labels, points, Some(down))
    }

    /// The series as scraped: stale when the target is down, sometimes missing, rarely stale for a step.
    fn sampled(
        &mut self,
        name: &str,
        node: &str,
        labels: &[(&str, &str)],
        mut points: Vec<Option<f64>>,
        down: Option<&[bool]>,
    ) -> Sampled {
        for (step, point) in points.iter_mut().enumerate() {
            if down.is_some_and(|down| down[step]) {
                *point = Some(stale_marker());
            } else if self.dice.one_in(60) {
                *point = None;
            } else if down.is_some() && self.dice.one_in(200) {
                *point = Some(stale_marker());
            }
        }
        let instance = format!("{node}:8080");
        let own = [("__name__", name), ("job", "im-gateway"), ("instance", &instance)];
        let node = (name != "up").then_some(("node", node));
        Sampled {
            labels: Labels::from_pairs(own.into_iter().chain(node).chain(labels.iter().copied())),
            points,
        }
    }
}
