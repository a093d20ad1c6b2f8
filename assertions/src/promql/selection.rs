//! What an expression selects: metrics, windows, and what a rule needs to be judged by.

use super::ast::{Binary, Call, Expr, Operator, Selector, SetOperator};
use super::function::{Function, OtherFunction, RangeFunction};
use std::collections::BTreeSet;
use std::time::Duration;

/// The windows and series of an expression.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    /// The lengths of all its range selectors and subqueries, shortest first, each once.
    pub ranges: Vec<Duration>,
    /// How far back it looks in all: nested subqueries add up, an offset counts, the look-back does not.
    pub reach: Duration,
    /// What it selects, in the order written.
    pub selectors: Vec<Selector>,
}

impl Windows {
    /// The longest range; zero if it looks at newest samples only.
    pub fn longest(&self) -> Duration {
        self.ranges.last().copied().unwrap_or_default()
    }

    /// The shortest range; zero if it looks at newest samples only.
    pub fn shortest(&self) -> Duration {
        self.ranges.first().copied().unwrap_or_default()
    }
}

/// The windows and series of an expression.
pub fn windows(expr: &Expr) -> Windows {
    let mut ranges = BTreeSet::new();
    let mut found = Windows::default();
    let reach = gather(expr, &mut ranges, &mut found.selectors);
    found.ranges = ranges.into_iter().map(duration).collect();
    found.reach = duration(reach);
    found
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Adds what `expr` selects; returns how far back it looks, ms.
fn gather(expr: &Expr, ranges: &mut BTreeSet<i64>, selectors: &mut Vec<Selector>) -> i64 {
    let inside = |ranges: &mut BTreeSet<i64>, selectors: &mut Vec<Selector>| {
        expr.children().into_iter().map(|child| gather(child, ranges, selectors)).max().unwrap_or(0)
    };
    match expr {
        Expr::Selector(selector) => {
            selectors.push(selector.clone());
            selector.time.offset
        }
        Expr::Range { selector, range, .. } => {
            selectors.push(selector.clone());
            ranges.insert(*range);
            range + selector.time.offset
        }
        Expr::Subquery(subquery) => {
            ranges.insert(subquery.range);
            inside(ranges, selectors) + subquery.range + subquery.time.offset
        }
        _ => inside(ranges, selectors),
    }
}

/// The expression without its filtering comparisons: what has a value wherever data is present.
///
/// `a / b > 0.1` becomes `a / b`. Used to tell a condition that ended from data that vanished, and to show the
/// value of an alert that does not fire. What `unless` takes away is a condition too, so its right side goes.
pub fn without_comparisons(expr: &Expr) -> Expr {
    match expr {
        Expr::Binary(binary) => match binary.op {
            Operator::Comparison(_) if !binary.returns_bool => without_comparisons(binary.compared_side()),
            Operator::Set(SetOperator::Unless) => without_comparisons(&binary.left),
            _ => Expr::Binary(Box::new(Binary {
                left: without_comparisons(&binary.left),
                right: without_comparisons(&binary.right),
                ..(**binary).clone()
            })),
        },
        Expr::Negate(inner, span) => Expr::Negate(Box::new(without_comparisons(inner)), *span),
        Expr::Aggregate(aggregate) => {
            let mut bare = (**aggregate).clone();
            bare.expr = without_comparisons(&aggregate.expr);
            Expr::Aggregate(Box::new(bare))
        }
        Expr::Call(call) => {
            let arguments = call.arguments.iter().map(without_comparisons).collect();
            Expr::Call(Call { arguments, ..call.clone() })
        }
        other => other.clone(),
    }
}

/// The number an expression is compared with at its top, if it is one.
pub fn threshold(expr: &Expr) -> Option<f64> {
    let Expr::Binary(binary) = expr else { return None };
    match binary.op {
        Operator::Comparison(_) => constant(&binary.right).or_else(|| constant(&binary.left)),
        Operator::Set(SetOperator::And | SetOperator::Unless) => threshold(&binary.left),
        _ => None,
    }
}

/// The value of an expression of numbers only.
pub(crate) fn constant(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Number(number, _) => Some(*number),
        Expr::Negate(inner, _) => constant(inner).map(|value| -value),
        Expr::Binary(binary) => {
            let (left, right) = (constant(&binary.left)?, constant(&binary.right)?);
            super::binary::scalars(binary.op, left, right).ok()
        }
        _ => None,
    }
}

/// The functions of an expression that have no meaning when time is stretched, by name.
///
/// Levels are right, changes per time of a gauge are not, and calendars cannot be stretched.
pub fn not_stretchable(expr: &Expr) -> BTreeSet<&'static str> {
    let mut found: BTreeSet<&'static str> =
        expr.children().into_iter().flat_map(|child| not_stretchable(child)).collect();
    if let Expr::Call(call) = expr
        && !is_stretchable(call.function)
    {
        found.extend(call.function.name());
    }
    found
}

fn is_stretchable(function: Function) -> bool {
    use RangeFunction::{Changes, Delta, Deriv, Idelta, PredictLinear, Resets};
    !matches!(
        function,
        Function::Range(Deriv | Delta | Idelta | PredictLinear | Changes | Resets)
            | Function::Other(OtherFunction::Time | OtherFunction::Timestamp)
            | Function::Calendar(_)
    )
}

/// The shortest range selector of an expression, subqueries aside; `None` if it looks at newest samples only.
pub fn shortest_range(expr: &Expr) -> Option<Duration> {
    let own = match expr {
        Expr::Range { range, .. } => Some(duration(*range)),
        _ => None,
    };
    own.into_iter().chain(expr.children().into_iter().filter_map(shortest_range)).min()
}

/// Whether an expression says that something is absent: its end then means that data came.
pub fn asserts_absence(expr: &Expr) -> bool {
    let is_absent = |call: &Call| {
        matches!(call.function, Function::Other(OtherFunction::Absent | OtherFunction::AbsentOverTime))
    };
    matches!(expr, Expr::Call(call) if is_absent(call)) || expr.children().into_iter().any(asserts_absence)
}
