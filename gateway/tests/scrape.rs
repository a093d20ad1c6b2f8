//! What a scrape sees while shards count: the source of the cells and of the merge, on loom's types, in every order in which threads
//! may see each other's writes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use cell::{Counter, Distribution, Gauge, Histogram};
use loom::sync::atomic;
use loom::thread;
use std::sync::Arc;

#[path = "../src/metrics/cell.rs"]
#[expect(unreachable_pub, dead_code, reason = "the crate's own module, of which the model uses a part")]
mod cell;

/// Switches of threads against their will that are tried.
const PREEMPTIONS_MAX: usize = 2;
const BOUNDS: [f64; 1] = [1.0];

fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS asks for more.
    builder.preemption_bound = builder.preemption_bound.or(Some(PREEMPTIONS_MAX));
    builder.check(model);
}

/// The figures of one shard.
#[derive(Debug, Default)]
struct Shard {
    accepted: Counter,
    in_flight: Gauge,
    latency: Histogram<1>,
}

impl Shard {
    fn count(&self) {
        self.in_flight.add(1);
        self.accepted.increment();
        self.latency.observe(0.5, &BOUNDS);
        self.latency.observe(2.0, &BOUNDS);
        self.in_flight.add(-1);
    }
}

#[derive(Debug, PartialEq)]
struct Scrape {
    accepted: u64,
    latency: Distribution,
}

fn scrape(shards: &[Shard; 2]) -> Scrape {
    let accepted = shards.iter().map(|shard| shard.accepted.get()).sum();
    Scrape { accepted, latency: Distribution::merge(&BOUNDS, shards.iter().map(|shard| &shard.latency)) }
}

impl Scrape {
    fn has_gone_back(&self, before: &Scrape) -> bool {
        let mut counts = self.latency.counts.iter().zip(&before.latency.counts);
        self.accepted < before.accepted
            || counts.any(|(now, before)| now < before)
            || self.latency.sum < before.latency.sum
    }
}

/// Two shards count, each by itself; somebody scrapes meanwhile.
fn counting(while_they_count: impl Fn(&Arc<[Shard; 2]>) + Sync + Send + 'static) {
    explore(move || {
        let shards: Arc<[Shard; 2]> = Arc::default();
        let counters: Vec<_> = (0..2)
            .map(|index| {
                let shards = Arc::clone(&shards);
                thread::spawn(move || shards[index].count())
            })
            .collect();
        while_they_count(&shards);
        for counter in counters {
            counter.join().unwrap();
        }
        let latency = Distribution { bounds: &BOUNDS, counts: vec![2, 2], sum: 5.0 };
        assert_eq!(scrape(&shards), Scrape { accepted: 2, latency });
        assert_eq!(shards.iter().map(|shard| shard.in_flight.get()).sum::<i64>(), 0);
    });
}

#[test]
fn two_scrapes_of_one_thread_never_go_back_and_nothing_is_lost() {
    counting(|shards| {
        let first = scrape(shards);
        let second = scrape(shards);
        assert!(!second.has_gone_back(&first), "{first:?}, then {second:?}");
        // Torn would be a value that was never counted.
        assert!(second.latency.counts.iter().all(|count| *count <= 2) && second.latency.sum <= 5.0);
    });
}

/// The scraper connects anew and another shard answers: it knows of the first answer, so its own is not older.
#[test]
fn scrapes_of_different_threads_never_go_back() {
    explore(|| {
        let shards: Arc<[Shard; 2]> = Arc::default();
        let counted = Arc::clone(&shards);
        let counter = thread::spawn(move || counted[0].count());
        let scraped = Arc::clone(&shards);
        let first = thread::spawn(move || scrape(&scraped)).join().unwrap();
        let second = scrape(&shards);
        assert!(!second.has_gone_back(&first), "{first:?}, then {second:?}");
        counter.join().unwrap();
    });
}

/// Why each cell has one writer: an update is a load and a store.
#[test]
#[should_panic(expected = "left: 1")]
fn two_writers_of_one_cell_lose_a_count() {
    explore(|| {
        let counter = Arc::new(Counter::default());
        let other = Arc::clone(&counter);
        let writer = thread::spawn(move || other.increment());
        counter.increment();
        writer.join().unwrap();
        assert_eq!(counter.get(), 2);
    });
}
