//! The client engine: a hundred thousand clients over a few threads, on an open-loop schedule.
//!
//! Start at [`Fleet`]. [`plan`] says what is due when, `shard` does it, [`ledger`] and [`figures`] keep the truth. The
//! engine knows no alerts, faults or reports; it meets the target over the wire only.

mod client;
pub mod figures;
pub mod ledger;
pub mod plan;
mod protocol;
mod shard;

use figures::{FleetFigures, Gauges, PhaseFigures, PhaseMark, PhaseMarks, Second};
use ledger::{Ledger, classify};
use plan::{Pairing, Recipients, Schedule, Traffic};
use scenarios::scenario::{Jitter, Reconnect};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use wire::shard::event_loop;
use wire::shard::mailbox::{self, Mailbox};
use wire::time::Time;

/// What the engine keeps of each client, bytes, buffers in use aside.
pub const CLIENT_BYTES: usize = size_of::<client::Client>();

/// The pause before attempt number `attempts` (from 0) to connect again, with `chance` in 0..1.
fn pause(reconnect: &Reconnect, attempts: u8, chance: f64) -> Duration {
    let factor = 1_u32.checked_shl(attempts.into()).unwrap_or(u32::MAX);
    let whole = reconnect.backoff.shortest.saturating_mul(factor).min(reconnect.backoff.longest);
    match reconnect.jitter {
        Jitter::None => whole,
        Jitter::Equal => whole.mul_f64(0.5 + chance / 2.0),
        Jitter::Full => whole.mul_f64(chance),
    }
}

/// What a fleet is to do.
pub struct Orders {
    /// Of everything that is left to chance.
    pub seed: u64,
    /// Where to connect.
    pub target: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// The path of the WebSocket.
    pub path: String,
    /// Signs a user in.
    pub token: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// Clients of the population.
    pub clients: u32,
    /// Clients that connect per second.
    pub connect_rate: f64,
    /// How they come back.
    pub reconnect: Reconnect,
    /// What they send.
    pub traffic: Vec<Traffic>,
    /// A delivery later than this counts as late.
    pub late_after: Duration,
    /// Threads: at least one per core, more where the descriptor limit asks for it.
    pub threads: u32,
}

/// What the threads and the edge tell each other.
pub enum Mail {
    /// Begin to connect.
    Connect(Time),
    /// Message 0 is due then.
    BeginTraffic(Time),
    /// The next phase begins; rates are multiplied by `load`.
    Phase {
        /// When.
        mark: PhaseMark,
        /// Factor on the plans' rates.
        load: f64,
    },
    /// A fault of the present phase was asked for.
    Disturbed(Time),
    /// The target is being taken away.
    Gone,
    /// A target that was gone is back.
    Back(Time),
    /// Nothing is due from then on.
    EndTraffic(Time),
    /// Give what you know; reconnect no more.
    HandOver,
    /// End.
    Stop,
    /// To the edge: a second is over.
    Second {
        /// Its end.
        until: Time,
        /// What it measured.
        second: Box<Second>,
    },
    /// To the edge: all that a thread knows.
    Truth(Box<ThreadTruth>),
}

/// All that one thread knows at the end.
pub struct ThreadTruth {
    totals: FleetFigures,
    phases: Vec<PhaseFigures>,
    /// Per traffic plan: its schedule, how many of the thread's messages had their time, and the ledger.
    traffic: Vec<(Option<Schedule>, u64, Ledger)>,
    marks: PhaseMarks,
}

/// A running fleet.
pub struct Fleet {
    orders: Arc<Orders>,
    edge: Mailbox<Mail>,
    gauges: Vec<Arc<Gauges>>,
    threads: Vec<JoinHandle<()>>,
    traffic_until: Option<Time>,
    /// By thread.
    truths: Vec<Option<ThreadTruth>>,
}

impl Fleet {
    /// Starts the threads; nobody connects yet.
    pub fn start(orders: Orders) -> io::Result<Fleet> {
        let orders = Arc::new(orders);
        let threads = orders.threads as usize;
        let mut mailboxes = mailbox::network(threads + 1)?;
        let edge = mailboxes.pop().ok_or_else(|| io::Error::other("no mailboxes"))?;
        let gauges: Vec<Arc<Gauges>> = (0..threads).map(|_| Arc::default()).collect();
        let config =
            event_loop::Config { timer_slack: Duration::from_nanos(1), ..event_loop::Config::default() };
        let (ready, readiness) = mpsc::channel();
        let mut handles = Vec::new();
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let (orders, gauges) = (Arc::clone(&orders), Arc::clone(&gauges[index]));
            let (config, ready) = (config.clone(), ready.clone());
            let thread = move || {
                let application = || shard::FleetShard::new(orders, index as u32, gauges);
                event_loop::run(&config, mailbox, application, |started| {
                    // Fails only if the start was given up meanwhile.
                    let _ = ready.send(started);
                });
            };
            handles.push(std::thread::Builder::new().name(format!("clients-{index}")).spawn(thread)?);
        }
        drop(ready);
        for _ in 0..threads {
            readiness.recv().map_err(io::Error::other)??;
        }
        let truths = (0..threads).map(|_| None).collect();
        Ok(Fleet { orders, edge, gauges, threads: handles, traffic_until: None, truths })
    }

    fn tell_all(&mut self, mail: impl Fn() -> Mail) {
        for thread in 0..self.threads.len() {
            self.edge.post(thread, mail());
        }
        self.edge.flush();
    }

    /// Clients begin to connect at the rate of the orders.
    pub fn connect(&mut self, at: Time) {
        self.tell_all(|| Mail::Connect(at));
    }

    /// Traffic begins at `at`, which should lie a little ahead.
    pub fn begin_traffic(&mut self, at: Time) {
        self.tell_all(|| Mail::BeginTraffic(at));
    }

    /// The next phase begins at `at`; the plans' rates are multiplied by `load`.
    pub fn begin_phase(&mut self, at: Time, load: f64) {
        self.tell_all(|| Mail::Phase { mark: PhaseMark { begin: at, disturbed: None }, load });
    }

    /// A fault of the present phase was asked for at `at`.
    pub fn disturbed(&mut self, at: Time) {
        self.tell_all(|| Mail::Disturbed(at));
    }

    /// The target is being taken away.
    pub fn is_gone(&mut self) {
        self.tell_all(|| Mail::Gone);
    }

    /// A target that was gone is back since `at`: times to reconnect count from then.
    pub fn is_back(&mut self, at: Time) {
        self.tell_all(|| Mail::Back(at));
    }

    /// No message is due from `at` on.
    pub fn end_traffic(&mut self, at: Time) {
        self.traffic_until = Some(at);
        self.tell_all(|| Mail::EndTraffic(at));
    }

    /// Number of client threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Whether every thread has attempted, or missed, all that was due before the traffic's end.
    pub fn traffic_is_over(&self) -> bool {
        self.count(|gauges| gauges.traffic_over.get()) == self.threads.len() as u64
    }

    /// A running count, summed over all threads.
    pub fn count(&self, counter: impl Fn(&Gauges) -> u64) -> u64 {
        self.gauges.iter().map(|gauges| counter(gauges)).sum()
    }

    /// Takes what the threads have sent: seconds that are over, by their end.
    pub fn seconds(&mut self) -> Vec<(Time, Second)> {
        let mut mail = Vec::new();
        self.edge.receive(&mut mail);
        let mut seconds = Vec::new();
        for (from, mail) in mail {
            match mail {
                Mail::Second { until, second } => seconds.push((until, *second)),
                Mail::Truth(truth) => self.truths[from] = Some(*truth),
                _ => {}
            }
        }
        seconds
    }

    /// Asks every thread for all it knows; [`Fleet::has_handed_over`] tells when they have answered.
    pub fn hand_over(&mut self) {
        self.tell_all(|| Mail::HandOver);
    }

    /// Whether every thread has answered [`Fleet::hand_over`]. Call [`Fleet::seconds`] to make progress.
    pub fn has_handed_over(&self) -> bool {
        self.truths.iter().all(Option::is_some)
    }

    /// Ends the threads; connections are reset. Gives what they measured; a thread that has not handed it over is an error,
    /// for without it no message can be told lost from delivered. Such a thread is not waited for.
    pub fn stop(mut self) -> Result<FleetFigures, ThreadSilent> {
        self.tell_all(|| Mail::Stop);
        let truths = self.truths.into_iter().enumerate();
        let truths: Vec<_> =
            truths.map(|(thread, truth)| truth.ok_or(ThreadSilent(thread))).collect::<Result<_, _>>()?;
        for thread in self.threads {
            // A thread that panicked has said so on standard error.
            let _ = thread.join();
        }
        Ok(join(&self.orders, &truths, &self.gauges, self.traffic_until))
    }
}

/// A client thread did not hand over what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("client thread {0} ended or hung without handing over what it measured")]
pub struct ThreadSilent(usize);

/// Brings the halves of the truth together: every planned message gets its one class.
fn join(
    orders: &Orders,
    truths: &[ThreadTruth],
    gauges: &[Arc<Gauges>],
    until: Option<Time>,
) -> FleetFigures {
    let mut figures = FleetFigures::default();
    for gauges in gauges {
        figures.tally.attempted += gauges.attempted.get();
        figures.tally.sent += gauges.sent.get();
        figures.tally.delivered += gauges.delivered.get();
    }
    for truth in truths {
        figures.phases.resize_with(figures.phases.len().max(truth.phases.len()), Default::default);
        for (index, phase) in truth.phases.iter().enumerate() {
            figures.phases[index].1.merge(phase);
        }
        figures.unexpected += truth.totals.unexpected;
        for (why, count) in &truth.totals.connect_errors {
            *figures.connect_errors.entry(why).or_default() += count;
        }
        for (code, count) in &truth.totals.refusals {
            *figures.refusals.entry(code.clone()).or_default() += count;
        }
    }
    for (index, traffic) in orders.traffic.iter().enumerate() {
        classify_all(orders, truths, index, traffic, until, &mut figures);
    }
    for moved in truths.iter().flat_map(|truth| &truth.totals.caught) {
        figures.move_delivered(*moved.0, *moved.1);
    }
    figures
}

/// How many messages of each thread belong to the plan, of which `due` had their time before the traffic's end: a thread that
/// was told of the end after it has had more turns, and what it sent meanwhile was sent.
fn planned(due: u64, turns: &[u64]) -> Vec<u64> {
    let threads = turns.len() as u64;
    let share = |thread: u64| (due + threads - 1 - thread) / threads;
    turns.iter().zip(0..).map(|(turns, thread)| share(thread).max(*turns)).collect()
}

fn classify_all(
    orders: &Orders,
    truths: &[ThreadTruth],
    index: usize,
    traffic: &Traffic,
    until: Option<Time>,
    figures: &mut FleetFigures,
) {
    let Some(truth) = truths.first() else { return };
    let (Some(schedule), Some(until)) = (&truth.traffic[index].0, until) else { return };
    let pairing = Pairing::new(orders.clients, orders.threads, orders.seed ^ index as u64, traffic.to);
    let due = schedule.due_before(until);
    let turns: Vec<u64> = truths.iter().map(|truth| truth.traffic[index].1).collect();
    let planned = planned(due, &turns);
    figures.tally.planned += planned.iter().sum::<u64>();
    let last =
        planned.iter().zip(0..).map(|(turns, thread)| turns * u64::from(orders.threads) + thread).max();
    for number in 0..last.unwrap_or(0) {
        let turn = number / u64::from(orders.threads);
        if turn >= planned[pairing.thread(number) as usize] {
            continue;
        }
        let Some(due) = schedule.due(number) else { break };
        let sender = &truths[pairing.thread(number) as usize].traffic[index];
        let arrivals = truths.iter().map(|truth| truth.traffic[index].2.arrivals_of(number)).sum();
        let class = classify(sender.2.sending_of(turn), arrivals, traffic.to == Recipients::AbsentUser);
        let arrived = (arrivals > 0).then_some(due);
        let phase = truth.marks.of(due, arrived).min(figures.phases.len().saturating_sub(1));
        if let Some((counts, _)) = figures.phases.get_mut(phase) {
            counts.add(class, arrivals);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::units::DurationRange;

    #[test]
    fn what_was_sent_before_the_end_was_told_is_planned() {
        assert_eq!(planned(7, &[3, 2, 2]), [3, 2, 2]);
        assert_eq!(planned(7, &[3, 4, 2]), [3, 4, 2]);
        assert_eq!(planned(8, &[0, 0, 0]), [3, 3, 2], "due, and never attempted");
    }

    #[test]
    fn pauses_double_up_to_their_bound() {
        let of = |jitter| Reconnect {
            backoff: DurationRange { shortest: Duration::from_millis(200), longest: Duration::from_secs(10) },
            jitter,
        };
        let none = of(Jitter::None);
        let pauses: Vec<_> = (0..8).map(|attempt| pause(&none, attempt, 0.5).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pause(&none, 255, 0.5), Duration::from_secs(10));
        assert_eq!(pause(&of(Jitter::Full), 0, 0.25), Duration::from_millis(50));
        assert_eq!(pause(&of(Jitter::Equal), 0, 0.5), Duration::from_millis(150));
    }
}
