//! Who is asked to tell of an alert: depth-first through the routing tree, with a reason at every step.
//!
//! The rule is Alertmanager's: a node must match; among its children the asking stops at the first that
//! matched and has no `continue: true`; a node whose children all refused takes the alert itself.

use crate::alertmanager::{Alertmanager, GroupBy, Route};
use crate::labels::Labels;

/// What one route said, or why it was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It matched and, as no child did, it takes the alert.
    Takes,
    /// It matched and left the alert to its children.
    Passes,
    /// It was asked; the matcher with this index was the first that failed.
    Refuses {
        /// Index into the route's matchers.
        matcher: usize,
    },
    /// The sibling of this index matched before and does not go on.
    NotAsked {
        /// Index of the route that took the alert away.
        after: usize,
    },
    /// Its parent did not match or was not asked.
    ParentOut,
}

/// The way of one label set through the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One answer per route, by the route's index.
    pub answers: Vec<Answer>,
    /// The routes that take it, in the order in which they were reached; never empty.
    pub takers: Vec<usize>,
}

/// Sends a label set through the tree.
pub fn decide(config: &Alertmanager, labels: &Labels) -> Decision {
    let mut decision = Decision { answers: vec![Answer::ParentOut; config.routes.len()], takers: Vec::new() };
    ask(config, 0, labels, &mut decision);
    decision
}

/// Asks one route; returns whether it matched. The depth is bounded by the YAML reader's.
fn ask(config: &Alertmanager, index: usize, labels: &Labels, decision: &mut Decision) -> bool {
    let Some(route) = config.routes.get(index) else { return false };
    if let Some(matcher) = route.matchers.iter().position(|matcher| !matcher.matches(labels)) {
        decision.answers[index] = Answer::Refuses { matcher };
        return false;
    }
    let taken_before = decision.takers.len();
    let mut stopped_by = None;
    for &child in &route.children {
        match stopped_by {
            Some(after) => decision.answers[child] = Answer::NotAsked { after },
            None if ask(config, child, labels, decision) && !config.routes[child].goes_on => {
                stopped_by = Some(child);
            }
            None => {}
        }
    }
    decision.answers[index] = match decision.takers.len() == taken_before {
        true => {
            decision.takers.push(index);
            Answer::Takes
        }
        false => Answer::Passes,
    };
    true
}

/// The labels that name an alert's group at a route.
pub fn group_labels(route: &Route, labels: &Labels) -> Labels {
    match &route.group_by {
        GroupBy::All => labels.clone(),
        GroupBy::Labels(names) => labels.filter(|name| names.iter().any(|wanted| wanted == name)),
    }
}

impl Answer {
    /// What this route said, in words; `labels` are those it was asked about.
    pub fn explain(self, config: &Alertmanager, route: usize, labels: &Labels) -> String {
        let found = &config.routes[route];
        match self {
            Answer::Takes => format!("takes it: {}", config.receivers[found.receiver].name),
            Answer::Passes => "matches and leaves it to a route below".to_owned(),
            Answer::Refuses { matcher } => match found.matchers.get(matcher) {
                Some(matcher) => format!("wants {matcher}, it has {:?}", labels.get(&matcher.name)),
                None => "refuses".to_owned(),
            },
            Answer::NotAsked { after } => {
                format!("was not asked: {} matched first and has no `continue: true`", place(config, after))
            }
            Answer::ParentOut => "was not asked: the route above it was not taken".to_owned(),
        }
    }
}

/// Why a receiver hears nothing of a label set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTold {
    /// No route names this receiver.
    NoRoute,
    /// A route that would have told it was not asked, because an earlier sibling keeps the alert.
    Shadowed {
        /// The route of this receiver, not asked itself or below one that was not.
        route: usize,
        /// The sibling that matched first and has no `continue: true`.
        by: usize,
    },
    /// A route that would have told it refused the labels.
    Refused {
        /// The route of this receiver.
        route: usize,
        /// The route that refused: itself or one above it.
        at: usize,
        /// Index of the failed matcher there.
        matcher: usize,
    },
    /// A route of this receiver matched, but its children took the alert.
    TakenBelow {
        /// The route of this receiver.
        route: usize,
    },
}

impl Decision {
    /// The receivers that are told, by index, each once, in the order reached.
    pub fn receivers(&self, config: &Alertmanager) -> Vec<usize> {
        let mut found = Vec::new();
        for &taker in &self.takers {
            let receiver = config.routes[taker].receiver;
            if !found.contains(&receiver) {
                found.push(receiver);
            }
        }
        found
    }

    /// Why `receiver` (an index) is not told; `None` if it is. Of several routes the one that came nearest explains.
    pub fn why_not(&self, config: &Alertmanager, receiver: usize) -> Option<NotTold> {
        let of_receiver = (0..config.routes.len()).filter(|&route| config.routes[route].receiver == receiver);
        let reasons: Option<Vec<NotTold>> = of_receiver.map(|route| self.why_not_by(config, route)).collect();
        let nearness = |reason: &NotTold| match reason {
            NotTold::Shadowed { .. } => 0,
            NotTold::Refused { .. } => 1,
            NotTold::TakenBelow { .. } => 2,
            NotTold::NoRoute => 3,
        };
        Some(reasons?.into_iter().min_by_key(nearness).unwrap_or(NotTold::NoRoute))
    }

    /// `None` if the route takes the alert.
    fn why_not_by(&self, config: &Alertmanager, route: usize) -> Option<NotTold> {
        let mut at = route;
        loop {
            match self.answers[at] {
                Answer::Takes => return None,
                Answer::Passes => return Some(NotTold::TakenBelow { route }),
                Answer::Refuses { matcher } => return Some(NotTold::Refused { route, at, matcher }),
                Answer::NotAsked { after } => return Some(NotTold::Shadowed { route, by: after }),
                Answer::ParentOut => match config.routes[at].parent {
                    Some(parent) => at = parent,
                    None => return Some(NotTold::NoRoute),
                },
            }
        }
    }
}

impl NotTold {
    /// One sentence with the places in the user's file.
    pub fn explain(&self, config: &Alertmanager) -> String {
        match self {
            NotTold::NoRoute => "no route names this receiver".to_owned(),
            NotTold::Shadowed { route, by } => format!(
                "{} matched first and has no `continue: true`; {} was never asked",
                place(config, *by),
                place(config, *route)
            ),
            NotTold::Refused { at, matcher, .. } => {
                let matcher = config.routes[*at].matchers.get(*matcher);
                let condition = matcher.map(ToString::to_string).unwrap_or_default();
                format!("{} wants {condition}", line(config, *at))
            }
            NotTold::TakenBelow { route } => {
                format!("{} left the alert to a route below it", place(config, *route))
            }
        }
    }
}

/// `alertmanager.yml:18 (severity="P1")`; a route without conditions shows its receiver.
pub fn place(config: &Alertmanager, route: usize) -> String {
    let found = &config.routes[route];
    let conditions: Vec<String> = found.matchers.iter().map(ToString::to_string).collect();
    match conditions.is_empty() {
        true => format!("{} ({})", line(config, route), config.receivers[found.receiver].name),
        false => format!("{} ({})", line(config, route), conditions.join(", ")),
    }
}

fn line(config: &Alertmanager, route: usize) -> String {
    let span = &config.routes[route].span;
    format!("{}:{}", span.source.name, span.position().line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::span::Source;
    use std::sync::Arc;

    const CONFIG: &str = r#"
route:
  receiver: default
  routes:
    - matchers: [severity="critical"]
      receiver: pager
      continue: true
    - matchers: [severity=~"critical|P1"]
      receiver: slack
      routes:
        - matchers: [service="im"]
          receiver: im
    - matchers: [severity="P1"]
      receiver: pager
    - matchers: [team!=""]
      receiver: team
receivers: [{name: default}, {name: pager}, {name: slack}, {name: im}, {name: team}, {name: unused}]
"#;

    fn config() -> Alertmanager {
        let source = Arc::new(Source { name: "am.yml".to_owned(), text: CONFIG.to_owned() });
        Alertmanager::parse(source).expect("valid").0
    }

    #[track_caller]
    fn check(labels: &[(&str, &str)], receivers: &[&str], why_not: &[(&str, &str)]) {
        let config = config();
        let decision = decide(&config, &Labels::from_pairs(labels.iter().copied()));
        let found: Vec<&str> =
            decision.receivers(&config).into_iter().map(|index| &*config.receivers[index].name).collect();
        assert_eq!(found, receivers, "{labels:?}");
        for (name, expected) in why_not {
            let index = config.receiver(name).expect("defined");
            let reason = decision.why_not(&config, index).map(|reason| reason.explain(&config));
            assert_eq!(reason.unwrap_or_default(), *expected, "{labels:?}, {name}");
        }
    }

    #[test]
    fn first_match_wins_unless_it_goes_on() {
        check(&[("severity", "critical")], &["pager", "slack"], &[("pager", "")]);
        check(&[("severity", "critical"), ("service", "im")], &["pager", "im"], &[]);
        check(&[("team", "a")], &["team"], &[]);
        check(&[], &["default"], &[]);
    }

    #[test]
    fn every_route_says_what_it_did() {
        let config = config();
        let labels = Labels::from_pairs([("severity", "P1"), ("service", "im")]);
        let decision = decide(&config, &labels);
        let lines = decision.answers.iter().enumerate().map(|(route, answer)| {
            format!("{} {}", place(&config, route), answer.explain(&config, route, &labels))
        });
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "am.yml:3 (default) matches and leaves it to a route below",
                "am.yml:5 (severity=\"critical\") wants severity=\"critical\", it has \"P1\"",
                "am.yml:8 (severity=~\"critical|P1\") matches and leaves it to a route below",
                "am.yml:11 (service=\"im\") takes it: im",
                "am.yml:13 (severity=\"P1\") was not asked: am.yml:8 (severity=~\"critical|P1\") matched first and has no \
                 `continue: true`",
                "am.yml:15 (team!=\"\") was not asked: am.yml:8 (severity=~\"critical|P1\") matched first and has no \
                 `continue: true`",
            ]
        );
    }

    #[test]
    fn every_silence_has_its_reason() {
        check(
            &[("severity", "P1"), ("team", "a"), ("service", "im")],
            &["im"],
            &[
                (
                    "pager",
                    "am.yml:8 (severity=~\"critical|P1\") matched first and has no `continue: true`; \
                     am.yml:13 (severity=\"P1\") was never asked",
                ),
                ("slack", "am.yml:8 (severity=~\"critical|P1\") left the alert to a route below it"),
                (
                    "team",
                    "am.yml:8 (severity=~\"critical|P1\") matched first and has no `continue: true`; \
                     am.yml:15 (team!=\"\") was never asked",
                ),
                ("default", "am.yml:3 (default) left the alert to a route below it"),
                ("unused", "no route names this receiver"),
            ],
        );
        check(
            &[],
            &["default"],
            &[
                ("im", "am.yml:8 wants severity=~\"critical|P1\""),
                ("pager", "am.yml:5 wants severity=\"critical\""),
                ("default", ""),
            ],
        );
    }
}
