//! Runs killed at any moment, with faults that overlap in force: within ten seconds nothing of them is left, read back from the
//! targets. `KILL_ROUNDS` and `KILL_SEED` make it longer or another one (`ci/kill`).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod victim;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use victim::Random;
use wire::time::Time;

/// How soon nothing may be left.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(10);
const FAULTS: [&str; 2] = ["/test/latency", "/test/failure-rate"];

/// A folder of the test's own, which all processes of its runs have in their environment.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("loadgen-kill-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("results")).unwrap();
        Place(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.current_dir(&self.0).env("XDG_STATE_HOME", &self.0).args(arguments);
        command
    }

    fn recover(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(&[&["recover"], arguments].concat()).output().unwrap();
        (output.status.code(), text(&output))
    }

    fn journals(&self) -> usize {
        std::fs::read_dir(self.0.join("loadgen/journal")).map_or(0, Iterator::count)
    }

    /// Numbers of the processes that have been started for it and are not dead.
    fn processes(&self) -> Vec<u32> {
        let pids = std::fs::read_dir("/proc").unwrap();
        let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        let marked = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mark = self.0.as_os_str().as_encoded_bytes();
            environment.windows(mark.len()).any(|part| part == mark)
        };
        pids.filter(marked).filter(|pid| state(*pid).is_some_and(|state| state != 'Z')).collect()
    }

    /// Starts a process that puts faults into `gateway` and takes them out again, by the choice of `seed`, until it is killed;
    /// without a seed it puts all of them in and keeps them. Returns when it has begun.
    fn victim(&self, gateway: &Gateway, seed: Option<u64>) -> Child {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim::puts_faults_in_until_it_is_killed", "--ignored", "--nocapture"])
            .env("XDG_STATE_HOME", &self.0)
            .env("VICTIM_FOLDER", &self.0)
            .env("VICTIM_URL", format!("http://{}", gateway.address))
            .env("VICTIM_PID", gateway.child.id().to_string())
            .env("VICTIM_SEED", seed.map(|seed| seed.to_string()).unwrap_or_default())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("begun")).unwrap().unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        child
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A gateway that no run has started, so that it outlives them.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start() -> Gateway {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["gateway", "--follow-stdin", "--enable-test-faults", "--shards=2", "--log-level=error"])
            .arg("--listen=127.0.0.1:0")
            .env("GATEWAY_AUTH_KEY", "k")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        Gateway { child, address: said["address"].as_str().unwrap().parse().unwrap() }
    }

    /// What is in force, by reading its state back.
    fn broken(&self) -> Vec<&'static str> {
        if state(self.child.id()) == Some('T') {
            return vec!["paused"];
        }
        FAULTS.into_iter().filter(|path| faulty_shards(self.address, path) != Some(0)).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn faulty_shards(address: SocketAddr, path: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    body["shards_in_force"].as_u64()
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits until `left` finds nothing any more, and gives how long that took.
#[track_caller]
fn until_nothing_is_left<T: std::fmt::Debug>(what: &str, mut left: impl FnMut() -> Vec<T>) -> Duration {
    let begin = Time::now();
    loop {
        let found = left();
        let waited = Time::now().since(begin);
        if found.is_empty() {
            return waited;
        }
        assert!(waited < LEFT_BEHIND_MAX, "{what}: {found:?} after {waited:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rounds_and_seed() -> (u64, u64) {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    (number("KILL_ROUNDS", 6), number("KILL_SEED", 1))
}

/// Every fault that was asked for is healed, says the audit of the only run in `place`.
#[track_caller]
fn audit_says_that_all_is_healed(place: &Place, what: &str) -> usize {
    let audit = std::fs::read_to_string(place.0.join("results/audit.jsonl")).unwrap_or_default();
    let lines = audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut open = std::collections::BTreeSet::new();
    let mut asked = 0;
    for line in lines {
        match line["action"].as_str().unwrap() {
            "asked" => {
                asked += 1;
                assert!(open.insert(line["number"].to_string()));
            }
            "healed" => assert!(open.remove(&line["number"].to_string()), "{what}: healed twice: {line}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{what}: the audit does not say that {open:?} are healed: {audit}");
    asked
}

#[test]
fn a_gateway_that_outlives_its_run_is_left_whole() {
    let (rounds, seed) = rounds_and_seed();
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random(seed);
    let (mut slowest, mut asked, mut caught) = (Duration::ZERO, 0, 0);
    for round in 0..rounds {
        let what = format!("seed {seed}, round {round}");
        let (place, gateway) = (Place::new(&format!("outlived-{round}")), Gateway::start());
        let mut victim = place.victim(&gateway, Some(random.next()));
        std::thread::sleep(Duration::from_micros(random.below(800_000)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        caught += usize::from(place.journals() > 0);
        let took = until_nothing_is_left(&what, || gateway.broken());
        let rest = until_nothing_is_left(&what, || place.processes());
        assert_eq!(place.journals(), 0, "{what}");
        asked += audit_says_that_all_is_healed(&place, &what);
        slowest = slowest.max(took + rest);
    }
    println!("{asked} faults, {caught} runs had a journal when they died; slowest to heal {slowest:?}");
}

/// Faults of every kind that a scenario has, overlapping. The gateway's patience with messages that nobody acknowledges any more is
/// short, for its leisure at the end is none of what a run leaves behind.
const SCENARIO: &str = "version: 1
clock: real
history: {warmup: 300ms}
target: {gateway: {flags: {drain-timeout: 1s}}}
population: {members: {executor: constant-vus, vus: 50, connect_rate: 2k/s}}
traffic: {chat: {executor: constant-arrival-rate, from: members, to: random-user, rate: 100/s, size: 64B}}
phases:
  - name: broken
    for: 2s
    faults:
      - {fault: gateway.latency, delay: 300ms}
      - {fault: gateway.failure_rate, share: 20%, at: 100ms, for: 700ms}
      - {fault: process.pause, process: gateway, at: 300ms, for: 200ms}
      - {fault: process.kill, process: gateway, at: 1s, for: 300ms}
      - {fault: process.restart, process: gateway, at: 1500ms, down_for: 200ms}
";

#[test]
fn nothing_of_a_killed_run_is_left() {
    let (rounds, seed) = rounds_and_seed();
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random(seed);
    let (mut slowest, mut caught) = (Duration::ZERO, 0);
    for round in 0..rounds {
        let what = format!("seed {seed}, round {round}");
        let place = Place::new(&format!("own-{round}"));
        std::fs::write(place.0.join("run.yaml"), SCENARIO).unwrap();
        let mut run = place.command(&["run", "run.yaml", "--quiet"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(4_000_000)));
        run.kill().unwrap();
        run.wait().unwrap();
        caught += usize::from(place.journals() > 0);
        slowest = slowest.max(until_nothing_is_left(&what, || place.processes()));
        // Without a guardian yet, or any more, nothing was in force: the next run, or this, removes the empty journal.
        let (code, said) = place.recover(&[]);
        assert_eq!((code, place.journals()), (Some(0), 0), "{what}: {said}");
        assert!(said.starts_with("nothing to heal"), "{what}: the guardian has left something: {said}");
    }
    println!("{caught} runs had a journal when they died; slowest to be gone {slowest:?}");
}

#[test]
fn what_neither_run_nor_guardian_healed_is_healed_by_recover() {
    let (place, mut gateway) = (Place::new("recover"), Gateway::start());
    let mut victim = place.victim(&gateway, None);
    let (code, said) = place.recover(&["--dry-run"]);
    assert!(code == Some(0) && said.contains("drill: alive, left alone"), "{said}");
    // The guardian first: it would heal.
    let mut processes = place.processes();
    processes.retain(|pid| *pid != victim.id());
    processes.into_iter().for_each(|guardian| signal(guardian, Signal::KILL));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let (code, said) = place.recover(&["--dry-run", "--run", "drill"]);
    let pid = gateway.child.id();
    let expected = [
        format!(
            "drill: pause: would SIGCONT to process {pid}, then read /proc/{pid}/stat, unless it is gone"
        ),
        format!("drill: latency: would DELETE http://{}/test/latency?asked=NOW, then GET", gateway.address),
    ];
    assert!(code == Some(0) && expected.iter().all(|line| said.contains(line)), "{said}");
    assert_eq!(gateway.broken(), ["paused"], "a dry run does nothing");
    assert!(place.recover(&["--run", "another"]).1.starts_with("nothing to heal: no open fault of another"));
    let (code, said) = place.recover(&["--run", "drill"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("drill: latency healed: GET /test/latency: in force on 0 of 2 shards"), "{said}");
    assert!(gateway.broken().is_empty() && place.journals() == 0);
    let (code, said) = place.recover(&[]);
    assert!(code == Some(0) && said.starts_with("nothing to heal"), "again: {said}");

    // A target that answers no more, and is not known to be gone, proves nothing.
    let mut victim = place.victim(&gateway, None);
    let processes = place.processes();
    processes
        .into_iter()
        .filter(|pid| *pid != victim.id())
        .for_each(|guardian| signal(guardian, Signal::KILL));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let journal = place.0.join("loadgen/journal/drill.jsonl");
    let whole = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, whole.replace("/test/latency\"", "/test/typo\"")).unwrap();
    std::fs::write(place.0.join("run.yaml"), SCENARIO).unwrap();
    let output = place.command(&["run", "run.yaml"]).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(115), "{said}");
    assert!(
        said.contains("nothing was started") && said.contains("drill: latency is NOT proven healed"),
        "{said}"
    );
    assert!(said.contains("left by an earlier run: drill: pause healed"), "{said}");
    let (code, said) = place.recover(&[]);
    assert!(code == Some(115) && said.contains("once it is in order, remove"), "{said}");
    gateway.child.kill().unwrap();
    gateway.child.wait().unwrap();
    let (code, said) = place.recover(&[]);
    assert!(code == Some(0) && said.contains("is gone, and the fault with it"), "{said}");
}

/// A run with latency in its own gateway, once that is in force, and where the gateway listens.
fn start_slow(place: &Place) -> (Child, SocketAddr) {
    let slow = "phases: [{name: slow, for: 30s, faults: [{fault: gateway.latency, delay: 300ms}]}]\n";
    let scenario = SCENARIO.split_once("phases:").unwrap().0.to_owned() + slow;
    std::fs::write(place.0.join("run.yaml"), scenario).unwrap();
    let mut run = place.command(&["run", "run.yaml", "--out", "."]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let address = || {
        let folders = std::fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().path());
        let audit =
            folders.filter_map(|folder| std::fs::read_to_string(folder.join("audit.jsonl")).ok()).next()?;
        let mut lines = audit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let target = lines.next()?["target"].as_str()?.to_owned();
        lines.find(|line| line["action"] == "effective")?;
        target.strip_prefix("http://")?.split('/').next()?.parse().ok()
    };
    let begin = Time::now();
    while Time::now().since(begin) < Duration::from_secs(20) {
        if let Some(address) = address() {
            return (run, address);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill().unwrap();
    panic!("no fault came into force: {}", text(&run.wait_with_output().unwrap()));
}

#[test]
fn a_run_that_stood_still_is_healed_meanwhile_and_ends_void() {
    let place = Place::new("stopped");
    let (run, gateway) = start_slow(&place);
    assert_ne!(faulty_shards(gateway, FAULTS[0]), Some(0));
    signal(run.id(), Signal::STOP);
    let left = || Some(()).filter(|()| faulty_shards(gateway, FAULTS[0]) != Some(0)).into_iter().collect();
    until_nothing_is_left("the guardian of a run that stands still", left);
    signal(run.id(), Signal::CONT);
    let output = run.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(112), "{said}");
    assert!(said.contains("stood still for longer than its guardian waits"), "{said}");
    assert!(place.processes().is_empty() && place.journals() == 0);
}

#[test]
fn a_run_whose_guardian_dies_heals_and_ends_void() {
    let place = Place::new("unguarded");
    let (run, _) = start_slow(&place);
    let is_guardian = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(b"guardian")
    };
    let guardian = place.processes().into_iter().find(is_guardian).unwrap();
    signal(guardian, Signal::KILL);
    let output = run.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(112), "{said}");
    assert!(said.contains("its guardian has ended"), "{said}");
    assert!(said.contains("healed: GET /test/latency: in force on 0"), "{said}");
    assert!(place.processes().is_empty() && place.journals() == 0);
}
