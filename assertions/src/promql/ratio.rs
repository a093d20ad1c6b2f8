//! A rule as a ratio of counted events: how many stood behind a value, and how many its threshold means.

use super::ast::{Arithmetic, Binary, Call, Cardinality, Expr, Kind, Operator, SetOperator};
use super::function::{Function, RangeFunction};
use super::selection::constant;

/// A ratio of rates or increases, with `rate` turned into `increase`: evaluated, its parts are numbers of events.
#[derive(Debug, Clone)]
pub struct Ratio {
    /// The events that the rule is about.
    pub counted: Expr,
    /// All events, of which they are a part; `None` where that is no count.
    pub all: Option<Expr>,
    /// What the rule compares is the share of counted events times this.
    pub scale: f64,
}

impl Ratio {
    /// Reads the ratio in a rule's expression; `None` if it has none.
    pub fn of(expr: &Expr) -> Option<Ratio> {
        let Expr::Binary(binary) = expr else { return None };
        let (left, right) = (constant(&binary.left), constant(&binary.right));
        match binary.op {
            Operator::Comparison(_) => Ratio::of(binary.compared_side()),
            Operator::Set(SetOperator::And | SetOperator::Unless) => Ratio::of(&binary.left),
            Operator::Set(SetOperator::Or) => None,
            Operator::Arithmetic(Arithmetic::Divide) => match right {
                Some(by) => Ratio::of(&binary.left).map(|ratio| ratio.times(1.0 / by)),
                None => {
                    let (counted, scale) = counts(&binary.left)?;
                    // 100 * bad / all scales the counts, not the share.
                    let (all, below) = counts(&binary.right).unzip();
                    Some(Ratio { counted, all, scale: scale / below.unwrap_or(1.0) })
                }
            },
            Operator::Arithmetic(Arithmetic::Multiply) => match (left, right) {
                (Some(by), _) => Ratio::of(&binary.right).map(|ratio| ratio.times(by)),
                (_, Some(by)) => Ratio::of(&binary.left).map(|ratio| ratio.times(by)),
                (None, None) => None,
            },
            // The share of the others: 1 - good / all, 100 - 100 * good / all.
            Operator::Arithmetic(Arithmetic::Subtract) if left.is_some() => {
                Ratio::of(&binary.right)?.complement(&binary.right)
            }
            Operator::Arithmetic(_) => Ratio::of(&binary.left).or_else(|| Ratio::of(&binary.right)),
        }
    }

    fn times(self, by: f64) -> Ratio {
        Ratio { scale: self.scale * by, ..self }
    }

    /// The events that are not counted; `None` where they cannot be told. `expr` is what `self` was read from.
    fn complement(self, expr: &Expr) -> Option<Ratio> {
        let all = self.all?;
        let Binary { matching, op_span, span, .. } = division(expr)?.clone();
        // Of several that share one denominator, none is the rest of the others.
        if !matches!(matching.cardinality, Cardinality::OneToOne) {
            return None;
        }
        let rest = Binary {
            op: Operator::Arithmetic(Arithmetic::Subtract),
            left: all.clone(),
            right: self.counted,
            returns_bool: false,
            matching,
            op_span,
            span,
        };
        Some(Ratio { counted: Expr::Binary(Box::new(rest)), all: Some(all), scale: self.scale })
    }
}

impl Binary {
    /// The side of a comparison whose elements come through: the vector, the left one of two.
    pub(super) fn compared_side(&self) -> &Expr {
        if self.left.kind() == Kind::Scalar { &self.right } else { &self.left }
    }
}

/// The division of counts in an expression.
fn division(expr: &Expr) -> Option<&Binary> {
    let Expr::Binary(binary) = expr else { return None };
    match binary.op {
        Operator::Arithmetic(Arithmetic::Divide) if constant(&binary.right).is_none() => Some(binary),
        _ => division(&binary.left).or_else(|| division(&binary.right)),
    }
}

/// The expression with every rate made an increase, and the constant it is multiplied by; `None` if it has anything but sums
/// of counted events.
fn counts(expr: &Expr) -> Option<(Expr, f64)> {
    match expr {
        Expr::Call(call) => match call.function {
            Function::Range(RangeFunction::Rate | RangeFunction::Increase) => {
                let increase = Function::Range(RangeFunction::Increase);
                Some((Expr::Call(Call { function: increase, ..call.clone() }), 1.0))
            }
            _ => None,
        },
        Expr::Aggregate(aggregate) => {
            let mut sum = (**aggregate).clone();
            let (counted, scale) = counts(&aggregate.expr)?;
            sum.expr = counted;
            Some((Expr::Aggregate(Box::new(sum)), scale))
        }
        Expr::Binary(binary) => match binary.op {
            Operator::Arithmetic(Arithmetic::Multiply) => {
                let (by, counted) = match constant(&binary.left) {
                    Some(by) => (by, &binary.right),
                    None => (constant(&binary.right)?, &binary.left),
                };
                counts(counted).map(|(counted, scale)| (counted, scale * by))
            }
            Operator::Arithmetic(Arithmetic::Add | Arithmetic::Subtract) => {
                let mut sum = (**binary).clone();
                let ((left, scale), (right, other)) = (counts(&binary.left)?, counts(&binary.right)?);
                (sum.left, sum.right) = (left, right);
                (scale == other).then(|| (Expr::Binary(Box::new(sum)), scale))
            }
            _ => None,
        },
        _ => None,
    }
}
