//! One entry of `expect.fires` against what happened.
//!
//! An alert belongs to its cause if its pending began when the cause was in force or later, and before the
//! next cause that the scenario names for the same alert. What began before does not count.

use super::check::{Bound, Check, Kind, Seen, Why, at_least, within};
use super::episode::{Episode, first_firing, instances_fired};
use super::observed::Observed;
use super::told;
use crate::slo::Outcome;
use crate::time::Millis;
use crate::timeline::ResolveReason;
use scenarios::scenario::{Cause, Fires};
use scenarios::span::{Span, Spanned};
use std::time::Duration;

/// Fewest numerator events behind the claim that an alert fires for a reason (a Poisson count of 20 is known
/// to about a fifth).
pub const EVENTS_NEEDED: f64 = 20.0;

/// When a cause began and ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct CauseSpan {
    /// When the first of its faults took effect.
    pub(super) effective: Millis,
    /// When the last of them was proven healed.
    pub(super) healed: Option<Millis>,
    socket_delay: Duration,
    factor: f64,
}

/// The span of a cause; `None` if nothing took effect.
pub(super) fn cause_span(observed: &Observed<'_>, cause: &Cause) -> Option<CauseSpan> {
    let phase = observed.phases.get(cause.phase)?;
    let faults = match cause.fault {
        Some(index) => phase.faults.get(index..=index)?,
        None => &phase.faults,
    };
    let effective = faults.iter().filter_map(|fault| fault.effective).min()?;
    let in_force = faults.iter().filter(|fault| fault.effective.is_some());
    let healed: Option<Vec<Millis>> = in_force.map(|fault| fault.healed).collect();
    Some(CauseSpan {
        effective,
        healed: healed.and_then(|moments| moments.into_iter().max()),
        socket_delay: faults.iter().map(|fault| fault.socket_delay).max().unwrap_or_default(),
        factor: phase.factor,
    })
}

/// Whether an episode is one of the alert that the entry means.
pub(super) fn is_meant(entry: &Fires, episode: &Episode) -> bool {
    let labels = entry.labels.iter();
    episode.name() == entry.alert.value
        && labels.clone().all(|(name, value)| episode.labels.get(&name.value) == value.value)
}

/// All that is needed to judge one entry.
pub(super) struct Entry<'a> {
    pub(super) observed: &'a Observed<'a>,
    pub(super) entry: &'a Fires,
    /// The cause, if the entry names one and it took effect.
    pub(super) span: Option<CauseSpan>,
    /// Episodes of the alert that this cause explains.
    pub(super) own: Vec<&'a Episode>,
    /// Episodes of the alert that began before the cause and that no other entry explains.
    pub(super) before: Vec<&'a Episode>,
    /// From the first firing to the first moment without.
    pub(super) fired: Option<(Millis, Option<Millis>)>,
    name: String,
    cause: Option<String>,
}

/// Judges one entry; `all` are the entries of the scenario, this one included.
pub(super) fn judge(
    observed: &Observed<'_>,
    entry: &Fires,
    all: &[Fires],
    episodes: &[Episode],
) -> Vec<Check> {
    let entry = Entry::new(observed, entry, all, episodes);
    if entry.entry.cause.is_some() && entry.span.is_none() {
        return vec![entry.without_effect()];
    }
    let mut checks = vec![entry.quiet_before(), entry.pending(), Some(entry.fired_in_time())];
    checks.extend([entry.not_before(), entry.held(), entry.instances(), entry.payload()]);
    checks.extend(told::judge(&entry));
    checks.extend([entry.resolved(), told::resolved_notice(&entry)]);
    checks.into_iter().flatten().collect()
}

impl<'a> Entry<'a> {
    fn new(
        observed: &'a Observed<'a>,
        entry: &'a Fires,
        all: &[Fires],
        episodes: &'a [Episode],
    ) -> Entry<'a> {
        let span = entry.cause.as_ref().and_then(|cause| cause_span(observed, &cause.value));
        let effective = span.map(|span| span.effective);
        let meant: Vec<&Episode> = episodes.iter().filter(|episode| is_meant(entry, episode)).collect();
        // Of the other entries that mean the same instance, when each one's cause took effect.
        let other_causes = |episode: &Episode| -> Vec<Millis> {
            let others = all.iter().filter(|other| *other != entry && is_meant(other, episode));
            let spans = others.filter_map(|other| cause_span(observed, &other.cause.as_ref()?.value));
            spans.map(|span| span.effective).collect()
        };
        let explained_elsewhere = |episode: &Episode| {
            let ended = episode.end.is_some_and(|end| Some(end) <= effective);
            ended && other_causes(episode).iter().any(|other| *other <= episode.pending)
        };
        let own = |episode: &&Episode| {
            let taken = |other: &Millis| Some(*other) > effective && *other <= episode.pending;
            effective.is_none_or(|effective| effective <= episode.pending)
                && !other_causes(episode).iter().any(taken)
        };
        let before = |episode: &&Episode| Some(episode.pending) < effective && !explained_elsewhere(episode);
        let own: Vec<&Episode> = meant.iter().copied().filter(own).collect();
        Entry {
            before: meant.iter().copied().filter(before).collect(),
            fired: first_firing(&own),
            name: name(entry, meant.first().copied()),
            cause: entry.cause.as_ref().map(|cause| cause_name(observed, &cause.value)),
            observed,
            entry,
            span,
            own,
        }
    }

    /// An empty check of this entry; passed until somebody says otherwise.
    pub(super) fn check(&self, kind: Kind, span: Option<&Span>) -> Check {
        Check {
            kind,
            alert: Some(self.name.clone()),
            cause: self.cause.clone(),
            outcome: Outcome::Passed,
            seen: Vec::new(),
            bound: None,
            tolerance: Duration::ZERO,
            why: Vec::new(),
            span: span.or(self.entry.alert.span.as_ref()).cloned(),
        }
    }

    /// The same as [`Entry::check`], ended by a reason.
    fn ended(&self, kind: Kind, span: Option<&Span>, outcome: Outcome, why: Why) -> Check {
        Check { outcome, why: vec![why], ..self.check(kind, span) }
    }

    /// The factor that counts for a moment, and the tolerance that comes of it.
    pub(super) fn tolerance(&self, at: Millis) -> (f64, Duration) {
        let factor = self.observed.factor_at(at).max(self.span.map_or(1.0, |span| span.factor));
        let delay = self.span.map_or(Duration::ZERO, |span| span.socket_delay);
        (factor, self.observed.tolerance.at(factor, delay))
    }

    /// Where the entry's times run from.
    fn origin(&self) -> Millis {
        let first_phase = self.observed.phases.first().map_or(Millis(0), |phase| phase.begin);
        self.span.map_or(first_phase, |span| span.effective)
    }

    /// A check that a moment lies within a bound, if one is written.
    pub(super) fn moment(
        &self,
        kind: Kind,
        at: Millis,
        origin: Millis,
        bound: Option<&Spanned<Duration>>,
    ) -> Check {
        let mut check = self.check(kind, bound.and_then(|bound| bound.span.as_ref()));
        let after = at.since(origin);
        check.seen.push(Seen { who: String::new(), at, after, value: None, count: None });
        if let Some(bound) = bound {
            let (factor, tolerance) = self.tolerance(at);
            let (outcome, why) = within(after, bound.value, tolerance, factor);
            check.bound = Some(Bound::Within(bound.value));
            check.tolerance = tolerance;
            check.outcome = outcome;
            check.why.extend(why);
        }
        check
    }

    /// Nothing came: failed if there was time enough for the bound, else no data.
    pub(super) fn missing(
        &self,
        kind: Kind,
        origin: Millis,
        bound: Option<&Spanned<Duration>>,
        why: Why,
    ) -> Check {
        let judged = bound.is_none_or(|bound| origin.after(bound.value) <= self.observed.end);
        let outcome = if judged { Outcome::Failed } else { Outcome::NoData };
        let mut check = self.ended(kind, bound.and_then(|bound| bound.span.as_ref()), outcome, why);
        check.bound = bound.map(|bound| Bound::Within(bound.value));
        if !judged {
            check.why.push(Why::RunEnded);
        }
        check
    }

    fn without_effect(&self) -> Check {
        let span = self.entry.cause.as_ref().and_then(|cause| cause.span.as_ref());
        self.ended(Kind::Fired, span, Outcome::NoData, Why::NoEffect)
    }

    fn quiet_before(&self) -> Option<Check> {
        self.span?;
        let mut check = self.check(Kind::QuietBefore, self.entry.cause.as_ref()?.span.as_ref());
        for episode in &self.before {
            check.outcome = Outcome::Failed;
            check.why.push(Why::ActiveBefore {
                labels: episode.labels.clone(),
                since: episode.pending,
                fired: episode.firing.is_some(),
            });
        }
        Some(check)
    }

    fn pending(&self) -> Option<Check> {
        let bound = self.entry.pending_within.as_ref();
        let first = self.own.iter().map(|episode| episode.pending).min();
        match (first, bound) {
            (None, None) => None,
            (None, Some(_)) => Some(self.missing(Kind::Pending, self.origin(), bound, self.never_pending())),
            (Some(first), _) => Some(self.moment(Kind::Pending, first, self.origin(), bound)),
        }
    }

    fn fired_in_time(&self) -> Check {
        let bound = self.entry.fires_within.as_ref();
        let Some((at, _)) = self.fired else {
            return self.missing(Kind::Fired, self.origin(), bound, self.why_not_fired());
        };
        let mut check = self.moment(Kind::Fired, at, self.origin(), bound);
        let first = self.own.iter().find(|episode| episode.firing == Some(at));
        if let (Some(seen), Some(first)) = (check.seen.first_mut(), first) {
            seen.value = Some(first.value);
        }
        let rule = first.and_then(|episode| self.observed.rules.get(episode.rule));
        if let Some(seen) = rule.and_then(|rule| rule.numerator_events).filter(|seen| *seen < EVENTS_NEEDED) {
            check.why.push(Why::TooFewEvents { seen, needed: EVENTS_NEEDED });
            check.outcome = check.outcome.or_no_data();
        }
        check
    }

    fn why_not_fired(&self) -> Why {
        let needs = |episode: &Episode| {
            self.observed.rules.get(episode.rule).map_or(Duration::ZERO, |rule| rule.hold)
        };
        let lasted = |episode: &Episode| episode.end.unwrap_or(self.observed.end).since(episode.pending);
        let longest = self.own.iter().max_by_key(|episode| lasted(episode));
        match (longest, self.before.iter().find_map(|episode| episode.firing)) {
            (Some(episode), _) if episode.end.is_none() => {
                Why::StillPending { since: episode.pending, needs: needs(episode) }
            }
            (Some(episode), _) => Why::PendingTooShort {
                since: episode.pending,
                lasted: lasted(episode),
                needs: needs(episode),
            },
            (None, Some(at)) => {
                let phase = self.observed.phases.get(self.observed.phase_at(at));
                Why::FiredElsewhere { at, phase: phase.map(|phase| phase.name.clone()).unwrap_or_default() }
            }
            (None, None) => self.never_pending(),
        }
    }

    fn never_pending(&self) -> Why {
        let rules = self.observed.rules.iter().filter(|rule| rule.name == self.entry.alert.value);
        Why::NeverPending { nearest: rules.filter_map(|rule| rule.nearest).next() }
    }

    fn not_before(&self) -> Option<Check> {
        let bound = self.entry.fires_not_before.as_ref()?;
        let Some((at, _)) = self.fired else {
            return Some(self.ended(
                Kind::NotBefore,
                bound.span.as_ref(),
                Outcome::NotJudged,
                Why::NeverFired,
            ));
        };
        Some(self.lower_bound(Kind::NotBefore, at, at.since(self.origin()), bound))
    }

    fn held(&self) -> Option<Check> {
        let bound = self.entry.holds_for.as_ref()?;
        let Some((at, end)) = self.fired else {
            return Some(self.ended(Kind::Held, bound.span.as_ref(), Outcome::NotJudged, Why::NeverFired));
        };
        let until = end.unwrap_or(self.observed.end);
        let mut check = self.lower_bound(Kind::Held, until, until.since(at), bound);
        if end.is_none() && check.outcome == Outcome::Failed {
            check.outcome = Outcome::NoData;
            check.why = vec![Why::RunEnded];
        }
        Some(check)
    }

    fn lower_bound(&self, kind: Kind, at: Millis, after: Duration, bound: &Spanned<Duration>) -> Check {
        let (factor, tolerance) = self.tolerance(at);
        let (outcome, why) = at_least(after, bound.value, tolerance, factor);
        let seen = vec![Seen { who: String::new(), at, after, value: None, count: None }];
        let check = self.check(kind, bound.span.as_ref());
        Check {
            outcome,
            seen,
            bound: Some(Bound::AtLeast(bound.value)),
            tolerance,
            why: why.into_iter().collect(),
            ..check
        }
    }

    fn instances(&self) -> Option<Check> {
        let bound = self.entry.max_instances.as_ref()?;
        let mut check = self.check(Kind::Instances, bound.span.as_ref());
        let Some((at, _)) = self.fired else {
            return Some(self.ended(
                Kind::Instances,
                bound.span.as_ref(),
                Outcome::NotJudged,
                Why::NeverFired,
            ));
        };
        let count = instances_fired(&self.own) as u64;
        check.seen.push(Seen {
            who: String::new(),
            at,
            after: Duration::ZERO,
            value: None,
            count: Some(count),
        });
        check.bound = Some(Bound::AtMost(bound.value));
        check.outcome = if count <= bound.value { Outcome::Passed } else { Outcome::Failed };
        Some(check)
    }

    fn payload(&self) -> Option<Check> {
        let (field, _) = self.entry.payload.first()?;
        if self.fired.is_none() {
            return Some(self.ended(Kind::Payload, field.span.as_ref(), Outcome::NotJudged, Why::NeverFired));
        }
        let mut check = self.check(Kind::Payload, field.span.as_ref());
        for episode in self.own.iter().filter(|episode| episode.firing.is_some()) {
            for (field, wanted) in &self.entry.payload {
                let label = episode.labels.get(&field.value);
                let found = episode.annotations.get(&field.value).map_or(label, String::as_str);
                if !found.contains(&wanted.value) {
                    check.outcome = Outcome::Failed;
                    check.why.push(Why::TextMissing { field: field.value.clone(), found: found.to_owned() });
                }
            }
        }
        Some(check)
    }

    fn resolved(&self) -> Option<Check> {
        let bound = self.entry.resolves_within.as_ref()?;
        let span = bound.span.as_ref();
        if self.fired.is_none() {
            return Some(self.ended(Kind::Resolved, span, Outcome::NotJudged, Why::NeverFired));
        }
        let Some(healed) = self.span.and_then(|span| span.healed) else {
            return Some(self.ended(Kind::Resolved, span, Outcome::NoData, Why::NotHealed));
        };
        let fired = self.own.iter().filter(|episode| episode.firing.is_some());
        let ends: Option<Vec<(Millis, &Episode)>> =
            fired.map(|episode| Some((episode.end?, *episode))).collect();
        let last = ends.and_then(|ends| ends.into_iter().max_by_key(|(end, _)| *end));
        let Some((end, episode)) = last else {
            return Some(self.missing(Kind::Resolved, healed, Some(bound), Why::StillFiring));
        };
        let mut check = self.moment(Kind::Resolved, end, healed, Some(bound));
        check.seen[0].value = Some(episode.last_value);
        if end < healed {
            check.why.push(Why::ResolvedBeforeHeal);
        }
        if episode.ended_by == Some(ResolveReason::NoData) {
            check.outcome = Outcome::Failed;
            check.why.push(Why::ResolvedWithoutData);
        }
        if let Some(at) = self.fired_again() {
            check.why.push(Why::FiredAgain { at });
        }
        Some(check)
    }

    /// The first firing after all instances had resolved once.
    fn fired_again(&self) -> Option<Millis> {
        let (_, end) = self.fired?;
        let end = end?;
        self.own.iter().filter_map(|episode| episode.firing).filter(|firing| *firing > end).min()
    }
}

fn name(entry: &Fires, seen: Option<&Episode>) -> String {
    let written: Vec<String> =
        entry.labels.iter().map(|(name, value)| format!("{}={:?}", name.value, value.value)).collect();
    let severity = seen.map(|episode| episode.labels.get("severity")).filter(|severity| !severity.is_empty());
    match (written.is_empty(), severity) {
        (false, _) => format!("{}{{{}}}", entry.alert.value, written.join(", ")),
        (true, Some(severity)) => format!("{}{{severity={severity:?}}}", entry.alert.value),
        (true, None) => entry.alert.value.clone(),
    }
}

fn cause_name(observed: &Observed<'_>, cause: &Cause) -> String {
    let phase = observed.phases.get(cause.phase);
    let name = phase.map(|phase| phase.name.clone()).unwrap_or_default();
    match cause.fault.and_then(|fault| phase?.faults.get(fault)) {
        Some(fault) => format!("{name}/{}", fault.name),
        None => name,
    }
}
