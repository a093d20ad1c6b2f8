//! The real binary, its real gateway, real sockets: what a user sees, and what is left behind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use wire::time::Time;

/// A fresh folder with a scenario in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, scenario: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("loadgen-e2e-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("run.yaml"), scenario).unwrap();
        Place(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.current_dir(&self.0).env("XDG_STATE_HOME", &self.0).args(arguments);
        command
    }

    /// Runs it; again where the machine was too busy for the generator's schedule: a void run says nothing.
    fn run(&self, arguments: &[&str]) -> Output {
        const VOID: i32 = 112;
        let tries = (0..5).map(|_| self.command(arguments).output().unwrap());
        let mut outputs = tries.skip_while(|output| output.status.code() == Some(VOID));
        outputs.next().expect("void five times in a row")
    }

    /// The folder of the last run; void tries before it left theirs, and names begin with the time.
    fn last(&self, out: &str) -> PathBuf {
        let folders = std::fs::read_dir(self.0.join(out)).unwrap();
        folders.map(|folder| folder.unwrap().path()).max().unwrap()
    }

    /// The record of the last run.
    fn result(&self, out: &str) -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(self.last(out).join("result.json")).unwrap()).unwrap()
    }

    fn journals(&self) -> usize {
        std::fs::read_dir(self.0.join("loadgen/journal")).map_or(0, Iterator::count)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SMALL: &str = "version: 1
clock: real
history: {warmup: 500ms}
target: {gateway: {}}
population: {members: {executor: constant-vus, vus: 100, connect_rate: 2k/s}}
traffic: {chat: {executor: constant-arrival-rate, from: members, to: random-user, rate: 200/s, size: 64B}}
";

fn small(rest: &str) -> String {
    format!("{SMALL}{rest}")
}

#[test]
fn a_run_ends_with_a_verdict_and_every_form_says_the_same() {
    let place = Place::new(
        "verdict",
        &small("phases: [{name: steady, for: 2s}]\nthresholds: {ws_msgs_lost: ['count==0']}\n"),
    );
    let output = place.run(&["run", "run.yaml", "--out", "results"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("PASSED  exit 0"), "{stdout}");
    let (folder, result) = (place.last("results"), place.result("results"));
    assert_eq!(result["verdict"]["exit_code"], 0);
    assert_eq!(result["total"]["messages"]["planned"], result["total"]["messages"]["delivered"]);
    for name in ["report.html", "junit.xml", "summary.md"] {
        assert!(std::fs::metadata(folder.join(name)).unwrap().len() > 200, "{name}");
    }
    assert_eq!(place.journals(), 0, "a clean run leaves no journal");
}

/// For how long tasks of this machine have waited for a CPU so far; zero where the kernel does not count it.
fn waited_for_cpu() -> Duration {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = pressure.split_whitespace().find_map(|word| word.strip_prefix("total=")?.parse().ok());
    Duration::from_micros(total.unwrap_or(0))
}

/// Whether a constant rate that found its target frozen for `frozen` of `length` seconds shows the latencies that it must:
/// in the freeze they fall evenly from its length to nothing, elsewhere they are next to nothing.
fn is_closed_form(load: &serde_json::Value, frozen: f64, length: f64) -> bool {
    let seconds = |name: &str| load["latency"][name].as_f64().unwrap() / 1000.0;
    let (median, p99) = (frozen - 0.5 * length, frozen - 0.01 * length);
    let is_near = |seen: f64, expected: f64, share: f64| (seen - expected).abs() <= expected * share;
    is_near(seconds("median_ms"), median, 0.05) && is_near(seconds("p99_ms"), p99, 0.02)
}

#[test]
fn a_frozen_target_shows_the_closed_form() {
    let scenario =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/freeze.yaml"))
            .unwrap();
    for attempt in 0..3 {
        let place = Place::new(&format!("freeze-{attempt}"), &scenario);
        let (begin, waited) = (Time::now(), waited_for_cpu());
        let output = place.run(&["run", "run.yaml", "--out", "results"]);
        if output.status.code() == Some(0) {
            return;
        }
        // Late to freeze or to wake, which the thresholds of a quiet machine do not know.
        let result = place.result("results");
        let (load, phase) = (&result["phases"][0]["load"], &result["phases"][0]);
        let frozen = &phase["faults"][0];
        let between = |begin: &serde_json::Value, end: &serde_json::Value| {
            end.as_f64().unwrap() - begin.as_f64().unwrap()
        };
        let frozen = between(&frozen["effective_wall_seconds"], &frozen["healed_wall_seconds"]);
        let length = between(&phase["wall_begin_seconds"], &phase["wall_end_seconds"]);
        let sound = load["messages"]["lost"] == 0 && load["messages"]["duplicates"] == 0;
        if output.status.code() == Some(99) && sound && is_closed_form(load, frozen, length) {
            return;
        }
        let was_busy = waited_for_cpu() - waited > Time::now().since(begin).mul_f64(0.2);
        assert!(
            was_busy && sound,
            "frozen for {frozen} of {length} s: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    eprintln!("not judged: in each of three runs tasks waited for a CPU");
}

#[test]
fn a_slow_target_fails_its_slo_and_an_unmet_alert_its_run() {
    let slow = "phases: [{name: slow, for: 3s, faults: [{fault: gateway.latency, delay: 300ms}]}]\nexpect: {slos: [{slo: latency p99 < 200ms, during: all}]}\n";
    let place = Place::new("slow", &small(slow));
    let output = place.run(&["run", "run.yaml"]);
    assert_eq!(output.status.code(), Some(99), "{}{}", text(&output.stdout), text(&output.stderr));
    let output = place.run(&["run", "run.yaml", "--no-faults"]);
    assert_eq!(output.status.code(), Some(0), "without the fault: {}", text(&output.stdout));
}

#[test]
fn an_alert_that_fires_uncalled_or_not_at_all_fails_the_run() {
    let rules = |expr: &str| format!("groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]\n");
    let body = "alerts: {rules: [rules.yml], scrape_interval: 1s, evaluation_interval: 1s}\nphases: [{name: steady, for: 4s}]\n";
    let place = Place::new("alert", &small(body));
    std::fs::write(place.0.join("rules.yml"), rules("up == 1")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    assert_eq!(output.status.code(), Some(111), "{}{}", text(&output.stdout), text(&output.stderr));
    std::fs::write(place.0.join("rules.yml"), rules("up == 2")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let early = "alerts: {rules: [rules.yml], scrape_interval: 1s, evaluation_interval: 1s}\nphases: [{name: steady, for: 3s}, {name: slow, for: 3s, faults: [{fault: gateway.latency, delay: 300ms}]}]\n";
    std::fs::write(place.0.join("run.yaml"), small(early)).unwrap();
    std::fs::write(place.0.join("rules.yml"), rules("up == 1")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    assert_eq!(output.status.code(), Some(111), "{}{}", text(&output.stdout), text(&output.stderr));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("slow       ✗  not put in: A was active  (gateway.latency)"), "{stderr}");
    let expecting = small(
        "alerts: {rules: [rules.yml], scrape_interval: 1s, evaluation_interval: 1s}\nphases: [{name: down, for: 6s, faults: [{fault: process.kill, process: gateway}]}, {name: back, for: 3s}]\nexpect: {fires: [{alert: A, cause: down, fires_within: 5s}]}\n",
    );
    std::fs::write(place.0.join("run.yaml"), &expecting).unwrap();
    std::fs::write(place.0.join("rules.yml"), rules("up == 0")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let output = place.run(&["run", "run.yaml", "--no-faults"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(111), "the control run: {stdout}");
    assert!(stdout.contains("A   cause: down"), "{stdout}");
}

#[test]
fn an_alert_pending_at_the_end_is_watched_until_it_is_decided() {
    let rule = |hold: &str| {
        format!(
            "groups: [{{name: g, rules: [{{alert: A, expr: 'sum(rate(im_gateway_messages_delivered_total[3s])) > 250', for: {hold}}}]}}]\n"
        )
    };
    let body = "alerts: {rules: [rules.yml], scrape_interval: 1s, evaluation_interval: 1s}\nsettle: 6s\nphases: [{name: busy, for: 3s, load: 2x}]\n";
    let place = Place::new("pending", &small(body));
    std::fs::write(place.0.join("rules.yml"), rule("4s")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(111), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("fired in busy"), "fired while the phase was prolonged: {stdout}");
    std::fs::write(place.0.join("rules.yml"), rule("10m")).unwrap();
    let output = place.run(&["run", "run.yaml"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(111), "nobody can know: {stdout}");
    assert!(stdout.contains("no data"), "{stdout}");
}

#[test]
fn wrong_input_is_refused_with_every_place_and_nothing_is_started() {
    let place = Place::new(
        "wrong",
        &small("phases: [{nam: steady, for: 2}]\nexpect: {slos: [{slo: latency p99 < 200}]}\n"),
    );
    let output = place.run(&["run", "run.yaml"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(104), "{stderr}");
    assert!(stderr.contains("unknown key `nam`") && stderr.contains("run.yaml:7:"), "{stderr}");
    assert!(stderr.contains("nothing was started"), "{stderr}");
    assert!(stderr.matches("error:").count() >= 3, "{stderr}");
}

#[test]
fn what_this_version_cannot_run_is_refused_with_its_place() {
    let place = Place::new(
        "unrun",
        "version: 1
clock: real
target: {gateway: {flags: {shards: two, listen: ':1', cash-size: 5}}}
population: {members: {executor: constant-vus, vus: 100, churn: 5%/m}}
traffic:
  chat: {executor: constant-arrival-rate, from: members, to: 'group:dev', rate: 600k/s, size: 64KiB}
phases: [{name: a, for: 2s, load: 2x}]
thresholds: {ws_msgs_gone: ['count==0'], ws_msgs_lost: [{threshold: 'count==0', abortOnFail: true}]}
",
    );
    let output = place.run(&["explain", "run.yaml"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(104), "{stderr}");
    for expected in [
        "`two` is no value of the gateway's flag `shards`",
        "the run sets the gateway's `listen` itself",
        "did you mean `cache-size`?",
        "`churn` is not supported by this version",
        "traffic to a group is not supported by this version",
        "1200000 messages a second are more than can be planned",
        "the gateway takes no message of 65536 bytes",
        "unknown metric `ws_msgs_gone`",
        "`abortOnFail` is not supported by this version",
        "9 problems; nothing was started",
    ] {
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_panic() {
    let place = Place::new("unread", &small("phases: [{name: steady, for: 2s}]\n"));
    for arguments in [&["explain", "run.yaml"][..], &["schema"], &["doctor"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = place.command(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("cannot write to standard output"));
    }
}

#[test]
fn a_rule_that_cannot_be_judged_is_refused_with_its_place() {
    let place =
        Place::new("rule", &small("alerts: {rules: [rules.yml]}\nphases: [{name: steady, for: 2s}]\n"));
    std::fs::write(
        place.0.join("rules.yml"),
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: rate(x[5m]\n",
    )
    .unwrap();
    let output = place.run(&["run", "run.yaml"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(104), "{stderr}");
    assert!(stderr.contains("rules.yml:5:"), "{stderr}");
}

#[test]
fn what_the_machine_does_not_allow_is_said_before_the_load() {
    let place = Place::new("out", &small("phases: [{name: steady, for: 2s}]\n"));
    let output = place.run(&["run", "run.yaml", "--out", "/proc/nowhere"]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(113), "{stderr}");
    assert!(stderr.contains("--out"), "{stderr}");
    let homeless =
        place.command(&["run", "run.yaml"]).env("XDG_STATE_HOME", "/proc/nowhere").output().unwrap();
    let stderr = text(&homeless.stderr);
    assert_eq!(homeless.status.code(), Some(113), "{stderr}");
    assert!(stderr.contains("set XDG_STATE_HOME"), "{stderr}");
    let missing = place.run(&["run", "missing.yaml"]);
    assert_eq!(missing.status.code(), Some(104), "{}", text(&missing.stderr));
}

#[test]
fn a_busy_port_is_refused_with_the_fix() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::new("port", "");
    let output =
        place.command(&["gateway", "--listen", &address]).env("GATEWAY_AUTH_KEY", "k").output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(113), "{stderr}");
    assert!(stderr.contains("in use"), "{stderr}");
}

/// Starts a run with a paused gateway and waits until the fault is in force.
fn start_paused(place: &Place) -> (Child, u32) {
    let mut child =
        place.command(&["run", "run.yaml"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("frozen")).unwrap().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let gateway = wait_for("the gateway", || gateway_of(child.id()));
    wait_for("the pause", || (state(gateway) == Some('T')).then_some(()));
    (child, gateway)
}

fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = wire::time::Time::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(wire::time::Time::now().since(begin) < Duration::from_secs(20), "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The child process of `parent`.
fn gateway_of(parent: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

const PAUSED: &str =
    "phases: [{name: frozen, for: 30s, faults: [{fault: process.pause, process: gateway}]}]\n";

#[test]
fn ctrl_c_heals_and_reports() {
    let place = Place::new("interrupt", &small(PAUSED));
    let (child, gateway) = start_paused(&place);
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(105), "{stdout}");
    assert!(stdout.contains("interrupted"), "{stdout}");
    assert_eq!(state(gateway), None, "no child outlives a run");
    assert_eq!(place.journals(), 0, "the fault is healed");
}

#[test]
fn kill_9_in_the_middle_of_a_fault_leaves_no_process() {
    let place = Place::new("kill", &small(PAUSED));
    let (mut child, gateway) = start_paused(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the paused gateway to wake and end", || {
        matches!(state(gateway), None | Some('Z')).then_some(())
    });
    wait_for("the guardian to heal", || (place.journals() == 0).then_some(()));
}

#[test]
fn a_gateway_that_dies_by_itself_is_said_and_fails_the_run() {
    let place = Place::new("died", &small("phases: [{name: steady, for: 4s}]\n"));
    let mut child =
        place.command(&["run", "run.yaml"]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().starts_with("steady")).unwrap().unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let gateway = rustix::process::Pid::from_raw(gateway_of(child.id()).unwrap() as i32).unwrap();
    rustix::process::kill_process(gateway, rustix::process::Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = text(&output.stdout);
    assert!(stdout.contains("ended by itself"), "{stdout}");
    assert!(matches!(output.status.code(), Some(99 | 112)), "{stdout}");
}

#[test]
fn the_breaker_on_loss_bounds_what_is_lost() {
    let scenario = small(
        "phases: [{name: steady, for: 2s}, {name: lossy, for: 4s, faults: [{fault: gateway.failure_rate, share: 20%, pick: even}]}, {name: recovered, for: 3s}]
thresholds: {ws_msgs_lost: ['count<60', 'count>0'], 'ws_msgs_refused{phase:steady}': ['count==0'], 'ws_msgs_refused{phase:lossy}': ['count>300'], 'ws_msgs_received{phase:recovered}': ['count>200']}
",
    );
    let flags = "{gateway: {flags: {loss-breaker: 5%, loss-breaker-window: 1s, loss-breaker-min-events: 20, loss-breaker-open-for: 500ms, loss-breaker-probes: 5}}}";
    let place = Place::new("breaker", &scenario.replace("{gateway: {}}", flags));
    let output = place.run(&["run", "run.yaml"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}{}", text(&output.stderr));
    assert!(stdout.contains("circuit_open"), "{stdout}");
    let output = place.run(&["run", "run.yaml", "--set", "target.gateway.flags.loss-breaker=null"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(99), "without the breaker: {stdout}{}", text(&output.stderr));
    assert!(!stdout.contains("circuit_open"), "{stdout}");
}
