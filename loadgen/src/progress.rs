//! What the user sees while a run goes on: one live line on a terminal, plain lines elsewhere. On standard error.

use crate::conduct::PhaseLog;
use crate::fleet::figures::SecondFigures;
use crate::terminal;
use assertions::timeline::{AlertEvent, Transition};
use indicatif::{ProgressBar, ProgressStyle};
use reports::figures::count;
use scenarios::scenario::Phase;
use scenarios::units::format_duration;
use std::io::IsTerminal as _;
use std::time::Duration;

/// The live line, or plain lines.
pub struct Progress {
    bar: Option<ProgressBar>,
    phase: String,
}

impl Progress {
    /// A line if standard error is a terminal.
    pub fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Progress { bar, phase: "warm-up".into() }
    }

    fn live(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text());
            bar.tick();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => terminal::tell(text),
        }
    }

    /// Clients come in.
    pub fn connecting(&self, connected: u64, clients: u64) {
        self.live(|| format!("connect  {} of {} clients", count(connected), count(clients)));
    }

    /// Clients are in.
    pub fn connected(&self, connected: u64, clients: u64, took: Duration) {
        let mark = if connected == clients { "✓" } else { "✗" };
        self.line(&format!(
            "connect    {mark}  {} of {} clients in {:.1} s",
            count(connected),
            count(clients),
            took.as_secs_f64()
        ));
        self.line("warm-up    …  until the target has been healthy for a while");
    }

    /// A phase begins.
    pub fn phase(&mut self, phase: &Phase) {
        self.phase = phase.name.value.clone();
        self.line(&format!(
            "{:<10} …  {} for {}",
            self.phase,
            format_duration(phase.real),
            format_duration(phase.stands_for)
        ));
    }

    /// The last phase goes on because an alert is pending.
    pub fn prolonged(&mut self, at_most: Duration) {
        self.line(&format!(
            "{:<10} …  an alert is pending: watched for up to {} more",
            self.phase,
            format_duration(at_most)
        ));
    }

    /// A phase is over.
    pub fn phase_done(&self, phase: &Phase, log: Option<&PhaseLog>) {
        let faults = log.map_or(&[][..], |log| &log.faults);
        for (planned, fault) in phase.faults.iter().zip(faults) {
            let state = match (fault.effective, fault.healed) {
                (None, _) if fault.proof.is_empty() => "✗  not put in".to_owned(),
                (None, _) => format!("✗  {}", fault.proof),
                (Some(_), None) => format!("✗  not healed: {}", fault.proof),
                (Some(effective), Some(_)) => {
                    let after = fault.asked.map_or(Duration::ZERO, |asked| effective.since(asked));
                    format!("✓  in force after {:.0} ms, healed: {}", after.as_secs_f64() * 1e3, fault.proof)
                }
            };
            self.line(&format!("{:<10} {state}  ({})", phase.name.value, planned.name.value));
        }
    }

    /// A second is over.
    pub fn second(&self, second: &SecondFigures, events: &[AlertEvent]) {
        self.live(|| {
            let p99 = second.latency.map_or(0.0, |[_, p99, _]| p99 as f64 / 1000.0);
            let firing = events.iter().filter(|event| event.transition == Transition::Firing).count();
            let ended =
                events.iter().filter(|event| matches!(event.transition, Transition::Resolved(_))).count();
            format!(
                "{:<10} {} clients  {} of {}/s  p99 {p99:.1} ms  {} firing",
                self.phase,
                second.connected,
                second.sent,
                second.due,
                firing.saturating_sub(ended)
            )
        });
    }

    /// Traffic has stopped; messages are waited for.
    pub fn settling(&self, missing: u64) {
        self.live(|| format!("settle     {} messages on their way", count(missing)));
    }

    /// Nothing more to show.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}
