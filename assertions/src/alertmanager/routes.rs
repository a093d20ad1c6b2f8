//! The routing tree: conditions, inheritance and what a root may not have.

use super::reader::{known_keys, nearest, present, read_duration, read_matchers, words};
use super::{Alertmanager, GroupBy, Route, keys};
use scenarios::problem::Problem;
use scenarios::span::Span;
use scenarios::yaml::Node;
use std::time::Duration;

/// Conditions a root may not have: it takes every alert.
const CONDITIONS: [&str; 3] = ["match", "match_re", "matchers"];

pub(super) fn read(root: &Node, config: &mut Alertmanager, problems: &mut Vec<Problem>) {
    if root.expect_mapping("a route: a map", problems).is_none() {
        return;
    }
    let refused = CONDITIONS.iter().chain(&["continue", "mute_time_intervals", "active_time_intervals"]);
    for (key, _) in root.entries().filter(|(key, _)| refused.clone().any(|refused| **refused == *key.text)) {
        let summary = format!("the root route must not have `{}`", key.text);
        problems
            .push(Problem::error(summary, key.span.clone()).hint("it takes every alert; move it to a child"));
    }
    if root.get("receiver").is_none_or(Node::is_null) {
        let problem = Problem::error("the root route has no `receiver`", root.head());
        problems.push(problem.hint("name the receiver of alerts that no other route wants"));
    }
    Tree { config, problems }.add(root, None);
}

struct Tree<'a> {
    config: &'a mut Alertmanager,
    problems: &'a mut Vec<Problem>,
}

impl Tree<'_> {
    /// Adds the route and, after it, everything below it; returns its index.
    fn add(&mut self, node: &Node, parent: Option<usize>) -> usize {
        known_keys(node, keys::ROUTE, " in a route", self.problems);
        let index = self.config.routes.len();
        let route = self.route(node, parent);
        self.config.routes.push(route);
        let children = present(node.get("routes"));
        let children = children.and_then(|list| list.expect_sequence("a list of routes", self.problems));
        for child in children.unwrap_or_default() {
            if child.expect_mapping("a route: a map", self.problems).is_some() {
                let child = self.add(child, Some(index));
                self.config.routes[index].children.push(child);
            }
        }
        index
    }

    fn route(&mut self, node: &Node, parent: Option<usize>) -> Route {
        let conditions = CONDITIONS.map(|key| present(node.get(key)));
        let matchers = read_matchers(conditions[0], conditions[1], conditions[2], self.problems);
        let receiver = self.receiver(node);
        let group_by = self.group_by(node);
        let [wait, interval, repeat] = ["group_wait", "group_interval", "repeat_interval"]
            .map(|key| self.duration(node, key, key != "group_wait"));
        let [mute_intervals, active_intervals] =
            ["mute_time_intervals", "active_time_intervals"].map(|key| self.intervals(node, key));
        let goes_on = present(node.get("continue"));
        let goes_on = goes_on.and_then(|value| value.expect_bool("true or false", self.problems));
        let inherited = parent.map(|parent| &self.config.routes[parent]);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let own_key = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Route {
            span: span(node),
            matchers,
            receiver: receiver.or(inherited.map(|above| above.receiver)).unwrap_or(0),
            goes_on: goes_on.unwrap_or(false),
            group_by: group_by
                .or(inherited.map(|above| above.group_by.clone()))
                .unwrap_or(GroupBy::Labels(Vec::new())),
            group_wait: wait.or(inherited.map(|above| above.group_wait)).unwrap_or(Duration::from_secs(30)),
            group_interval: interval.or(inherited.map(|above| above.group_interval)).unwrap_or(minutes(5)),
            repeat_interval: repeat.or(inherited.map(|above| above.repeat_interval)).unwrap_or(minutes(240)),
            mute_intervals,
            active_intervals,
            parent,
            children: Vec::new(),
            key: inherited.map_or("{}".to_owned(), |above| format!("{}/{{{own_key}}}", above.key)),
        }
    }

    fn receiver(&mut self, node: &Node) -> Option<usize> {
        let value = present(node.get("receiver"))?;
        let name = value.expect_text("the name of a receiver", self.problems)?;
        let found = self.config.receiver(name);
        if found.is_none() {
            let problem = Problem::error(format!("no receiver `{name}`"), value.head());
            let known = self.config.receivers.iter().map(|receiver| &*receiver.name);
            self.problems.push(match nearest(name, known) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint("define it under `receivers`"),
            });
        }
        found
    }

    fn group_by(&mut self, node: &Node) -> Option<GroupBy> {
        let value = present(node.get("group_by"))?;
        let names = words(Some(value), "a list of label names", self.problems);
        let all = names.iter().any(|(name, _)| name == "...");
        if all && names.len() > 1 {
            self.problems.push(Problem::error(
                "`...` groups by every label; nothing may stand beside it",
                value.head(),
            ));
        }
        for (index, (name, span)) in names.iter().enumerate() {
            if names[..index].iter().any(|(earlier, _)| earlier == name) {
                self.problems.push(Problem::error(format!("`{name}` is written twice"), span.clone()));
            }
        }
        // An empty list is as good as none: it inherits.
        match (all, names.is_empty()) {
            (true, _) => Some(GroupBy::All),
            (false, true) => None,
            (false, false) => Some(GroupBy::Labels(names.into_iter().map(|(name, _)| name).collect())),
        }
    }

    fn duration(&mut self, node: &Node, key: &str, positive: bool) -> Option<Duration> {
        let value = present(node.get(key))?;
        let found = read_duration(value, self.problems)?;
        if positive && found.is_zero() {
            self.problems.push(Problem::error(format!("`{key}` must be longer than 0"), value.head()));
        }
        Some(found)
    }

    fn intervals(&mut self, node: &Node, key: &str) -> Vec<usize> {
        let mut found = Vec::new();
        for (name, span) in words(node.get(key), "a list of names of time intervals", self.problems) {
            match self.config.intervals.iter().position(|interval| interval.name == name) {
                Some(index) => found.push(index),
                None => {
                    let known = self.config.intervals.iter().map(|interval| interval.name.as_str());
                    let problem = Problem::error(format!("no time interval `{name}`"), span);
                    self.problems.push(match nearest(&name, known) {
                        Some(near) => problem.hint(format!("did you mean `{near}`?")),
                        None => problem.hint("define it under `time_intervals`"),
                    });
                }
            }
        }
        found
    }
}

/// The line a reader looks for: the first condition, or where the route begins.
fn span(node: &Node) -> Span {
    let condition = node.entries().find(|(key, _)| CONDITIONS.contains(&key.text.as_str()));
    match condition {
        Some((key, value)) => match value.items().first() {
            Some(first) => first.head(),
            None if value.entries().next().is_some() => value.head(),
            None => key.span.clone(),
        },
        None => node.head(),
    }
}
