//! THE composition: prepared scenario in, verdict and reports out.

use crate::clock::RuleClock;
use crate::conduct::{Conductor, Facts};
use crate::fleet::plan::{Arrivals, Recipients, Segment, Traffic};
use crate::fleet::{Fleet, Orders};
use crate::gateway_flags;
use crate::preflight::{self, Needs};
use crate::prepare::Prepared;
use crate::progress::Progress;
use crate::recover::{Finding, Mode, recover};
use crate::scrape::Scraper;
use crate::target::OwnGateway;
use crate::watch::{Past, Watch};
use assertions::exit;
use assertions::grid::Grid;
use assertions::time::Millis;
use chaos::active::Target as ChaosTarget;
use chaos::guardian::Guardian;
use chaos::journal::{self, Journal};
use gateway::auth::{Claims, Signer};
use scenarios::scenario::{
    self, Jitter, PopulationExecutor, Recipient, Reconnect, Scenario, Target, TrafficExecutor,
};
use scenarios::units::DurationRange;
use std::fs::File;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wire::sys::Signals;

/// Shortest history behind a run, so that rules with short windows see a past too.
const HISTORY_MIN: Duration = Duration::from_secs(600);
/// Of a population of nobody.
const RECONNECT: Reconnect = Reconnect {
    backoff: DurationRange { shortest: Duration::from_millis(200), longest: Duration::from_secs(10) },
    jitter: Jitter::Full,
};
/// Connections beyond the population that the gateway must take: scrapes, faults, clients that come back early.
const CONNECTIONS_SPARE: u64 = 200;

/// What the command line says besides the scenario.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The scenario's file, as given.
    pub path: PathBuf,
    /// `--env`.
    pub env: Option<String>,
    /// `--set`, as typed.
    pub sets: Vec<String>,
    /// `--no-faults`.
    pub no_faults: bool,
    /// The folder that gets the run's folder.
    pub out: PathBuf,
    /// Print no summary.
    pub quiet: bool,
}

/// Why a run never began: exit code and what to say.
#[derive(Debug)]
pub struct Refusal {
    /// [`exit::PREFLIGHT`], [`exit::NOT_HEALED`] or [`exit::TOOL_FAILED`].
    pub code: u8,
    /// What happened and what to do.
    pub text: String,
}

impl Refusal {
    fn preflight(text: impl Into<String>) -> Refusal {
        Refusal { code: exit::PREFLIGHT, text: text.into() }
    }

    fn tool(error: impl std::fmt::Display) -> Refusal {
        Refusal { code: exit::TOOL_FAILED, text: error.to_string() }
    }
}

/// Runs a prepared scenario and writes its reports. Gives the exit code.
///
/// Call on the main thread with `signals` blocked: children are started from here.
pub fn run(prepared: &Prepared, settings: &Settings, signals: Signals) -> Result<u8, Refusal> {
    let started = jiff::Timestamp::now();
    let run_id = run_id(&prepared.scenario().name, started);
    let folder = settings.out.join(&run_id);
    preflight::raise_descriptor_limit();
    let needs = Needs { clients: clients(prepared.scenario())?, own_gateway: true };
    let refusals: Vec<String> = preflight::findings(needs)
        .into_iter()
        .filter_map(|finding| Some(format!("{}: {}; {}", finding.name, finding.found, finding.refusal?)))
        .chain(preflight::output(&folder).err())
        .collect();
    if !refusals.is_empty() {
        return Err(Refusal::preflight(refusals.join("\n")));
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Refusal::tool)?;
    let facts = runtime.block_on(async {
        put_back().await?;
        conduct(prepared, &run_id, &folder, needs.clients, started, signals).await
    });
    let facts = facts.inspect_err(|_| {
        // Nothing was run: no empty folder tells of it. If it is not empty, it is not ours to remove.
        let _ = std::fs::remove_dir(&folder);
    })?;
    if facts.is_hurried {
        crate::terminal::tell("interrupted twice: no report was written");
        return Ok(crate::record::exit_code(prepared, settings, &facts));
    }
    let told = crate::record::tell(prepared, settings, &run_id, started, &facts);
    crate::record::write(&told, &folder, settings).map_err(Refusal::tool)?;
    Ok(told.verdict.exit_code)
}

/// Heals what dead runs have left in force: this run would measure it. Refuses to run where that cannot be proven.
async fn put_back() -> Result<(), Refusal> {
    let folder = journal::folder();
    let findings = recover(&folder, None, Mode::Heal, &http_client().map_err(Refusal::tool)?).await;
    let findings = findings.map_err(|error| {
        Refusal::preflight(format!("cannot go through the fault journals in {}: {error}", folder.display()))
    })?;
    let mut unhealed = Vec::new();
    for finding in findings {
        match finding {
            finding if finding.is_unhealed() => unhealed.push(finding.to_string()),
            Finding::Healed { .. } => crate::terminal::tell(&format!("left by an earlier run: {finding}")),
            _ => {}
        }
    }
    if unhealed.is_empty() {
        return Ok(());
    }
    let text =
        format!("an earlier run's fault may be in force; nothing was started\n{}", unhealed.join("\n"));
    Err(Refusal { code: exit::NOT_HEALED, text })
}

/// Speaks to targets directly, whatever proxy the environment names.
pub fn http_client() -> reqwest::Result<reqwest::Client> {
    // The one provider of everything we link; who was first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build()
}

async fn conduct(
    prepared: &Prepared,
    run_id: &str,
    folder: &Path,
    clients: u32,
    started: jiff::Timestamp,
    signals: Signals,
) -> Result<Facts, Refusal> {
    let scenario = prepared.scenario();
    let key = key()?;
    let gateway = start_gateway(scenario, clients, &key)?;
    let base_url = format!("http://{}", gateway.address);
    let http = http_client().map_err(Refusal::tool)?;
    let clock = clock(scenario, started);
    let interval = scenario.alerts.scrape_interval.value;
    let until = clock.rule_time(wire::time::Time(0));
    let length = history_length(prepared);
    let grid = Grid::new("im-gateway", &gateway.address.to_string(), interval);
    let watch = Watch::new(
        prepared.rules.clone(),
        prepared.routes.clone(),
        scenario.alerts.evaluation_interval.value,
        until,
        grid,
    );
    let fleet = Fleet::start(orders(scenario, clients, gateway.address, &key)?).map_err(Refusal::tool)?;
    // After everything else that can fail: a journal that stays behind means a run that died.
    let journal = Journal::create(&journal::folder(), run_id, folder).map_err(|error| {
        Refusal::preflight(format!(
            "cannot write the fault journal in {}: {error}; set XDG_STATE_HOME to a folder that can be written",
            journal::folder().display()
        ))
    })?;
    let guardian = start_guardian(scenario, &journal)?;
    let conductor = Conductor {
        scenario,
        fleet,
        target: ChaosTarget { base_url: base_url.clone(), pid: Some(gateway.pid()), http: http.clone() },
        gateway: Some(gateway),
        scraper: Scraper::new(http, format!("{base_url}/metrics"), Duration::from_secs(10)),
        watch,
        clock,
        past: Past { until, length, step: interval },
        journal,
        guardian,
        signals,
        progress: Progress::new(),
        clients: u64::from(clients),
    };
    Ok(conductor.run().await)
}

/// Who heals if this run dies; not needed where nothing is broken.
fn start_guardian(scenario: &Scenario, journal: &Journal) -> Result<Option<Guardian>, Refusal> {
    if scenario.phases.iter().all(|phase| phase.faults.is_empty()) {
        return Ok(None);
    }
    let mut program = Command::new(std::env::current_exe().map_err(Refusal::tool)?);
    program.arg("guardian").arg("--journal").arg(journal.path());
    let guardian = Guardian::start(program, journal);
    Ok(Some(guardian.map_err(|error| Refusal::preflight(format!("{error}; without it no fault is put in")))?))
}

fn start_gateway(scenario: &Scenario, clients: u32, key: &str) -> Result<OwnGateway, Refusal> {
    let Target::Gateway { flags } = &scenario.target else {
        return Err(Refusal::preflight(
            "this version runs its own gateway only: write `target: {gateway: {}}`",
        ));
    };
    let mut arguments = gateway_flags::arguments(flags);
    if !flags.iter().any(|(name, _)| name.value == "connections-max") {
        arguments.extend(["--connections-max".into(), (u64::from(clients) + CONNECTIONS_SPARE).to_string()]);
    }
    OwnGateway::start(&arguments, key).map_err(|error| Refusal::preflight(error.to_string()))
}

/// A key that only this run and its gateway know.
fn key() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes)).map_err(Refusal::tool)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn clients(scenario: &Scenario) -> Result<u32, Refusal> {
    let mut clients = 0;
    for population in &scenario.population {
        clients += match &population.executor {
            PopulationExecutor::ConstantVus { vus } => vus.value,
            PopulationExecutor::RampingVus { .. } => {
                let name = &population.name.value;
                return Err(Refusal::preflight(format!(
                    "population {name}: this version runs constant-vus only"
                )));
            }
        };
    }
    u32::try_from(clients)
        .map_err(|_| Refusal::preflight(format!("{clients} clients are more than can be numbered")))
}

fn clock(scenario: &Scenario, started: jiff::Timestamp) -> RuleClock {
    let interval = scenario.alerts.scrape_interval.value;
    // On a multiple of both intervals scrapes and evaluations lie on one grid, history included.
    let (scrape, evaluation) =
        (interval.as_millis() as i64, scenario.alerts.evaluation_interval.value.as_millis() as i64);
    let grid = scrape / greatest_common_divisor(scrape, evaluation).max(1) * evaluation;
    let start = scenario.starts_at.as_ref().map_or(started, |at| at.value).as_millisecond();
    let start = Millis(start.div_euclid(grid.max(1)) * grid.max(1));
    RuleClock::new(scenario.clock.value == scenario::Clock::Real, start, interval)
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// As long as the longest look back of the rules, unless the scenario says otherwise.
fn history_length(prepared: &Prepared) -> Duration {
    let longest = prepared.rules.reach();
    let chosen = prepared.scenario().history.length.as_ref().map(|length| length.value);
    chosen.unwrap_or_else(|| longest.max(HISTORY_MIN))
}

fn orders(scenario: &Scenario, clients: u32, target: SocketAddr, key: &str) -> Result<Orders, Refusal> {
    let signer = Signer::new(key.as_bytes());
    // Long enough for any run; the gateway's clock is this machine's.
    let expires = jiff::Timestamp::now().as_second().unsigned_abs() + 7 * 86_400;
    let population = scenario.population.first();
    let reconnect = population.map(|population| population.reconnect);
    let connect_rate = population.and_then(|population| population.connect_rate.as_ref());
    Ok(Orders {
        seed: scenario.seed,
        target,
        host: target.to_string(),
        path: "/ws".into(),
        token: Box::new(move |user| {
            let claims = Claims { sub: user.into(), device: "loadgen".into(), exp: expires };
            // Signing with a key in memory fails for no claims we make; an empty token is refused by the target and counted.
            signer.sign(&claims).unwrap_or_default()
        }),
        clients,
        connect_rate: connect_rate.map_or(1e9, |rate| rate.value.per_second),
        reconnect: reconnect.unwrap_or(RECONNECT),
        traffic: scenario.traffic.iter().map(traffic).collect::<Result<_, _>>()?,
        late_after: scenario.late_after,
        threads: preflight::threads(clients),
    })
}

fn traffic(traffic: &scenario::Traffic) -> Result<Traffic, Refusal> {
    let flat = |rate: f64| Segment { length: Duration::ZERO, rate_begin: rate, rate_end: rate };
    let mut segments = Vec::new();
    if !traffic.start_time.is_zero() {
        segments.push(Segment { length: traffic.start_time, rate_begin: 0.0, rate_end: 0.0 });
    }
    let arrivals = match &traffic.executor {
        TrafficExecutor::ConstantArrivalRate { rate } => {
            segments.push(flat(rate.value.per_second));
            Arrivals::Even
        }
        TrafficExecutor::Poisson { rate } => {
            segments.push(flat(rate.value.per_second));
            Arrivals::Poisson
        }
        TrafficExecutor::RampingArrivalRate { start_rate, stages } => {
            let mut rate_begin = start_rate.per_second;
            for stage in stages {
                let rate_end = stage.target.value.per_second;
                segments.push(Segment { length: stage.duration, rate_begin, rate_end });
                rate_begin = rate_end;
            }
            Arrivals::Even
        }
    };
    let to = match &traffic.to {
        Recipient::RandomUser => Recipients::RandomUser,
        Recipient::AbsentUser => Recipients::AbsentUser,
        Recipient::Itself => Recipients::Sender,
        Recipient::Group(group) => {
            let name = &traffic.name.value;
            return Err(Refusal::preflight(format!(
                "traffic {name}: this version sends to no groups yet (group:{group})"
            )));
        }
    };
    let body_bytes = usize::try_from(traffic.size.value).unwrap_or(usize::MAX);
    Ok(Traffic { name: traffic.name.value.clone(), segments, arrivals, to, body_bytes })
}

fn run_id(name: &str, started: jiff::Timestamp) -> String {
    let stamp = started.strftime("%Y%m%d-%H%M%S");
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    format!("{safe}-{stamp}-{}", std::process::id())
}
