//! Counters whose value since the process began is compared, where what came lately is meant.

use crate::check::metrics::{Known, SeriesKind, kind_of};
use crate::check::rules::Expression;
use crate::check::tree::{self, Limit, Visit};
use crate::check::{Context, Report, lints};
use crate::promql::ast::{
    AggregateOperator, Arithmetic, Binary, Comparison, Expr, Kind, Operator, Selector, SetOperator,
};
use crate::promql::function::{Function, OtherFunction, RangeFunction};

/// What a raw counter is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Compared as it is.
    Level,
    /// One side of a quotient of two.
    Quotient,
    /// One side of a quotient whose other side is a rate.
    Mixed,
    /// Buckets of a quantile.
    Quantile,
    /// A difference that takes restarts for falls.
    Difference,
}

pub(super) fn check(context: &Context<'_>, expression: &Expression, report: &mut Report<'_>) {
    for limit in tree::limits(&expression.full) {
        // Of one quotient one finding is enough.
        let found = tree::visits(limit.value).into_iter().find_map(|visit| {
            let (name, used) = raw(context, &visit)?;
            Some((visit.node, name.to_owned(), used))
        });
        if let Some((node, name, used)) = found {
            tell(expression, &limit, node, &name, used, report);
        }
    }
}

fn tell(
    expression: &Expression,
    limit: &Limit<'_>,
    node: &Expr,
    name: &str,
    used: Use,
    report: &mut Report<'_>,
) {
    let equal = matches!(limit.op, Comparison::Equal | Comparison::NotEqual);
    if used == Use::Level && equal && limit.threshold != 0.0 {
        return;
    }
    let none_yet = limit.is_lower() || limit.op == Comparison::Equal;
    let summary = match used {
        Use::Level if none_yet => {
            format!(
                "{name} is a counter: it only grows, so this holds at the start and then never until a restart"
            )
        }
        Use::Level => {
            format!(
                "{name} is a counter: it only grows, so once over the threshold this holds until a restart"
            )
        }
        Use::Quotient => format!(
            "{name} is a counter, and so is the other side: their quotient is that since the processes began, which a fault of today hardly moves"
        ),
        Use::Mixed => format!(
            "{name} is a counter as it is, and the other side is what came lately: their quotient falls as the processes live on"
        ),
        Use::Quantile => format!(
            "{name} are counters: this is the quantile since the processes began, which a fault of today hardly moves"
        ),
        Use::Difference => {
            format!("{name} is a counter: for this function a restart is a fall, and hides what was counted")
        }
    };
    let fix = match used {
        Use::Quotient | Use::Mixed => format!("divide what came lately: `rate({name}[5m])`, on both sides"),
        Use::Quantile => format!("take the buckets' rate: `rate({name}[5m])`"),
        _ => format!("ask for what came lately: `increase({name}[5m])` or `rate({name}[5m])`"),
    };
    report.add(&lints::COUNTER_WITHOUT_RATE, expression.place(node), summary, fix);
}

/// The counter that this node selects with its value in play.
fn raw<'e>(context: &Context<'_>, visit: &Visit<'e>) -> Option<(&'e str, Use)> {
    let selector = tree::selector(visit.node)?;
    let name = selector.name.as_deref()?;
    if !is_counter(context, selector) && !is_mean(visit) {
        return None;
    }
    let mut used = Use::Level;
    for above in &visit.above {
        match above {
            Expr::Aggregate(aggregate) => match aggregate.op {
                AggregateOperator::Count | AggregateOperator::Group | AggregateOperator::CountValues => {
                    return None;
                }
                _ => {}
            },
            Expr::Subquery(_) => return None,
            Expr::Binary(binary) => match binary.op {
                Operator::Comparison(_) | Operator::Set(SetOperator::Or) => {}
                // It only asks whether it is there.
                Operator::Set(_) => return None,
                Operator::Arithmetic(_) if has_number(binary) => {}
                Operator::Arithmetic(Arithmetic::Divide) if is_lifetime(context, above) => {
                    used = Use::Quotient
                }
                Operator::Arithmetic(Arithmetic::Divide) if is_mixed(context, binary) => used = Use::Mixed,
                Operator::Arithmetic(Arithmetic::Add) if is_sum(context, above, false) => {}
                // A difference of two times is a rate of its own making, one of two counters is what is under way.
                Operator::Arithmetic(_) => return None,
            },
            node => match tree::call(node) {
                None => {}
                Some((Function::Other(OtherFunction::HistogramQuantile), _)) => used = Use::Quantile,
                Some((Function::Range(function), _)) => used = over_time(function)?,
                Some((Function::Other(function), _)) if keeps_values(function) => {}
                Some(_) => return None,
            },
        }
    }
    Some((name, used))
}

fn is_counter(context: &Context<'_>, selector: &Selector) -> bool {
    let kind = selector.name.as_deref().and_then(|name| kind_of(name, context.metrics));
    selector.time.offset == 0 && matches!(kind, Some(Known { kind: SeriesKind::Counter, .. }))
}

/// Whether it is a side of `x_sum / x_count`, which are counters whatever x is.
fn is_mean(visit: &Visit<'_>) -> bool {
    visit.above.iter().filter_map(|above| tree::quotient(above)).any(|(sum, count)| {
        let name = |side: &Expr| match without_aggregates(side) {
            Expr::Selector(selector) => selector.name.as_deref().map(str::to_owned),
            _ => None,
        };
        let base = |name: Option<String>, end: &str| name?.strip_suffix(end).map(str::to_owned);
        let sum = base(name(sum), "_sum");
        sum.is_some() && sum == base(name(count), "_count")
    })
}

/// Whether both sides of a quotient are sums of counters as they are.
fn is_lifetime(context: &Context<'_>, node: &Expr) -> bool {
    let Some((part, whole)) = tree::quotient(node) else { return false };
    let visits = tree::visits(node);
    let is_mean = visits.iter().any(|visit| matches!(visit.node, Expr::Selector(_)) && is_mean(visit));
    is_sum(context, part, is_mean) && is_sum(context, whole, is_mean)
}

/// Whether one side is a sum of counters as they are and the other one of rates.
fn is_mixed(context: &Context<'_>, binary: &Binary) -> bool {
    let counts = |side: &Expr| {
        let call = tree::range_call(without_aggregates(side));
        matches!(call, Some((RangeFunction::Rate | RangeFunction::Increase, _)))
    };
    is_sum(context, &binary.left, false) && counts(&binary.right)
        || counts(&binary.left) && is_sum(context, &binary.right, false)
}

/// Whether it is a counter as it is, or a sum of such.
fn is_sum(context: &Context<'_>, expr: &Expr, is_mean: bool) -> bool {
    match without_aggregates(expr) {
        Expr::Selector(selector) => is_mean || is_counter(context, selector),
        Expr::Binary(binary) => {
            let adds = matches!(binary.op, Operator::Arithmetic(Arithmetic::Add | Arithmetic::Multiply));
            let is_part = |part: &Expr| tree::number(part).is_some() || is_sum(context, part, is_mean);
            adds && is_part(&binary.left) && is_part(&binary.right)
        }
        _ => false,
    }
}

fn has_number(binary: &Binary) -> bool {
    binary.left.kind() == Kind::Scalar || binary.right.kind() == Kind::Scalar
}

fn without_aggregates(expr: &Expr) -> &Expr {
    match expr {
        Expr::Aggregate(aggregate) if aggregate.op != AggregateOperator::Count => {
            without_aggregates(&aggregate.expr)
        }
        expr => expr,
    }
}

/// What a function over a window makes of a counter; `None` where that is right.
fn over_time(function: RangeFunction) -> Option<Use> {
    use RangeFunction as R;
    match function {
        R::Delta | R::Idelta | R::Deriv => Some(Use::Difference),
        R::AvgOverTime
        | R::MinOverTime
        | R::MaxOverTime
        | R::SumOverTime
        | R::LastOverTime
        | R::QuantileOverTime => Some(Use::Level),
        _ => None,
    }
}

fn keeps_values(function: OtherFunction) -> bool {
    use OtherFunction as O;
    matches!(
        function,
        O::Scalar
            | O::Sort
            | O::SortDesc
            | O::Round
            | O::LabelReplace
            | O::LabelJoin
            | O::Clamp
            | O::ClampMin
            | O::ClampMax
    )
}
