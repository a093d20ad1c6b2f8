//! The whole gateway, its clients and the network between them, in virtual time: thousands of seeds of disconnects, resets,
//! half-open peers, slow readers, mail that takes its time, shards that stand still, gateways that drain or die at any step, and
//! disks that lose what was not synced, or break.
//!
//! After every step what was accepted must equal what became of it, and every promise of PROTOCOL.md must hold. A seed that
//! fails is printed with the command that plays it again. `ci/simulate N` runs N fixed and N fresh seeds.

mod device;
mod disk;
mod edge;
mod life;
mod run;
mod settings;
mod truth;

use crate::life::Planted;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Fixed seeds of a plain `cargo test`, and as many fresh ones; SIM_SEEDS asks for more.
const SEEDS: u64 = 500;
/// Within so many seeds a planted fault must be found.
const PLANTED_SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn outcome(seed: u64, planted: Planted) -> Result<run::Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| run::run(seed, planted, false))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")))
    })
}

/// What many runs were together.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    messages: usize,
    /// Lives of gateways.
    lives: u64,
    /// The first seed that failed, and why.
    failed: Option<(u64, String)>,
}

/// Runs seeds, each of them once over all threads, until none is left or one has failed.
fn work(seeds: Range<u64>, taken: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    loop {
        let seed = seeds.start + taken.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            return tally;
        }
        match outcome(seed, Planted::Nothing) {
            Ok(outcome) => {
                tally.runs += 1;
                tally.messages += outcome.messages;
                tally.lives += u64::from(outcome.lives);
            }
            Err(problem) => {
                tally.failed = Some((seed, problem));
                taken.store(seeds.end - seeds.start, Ordering::Relaxed);
                return tally;
            }
        }
    }
}

fn all_hold(seeds: Range<u64>) {
    let taken = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(seeds.clone(), &taken))).collect();
        threads.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    if let Some((seed, problem)) = tallies.iter().filter_map(|tally| tally.failed.clone()).min() {
        panic!(
            "SEED={seed}: {problem}\nplay it again: SEED={seed} cargo test -p gateway --test simulation one_seed -- --nocapture"
        );
    }
    let runs: u64 = tallies.iter().map(|tally| tally.runs).sum();
    let messages: usize = tallies.iter().map(|tally| tally.messages).sum();
    let lives: u64 = tallies.iter().map(|tally| tally.lives).sum();
    println!("{runs} seeds, {messages} messages, {lives} lives of gateways");
    assert!(runs < 100 || (messages as u64 > runs && lives > runs), "the simulation does next to nothing");
}

#[test]
fn fixed_seeds() {
    all_hold(0..number("SIM_SEEDS").unwrap_or(SEEDS));
}

#[test]
fn fresh_seeds() {
    let count = number("SIM_SEEDS").unwrap_or(SEEDS);
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    let first = u64::from_le_bytes(bytes) >> 1;
    all_hold(first..first + count);
}

fn each_holds(seeds: &[u64]) {
    for &seed in seeds {
        all_hold(seed..seed + 1);
    }
}

#[test]
fn a_stale_resume_acknowledges_nothing() {
    each_holds(&[8136, 308, 1572]);
}

#[test]
fn a_refusal_that_nobody_heard_is_not_remembered_as_accepted() {
    each_holds(&[18, 1642, 1813]);
}

#[test]
fn a_sender_that_reconnects_elsewhere_does_not_overtake_itself() {
    each_holds(&[111, 3333]);
}

#[test]
fn a_device_that_leaves_just_after_sent_has_its_copy() {
    each_holds(&[1469]);
}

#[test]
fn an_acknowledgement_that_crosses_a_redelivery_ends_it() {
    each_holds(&[429_885_336_893_707_837, 4_198_078_261_134_238_501]);
}

#[test]
fn of_two_connections_of_a_device_the_one_begun_later_has_the_session() {
    each_holds(&[5533, 333_318_378_175_676_390]);
}

#[test]
fn a_group_message_that_waits_for_a_shard_goes_on_by_itself() {
    each_holds(&[5823]);
}

/// Plays the seed that SEED names, and tells what happens.
#[test]
fn one_seed() {
    let seed = number("SEED").unwrap_or(1);
    let first = run::run(seed, Planted::Nothing, true).unwrap();
    assert_eq!(run::run(seed, Planted::Nothing, false).unwrap(), first, "a seed must replay byte for byte");
}

fn is_found(name: &str, plant: impl Fn(u64) -> Planted) {
    let found = (0..PLANTED_SEEDS).find_map(|seed| {
        let problem = outcome(seed, plant(seed)).err()?;
        // Else it is no merit of the plant.
        outcome(seed, Planted::Nothing).ok().map(|_| (seed, problem))
    });
    let Some((seed, problem)) = found else { panic!("{name} is not found in {PLANTED_SEEDS} seeds") };
    println!("{name} is found by seed {seed}: {problem}");
}

#[test]
fn a_skipped_redelivery_is_found() {
    is_found("a skipped redelivery", |seed| Planted::SkippedRedelivery(1 + seed % 3));
}

#[test]
fn a_lost_wake_is_found() {
    is_found("a lost wake-up", |seed| Planted::LostWake(1 + seed % 50));
}

#[test]
fn a_fence_that_takes_a_short_cut_is_found() {
    is_found("a fence that takes a short cut", |_| Planted::ShortFences);
}
