//! The scenarios that are shipped load without a problem, and the reference says what the table says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use scenarios::scenario::{Clock, FaultKind};
use scenarios::{Loaded, Options, keys, load_with};

/// The files of the repository; packs come from the fixtures, so that a scenario's own checks stand alone.
fn files(path: &Path) -> std::io::Result<String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    match path.strip_prefix("scenarios/packs") {
        Ok(pack) => std::fs::read_to_string(home.join("tests/fixtures/packs").join(pack)),
        Err(_) => std::fs::read_to_string(home.join(path.strip_prefix("scenarios").unwrap_or(path))),
    }
}

fn load(name: &str, sets: &[&str], no_faults: bool) -> Loaded {
    let options = Options { sets: sets.iter().map(|&set| set.to_owned()).collect(), no_faults, env: None };
    let loaded = load_with(&PathBuf::from(format!("scenarios/{name}.yaml")), &options, &files);
    loaded.unwrap_or_else(|problems| panic!("{name}: {problems}"))
}

#[test]
fn each_loads_without_problems() {
    let check = |name: &str, clock: Clock, real: u64, rule_time: u64| {
        let loaded = load(name, &[], false);
        assert!(loaded.problems.0.is_empty(), "{name}: {}", loaded.problems);
        let scenario = loaded.scenario;
        let sum = |times: Vec<Duration>| times.iter().sum::<Duration>();
        assert_eq!(scenario.name, name);
        assert_eq!(scenario.clock.value, clock, "{name}");
        assert_eq!(
            sum(scenario.phases.iter().map(|p| p.real).collect()),
            Duration::from_secs(real),
            "{name}"
        );
        assert_eq!(
            sum(scenario.phases.iter().map(|p| p.stands_for).collect()),
            Duration::from_secs(rule_time),
            "{name}"
        );
        assert!(scenario.phases.iter().all(|phase| phase.factor <= 60.0));
    };
    check("peak", Clock::Stretched, 50, 3000);
    check("steady", Clock::Stretched, 60, 3600);
    check("loss", Clock::Stretched, 89, 5340);
    check("loss-breaker", Clock::Stretched, 39, 2340);
    check("outage", Clock::Real, 108, 108);
}

#[test]
fn im_10k_is_a_base_and_says_so() {
    let problems =
        load_with(Path::new("scenarios/im-10k.yaml"), &Options::default(), &files).expect_err("no phases");
    assert!(problems.to_string().contains("nothing says how long the run takes"), "{problems}");
    load("im-10k", &["phases=[{name: steady, for: 5s}]"], false);
}

#[test]
fn peak_lowers_to_what_it_says() {
    let scenario = load("peak", &[], false).scenario;
    let slow = &scenario.phases[1];
    let FaultKind::GatewayLatency { delay, share } = &slow.faults[0].kind else { panic!("{slow:?}") };
    assert_eq!((delay.value, share.value.0), (Duration::from_millis(600), 1.0));
    assert_eq!((slow.factor, slow.faults[0].duration.value), (60.0, Duration::from_secs(720)));
    assert_eq!(slow.to_wall(Duration::from_secs(60)), Duration::from_secs(1));
    assert_eq!(scenario.expect.fires[0].cause.as_ref().map(|cause| cause.value.phase), Some(1));
    assert_eq!(scenario.traffic[0].from, 0);
    assert_eq!(scenario.alerts.rules[0].value.path, Path::new("scenarios/packs/im-gateway/rules.yml"));
    assert_eq!(scenario.thresholds.len(), 4);
}

#[test]
fn sets_reach_items_by_name() {
    let check = |set: &str, path: &str, expected: &str| {
        let loaded = load("peak", &[set], false);
        let found: Vec<_> = loaded.provenance.iter().filter(|setting| setting.path == path).collect();
        assert_eq!(found.iter().map(|s| s.value.as_str()).collect::<Vec<_>>(), [expected], "{set}");
        assert_eq!(found[0].origin.to_string(), format!("--set {set}"));
    };
    check("phases.slow.for=24s", "phases.slow.for", "24s");
    check(
        "phases.slow.faults[gateway.latency].delay=650ms",
        "phases.slow.faults[gateway.latency].delay",
        "650ms",
    );
    check("alerts.rules+=extra.yml", "alerts.rules", "[extra.yml]");
    check("population.members.vus=1k", "population.members.vus", "1k");
    check("alerts.scrape_interval=30s", "alerts.scrape_interval", "30s");
    check("expect.slos[0].slo=latency p99 < 1s", "expect.slos[0].slo", "latency p99 < 1s");
    check(
        "thresholds[ws_msg_latency{phase:slow}]=['p(50)>1']",
        "thresholds[ws_msg_latency{phase:slow}]",
        "[p(50)>1]",
    );
    check("target.gateway.flags.cache-size=100", "target.gateway.flags.cache-size", "100");
    assert_eq!(load("peak", &["thresholds=null"], false).scenario.thresholds.len(), 0);
    assert_eq!(load("steady", &["phases+={name: more, for: 1s}"], false).scenario.phases.len(), 2);
    let replaced = load("peak", &["target={url: 'ws://127.0.0.1:1/ws', admin: 'http://127.0.0.1:2'}"], false);
    assert!(matches!(replaced.scenario.target, scenarios::scenario::Target::Url(_)));
}

#[test]
fn provenance_names_file_pack_and_default() {
    let loaded = load("outage", &[], false);
    let origin = |path: &str| {
        let setting = loaded.provenance.iter().find(|setting| setting.path == path).expect(path);
        format!("{} {}", setting.value, setting.origin)
    };
    assert_eq!(origin("population.members.vus"), "10k scenarios/im-10k.yaml:9:10");
    assert_eq!(origin("population.members.reconnect.backoff"), "200ms..10s scenarios/outage.yaml:8:26");
    assert_eq!(origin("alerts.engine"), "embedded built-in");
    assert_eq!(origin("history.warmup"), "5s built-in");
    assert_eq!(origin("alerts.rules"), "scenarios/packs/im-gateway/rules.yml pack im-gateway");
    assert_eq!(origin("phases.down.faults[process.kill].at"), "0s built-in");
}

#[test]
fn layers_lie_over_each_other() {
    let base = "seed: 1\nsettle: 1s\nlate_after: 1s\ntarget: {gateway: {flags: {a: 1}}}\nalerts: {background: [A, B]}\n";
    let file = "include: [base.yaml]\nseed: 2\nsettle: 2s\nlate_after: null\nalerts: {background: [C]}\n\
        phases: [{name: a, for: 1s}]\nenvironments: {ci: {settle: 3s, target: {url: 'ws://127.0.0.1/ws'}}}\n";
    let files = [("base.yaml", base), ("file.yaml", file)].map(|(path, text)| (path.into(), text.to_owned()));
    let files = scenarios::load::from_memory(files.into());
    let values = |options: &Options| {
        let loaded = load_with(Path::new("file.yaml"), options, &files).expect("valid");
        let value = |path: &str| {
            let found = loaded.provenance.iter().find(|setting| setting.path == path);
            found.map_or("-".to_owned(), |setting| format!("{} {}", setting.value, setting.origin))
        };
        ["seed", "settle", "late_after", "alerts.background", "target.gateway.flags.a", "target.url"]
            .map(value)
    };
    let plain = [
        "2 file.yaml:2:7",
        "2s file.yaml:3:9",
        "10s built-in",
        "[C] file.yaml:5:22",
        "1 base.yaml:4:31",
        "-",
    ];
    assert_eq!(values(&Options::default()), plain);
    let options = Options { env: Some("ci".into()), sets: vec!["seed=4".into()], no_faults: false };
    let [seed, settle, _, _, flag, url] = values(&options);
    assert_eq!([seed, settle, flag], ["4 --set seed=4", "3s file.yaml:7:29", "-"]);
    assert!(url.starts_with("ws://127.0.0.1/ws file.yaml:7"), "{url}");
}

#[test]
fn without_faults_phases_and_causes_stay() {
    let loaded = load("peak", &[], true);
    assert!(loaded.scenario.phases.iter().all(|phase| phase.faults.is_empty()));
    assert_eq!(loaded.scenario.phases.len(), 3);
    assert!(loaded.scenario.expect.fires[0].cause.is_some());
    assert!(!loaded.provenance.iter().any(|setting| setting.path.contains("gateway.latency")));
}

#[test]
fn the_readme_example_loads() {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let example =
        readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let files = |path: &Path| match path.ends_with("example.yaml") {
        true => Ok(example.to_owned()),
        false => files(path),
    };
    let loaded = load_with(Path::new("scenarios/example.yaml"), &Options::default(), &files);
    assert!(loaded.expect("valid").problems.0.is_empty());
}

#[test]
fn the_reference_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, keys::reference()).expect("writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == keys::reference(),
        "REFERENCE.md is old: UPDATE_GOLDEN=1 cargo nextest run -p scenarios"
    );
}
