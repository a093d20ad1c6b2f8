//! The run itself: one loop that connects, breaks, heals, scrapes and listens for signals, in the order of time.

use crate::clock::RuleClock;
use crate::fleet::Fleet;
use crate::fleet::figures::{FleetFigures, Second};
use crate::progress::Progress;
use crate::scrape::Scraper;
use crate::target::OwnGateway;
use crate::watch::{Past, WarmUp, Watch};
use assertions::matcher::Matcher;
use assertions::time::Millis;
use chaos::active::{Active, Fault, Target as ChaosTarget};
use chaos::journal::Journal;
use chaos::plan::{Action, Step, Window, steps};
use scenarios::scenario::Scenario;
use scenarios::span::Spanned;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::time::Duration;
use wire::sys::{Signal, Signals};
use wire::time::Time;

/// How far ahead of its begin a phase is announced to the clients' threads.
const ANNOUNCE: Duration = Duration::from_millis(5);
/// How often fleet, target and signals are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Longest time for all clients to connect, beyond what the plan takes.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Longest warm-up: whatever is unhealthy then is judged.
const WARM_UP_MAX: Duration = Duration::from_secs(30);
/// How often health is looked at meanwhile.
const WARM_UP_EVERY: Duration = Duration::from_millis(500);
/// A gateway's fault lives this much longer than planned before it ends by itself.
const LEASE_MARGIN: Duration = Duration::from_secs(30);
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
}

/// Why a run did not go its whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// A signal.
    Interrupted,
    /// Something is pending or firing that no fault of ours has caused.
    ActiveBeforeFault(Vec<String>),
}

/// All that a run left behind.
pub struct Facts {
    /// When the first client connected.
    pub start: Time,
    /// When all were in.
    pub connected: Time,
    /// Clients that were in by then.
    pub clients_in: u64,
    /// Begin of the first phase.
    pub first_phase: Time,
    /// The end of everything.
    pub end: Time,
    /// Phases that began.
    pub phases: Vec<PhaseLog>,
    /// What the clients measured.
    pub figures: FleetFigures,
    /// By the end of each second.
    pub seconds: BTreeMap<Time, (Second, u64)>,
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
    /// Attempts to connect, and those that failed.
    pub connects: (u64, u64),
    /// Attempts that failed until all clients were in.
    pub failed_at_first: u64,
    /// CPU time of this process over the run.
    pub cpu: Duration,
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
    /// Ctrl-C.
    pub signals: Signals,
    /// What the user sees meanwhile.
    pub progress: Progress,
    /// Clients of the population.
    pub clients: u64,
}

type Scrape = Pin<Box<dyn Future<Output = Result<String, crate::scrape::ScrapeError>>>>;

/// What the loop keeps about the run so far.
struct State {
    start: Time,
    phases: Vec<PhaseLog>,
    active: Vec<(usize, usize, Active)>,
    seconds: BTreeMap<Time, (Second, u64)>,
    cut: Option<Cut>,
    incidents: Vec<String>,
    target_died: bool,
    unhealed: Vec<String>,
    /// Stamp, factor, begin.
    scraping: Option<(Millis, f64, Time, Scrape)>,
}

impl Conductor<'_> {
    /// Runs the scenario from the first connect to the last settled message. Whatever happens, every fault is healed.
    pub async fn run(mut self) -> io::Result<Facts> {
        let cpu_before = cpu_time();
        let mut state = State {
            start: Time::now(),
            phases: Vec::new(),
            active: Vec::new(),
            seconds: BTreeMap::new(),
            cut: None,
            incidents: Vec::new(),
            target_died: false,
            unhealed: Vec::new(),
            scraping: None,
        };
        self.connect(&mut state).await;
        let (connected, clients_in) = (Time::now(), self.fleet.count(|gauges| gauges.connected.get()));
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
        let connects = (
            self.fleet.count(|gauges| gauges.connect_attempts.get()),
            self.fleet.count(|gauges| gauges.connect_failed.get()),
        );
        let figures = self.fleet.stop();
        if let Some(gateway) = self.gateway.take() {
            gateway.stop(Duration::from_secs(8));
        }
        if let Err(error) = self.journal.close() {
            state.incidents.push(format!("the journal could not be closed: {error}"));
        }
        Ok(Facts {
            start: state.start,
            connected,
            clients_in,
            first_phase,
            end: Time::now(),
            phases: state.phases,
            figures: figures.map_err(io::Error::other)?,
            seconds: state.seconds,
            clock: self.clock,
            watch: self.watch,
            cut: state.cut,
            incidents: state.incidents,
            target_died: state.target_died,
            unhealed: state.unhealed,
            connects,
            failed_at_first,
            cpu: cpu_time().saturating_sub(cpu_before),
        })
    }

    async fn connect(&mut self, state: &mut State) {
        let rate = self.scenario.population.iter().filter_map(|population| population.connect_rate.as_ref());
        let rate = rate.map(|rate| rate.value.per_second).fold(f64::INFINITY, f64::min);
        let planned = Duration::from_secs_f64(self.clients as f64 / rate.max(1.0));
        self.fleet.connect(state.start);
        let until = Time::now() + planned + CONNECT_PATIENCE;
        while self.fleet.count(|gauges| gauges.connected.get()) < self.clients && Time::now() < until {
            if state.cut.is_some() {
                return;
            }
            self.progress.connecting(self.fleet.count(|gauges| gauges.connected.get()), self.clients);
            self.wait(TICK, state).await;
        }
        let missing = self.clients - self.fleet.count(|gauges| gauges.connected.get()).min(self.clients);
        if missing > 0 && state.cut.is_none() {
            state.incidents.push(format!("{missing} of {} clients could not connect", self.clients));
        }
    }

    /// Waits until the target has been healthy for the warm-up's length, measures its rates over it, and lays the past from them.
    async fn warm_up(&mut self, state: &mut State) {
        let (length, until) = (self.scenario.history.warmup, Time::now() + WARM_UP_MAX);
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
                return state
                    .incidents
                    .push(format!("the warm-up ended after {WARM_UP_MAX:?} without health: {what}"));
            }
            self.wait(WARM_UP_EVERY, state).await;
        }
    }

    async fn phase(&mut self, index: usize, state: &mut State) {
        let scenario = self.scenario;
        let phase = &scenario.phases[index];
        if let Some(cut) = self.active_before_first_fault(index, state) {
            state.cut = Some(cut);
            return;
        }
        let begin = Time::now() + ANNOUNCE;
        self.fleet.begin_phase(begin, phase.load);
        self.clock.begin_phase(begin, phase.real, phase.stands_for);
        self.silence(index, begin);
        let faults = vec![FaultLog::default(); phase.faults.len()];
        state.phases.push(PhaseLog { begin, end: begin + phase.real, faults });
        let windows: Vec<Window> = phase.faults.iter().map(|fault| window(phase, fault)).collect();
        self.progress.phase(phase);
        for step in steps(&windows, phase.real) {
            self.until(begin + step.at, state).await;
            if state.cut.is_some() {
                break;
            }
            self.step(index, &step, state).await;
        }
        if state.cut.is_none() {
            self.until(begin + phase.real, state).await;
        }
        self.finish_scrape(state).await;
        self.heal_all(state).await;
        let end = Time::now();
        if let Some(log) = state.phases.last_mut() {
            log.end = end;
        }
        self.progress.phase_done(phase, state.phases.last());
    }

    /// Lets the last phase go on, for at most `settle`, while an alert is pending of which nobody can say yet whether it fires.
    async fn prolong(&mut self, state: &mut State) {
        let (expect, background) = (&self.scenario.expect, &self.scenario.alerts.background);
        let undecided = |watch: &Watch| assertions::verdict::is_undecided(&watch.events, expect, background);
        if state.cut.is_some() || state.phases.is_empty() || !undecided(&self.watch) {
            return;
        }
        self.clock.prolong(self.scenario.settle);
        self.progress.prolonged(self.scenario.settle);
        let until = Time::now() + self.scenario.settle;
        while state.cut.is_none() && Time::now() < until && undecided(&self.watch) {
            self.wait(TICK, state).await;
        }
        self.finish_scrape(state).await;
        if let Some(log) = state.phases.last_mut() {
            log.end = Time::now();
        }
    }

    /// Puts the scenario's silences of this phase in force.
    fn silence(&mut self, index: usize, begin: Time) {
        let from = self.clock.rule_time(begin);
        let until = from.after(self.scenario.phases[index].stands_for);
        for silence in self.scenario.alerts.silences.iter().filter(|silence| silence.during.contains(index)) {
            // Checked when the scenario was prepared.
            let read = |text: &Spanned<String>| Matcher::parse_all(&text.value).unwrap_or_default();
            self.watch.silence(silence.matchers.iter().flat_map(read).collect(), from, until);
        }
    }

    /// Before the first fault nothing may be pending or firing, or its cause could not be told.
    fn active_before_first_fault(&self, index: usize, _state: &State) -> Option<Cut> {
        let first = self.scenario.phases.iter().position(|phase| !phase.faults.is_empty())?;
        if index != first {
            return None;
        }
        let background = &self.scenario.alerts.background;
        let active =
            assertions::verdict::active_before_fault(&self.watch.events, self.watch.last, background);
        let names: Vec<String> = active.iter().map(|episode| episode.name().to_owned()).collect();
        (!names.is_empty()).then_some(Cut::ActiveBeforeFault(names))
    }

    async fn step(&mut self, phase: usize, step: &Step, state: &mut State) {
        match step.action {
            Action::Inject(fault) => self.inject(phase, fault, state).await,
            Action::Heal(fault) => {
                // The scrape that closes the phase must not see the healed target.
                self.finish_scrape(state).await;
                if let Some(place) = state.active.iter().position(|(p, f, _)| (*p, *f) == (phase, fault)) {
                    let (_, _, active) = state.active.swap_remove(place);
                    self.heal(phase, fault, active, state).await;
                }
            }
        }
    }

    async fn inject(&mut self, phase: usize, index: usize, state: &mut State) {
        let planned = &self.scenario.phases[phase].faults[index];
        let fault = crate::faults::runnable(&planned.kind);
        let name = planned.name.value.clone();
        if let Err(error) = self.journal.inject(&name, &self.target.base_url) {
            return state
                .incidents
                .push(format!("{name} was not put in: its journal cannot be written: {error}"));
        }
        let lease = self.scenario.phases[phase].real + LEASE_MARGIN;
        self.fleet.disturbed(Time::now());
        if fault == Fault::Kill {
            self.fleet.is_gone();
        }
        match fault.inject(&self.target, lease).await {
            Ok(active) => {
                let log = &mut state.phases[phase].faults[index];
                (log.asked, log.effective) = (Some(active.asked), Some(active.effective));
                state.active.push((phase, index, active));
            }
            Err(error) => {
                state.incidents.push(format!("{name} did not take effect: {error}"));
                state.phases[phase].faults[index].proof = format!("never took effect: {error}");
                // It may have taken effect in part, so it is healed all the same.
                self.heal_blindly(fault, &name, state).await;
            }
        }
    }

    /// Takes out what may or may not be in force.
    async fn heal_blindly(&mut self, fault: Fault, name: &str, state: &mut State) {
        if let Fault::Gateway(fault) = fault {
            match fault.heal(&self.target.http, &self.target.base_url).await {
                Ok(_) => drop(self.journal.healed(name, &self.target.base_url)),
                Err(error) => state.unhealed.push(format!("{name}: {error}")),
            }
        }
    }

    async fn heal(&mut self, phase: usize, index: usize, active: Active, state: &mut State) {
        let name = self.scenario.phases[phase].faults[index].name.value.clone();
        let gateway = self.gateway.as_mut();
        let start = || match gateway {
            Some(gateway) => gateway.start_again().map_err(io::Error::other),
            None => Err(io::Error::other("not a gateway of ours")),
        };
        let log = &mut state.phases[phase].faults[index];
        match active.heal(&self.target, start).await {
            Ok(healed) => {
                (log.healed, log.proof) = (Some(healed.at), healed.proof);
                if active.has_killed() {
                    self.fleet.is_back(healed.at);
                }
                if let Err(error) = self.journal.healed(&name, &self.target.base_url) {
                    state.incidents.push(format!("the journal cannot be written: {error}"));
                }
            }
            Err(error) => {
                log.proof = format!("not proven: {error}");
                state.unhealed.push(format!("{name}: {error}"));
            }
        }
        self.target.pid = self.gateway.as_ref().map(OwnGateway::pid);
    }

    async fn heal_all(&mut self, state: &mut State) {
        while let Some((phase, fault, active)) = state.active.pop() {
            self.heal(phase, fault, active, state).await;
        }
    }

    /// Traffic stops; waits until nothing more can arrive.
    async fn settle(&mut self, state: &mut State) {
        self.fleet.end_traffic(Time::now());
        self.heal_all(state).await;
        let patience = if state.cut.is_some() { Duration::from_secs(1) } else { self.scenario.settle_max };
        let until = Time::now() + patience;
        let (mut seen, mut quiet_since) = (0, Time::now());
        while Time::now() < until {
            let count = |of: fn(&crate::fleet::figures::Gauges) -> u64| self.fleet.count(of);
            let (sent, confirmed, delivered) =
                (count(|g| g.sent.get()), count(|g| g.confirmed.get()), count(|g| g.delivered.get()));
            if sent == confirmed + count(|g| g.refused.get()) && delivered == confirmed {
                break;
            }
            if delivered != seen {
                (seen, quiet_since) = (delivered, Time::now());
            }
            let all_back = count(|g| g.connected.get()) == self.clients;
            if all_back && Time::now().since(quiet_since) >= self.scenario.settle {
                break;
            }
            self.progress.settling(confirmed.saturating_sub(delivered));
            self.wait(TICK, state).await;
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

    async fn wait(&mut self, length: Duration, state: &mut State) {
        self.until(Time::now() + length, state).await;
    }

    /// Lets time pass until `at`, doing what is due meanwhile. Returns early if the run is cut short.
    async fn until(&mut self, at: Time, state: &mut State) {
        loop {
            self.begin_slot(state);
            let now = Time::now();
            let slot = self.clock.next_slot().map(|(wall, _)| wall).filter(|_| state.scraping.is_none());
            // A slot at the very moment still belongs before it.
            if now >= at && slot.is_none_or(|slot| slot > at) || state.cut.is_some() {
                return;
            }
            let next = [Some(at.max(now)), slot, Some(now + TICK)].into_iter().flatten().min().unwrap_or(at);
            self.pass(next.since(now), state).await;
            self.take_seconds(state);
            self.look_at_target(state);
            if matches!(self.signals.next(), Some(Signal::Interrupt | Signal::Terminate)) {
                state.cut.get_or_insert(Cut::Interrupted);
            }
        }
    }

    /// Sleeps, unless a scrape ends.
    async fn pass(&mut self, length: Duration, state: &mut State) {
        let scraping = state.scraping.as_mut();
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            (at, factor, begin, result) = async {
                match scraping {
                    Some((at, factor, begin, scrape)) => (*at, *factor, *begin, scrape.await),
                    None => std::future::pending().await,
                }
            } => {
                state.scraping = None;
                self.watch.slot(at, result.ok().as_deref(), factor, Time::now().since(begin));
            }
        }
    }

    /// Begins the scrape that is due; one that finds the last still under way is a gap.
    fn begin_slot(&mut self, state: &mut State) {
        while let Some((wall, at)) = self.clock.next_slot().filter(|(wall, _)| *wall <= Time::now()) {
            self.clock.slot_done();
            let late = Time::now().since(wall) > self.clock.slot_distance();
            if state.scraping.is_some() || late {
                self.watch.gap(at);
                continue;
            }
            let scraper = self.scraper.clone();
            let timeout = self.clock.slot_distance().mul_f64(0.9).min(SCRAPE_TIMEOUT_MAX);
            let scrape = async move {
                match tokio::time::timeout(timeout, scraper.scrape()).await {
                    Ok(result) => result,
                    Err(_) => Err(crate::scrape::ScrapeError::Late),
                }
            };
            state.scraping = Some((at, self.clock.factor(), Time::now(), Box::pin(scrape)));
        }
    }

    async fn finish_scrape(&mut self, state: &mut State) {
        self.begin_slot(state);
        if let Some((at, factor, begin, scrape)) = state.scraping.take() {
            let result = scrape.await;
            self.watch.slot(at, result.ok().as_deref(), factor, Time::now().since(begin));
        }
    }

    fn take_seconds(&mut self, state: &mut State) {
        let connected = self.fleet.count(|gauges| gauges.connected.get());
        for (until, second) in self.fleet.seconds() {
            let (sum, clients) = state.seconds.entry(until).or_default();
            sum.latency.merge(&second.latency);
            sum.send_lag.merge(&second.send_lag);
            sum.sent += second.sent;
            sum.delivered += second.delivered;
            sum.due += second.due;
            *clients = connected;
        }
        if let Some((_, (second, clients))) = state.seconds.iter().next_back() {
            self.progress.second(second, *clients, &self.watch.events);
        }
    }

    fn look_at_target(&mut self, state: &mut State) {
        let killed_by_us = state.active.iter().any(|(_, _, active)| active.has_killed());
        if state.target_died || killed_by_us {
            return;
        }
        if let Some(how) = self.gateway.as_mut().and_then(OwnGateway::ended) {
            state.target_died = true;
            state.incidents.push(format!("the gateway ended by itself ({how}); the run went on without it"));
        }
    }
}

/// When a fault is in force, wall time from its phase's begin.
fn window(phase: &scenarios::scenario::Phase, fault: &scenarios::scenario::Fault) -> Window {
    let begin = phase.to_wall(fault.at.value);
    let length = crate::faults::length(fault);
    let end = begin + phase.to_wall(length);
    Window { begin, end: (end < phase.real).then_some(end) }
}

fn cpu_time() -> Duration {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap_or(0))
}
