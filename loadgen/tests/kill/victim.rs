//! What is killed: a process that puts faults into a gateway which it has not started, as a run does.

use chaos::active::{Fault, Prepared, Target};
use chaos::faults::gateway::GatewayFault;
use chaos::guardian::Guardian;
use chaos::journal::{self, Journal};
use scenarios::scenario::Pick;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A sequence of numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

const FAULTS: [(&str, Fault); 3] = [
    ("latency", Fault::Gateway(GatewayFault::Latency { delay: Duration::from_millis(300), share: 1.0 })),
    ("loss", Fault::Gateway(GatewayFault::FailureRate { share: 0.2, pick: Pick::Even })),
    ("pause", Fault::Pause),
];
/// Longer than any test: what ends is ended by whoever heals.
const LEASE: Duration = Duration::from_secs(600);
const SILENCE: Duration = Duration::from_secs(20);

struct Victim {
    target: Target,
    journal: Journal,
    guardian: Guardian,
    active: Vec<(usize, u64, Prepared)>,
}

#[test]
#[ignore = "the other tests start it, and kill it"]
fn puts_faults_in_until_it_is_killed() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (url, folder) = (variable("VICTIM_URL"), PathBuf::from(variable("VICTIM_FOLDER")));
    if url.is_empty() {
        return;
    }
    let journal = Journal::create(&journal::folder(), "drill", &folder.join("results")).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    program.arg("guardian").arg("--journal").arg(journal.path());
    let guardian = Guardian::start(program, &journal).unwrap();
    let target = Target {
        base_url: url,
        pid: Some(variable("VICTIM_PID").parse().unwrap()),
        http: loadgen::run::http_client().unwrap(),
    };
    let mut victim = Victim { target, journal, guardian, active: Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Ok(seed) = variable("VICTIM_SEED").parse() else {
            for fault in 0..FAULTS.len() {
                victim.inject(fault).await;
            }
            println!("begun");
            return std::future::pending().await;
        };
        println!("begun");
        let mut random = Random(seed);
        loop {
            victim.step(random.below(FAULTS.len() as u64) as usize).await;
            tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        }
    });
}

impl Victim {
    /// Puts a fault in, or takes it out if it is in.
    async fn step(&mut self, fault: usize) {
        match self.active.iter().position(|(active, _, _)| *active == fault) {
            Some(place) => self.heal(place).await,
            None => self.inject(fault).await,
        }
    }

    async fn inject(&mut self, fault: usize) {
        let (name, wanted) = FAULTS[fault];
        let prepared = wanted.prepare(&self.target).unwrap();
        self.guardian.renew(SILENCE).unwrap();
        let number = self.journal.asked(name, prepared.undo()).unwrap();
        // A paused gateway does not answer: then it may be in force later.
        if let Ok(in_force) = prepared.inject(&self.target, LEASE).await {
            self.journal.effective(number, in_force.effective).unwrap();
        }
        self.active.push((fault, number, prepared));
    }

    async fn heal(&mut self, place: usize) {
        self.guardian.renew(SILENCE).unwrap();
        let (_, number, prepared) = &self.active[place];
        if let Ok(healed) = prepared.heal(&self.target, || panic!("nothing was killed")).await {
            self.journal.healed(*number, &healed.proof).unwrap();
            drop(self.active.remove(place));
        }
    }
}
