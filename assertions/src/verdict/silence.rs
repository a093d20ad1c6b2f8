//! The closed world: what is not expected must stay silent, what is in the background must never stop.

use super::check::{Check, Kind, Seen, Why};
use super::episode::Episode;
use super::fires::{EVENTS_NEEDED, cause_span, is_meant};
use super::observed::Observed;
use super::told::receivers_told;
use crate::slo::Outcome;
use crate::time::Millis;
use scenarios::scenario::{Expect, UnlistedPending};
use scenarios::span::Spanned;
use std::time::Duration;

/// One check over everything that is neither in `fires` nor in the background.
pub(super) fn judge(
    observed: &Observed<'_>,
    expect: &Expect,
    background: &[Spanned<String>],
    episodes: &[Episode],
) -> Check {
    let mut check = empty(Kind::Silent);
    check.span = expect.may_fire.first().and_then(|entry| entry.alert.span.clone());
    for episode in episodes {
        let listed = background.iter().any(|name| name.value == episode.name());
        if listed || is_explained(observed, expect, episode) {
            continue;
        }
        match outcome(observed, expect, episode) {
            Offence::None => continue,
            Offence::Reported => {}
            Offence::Fails => check.outcome = Outcome::Failed,
            Offence::Unknown => check.outcome = check.outcome.or_no_data(),
        }
        check.why.push(unexpected(observed, expect, episode));
    }
    check.why.extend(insignificant(observed, expect, background));
    check
}

/// Whether an entry of `fires` answers for it. With a cause that never took effect nobody does.
fn is_explained(observed: &Observed<'_>, expect: &Expect, episode: &Episode) -> bool {
    let meant = expect.fires.iter().filter(|entry| is_meant(entry, episode));
    meant
        .into_iter()
        .any(|entry| entry.cause.as_ref().is_none_or(|cause| cause_span(observed, &cause.value).is_some()))
}

enum Offence {
    None,
    Reported,
    Fails,
    /// Pending still, when the run ended before it could have fired.
    Unknown,
}

fn outcome(observed: &Observed<'_>, expect: &Expect, episode: &Episode) -> Offence {
    let allowed = expect.may_fire.iter().find(|entry| entry.alert.value == episode.name());
    match (episode.firing, allowed) {
        (Some(firing), Some(entry)) => {
            let last = episode.end.map_or(observed.end, |end| Millis(end.0.saturating_sub(1)));
            let mut phases = observed.phase_at(firing)..=observed.phase_at(last.max(firing));
            if phases.all(|phase| entry.during.contains(phase)) { Offence::None } else { Offence::Fails }
        }
        (Some(_), None) => Offence::Fails,
        (None, Some(_)) => Offence::None,
        (None, None) if expect.unlisted_pending == UnlistedPending::Fail => Offence::Fails,
        (None, None) if episode.end.is_none() => Offence::Unknown,
        (None, None) => Offence::Reported,
    }
}

/// The offence, at the first moment that offends.
fn unexpected(observed: &Observed<'_>, expect: &Expect, episode: &Episode) -> Why {
    let begin = episode.firing.unwrap_or(episode.pending);
    let allowed = expect.may_fire.iter().find(|entry| entry.alert.value == episode.name());
    let phases = observed.phases.iter().enumerate().skip(observed.phase_at(begin));
    let forbidden =
        phases.into_iter().find(|(index, _)| !allowed.is_some_and(|entry| entry.during.contains(*index)));
    let phase = forbidden.map(|(_, phase)| phase).or(observed.phases.last());
    Why::Unexpected {
        labels: episode.labels.clone(),
        at: phase.map_or(begin, |phase| begin.max(phase.begin)),
        fired: episode.firing.is_some(),
        until: episode.end,
        phase: phase.map(|phase| phase.name.clone()).unwrap_or_default(),
        value: episode.value,
        told: receivers_told(observed, &episode.labels, begin, episode.end),
    }
}

/// The silent alerts whose threshold means too few events at this run's traffic.
fn insignificant<'a>(
    observed: &'a Observed<'_>,
    expect: &'a Expect,
    background: &'a [Spanned<String>],
) -> impl Iterator<Item = Why> + 'a {
    let listed = |name: &str| {
        expect.fires.iter().any(|entry| entry.alert.value == name)
            || background.iter().any(|listed| listed.value == name)
    };
    observed.rules.iter().filter(move |rule| !listed(&rule.name)).filter_map(|rule| {
        let events = rule.threshold_events.filter(|events| *events < EVENTS_NEEDED)?;
        Some(Why::NotSignificant { alert: rule.name.clone(), events })
    })
}

/// A check for each alert that must fire throughout the phases.
pub(super) fn background(
    observed: &Observed<'_>,
    names: &[Spanned<String>],
    episodes: &[Episode],
) -> Vec<Check> {
    names.iter().map(|name| background_alert(observed, name, episodes)).collect()
}

fn background_alert(observed: &Observed<'_>, name: &Spanned<String>, episodes: &[Episode]) -> Check {
    let mut check = empty(Kind::Background);
    check.alert = Some(name.value.clone());
    check.span = name.span.clone();
    let begin = observed.phases.first().map_or(Millis(0), |phase| phase.begin);
    let end = observed.phases.last().map_or(observed.end, |phase| phase.end);
    let mut spans: Vec<(Millis, Millis)> = episodes
        .iter()
        .filter(|episode| episode.name() == name.value)
        .filter_map(|episode| Some((episode.firing?, episode.end.unwrap_or(Millis(i64::MAX)))))
        .collect();
    spans.sort();
    let covered = spans.iter().fold(
        begin,
        |covered, (from, to)| {
            if *from <= covered { covered.max(*to) } else { covered }
        },
    );
    if covered < end {
        check.outcome = Outcome::Failed;
        check.why.push(Why::BackgroundQuiet { since: covered });
    } else {
        check.seen.push(Seen {
            who: String::new(),
            at: begin,
            after: Duration::ZERO,
            value: None,
            count: None,
        });
    }
    check
}

fn empty(kind: Kind) -> Check {
    Check {
        kind,
        alert: None,
        cause: None,
        outcome: Outcome::Passed,
        seen: Vec::new(),
        bound: None,
        tolerance: Duration::ZERO,
        why: Vec::new(),
        span: None,
    }
}
