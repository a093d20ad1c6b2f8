//! A phase: its faults put in and taken out on time, every one of them proven healed at its end.

use super::{
    ANNOUNCE, Active, Conductor, Cut, FaultLog, HEAL_WITHIN, LEASE, LEASE_ANSWER, LEASE_MARGIN, PhaseLog,
    State, TICK,
};
use crate::machine::Ticks;
use crate::target::OwnGateway;
use crate::watch::Watch;
use assertions::matcher::Matcher;
use chaos::active::FaultError;
use chaos::plan::{Action, Step, Window, steps};
use scenarios::span::Spanned;
use std::io;
use wire::time::Time;

impl Conductor<'_> {
    pub(super) async fn phase(&mut self, index: usize, state: &mut State) {
        let scenario = self.scenario;
        let phase = &scenario.phases[index];
        let begin = Time::now() + ANNOUNCE;
        self.fleet.begin_phase(begin, phase.load);
        self.clock.begin_phase(begin, phase.real, phase.stands_for);
        self.silence(index, begin);
        let faults = vec![FaultLog::default(); phase.faults.len()];
        state.phases.push(PhaseLog { begin, end: begin + phase.real, faults, machine: None });
        let machine_before = Ticks::now();
        let windows: Vec<Window> = phase.faults.iter().map(|fault| window(phase, fault)).collect();
        self.progress.phase(phase);
        for step in steps(&windows, phase.real) {
            self.until(begin + step.at, state).await;
            if state.cut.is_some() {
                break;
            }
            self.step(index, &step, state).await;
            if state.cut.is_some() {
                break;
            }
        }
        if state.cut.is_none() {
            self.until(begin + phase.real, state).await;
        }
        self.finish_scrape(state).await;
        self.heal_all(state).await;
        let end = Time::now();
        if let Some(log) = state.phases.last_mut() {
            log.end = end;
            log.machine = machine_before.and_then(|before| Ticks::now()?.since(before));
        }
        self.progress.phase_done(phase, state.phases.last());
    }

    /// Lets the last phase go on, for at most `settle`, while an alert is pending of which nobody can say yet whether it fires.
    pub(super) async fn prolong(&mut self, state: &mut State) {
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

    /// Before the first fault nothing may be pending or firing, or its cause could not be told. Gives what is.
    fn active_before_first_fault(&self, state: &State) -> Option<Vec<String>> {
        let mut faults = state.phases.iter().flat_map(|phase| &phase.faults);
        if faults.any(|fault| fault.asked.is_some()) {
            return None;
        }
        let background = &self.scenario.alerts.background;
        let active =
            assertions::verdict::active_before_fault(&self.watch.events, self.watch.last, background);
        let names: Vec<String> = active.iter().map(|episode| episode.name().to_owned()).collect();
        (!names.is_empty()).then_some(names)
    }

    async fn step(&mut self, phase: usize, step: &Step, state: &mut State) {
        match step.action {
            Action::Inject(fault) => self.inject(phase, fault, state).await,
            Action::Heal(fault) => {
                // The scrape that closes the phase must not see the healed target.
                self.finish_scrape(state).await;
                let place =
                    state.active.iter().position(|active| (active.phase, active.fault) == (phase, fault));
                if let Some(place) = place {
                    let active = state.active.remove(place);
                    self.heal_or_keep(active, state).await;
                }
            }
        }
    }

    async fn inject(&mut self, phase: usize, index: usize, state: &mut State) {
        if let Some(names) = self.active_before_first_fault(state) {
            state.phases[phase].faults[index].proof = format!("not put in: {} was active", names.join(", "));
            state.cut = Some(Cut::ActiveBeforeFault(names));
            return;
        }
        let planned = &self.scenario.phases[phase].faults[index];
        let name = planned.name.value.clone();
        self.stay_guarded(LEASE_ANSWER, state);
        if let Some(Cut::Unguarded(why)) = &state.cut {
            let why = why.clone();
            return state.never_in_force(phase, index, &name, &why);
        }
        let prepared = match crate::faults::runnable(&planned.kind).prepare(&self.target) {
            Ok(prepared) => prepared,
            Err(error) => return state.never_in_force(phase, index, &name, &error),
        };
        let number = match self.journal.asked(&name, prepared.undo()) {
            Ok(number) => number,
            Err(error) => {
                let error = format!("its journal cannot be written: {error}");
                return state.never_in_force(phase, index, &name, &error);
            }
        };
        let lease = self.scenario.phases[phase].real + LEASE_MARGIN;
        self.fleet.disturbed(Time::now());
        if prepared.kills() {
            self.fleet.is_gone();
        }
        let injected = prepared.inject(&self.target, lease).await;
        let active = Active { phase, fault: index, number, prepared };
        match injected {
            Ok(in_force) => {
                let log = &mut state.phases[phase].faults[index];
                (log.asked, log.effective) = (Some(in_force.asked), Some(in_force.effective));
                state.note(self.journal.effective(number, in_force.effective));
                state.active.push(active);
                // If we stood still meanwhile, the guardian may have healed before there was anything to heal.
                self.stay_guarded(LEASE, state);
            }
            Err(error) => {
                state.never_in_force(phase, index, &name, &error);
                state.note(self.journal.failed(number, &error.to_string()));
                self.undo(active, &error, state).await;
            }
        }
    }

    /// Takes out a fault that could not be put in, for it may have taken effect in part.
    async fn undo(&mut self, active: Active, error: &FaultError, state: &mut State) {
        if error.may_be_in_force() {
            return self.heal_or_keep(active, state).await;
        }
        if active.prepared.kills() {
            self.fleet.is_back(Time::now());
        }
        state.note(self.journal.healed(active.number, "it never took effect"));
    }

    /// Takes a fault out. What cannot be proven, perhaps because of another fault, is tried again at the phase's end.
    async fn heal_or_keep(&mut self, active: Active, state: &mut State) {
        if let Err(reason) = self.heal(&active, state).await {
            state.note(self.journal.failed(active.number, &reason));
            state.active.push(active);
        }
    }

    /// Takes a fault out. Errors: why its end is not proven.
    async fn heal(&mut self, active: &Active, state: &mut State) -> Result<(), String> {
        self.stay_guarded(LEASE_ANSWER, state);
        let gateway = self.gateway.as_mut();
        let healed = active.prepared.heal(&self.target, || start_again(gateway)).await;
        self.target.pid = self.gateway.as_ref().map(OwnGateway::pid);
        let log = &mut state.phases[active.phase].faults[active.fault];
        match healed {
            Ok(healed) => {
                // Of a fault that never took effect the reason is told, not the end.
                if log.effective.is_some() {
                    (log.healed, log.proof) = (Some(healed.at), healed.proof.clone());
                }
                if active.prepared.kills() {
                    self.fleet.is_back(healed.at);
                }
                state.note(self.journal.healed(active.number, &healed.proof));
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                if log.effective.is_some() {
                    log.proof = format!("not proven: {reason}");
                }
                Err(reason)
            }
        }
    }

    /// Takes out what is in force, the last put in first. What cannot be proven is tried again: one fault may wait for another,
    /// for a paused gateway answers nobody.
    pub(super) async fn heal_all(&mut self, state: &mut State) {
        let until = Time::now() + HEAL_WITHIN;
        let mut active = std::mem::take(&mut state.active);
        while !active.is_empty() {
            let mut unproven = Vec::new();
            while let Some(last) = active.pop() {
                if let Err(reason) = self.heal(&last, state).await {
                    unproven.push((last, reason));
                }
            }
            if Time::now() >= until {
                for (active, reason) in unproven {
                    let name = &self.scenario.phases[active.phase].faults[active.fault].name.value;
                    state.unhealed.push(format!("{name}: {reason}"));
                    state.note(self.journal.failed(active.number, &reason));
                }
                return;
            }
            if !unproven.is_empty() {
                tokio::time::sleep(TICK).await;
            }
            active = unproven.into_iter().map(|(active, _)| active).rev().collect();
        }
    }
}

fn start_again(gateway: Option<&mut OwnGateway>) -> io::Result<u32> {
    match gateway {
        Some(gateway) => gateway.start_again().map_err(io::Error::other),
        None => Err(io::Error::other("not a gateway of ours")),
    }
}

/// When a fault is in force, wall time from its phase's begin.
fn window(phase: &scenarios::scenario::Phase, fault: &scenarios::scenario::Fault) -> Window {
    let begin = phase.to_wall(fault.at.value);
    let length = crate::faults::length(fault);
    let end = begin + phase.to_wall(length);
    Window { begin, end: (end < phase.real).then_some(end) }
}
