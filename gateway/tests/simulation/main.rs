//! The whole gateway, its clients and the network between them, in virtual time: thousands of seeds of disconnects, resets,
//! half-open peers, slow readers, mail that takes its time, shards that stand still and gateways that die.
//!
//! After every step what was accepted must equal what became of it, and every promise of PROTOCOL.md must hold. A seed that
//! fails is printed with the command that plays it again. `ci/simulate N` runs N fixed and N fresh seeds.

mod device;
mod life;
mod run;
mod settings;
mod truth;

use crate::life::Planted;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Fixed seeds of a plain `cargo test`; SIM_SEEDS asks for more, and for as many fresh ones.
const SEEDS: u64 = 300;
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

fn all_hold(seeds: impl Iterator<Item = u64>) {
    let (mut runs, mut messages) = (0, 0);
    for seed in seeds {
        match outcome(seed, Planted::Nothing) {
            Ok(outcome) => (runs, messages) = (runs + 1, messages + outcome.messages),
            Err(problem) => panic!(
                "SEED={seed}: {problem}\nplay it again: SEED={seed} cargo test -p gateway --test simulation one_seed -- --nocapture"
            ),
        }
    }
    println!("{runs} seeds, {messages} messages");
    assert!(messages as u64 > runs, "the simulation does next to nothing");
}

#[test]
fn fixed_seeds() {
    all_hold(0..number("SIM_SEEDS").unwrap_or(SEEDS));
}

#[test]
fn fresh_seeds() {
    let Some(count) = number("SIM_SEEDS") else { return };
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    let first = u64::from_le_bytes(bytes) >> 1;
    all_hold(first..first + count);
}

/// Plays the seed that SEED names, and tells what happens.
#[test]
fn one_seed() {
    let seed = number("SEED").unwrap_or(1);
    let first = run::run(seed, Planted::Nothing, true).unwrap();
    assert_eq!(run::run(seed, Planted::Nothing, false).unwrap(), first, "a seed must replay byte for byte");
}

fn is_found(name: &str, plant: impl Fn(u64) -> Planted) {
    let found = (0..PLANTED_SEEDS).find_map(|seed| Some((seed, outcome(seed, plant(seed)).err()?)));
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
