//! The run itself: one loop that connects, breaks, heals, scrapes and listens for signals, in the order of time.

mod passing;
mod phases;

use crate::clock::RuleClock;
use crate::fleet::Fleet;
use crate::fleet::figures::{FleetFigures, SecondFigures, Seconds};
use crate::machine::Shares;
use crate::own_use;
use crate::progress::Progress;
use crate::scrape::Scraper;
use crate::target::OwnGateway;
use crate::watch::{Past, WarmUp, Watch};
use assertions::time::Millis;
use chaos::active::{Prepared, Target as ChaosTarget};
use chaos::guardian::{self, Guardian};
use chaos::journal::Journal;
use scenarios::scenario::Scenario;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use wire::sys::Signals;
use wire::time::Time;

/// How far ahead of its begin a phase is announced to the clients' threads.
const ANNOUNCE: Duration = Duration::from_millis(5);
/// How often fleet, target and signals are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Wait for stragglers where somebody waits for the end.
const SETTLE_CUT_SHORT: Duration = Duration::from_secs(1);
/// Longest time for all clients to connect, beyond what the plan takes.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Longest warm-up: whatever is unhealthy then is judged.
const WARM_UP_MAX: Duration = Duration::from_secs(30);
/// How often health is looked at meanwhile.
const WARM_UP_EVERY: Duration = Duration::from_millis(500);
/// A gateway's fault lives this much longer than planned before it ends by itself.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
/// How long what is in force is taken out again and again until that is proven.
const HEAL_WITHIN: Duration = Duration::from_secs(10);
/// How long this process may be silent while a fault is in force before its guardian heals it.
const LEASE: Duration = Duration::from_secs(5);
/// The same while it waits for one answer: of a target that is asked to break or to heal, or of a scrape.
const LEASE_ANSWER: Duration = Duration::from_secs(30);
/// How soon a guardian that is not needed any more must have ended.
const DISMISS_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for a scrape, and the share of the slot distance.
const SCRAPE_TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// A fault as it went.
#[derive(Debug, Clone, Default)]
pub struct FaultLog {
    /// When it was asked for.
    pub asked: Option<Time>,
    /// When it took effect.
    pub effective: Option<Time>,
    /// When its end was proven.
    pub healed: Option<Time>,
    /// The proof, or why there is none.
    pub proof: String,
}

/// A phase as it went.
#[derive(Debug, Clone)]
pub struct PhaseLog {
    /// Its begin on the wall.
    pub begin: Time,
    /// Its end: heals proven.
    pub end: Time,
    /// In the order of the scenario.
    pub faults: Vec<FaultLog>,
    /// What the machine's CPUs did meanwhile; `None` where the kernel does not say.
    pub machine: Option<Shares>,
}

/// Why a run did not go its whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// A signal.
    Interrupted,
    /// Something is pending or firing that no fault of ours has caused.
    ActiveBeforeFault(Vec<String>),
    /// Nobody would heal what is in force if this process died, and why.
    Unguarded(String),
}

/// All that a run left behind.
pub struct Facts {
    /// When the first client connected.
    pub start: Time,
    /// When all were in.
    pub connected: Time,
    /// Clients that were in by then.
    pub clients_in: u64,
    /// Clients of the population.
    pub clients_planned: u64,
    /// Begin of the first phase.
    pub first_phase: Time,
    /// The end of everything.
    pub end: Time,
    /// Phases that began.
    pub phases: Vec<PhaseLog>,
    /// What the clients measured.
    pub figures: FleetFigures,
    /// By the end of each second.
    pub seconds: Vec<SecondFigures>,
    /// Rule time.
    pub clock: RuleClock,
    /// Rules and routes.
    pub watch: Watch,
    /// What cut the run short.
    pub cut: Option<Cut>,
    /// Things that went wrong and must be in the report.
    pub incidents: Vec<String>,
    /// The target ended by itself.
    pub target_died: bool,
    /// Faults whose end is not proven.
    pub unhealed: Vec<String>,
    /// Faults that were due and not in force, and why.
    pub not_in_force: Vec<String>,
    /// Why the rules have no past; `None` where they have one.
    pub no_past: Option<String>,
    /// What of our own failed, so that the figures are not to be had.
    pub broken: Option<String>,
    /// A second signal came: the report is skipped.
    pub is_hurried: bool,
    /// Attempts that failed until all clients were in.
    pub failed_at_first: u64,
    /// CPU time of this process over the run.
    pub cpu: Duration,
    /// User-space memory of a client; `None` where there are too few to tell.
    pub bytes_per_client: Option<f64>,
}

/// A run under way.
pub struct Conductor<'a> {
    /// What is to be done.
    pub scenario: &'a Scenario,
    /// The clients.
    pub fleet: Fleet,
    /// The gateway, where we started it.
    pub gateway: Option<OwnGateway>,
    /// What faults act on.
    pub target: ChaosTarget,
    /// Reads its metrics.
    pub scraper: Scraper,
    /// Rules and routes.
    pub watch: Watch,
    /// Rule time.
    pub clock: RuleClock,
    /// The past to lay.
    pub past: Past,
    /// What is broken, on disk.
    pub journal: Journal,
    /// Who heals if we die; `None` where nothing is to be broken.
    pub guardian: Option<Guardian>,
    /// Ctrl-C.
    pub signals: Signals,
    /// What the user sees meanwhile.
    pub progress: Progress,
    /// Clients of the population.
    pub clients: u64,
}

type Scrape = Pin<Box<dyn Future<Output = Result<String, crate::scrape::ScrapeError>>>>;

/// A fault that may be in force: which of which phase, by which number in the journal.
struct Active {
    phase: usize,
    fault: usize,
    number: u64,
    prepared: Prepared,
}

/// What the loop keeps about the run so far.
struct State {
    start: Time,
    phases: Vec<PhaseLog>,
    active: Vec<Active>,
    seconds: Seconds,
    cut: Option<Cut>,
    incidents: Vec<String>,
    target_died: bool,
    unhealed: Vec<String>,
    not_in_force: Vec<String>,
    no_past: Option<String>,
    /// Signals to end, so far.
    signals: u32,
    /// Stamp, factor, begin.
    scraping: Option<(Millis, f64, Time, Scrape)>,
    /// Slots missed while it was under way: rules are evaluated in the order of time, so these wait for it.
    gaps: Vec<Millis>,
}

impl State {
    /// A fault was due and is not in force.
    fn never_in_force(&mut self, phase: usize, fault: usize, name: &str, why: &impl std::fmt::Display) {
        self.not_in_force.push(format!("{name}: {why}"));
        self.phases[phase].faults[fault].proof = format!("never took effect: {why}");
    }

    /// What was done could not be written down.
    fn note(&mut self, journalled: io::Result<()>) {
        if let Err(error) = journalled {
            self.incidents.push(format!("the journal cannot be written: {error}"));
        }
    }
}

impl Conductor<'_> {
    /// Runs the scenario from the first connect to the last settled message. Whatever happens, every fault is healed.
    pub async fn run(mut self) -> Facts {
        let (cpu_before, memory_before) = (own_use::cpu_time(), own_use::memory());
        let mut state = State {
            start: Time::now(),
            phases: Vec::new(),
            active: Vec::new(),
            seconds: Seconds::default(),
            cut: None,
            incidents: Vec::new(),
            target_died: false,
            unhealed: Vec::new(),
            not_in_force: Vec::new(),
            no_past: None,
            signals: 0,
            scraping: None,
            gaps: Vec::new(),
        };
        self.connect(&mut state).await;
        let (connected, clients_in) = (Time::now(), self.fleet.count(|gauges| gauges.connected.get()));
        let bytes_per_client = own_use::bytes_per_client(memory_before, own_use::memory(), clients_in);
        let failed_at_first = self.fleet.count(|gauges| gauges.connect_failed.get());
        self.progress.connected(clients_in, self.clients, connected.since(state.start));
        let begin = Time::now() + ANNOUNCE;
        self.fleet.begin_traffic(begin);
        if state.cut.is_none() {
            self.warm_up(&mut state).await;
        }
        let first_phase = Time::now();
        for phase in 0..self.scenario.phases.len() {
            if state.cut.is_some() {
                break;
            }
            self.phase(phase, &mut state).await;
        }
        self.prolong(&mut state).await;
        self.settle(&mut state).await;
        self.progress.done();
        self.hand_over(&mut state).await;
        let (figures, broken) = match self.fleet.stop() {
            Ok(figures) => (figures, None),
            Err(silent) => (FleetFigures::default(), Some(silent.to_string())),
        };
        if let Some(gateway) = self.gateway.take() {
            gateway.stop(Duration::from_secs(8));
        }
        if let Err(error) = self.journal.close() {
            state.incidents.push(format!("the journal could not be closed: {error}"));
        }
        Facts {
            start: state.start,
            connected,
            clients_in,
            clients_planned: self.clients,
            first_phase,
            end: Time::now(),
            phases: state.phases,
            figures,
            broken,
            seconds: state.seconds.closed,
            clock: self.clock,
            watch: self.watch,
            cut: state.cut,
            incidents: state.incidents,
            target_died: state.target_died,
            unhealed: state.unhealed,
            not_in_force: state.not_in_force,
            no_past: state.no_past,
            is_hurried: state.signals > 1,
            failed_at_first,
            cpu: own_use::cpu_time().saturating_sub(cpu_before),
            bytes_per_client,
        }
    }

    async fn connect(&mut self, state: &mut State) {
        let rate = self.scenario.population.iter().filter_map(|population| population.connect_rate.as_ref());
        let rate = rate.map(|rate| rate.value.per_second).fold(f64::INFINITY, f64::min);
        let planned = Duration::try_from_secs_f64(self.clients as f64 / rate).unwrap_or(Duration::MAX);
        self.fleet.connect(state.start);
        let until = Time::now() + planned.saturating_add(CONNECT_PATIENCE);
        while self.fleet.count(|gauges| gauges.connected.get()) < self.clients && Time::now() < until {
            if state.cut.is_some() {
                return;
            }
            self.progress.connecting(self.fleet.count(|gauges| gauges.connected.get()), self.clients);
            self.wait(TICK, state).await;
        }
    }

    /// Waits until the target has been healthy for the warm-up's length, measures its rates over it, and lays the past from them.
    async fn warm_up(&mut self, state: &mut State) {
        let length = self.scenario.history.warmup;
        let until = Time::now() + length + WARM_UP_MAX;
        let mut scrapes: VecDeque<(Time, String)> = VecDeque::new();
        let mut unhealthy = Vec::new();
        while state.cut.is_none() {
            let at = Time::now();
            match self.scraper.scrape().await {
                Ok(text) => scrapes.push_back((at, text)),
                Err(error) => unhealthy = vec![error.to_string()],
            }
            // The latest scrape that lies a whole warm-up back is where the rates begin.
            while scrapes.get(1).is_some_and(|(earlier, _)| at.since(*earlier) >= length) {
                scrapes.pop_front();
            }
            if let (Some((first, begin)), Some((last, end))) = (scrapes.front(), scrapes.back())
                && last.since(*first) >= length
            {
                let warm_up = WarmUp { begin, end, span: last.since(*first) };
                let is_last = at >= until;
                match self.watch.lay_past(&warm_up, self.past, is_last) {
                    Ok(conditions) if conditions.is_empty() => return,
                    Ok(conditions) => unhealthy = conditions,
                    Err(error) => unhealthy = vec![error],
                }
            }
            if at >= until {
                let what = unhealthy.join(", ");
                let what = format!("the warm-up found no healthy moment: {what}");
                if self.watch.history.is_none() {
                    state.no_past = Some(what.clone());
                }
                return state.incidents.push(what);
            }
            self.wait(WARM_UP_EVERY, state).await;
        }
    }

    /// Traffic and scrapes stop; waits until nothing more can arrive.
    async fn settle(&mut self, state: &mut State) {
        self.fleet.end_traffic(Time::now());
        self.heal_all(state).await;
        if let Some(guardian) = self.guardian.take() {
            // What is not proven healed it goes on trying to heal, for a while and without us.
            let patience = if state.unhealed.is_empty() { DISMISS_WITHIN } else { Duration::ZERO };
            guardian.dismiss(patience);
        }
        let begin = Time::now();
        let (mut seen, mut quiet_since) = (0, begin);
        loop {
            let patience = match (&state.cut, state.signals) {
                (_, 2..) => Duration::ZERO,
                (Some(Cut::Interrupted), _) => SETTLE_CUT_SHORT,
                (Some(Cut::Unguarded(_)), _) => SETTLE_CUT_SHORT,
                (Some(Cut::ActiveBeforeFault(_)) | None, _) => self.scenario.settle_max,
            };
            if Time::now().since(begin) >= patience {
                break;
            }
            let count = |of: fn(&crate::fleet::figures::Gauges) -> u64| self.fleet.count(of);
            let (sent, confirmed, delivered) =
                (count(|g| g.sent.get()), count(|g| g.confirmed.get()), count(|g| g.delivered.get()));
            let all_answered = sent == confirmed + count(|g| g.refused.get());
            if self.fleet.traffic_is_over() && all_answered && delivered == confirmed {
                break;
            }
            if delivered != seen {
                (seen, quiet_since) = (delivered, Time::now());
            }
            // To a target that has died nobody comes back.
            let all_back = state.target_died || count(|g| g.connected.get()) == self.clients;
            if all_back && Time::now().since(quiet_since) >= self.scenario.settle {
                break;
            }
            self.progress.settling(confirmed.saturating_sub(delivered));
            tokio::time::sleep(TICK).await;
            self.take_seconds(state);
            self.look_for_signals(state);
        }
    }

    async fn hand_over(&mut self, state: &mut State) {
        self.fleet.hand_over();
        let until = Time::now() + Duration::from_secs(10);
        while !self.fleet.has_handed_over() && Time::now() < until {
            self.take_seconds(state);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
