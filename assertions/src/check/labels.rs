//! The labels of an expression's elements: those they can have, those they do have, and those whose value is known.
//!
//! Nothing here asks what is exported: what Prometheus gives every scraped series, what the selectors demand and what the
//! operators keep is enough to tell that two sides cannot meet.

use super::tree::{call, selector, selectors};
use crate::labels::Labels;
use crate::promql::ast::{
    Aggregate, AggregateOperator, Binary, Cardinality, Expr, Grouping, Kind, MatchLabels, MatchOp, Operator,
    Selector, SetOperator,
};
use crate::promql::function::{Function, OtherFunction};
use std::collections::{BTreeMap, BTreeSet};

/// Labels that the elements of an expression can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LabelSet {
    /// These at most.
    Only(BTreeSet<String>),
    /// Any but these.
    AllBut(BTreeSet<String>),
}

impl LabelSet {
    /// Whether an element can have it.
    pub(super) fn may_have(&self, label: &str) -> bool {
        match self {
            LabelSet::Only(labels) => labels.contains(label),
            LabelSet::AllBut(labels) => !labels.contains(label),
        }
    }

    fn keep(self, kept: &BTreeSet<String>) -> LabelSet {
        LabelSet::Only(kept.iter().filter(|label| self.may_have(label)).cloned().collect())
    }

    fn drop(self, dropped: &BTreeSet<String>) -> LabelSet {
        match self {
            LabelSet::Only(labels) => LabelSet::Only(labels.difference(dropped).cloned().collect()),
            LabelSet::AllBut(labels) => LabelSet::AllBut(labels.union(dropped).cloned().collect()),
        }
    }

    fn add(self, added: &BTreeSet<String>) -> LabelSet {
        match self {
            LabelSet::Only(labels) => LabelSet::Only(labels.union(added).cloned().collect()),
            LabelSet::AllBut(labels) => LabelSet::AllBut(labels.difference(added).cloned().collect()),
        }
    }

    fn or(self, other: LabelSet) -> LabelSet {
        match (self, other) {
            (LabelSet::Only(left), LabelSet::Only(right)) => LabelSet::Only(&left | &right),
            (LabelSet::AllBut(left), LabelSet::AllBut(right)) => LabelSet::AllBut(&left & &right),
            (LabelSet::AllBut(but), LabelSet::Only(has)) | (LabelSet::Only(has), LabelSet::AllBut(but)) => {
                LabelSet::AllBut(&but - &has)
            }
        }
    }

    fn none() -> LabelSet {
        LabelSet::Only(BTreeSet::new())
    }

    fn any() -> LabelSet {
        LabelSet::AllBut(BTreeSet::new())
    }
}

fn set<T: AsRef<str>>(labels: &[T]) -> BTreeSet<String> {
    labels.iter().map(|label| label.as_ref().to_owned()).collect()
}

/// The labels that the elements of an expression can have.
pub(super) fn possible(expr: &Expr) -> LabelSet {
    if let Some((function, arguments)) = call(expr) {
        return of_call(function, arguments);
    }
    match expr {
        Expr::Aggregate(aggregate) => of_aggregate(aggregate),
        Expr::Binary(binary) => of_binary(binary),
        Expr::Subquery(subquery) => possible(&subquery.expr),
        _ => match (selector(expr), expr.children().first()) {
            (Some(selector), _) => LabelSet::AllBut(missing(selector)),
            (None, Some(inner)) => possible(inner),
            (None, None) => LabelSet::none(),
        },
    }
}

/// Labels that no selected series has: those that must be empty, and of a histogram's sum and count its bounds.
fn missing(selector: &Selector) -> BTreeSet<String> {
    let must_be_empty =
        selector.matchers.iter().filter(|matcher| matches!(&matcher.op, MatchOp::Equal(to) if to.is_empty()));
    let mut missing: BTreeSet<String> = must_be_empty.map(|matcher| matcher.name.to_string()).collect();
    let name = selector.name.as_deref().unwrap_or_default();
    if !name.contains(':') && (name.ends_with("_count") || name.ends_with("_sum")) {
        missing.extend(set(&["le", "quantile"]));
    }
    missing
}

fn of_call(function: Function, arguments: &[Expr]) -> LabelSet {
    use OtherFunction as O;
    let of = |index: usize| arguments.get(index).map_or(LabelSet::none(), possible);
    match function {
        Function::Other(O::Absent | O::AbsentOverTime) => {
            let equal = arguments.first().map(selectors).unwrap_or_default();
            let names = equal.iter().flat_map(|selector| &selector.matchers);
            LabelSet::Only(names.map(|matcher| matcher.name.to_string()).collect())
        }
        Function::Other(O::Scalar | O::Vector | O::Time | O::Pi) => LabelSet::none(),
        Function::Other(O::HistogramQuantile) => of(1).drop(&set(&["le"])),
        Function::Other(O::LabelReplace | O::LabelJoin) => match arguments.get(1) {
            Some(Expr::Text(name, ..)) => of(0).add(&set(&[name])),
            _ => LabelSet::any(),
        },
        _ => {
            let vectors = || arguments.iter().filter(|a| matches!(a.kind(), Kind::Vector | Kind::Matrix));
            vectors().next().map_or(LabelSet::none(), possible)
        }
    }
}

fn of_aggregate(aggregate: &Aggregate) -> LabelSet {
    use AggregateOperator as A;
    let inner = possible(&aggregate.expr);
    if matches!(aggregate.op, A::Topk | A::Bottomk) {
        return inner;
    }
    let kept = match &aggregate.grouping {
        Grouping::By(by) => inner.keep(&set(by)),
        Grouping::Without(without) => inner.drop(&set(without)),
    };
    match (&aggregate.op, &aggregate.parameter) {
        (A::CountValues, Some(Expr::Text(name, ..))) => kept.add(&set(&[name])),
        _ => kept,
    }
}

fn of_binary(binary: &Binary) -> LabelSet {
    let (left, right) = (possible(&binary.left), possible(&binary.right));
    match (binary.left.kind(), binary.right.kind()) {
        (Kind::Scalar, _) => return right,
        (_, Kind::Scalar) => return left,
        _ => {}
    }
    match (binary.op, &binary.matching.cardinality) {
        (Operator::Set(SetOperator::Or), _) => left.or(right),
        (Operator::Set(_), _) => left,
        (_, Cardinality::ManyToOne(included)) => left.add(&set(included)),
        (_, Cardinality::OneToMany(included)) => right.add(&set(included)),
        (_, Cardinality::OneToOne) => match &binary.matching.labels {
            MatchLabels::On(on) => left.keep(&set(on)),
            MatchLabels::Ignoring(ignored) => left.drop(&set(ignored)),
        },
    }
}

/// Labels of everything that Prometheus scrapes.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// Labels that are added to whole sites, and are empty where there is one site only: to group by them says little.
const OF_SITES: &[&str] = &[
    "cluster",
    "datacenter",
    "dc",
    "env",
    "environment",
    "prometheus",
    "region",
    "replica",
    "site",
    "stage",
    "tenant",
    "zone",
];

/// The labels that every element of an expression surely has.
///
/// Who groups by a label is believed that there is one, unless it is one of whole sites.
pub(super) fn present(expr: &Expr) -> BTreeSet<String> {
    if let Some((function, arguments)) = call(expr) {
        return present_in_call(function, arguments);
    }
    match expr {
        Expr::Aggregate(aggregate) => present_in_aggregate(aggregate),
        Expr::Binary(binary) => present_in_binary(binary),
        Expr::Subquery(subquery) => present(&subquery.expr),
        _ => match (selector(expr), expr.children().first()) {
            (Some(selector), _) => demanded(selector),
            (None, Some(inner)) => present(inner),
            (None, None) => BTreeSet::new(),
        },
    }
}

/// Labels that a selected series has: those that may not be empty, and of what is scraped its target's.
fn demanded(selector: &Selector) -> BTreeSet<String> {
    let empty = Labels::default();
    let mut demanded: BTreeSet<String> = selector
        .matchers
        .iter()
        .filter(|matcher| !matcher.matches(&empty) && &*matcher.name != "__name__")
        .map(|matcher| matcher.name.to_string())
        .collect();
    // A recorded series has the labels of its expression, whatever that is; a dashboard's variable may be a number.
    let is_else = |name: &str| name.contains(':') || name.starts_with("ALERTS") || is_variable(name);
    let is_scraped = selector.name.as_deref().is_some_and(|name| !is_else(name));
    if is_scraped {
        demanded.extend(set(&OF_TARGETS).difference(&missing(selector)).cloned());
    }
    demanded
}

/// Whether it stands for a dashboard's variable.
fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c == '_')
}

fn present_in_call(function: Function, arguments: &[Expr]) -> BTreeSet<String> {
    use OtherFunction as O;
    let of = |index: usize| arguments.get(index).map(present).unwrap_or_default();
    match function {
        Function::Other(O::Absent | O::AbsentOverTime) => {
            arguments.first().map(|argument| fixed(argument).into_keys().collect()).unwrap_or_default()
        }
        Function::Other(O::Scalar | O::Vector | O::Time | O::Pi) => BTreeSet::new(),
        Function::Other(O::HistogramQuantile) => &of(1) - &set(&["le"]),
        Function::Other(O::LabelReplace | O::LabelJoin) => match arguments.get(1) {
            // It may be made empty.
            Some(Expr::Text(name, ..)) => &of(0) - &set(&[name]),
            _ => BTreeSet::new(),
        },
        _ => {
            let mut vectors = arguments.iter().filter(|a| matches!(a.kind(), Kind::Vector | Kind::Matrix));
            vectors.next().map(present).unwrap_or_default()
        }
    }
}

fn present_in_aggregate(aggregate: &Aggregate) -> BTreeSet<String> {
    use AggregateOperator as A;
    let inner = present(&aggregate.expr);
    if matches!(aggregate.op, A::Topk | A::Bottomk) {
        return inner;
    }
    let possible = possible(&aggregate.expr);
    // A dashboard's variable may stand for any list of labels.
    let is_told = |label: &str| !OF_SITES.contains(&label) && !is_variable(label) && possible.may_have(label);
    let kept = match &aggregate.grouping {
        Grouping::By(by) => by
            .iter()
            .map(ToString::to_string)
            .filter(|label| inner.contains(label) || is_told(label))
            .collect(),
        Grouping::Without(without) => &inner - &set(without),
    };
    match (&aggregate.op, &aggregate.parameter) {
        (A::CountValues, Some(Expr::Text(name, ..))) => &kept | &set(&[name]),
        _ => kept,
    }
}

fn present_in_binary(binary: &Binary) -> BTreeSet<String> {
    let (left, right) = (present(&binary.left), present(&binary.right));
    match (binary.left.kind(), binary.right.kind()) {
        (Kind::Scalar, _) => return right,
        (_, Kind::Scalar) => return left,
        _ => {}
    }
    // An included label is that of the one side, which may lack it.
    let many = |many: BTreeSet<String>, one: BTreeSet<String>, included: &[std::sync::Arc<str>]| {
        let included = set(included);
        &(&many - &included) | &(&one & &included)
    };
    match (binary.op, &binary.matching.cardinality) {
        (Operator::Set(SetOperator::Or), _) => &left & &right,
        (Operator::Set(_), _) => left,
        (_, Cardinality::ManyToOne(included)) => many(left, right, included),
        (_, Cardinality::OneToMany(included)) => many(right, left, included),
        (_, Cardinality::OneToOne) => match &binary.matching.labels {
            MatchLabels::On(on) => &(&left | &right) & &set(on),
            MatchLabels::Ignoring(ignored) => &(&left & &right) - &set(ignored),
        },
    }
}

/// The labels whose value is the same for all elements, as the selectors demand it.
pub(super) fn fixed(expr: &Expr) -> BTreeMap<String, String> {
    let of_selector = |selector: &Selector| {
        let equal = selector.matchers.iter().filter_map(|matcher| match &matcher.op {
            MatchOp::Equal(value) if !value.is_empty() => Some((matcher.name.to_string(), value.clone())),
            _ => None,
        });
        equal.collect::<BTreeMap<_, _>>()
    };
    if let Some(selector) = selector(expr) {
        return of_selector(selector);
    }
    let mut inner = match expr {
        Expr::Aggregate(aggregate) => fixed(&aggregate.expr),
        Expr::Subquery(subquery) => fixed(&subquery.expr),
        Expr::Call(of) if matches!(of.function, Function::Range(_) | Function::Math(_)) => {
            let vector = of.arguments.iter().find(|a| matches!(a.kind(), Kind::Vector | Kind::Matrix));
            vector.map(fixed).unwrap_or_default()
        }
        Expr::Binary(binary) if binary.right.kind() == Kind::Scalar => fixed(&binary.left),
        Expr::Binary(binary) if binary.left.kind() == Kind::Scalar => fixed(&binary.right),
        _ => BTreeMap::new(),
    };
    let possible = possible(expr);
    inner.retain(|label, _| possible.may_have(label));
    inner
}
