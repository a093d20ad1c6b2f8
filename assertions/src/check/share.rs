//! Shares: expressions that lie between 0 and 1 times a factor, because they divide a part by its whole.

use super::tree;
use crate::promql::ast::{AggregateOperator, Arithmetic, Expr, Operator, Selector};
use crate::promql::ratio::Ratio;

/// What makes a share of shares.
const KEEPS_SHARES: [AggregateOperator; 4] =
    [AggregateOperator::Sum, AggregateOperator::Avg, AggregateOperator::Min, AggregateOperator::Max];

/// What makes of shares one that none of them is above.
const STAYS_BELOW: [AggregateOperator; 3] =
    [AggregateOperator::Avg, AggregateOperator::Min, AggregateOperator::Max];

/// A part of a whole, times a factor.
pub(super) struct Share {
    /// 1, or 100 where it is in percent.
    pub(super) scale: f64,
    /// Whether the part is what remains of the whole: `1 - good / all`.
    pub(super) is_rest: bool,
}

/// The share that an expression is; `None` if it is not known to be one.
pub(super) fn of(expr: &Expr) -> Option<Share> {
    let of_shares = || match expr {
        Expr::Aggregate(aggregate) if STAYS_BELOW.contains(&aggregate.op) => by_counts(&aggregate.expr),
        _ => None,
    };
    by_counts(expr).or_else(of_shares).or_else(|| recorded(expr))
}

fn by_counts(expr: &Expr) -> Option<Share> {
    if !is_plain(expr) {
        return None;
    }
    let ratio = Ratio::of(expr)?;
    let all = ratio.all.as_ref()?;
    let is_rest = is_rest_of(&ratio.counted, all);
    (is_rest || is_part(&ratio.counted, all)).then(|| Share { scale: ratio.scale.abs(), is_rest })
}

/// Whether it is a quotient times a factor, or that factor minus it: nothing else stays between 0 and the factor.
fn is_plain(expr: &Expr) -> bool {
    let Expr::Binary(binary) = expr else { return false };
    let (left, right) = (tree::number(&binary.left), tree::number(&binary.right));
    match binary.op {
        Operator::Arithmetic(Arithmetic::Divide) => right.is_none() || is_plain(&binary.left),
        Operator::Arithmetic(Arithmetic::Multiply) if left.is_some() => is_plain(&binary.right),
        Operator::Arithmetic(Arithmetic::Multiply) if right.is_some() => is_plain(&binary.left),
        Operator::Arithmetic(Arithmetic::Subtract) => left.is_some_and(|whole| {
            let scale = Ratio::of(&binary.right).map(|ratio| ratio.scale.abs());
            is_plain(&binary.right) && scale == Some(whole)
        }),
        _ => false,
    }
}

/// `all - good`, as [`Ratio`] writes the rest.
fn is_rest_of(counted: &Expr, all: &Expr) -> bool {
    matches!(counted, Expr::Binary(binary) if binary.op == Operator::Arithmetic(Arithmetic::Subtract)
        && tree::text(&binary.left) == tree::text(all) && is_part(&binary.right, all))
}

/// Whether the events of `part` are among those of `all`, as written.
fn is_part(part: &Expr, all: &Expr) -> bool {
    let wanted = tree::text(part);
    terms(all).iter().any(|term| tree::text(term) == wanted || selects_part(part, term))
}

fn terms(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Binary(binary) if binary.op == Operator::Arithmetic(Arithmetic::Add) => {
            [terms(&binary.left), terms(&binary.right)].into_iter().flatten().collect()
        }
        _ => vec![expr],
    }
}

/// Whether both count one metric and the part has all conditions of the whole, and more.
fn selects_part(part: &Expr, all: &Expr) -> bool {
    // A maximum beside an average, or this week beside the last, is no part of it.
    let adds = |expr: &Expr| {
        !tree::any(
            expr,
            |node| matches!(node, Expr::Aggregate(aggregate) if aggregate.op != AggregateOperator::Sum),
        )
    };
    if tree::longest_window(part) != tree::longest_window(all) || !adds(part) || !adds(all) {
        return false;
    }
    let (left, right) = (tree::selectors(part), tree::selectors(all));
    let ([part], [all]) = (left.as_slice(), right.as_slice()) else { return false };
    let has =
        |selector: &Selector, text: &str| selector.matchers.iter().any(|matcher| matcher.to_string() == text);
    part.name.is_some()
        && part.name == all.name
        && part.time == all.time
        && all.matchers.iter().all(|matcher| has(part, &matcher.to_string()))
}

/// A recorded series whose name says that it is a share.
fn recorded(expr: &Expr) -> Option<Share> {
    if let Expr::Binary(binary) = expr
        && let (Operator::Arithmetic(Arithmetic::Multiply), Some(by)) =
            (binary.op, tree::number(&binary.right).or(tree::number(&binary.left)))
    {
        let inner = if tree::number(&binary.right).is_some() { &binary.left } else { &binary.right };
        return recorded(inner).map(|share| Share { scale: share.scale * by.abs(), ..share });
    }
    let inner = match expr {
        // A sum of shares can be above 1 where there are several; one recorded for the service has one element.
        Expr::Aggregate(aggregate) if KEEPS_SHARES.contains(&aggregate.op) => &aggregate.expr,
        _ => expr,
    };
    let Expr::Selector(selector) = inner else { return None };
    let name = selector.name.as_deref()?;
    let says = |start: &str| name.split([':', '_']).any(|word| word.starts_with(start));
    // A load per CPU, a burn rate in multiples and what remains of a budget are ratios too, and not between 0 and 1.
    let of_events = says("ratio") && (says("error") || says("fail")) && !says("budget");
    let is_share = name.contains(':') && (name.contains("sli_error") || says("burnrate") || of_events);
    is_share.then_some(Share { scale: 1.0, is_rest: false })
}

/// The share that a threshold means: 1 % for `100 * a / b > 1`.
pub(super) fn of_whole(threshold: f64, value: &Expr) -> f64 {
    let scale = match Ratio::of(value) {
        Some(ratio) => ratio.scale.abs(),
        None => scale_of(value),
    };
    threshold / scale
}

/// The constant that a quotient is multiplied by.
fn scale_of(expr: &Expr) -> f64 {
    let Expr::Binary(binary) = expr else { return 1.0 };
    match (binary.op, tree::number(&binary.left), tree::number(&binary.right)) {
        (Operator::Arithmetic(Arithmetic::Multiply), Some(by), None) => by * scale_of(&binary.right),
        (Operator::Arithmetic(Arithmetic::Multiply), None, Some(by)) => by * scale_of(&binary.left),
        (Operator::Arithmetic(Arithmetic::Divide), None, Some(by)) => scale_of(&binary.left) / by,
        _ => 1.0,
    }
}
