//! Fuzzing without a fuzzer, on any toolchain: mutations of good inputs, and noise, from fixed and from fresh seeds.
//!
//! Included by the tests `fuzzed` of the crates; the targets are those of cargo-fuzz. An input runs on a thread of its own whose name
//! has its seed, so that whatever ends it, a full stack too, names what it was. FUZZ_INPUTS asks for so many inputs; SEED plays one again.

use std::fs;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Most CPU time that one input may take in an optimised build.
const CPU_MAX: Duration = Duration::from_secs(1);
/// An input that takes longer than this by the wall clock is taken to run forever.
const WALL_MAX: Duration = Duration::from_secs(120);
const BYTES_MAX: usize = 16 * 1024;
/// Numbers at the edges of what parsers hold.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1e308",
    "1e-320",
    "NaN",
    "-Inf",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0x7fffffffffffffff",
    "292y",
    "1ms",
    "99999999999999999999999999",
];

/// splitmix64: what a seed means must never change with a crate's version.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    fn pick<'c>(&mut self, corpus: &'c [Vec<u8>]) -> &'c [u8] {
        &corpus[self.below(corpus.len())]
    }
}

/// Feeds a target with the good inputs themselves, and with `inputs` from fixed and as many from fresh seeds. Panics where the target
/// does, and where it takes too long; the message says how to play that input again.
pub(crate) fn survives(package: &str, name: &str, inputs: u64, corpus: &[Vec<u8>], target: fn(&[u8])) {
    let inputs = number("FUZZ_INPUTS").unwrap_or(inputs);
    let fresh = fresh_seed();
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..inputs).chain(fresh..fresh + inputs).collect(),
    };
    let mut slowest = (Duration::ZERO, String::new());
    let good = corpus.iter().enumerate().map(|(index, input)| (format!("good input {index}"), input.clone()));
    let mutated = seeds.iter().map(|seed| (format!("SEED={seed}"), mutate(corpus, &mut Random(*seed))));
    for (what, input) in good.chain(mutated) {
        let took = run(&what, &input, target).unwrap_or_else(|why| {
            panic!(
                "{what} {why}: {:?}\nplay it again: {what} cargo test --release -p {package} --test fuzzed {name}",
                String::from_utf8_lossy(&input)
            )
        });
        if took > slowest.0 {
            slowest = (took, what);
        }
    }
    println!(
        "{name}: {} good inputs and {} mutations, no panic; the slowest took {:?} of CPU time ({})",
        corpus.len(),
        seeds.len(),
        slowest.0,
        slowest.1
    );
}

/// The CPU time that a target took for an input. Errors: what is wrong with that.
fn run(what: &str, input: &[u8], target: fn(&[u8])) -> Result<Duration, String> {
    let (done, ended) = channel();
    let input = input.to_vec();
    let body = move || {
        target(&input);
        // Nobody listens any more if it took too long.
        let _ = done.send(cpu_time());
    };
    let running =
        thread::Builder::new().name(what.to_string()).spawn(body).map_err(|error| error.to_string())?;
    let took = match ended.recv_timeout(WALL_MAX) {
        Ok(took) => took,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return Err(format!("runs for over {WALL_MAX:?}")),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err("panics".into()),
    };
    running.join().map_err(|_| "panics".to_string())?;
    match took > CPU_MAX && !cfg!(debug_assertions) {
        true => Err(format!("takes {took:?} of CPU time, more than {CPU_MAX:?}")),
        false => Ok(took),
    }
}

/// CPU time of this thread so far; zero where the kernel does not tell.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn fresh_seed() -> u64 {
    use std::io::Read;
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the kernel has random numbers");
    u64::from_le_bytes(bytes) >> 1
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One to eight changes of a good input: bits, bytes, cuts, copies, numbers, words, and pieces of others. One in sixteen is noise.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    if random.below(16) == 0 {
        return (0..random.below(512)).map(|_| random.bits() as u8).collect();
    }
    let mut bytes = random.pick(corpus).to_vec();
    for _ in 0..1 + random.below(8) {
        let at = random.below(bytes.len() + 1);
        let to = at + random.below(bytes.len() - at + 1);
        match random.below(10) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.bits() as u8,
            2 => bytes.insert(at, random.bits() as u8),
            3 => drop(bytes.drain(at..to)),
            4 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let other = random.pick(corpus);
                let from = random.below(other.len() + 1);
                bytes.splice(at..to, other[from..].iter().copied());
            }
            6 => {
                let other = random.pick(corpus);
                let from = random.below(other.len() + 1);
                let word = word_from(other, from);
                bytes.splice(word_from(&bytes, at), other[word].iter().copied());
            }
            7 => {
                let edge = NUMBERS[random.below(NUMBERS.len())];
                bytes.splice(number_from(&bytes, at), edge.bytes());
            }
            8 => {
                let line =
                    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end);
                bytes.splice(at..line, std::iter::empty());
            }
            _ => bytes.truncate(to),
        }
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

/// The first word at or after `at`; empty at the end.
fn word_from(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    run_from(bytes, at, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The first number at or after `at`; empty at the end.
fn number_from(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    run_from(bytes, at, |byte| byte.is_ascii_digit())
}

fn run_from(bytes: &[u8], at: usize, is_of_it: impl Fn(u8) -> bool) -> std::ops::Range<usize> {
    let start = bytes[at..].iter().position(|byte| is_of_it(*byte)).map_or(bytes.len(), |found| at + found);
    let end =
        bytes[start..].iter().position(|byte| !is_of_it(*byte)).map_or(bytes.len(), |found| start + found);
    start..end
}
