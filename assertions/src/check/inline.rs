//! Recording rules put in place of the names that select what they record, so that a check sees through them.
//!
//! What an alert means is what its recordings mean. The expression as written stays beside: places are in it, and every node
//! that was put in has the place of the name it stands for.

use super::rules::{Expression, RuleFile};
use crate::promql::ast::{Aggregate, Binary, Call, Expr, Kind, MatchOp, Matcher, Selector, Span, Subquery};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes that are put into one expression; beyond that the names stay.
const NODES_MAX: usize = 5000;

/// What one rule records.
struct Recording {
    expr: Expr,
    labels: Vec<(String, String)>,
}

type Recordings = BTreeMap<String, Vec<Recording>>;

/// Spells out the expressions of all rules.
pub(super) fn spell_out(files: &mut [RuleFile]) {
    let mut recordings = Recordings::new();
    let rules = files.iter().flat_map(|file| file.groups.iter().flat_map(|group| &group.rules));
    for rule in rules.filter(|rule| !rule.is_alert) {
        let Some(expression) = rule.expr.as_ref().filter(|found| found.expr.kind() == Kind::Vector) else {
            continue;
        };
        let labels = rule.labels.iter().map(|label| (label.name.clone(), label.text.clone())).collect();
        let recording = Recording { expr: expression.expr.clone(), labels };
        recordings.entry(rule.name.clone()).or_default().push(recording);
    }
    for rule in files.iter_mut().flat_map(|file| &mut file.groups).flat_map(|group| &mut group.rules) {
        if let Some(expression) = &mut rule.expr {
            spell(expression, &recordings);
        }
    }
}

fn spell(expression: &mut Expression, recordings: &Recordings) {
    let mut speller =
        Speller { recordings, open: Vec::new(), left: NODES_MAX, filled: Vec::new(), given: BTreeSet::new() };
    expression.full = speller.expr(&expression.expr, &Place::default());
    (expression.filled, expression.given) = (speller.filled, speller.given);
}

/// Where a recording is put in.
#[derive(Clone, Default)]
struct Place {
    /// The name's place; `None` in the expression itself.
    span: Option<Span>,
    /// How much earlier it is asked for, ms.
    offset: i64,
    /// What else is asked of its labels.
    matchers: Vec<Matcher>,
}

impl Place {
    fn span(&self, own: Span) -> Span {
        self.span.unwrap_or(own)
    }
}

struct Speller<'r> {
    recordings: &'r Recordings,
    /// The names being spelt out: one that is made of itself stays.
    open: Vec<String>,
    /// Nodes that may still be put in.
    left: usize,
    filled: Vec<Span>,
    given: BTreeSet<String>,
}

impl Speller<'_> {
    fn expr(&mut self, expr: &Expr, place: &Place) -> Expr {
        if place.span.is_some() {
            self.left = self.left.saturating_sub(1);
        }
        match expr {
            Expr::Number(number, span) => Expr::Number(*number, place.span(*span)),
            Expr::Text(text, span) => Expr::Text(text.clone(), place.span(*span)),
            Expr::Selector(selector) => {
                self.recorded(selector, place).unwrap_or_else(|| Expr::Selector(moved(selector, place)))
            }
            Expr::Range { selector, range, window } => {
                let time = moved(selector, place).time;
                // The window moves as a whole.
                let mut newest = selector.clone();
                newest.time.offset = 0;
                let still = Place { offset: 0, ..place.clone() };
                match self.recorded(&newest, &still) {
                    Some(expr) => Expr::Subquery(Box::new(Subquery {
                        expr,
                        range: *range,
                        step: None,
                        time,
                        window: place.span(*window),
                        span: place.span(selector.span),
                    })),
                    None => Expr::Range {
                        selector: moved(selector, place),
                        range: *range,
                        window: place.span(*window),
                    },
                }
            }
            Expr::Subquery(subquery) => Expr::Subquery(Box::new(Subquery {
                expr: self.expr(&subquery.expr, place),
                window: place.span(subquery.window),
                span: place.span(subquery.span),
                ..**subquery
            })),
            Expr::Negate(inner, span) => Expr::Negate(Box::new(self.expr(inner, place)), place.span(*span)),
            Expr::Binary(binary) => {
                let mut matching = binary.matching.clone();
                matching.span = place.span(matching.span);
                Expr::Binary(Box::new(Binary {
                    left: self.expr(&binary.left, place),
                    right: self.expr(&binary.right, place),
                    matching,
                    op_span: place.span(binary.op_span),
                    span: place.span(binary.span),
                    ..**binary
                }))
            }
            Expr::Aggregate(aggregate) => Expr::Aggregate(Box::new(Aggregate {
                op: aggregate.op,
                expr: self.expr(&aggregate.expr, place),
                parameter: aggregate.parameter.as_ref().map(|parameter| self.expr(parameter, place)),
                grouping: aggregate.grouping.clone(),
                op_span: place.span(aggregate.op_span),
                grouping_span: place.span(aggregate.grouping_span),
                span: place.span(aggregate.span),
            })),
            Expr::Call(call) => Expr::Call(Call {
                function: call.function,
                arguments: call.arguments.iter().map(|argument| self.expr(argument, place)).collect(),
                name_span: place.span(call.name_span),
                span: place.span(call.span),
            }),
        }
    }

    /// What the selected name records; `None` if no rule here does, or several.
    fn recorded(&mut self, selector: &Selector, place: &Place) -> Option<Expr> {
        let name = selector.name.as_deref()?;
        let asked = || selector.matchers.iter().chain(&place.matchers);
        let fits = |recording: &&Recording| {
            let of = |label: &str| recording.labels.iter().find(|(name, _)| name == label);
            asked().all(|matcher| of(&matcher.name).is_none_or(|(_, value)| allows(&matcher.op, value)))
        };
        let mut found = self.recordings.get(name)?.iter().filter(fits);
        let recording = found.next()?;
        let is_open = self.open.iter().any(|open| open == name);
        if found.next().is_some() || is_open || self.left == 0 || selector.time.at.is_some() {
            return None;
        }
        let is_given = |matcher: &&Matcher| recording.labels.iter().any(|(name, _)| **name == *matcher.name);
        let span = place.span(selector.span);
        let inside = Place {
            span: Some(span),
            offset: place.offset + selector.time.offset,
            matchers: asked().filter(|matcher| !is_given(matcher)).cloned().collect(),
        };
        self.filled.push(span);
        self.given.extend(recording.labels.iter().map(|(name, _)| name.clone()));
        self.open.push(name.to_owned());
        let expr = self.expr(&recording.expr, &inside);
        self.open.pop();
        Some(expr)
    }
}

/// The selector as it is asked there.
fn moved(selector: &Selector, place: &Place) -> Selector {
    let mut moved = selector.clone();
    let Some(span) = place.span else { return moved };
    moved.time.offset += place.offset;
    moved.matchers.extend(place.matchers.iter().cloned());
    (moved.head, moved.span) = (span, span);
    moved
}

fn allows(op: &MatchOp, value: &str) -> bool {
    match op {
        MatchOp::Equal(wanted) => value == wanted,
        MatchOp::NotEqual(unwanted) => value != unwanted,
        MatchOp::Match(regex, _) => regex.is_match(value),
        MatchOp::NotMatch(regex, _) => !regex.is_match(value),
    }
}
