//! The fuzz target without a fuzzer: mutations of good scripts, from fixed and from fresh seeds. cargo-fuzz needs nightly; this does not.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use wire::shard::virtual_time::Random;

/// Inputs with each kind of seed; FUZZ_INPUTS asks for more.
const INPUTS: u64 = 3000;

/// Steps: what, how much or which, bytes.
fn scripts() -> Vec<Vec<u8>> {
    let send = |what: u8, bytes: &[u8]| [&[what, bytes.len() as u8], bytes].concat();
    let upgrade =
        [send(0, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), send(1, b"HTTP/1.1 101 S\r\n\r\n")]
            .concat();
    let frames = send(1, &[0x82, 3, 1, 2, 3, 0x89, 0, 0x02, 1, 9, 0x80, 1, 8, 0x88, 0]);
    let masked = send(0, &[0x81, 0x82, 1, 2, 3, 4, 5, 6, 0x81, 0x80, 0, 0, 0, 0]);
    let on = |set: u8| vec![2, set];
    let wait = |ms: u8| vec![4, ms];
    vec![
        [upgrade.clone(), on(0xE0), frames.clone(), masked.clone(), wait(30), frames.clone(), vec![7, 0]]
            .concat(),
        [
            on(0x1F),
            upgrade.clone(),
            wait(200),
            frames.clone(),
            on(7),
            wait(9),
            masked.clone(),
            vec![6, 0, 7, 0],
        ]
        .concat(),
        [
            send(0, b"anything"),
            on(3),
            send(8, &[7; 200]),
            wait(255),
            on(0x24),
            send(1, &[1; 90]),
            on(8),
            wait(3),
        ]
        .concat(),
        [upgrade, frames.clone(), on(0xFF), send(1, &frames[2..9]), on(0), send(1, &frames[9..]), masked]
            .concat(),
    ]
}

/// One to eight changes: bits, bytes, cuts and copies.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(corpus).cloned().unwrap_or_default();
    for _ in 0..1 + random.below(8) {
        let length = bytes.len() as u64;
        let at = random.below(length + 1) as usize;
        let to = at + random.below(length - at as u64 + 1) as usize;
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.bits() as u8,
            2 => bytes.insert(at, random.bits() as u8),
            3 => drop(bytes.drain(at..to)),
            _ => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
        }
        bytes.truncate(16 * 1024);
    }
    bytes
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn link() {
    let corpus = scripts();
    corpus.iter().for_each(|script| targets::link(script));
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .expect("the kernel has chance");
    let inputs = number("FUZZ_INPUTS").unwrap_or(INPUTS);
    // SEED plays one input again.
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => {
            let fresh = u64::from_le_bytes(bytes) >> 1;
            (0..inputs).chain(fresh..fresh + inputs).collect()
        }
    };
    for seed in seeds {
        let script = mutate(&corpus, &mut Random::new(seed));
        let outcome = catch_unwind(AssertUnwindSafe(|| targets::link(&script)));
        assert!(
            outcome.is_ok(),
            "SEED={seed}: {script:?}\nplay it again: SEED={seed} cargo test -p chaos --test fuzzed"
        );
    }
}
