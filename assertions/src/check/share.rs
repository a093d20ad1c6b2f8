//! Shares: expressions that lie between 0 and 1 times a factor, because they divide a part by its whole.

use super::tree;
use crate::promql::ast::{Arithmetic, Expr, Operator, Selector};
use crate::promql::ratio::Ratio;

/// A part of a whole, times a factor.
pub(super) struct Share {
    /// 1, or 100 where it is in percent.
    pub(super) scale: f64,
    /// Whether the part is what remains of the whole: `1 - good / all`.
    pub(super) is_rest: bool,
}

/// The share that an expression is; `None` if it is not known to be one.
pub(super) fn of(expr: &Expr) -> Option<Share> {
    by_counts(expr).or_else(|| recorded(expr))
}

fn by_counts(expr: &Expr) -> Option<Share> {
    let ratio = Ratio::of(expr)?;
    let all = ratio.all.as_ref()?;
    let is_rest = is_rest_of(&ratio.counted, all);
    (is_rest || is_part(&ratio.counted, all)).then(|| Share { scale: ratio.scale.abs(), is_rest })
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
    let (left, right) = (tree::selectors(part), tree::selectors(all));
    let ([part], [all]) = (left.as_slice(), right.as_slice()) else { return false };
    let has =
        |selector: &Selector, text: &str| selector.matchers.iter().any(|matcher| matcher.to_string() == text);
    part.name.is_some()
        && part.name == all.name
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
        Expr::Aggregate(aggregate) => &aggregate.expr,
        _ => expr,
    };
    let Expr::Selector(selector) = inner else { return None };
    let name = selector.name.as_deref()?;
    let says = |word: &str| word.starts_with("ratio") || word.starts_with("burnrate");
    let is_share = name.contains(':') && (name.contains("sli_error") || name.split([':', '_']).any(says));
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
