//! Which kinds of values go together: what an operator, function or aggregation takes.

use super::call::parameter_kind;
use super::operand::{clipped, plain};
use super::{Modifiers, Operand, ParseError, Parsed, deeper};
use crate::labels::Labels;
use crate::promql::ast::{
    AggregateOperator, Binary, Cardinality, Expr, Kind, MatchLabels, Matcher, Matching, Operator, Span,
};
use crate::promql::function::Signature;

fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Scalar => "a number",
        Kind::Text => "a string",
        Kind::Vector => "a vector",
        Kind::Matrix => "a range of samples",
    }
}

/// How to make a `wanted` of an expression of another kind.
fn conversion(found: &Expr, wanted: Kind) -> Option<String> {
    Some(match (found.kind(), wanted) {
        (Kind::Vector, Kind::Matrix) => match found {
            Expr::Selector(selector) => format!("give it a range: `{}[5m]`", clipped(&selector.to_string())),
            _ => "a subquery makes it a range: put `[5m:]` behind it".into(),
        },
        (Kind::Matrix, Kind::Vector | Kind::Scalar) => {
            "remove the range, or make a vector of it with a function such as `rate`".into()
        }
        (Kind::Vector, Kind::Scalar) => "`scalar(...)` makes a number of a vector of one element".into(),
        (Kind::Scalar, Kind::Vector) => "`vector(...)` makes a vector of a number".into(),
        (Kind::Scalar | Kind::Vector, Kind::Text) => "put it in quotes".into(),
        _ => return None,
    })
}

/// Errors: an operand is not of the kind that `place` takes.
fn expect(operand: &Operand, wanted: Kind, place: &str) -> Parsed<()> {
    let found = operand.expr.kind();
    if found == wanted {
        return Ok(());
    }
    let summary = format!("{place} must be {}, not {}", described(wanted), described(found));
    let error = ParseError::new(summary, operand.outer);
    Err(match conversion(&operand.expr, wanted) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// Errors: what `taker` is made of is no vector.
pub(super) fn expect_vector(operand: &Operand, taker: &str) -> Parsed<()> {
    expect(operand, Kind::Vector, &format!("the expression of {taker}"))
}

/// An operand behind a sign.
pub(super) fn signed(is_minus: bool, sign: Span, inner: Operand) -> Parsed<Operand> {
    let kind = inner.expr.kind();
    if !matches!(kind, Kind::Scalar | Kind::Vector) {
        let what = if is_minus { "negated" } else { "signed" };
        let error = ParseError::new(format!("{} cannot be {what}", described(kind)), inner.outer);
        return Err(match conversion(&inner.expr, Kind::Vector) {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let outer = sign.to(inner.outer);
    let depth = deeper(inner.depth, sign)?;
    let expr = match inner.expr {
        Expr::Number(number, _) => Expr::Number(if is_minus { -number } else { number }, outer),
        expr if is_minus => Expr::Negate(Box::new(expr), outer),
        expr => expr,
    };
    Ok(Operand { outer, depth, ..plain(expr) })
}

/// Two operands and the operator between them.
pub(super) fn binary(
    text: &str,
    op: Operator,
    op_span: Span,
    modifiers: Modifiers,
    left: Operand,
    right: Operand,
) -> Parsed<Operand> {
    let shown = &text[op_span.range()];
    for side in [&left, &right] {
        expect_computable(side, shown, op)?;
    }
    let Modifiers { returns_bool, matching } = modifiers;
    let both_scalar = left.expr.kind() == Kind::Scalar && right.expr.kind() == Kind::Scalar;
    let any_scalar = left.expr.kind() == Kind::Scalar || right.expr.kind() == Kind::Scalar;
    match op {
        Operator::Comparison(_) if both_scalar && returns_bool.is_none() => {
            let error = ParseError::new("a comparison of two numbers has nothing to filter", op_span);
            return Err(error.hint(format!("`{shown} bool` answers 0 or 1")));
        }
        Operator::Arithmetic(_) | Operator::Set(_) if returns_bool.is_some() => {
            let place = returns_bool.unwrap_or(op_span);
            return Err(
                ParseError::new(format!("`{shown}` takes no `bool`"), place).hint("only comparisons do")
            );
        }
        Operator::Set(_) if any_scalar => {
            let scalar = if left.expr.kind() == Kind::Scalar { &left } else { &right };
            let error = ParseError::new(format!("`{shown}` joins vectors, not numbers"), scalar.outer);
            return Err(error.hint("`vector(...)` makes a vector of a number"));
        }
        Operator::Set(_) if !matches!(matching.cardinality, Cardinality::OneToOne) => {
            return Err(ParseError::new(
                format!("`{shown}` takes no `group_left` or `group_right`"),
                matching.span,
            ));
        }
        _ => {}
    }
    let matching = checked_matching(matching, any_scalar)?;
    let outer = left.outer.to(right.outer);
    let depth = deeper(left.depth.max(right.depth), op_span)?;
    let binary = Binary {
        op,
        left: left.expr,
        right: right.expr,
        returns_bool: returns_bool.is_some(),
        matching,
        op_span,
        span: outer,
    };
    Ok(Operand { depth, ..plain(Expr::Binary(Box::new(binary))) })
}

fn expect_computable(side: &Operand, shown: &str, op: Operator) -> Parsed<()> {
    let kind = side.expr.kind();
    if matches!(kind, Kind::Scalar | Kind::Vector) {
        return Ok(());
    }
    let error =
        ParseError::new(format!("`{shown}` takes vectors and numbers, not {}", described(kind)), side.outer);
    Err(match (kind, op) {
        (Kind::Text, Operator::Comparison(_)) => error.hint(
            "a label is compared in braces: `x{label=\"...\"}`; a filter of log lines is LogQL, not PromQL",
        ),
        (Kind::Matrix, _) => {
            error.hint("make a vector of it with a function such as `rate`, or remove the range")
        }
        _ => error,
    })
}

/// Errors: labels to match by where a side has none, or one both matched and lent.
fn checked_matching(matching: Matching, any_scalar: bool) -> Parsed<Matching> {
    let (MatchLabels::On(labels) | MatchLabels::Ignoring(labels)) = &matching.labels;
    if any_scalar {
        if !labels.is_empty() {
            let error = ParseError::new("a number has no labels to match by", matching.span);
            return Err(error.hint("remove `on` or `ignoring`"));
        }
        return Ok(Matching { span: matching.span, ..Matching::default() });
    }
    if let (MatchLabels::On(labels), Cardinality::ManyToOne(lent) | Cardinality::OneToMany(lent)) =
        (&matching.labels, &matching.cardinality)
        && let Some(twice) = lent.iter().find(|label| labels.contains(label))
    {
        let error = ParseError::new(format!("label `{twice}` is both matched and lent"), matching.span);
        return Err(error.hint("what is in `on` is there already; remove it from the group"));
    }
    Ok(matching)
}

/// Errors: arguments of another number or kind than a function takes.
pub(super) fn call(signature: Signature, name: &str, place: Span, arguments: &[Operand]) -> Parsed<()> {
    let Signature { kinds, min, max } = signature;
    let found = arguments.len();
    if found < min || max.is_some_and(|max| found > max) {
        let expected = match max {
            Some(max) if max == min => count(min),
            Some(max) if found > max => format!("at most {}", count(max)),
            _ => format!("at least {}", count(min)),
        };
        let error = ParseError::new(format!("`{name}` takes {expected}, not {found}"), place);
        let kinds: Vec<&str> = kinds.iter().map(|kind| described(*kind)).collect();
        return Err(if kinds.is_empty() {
            error
        } else {
            error.hint(format!("in order: {}", kinds.join(", ")))
        });
    }
    for (index, argument) in arguments.iter().enumerate() {
        if let Some(wanted) = signature.kind(index) {
            let place = match found {
                1 => format!("the argument of `{name}`"),
                _ => format!("argument {} of `{name}`", index + 1),
            };
            expect(argument, wanted, &place)?;
        }
    }
    Ok(())
}

fn count(arguments: usize) -> String {
    match arguments {
        0 => "no arguments".into(),
        1 => "1 argument".into(),
        n => format!("{n} arguments"),
    }
}

/// The parameter and the vector of an aggregation.
pub(super) fn aggregate(
    op: AggregateOperator,
    name: &str,
    place: Span,
    arguments: Vec<Operand>,
) -> Parsed<(Option<Expr>, Expr)> {
    let parameter = parameter_kind(op);
    let wanted = 1 + usize::from(parameter.is_some());
    let found = arguments.len();
    let mut arguments = arguments.into_iter();
    let (first, second, more) = (arguments.next(), arguments.next(), arguments.next());
    let wrong = || {
        let error = ParseError::new(format!("`{name}` takes {}, not {found}", count(wanted)), place);
        match op {
            AggregateOperator::Topk | AggregateOperator::Bottomk => {
                error.hint(format!("as in `{name}(3, x)`"))
            }
            AggregateOperator::Quantile => error.hint("as in `quantile(0.9, x)`"),
            AggregateOperator::CountValues => error.hint("as in `count_values(\"version\", x)`"),
            _ => error.hint(format!("as in `{name} by (job) (x)`")),
        }
    };
    match (parameter, first, second, more) {
        (None, Some(vector), None, None) => {
            expect_vector(&vector, &format!("`{name}`"))?;
            Ok((None, vector.expr))
        }
        (Some(kind), Some(parameter), Some(vector), None) => {
            expect(&parameter, kind, &format!("the parameter of `{name}`"))?;
            expect_vector(&vector, &format!("`{name}`"))?;
            Ok((Some(parameter.expr), vector.expr))
        }
        _ => Err(wrong()),
    }
}

/// Errors: a selector without a name of which each matcher lets a series without the label through.
pub(super) fn refuse_match_all(name: Option<&str>, matchers: &[Matcher], place: Span) -> Parsed<()> {
    let none = Labels::default();
    if name.is_some_and(|name| !name.is_empty()) || matchers.iter().any(|matcher| !matcher.matches(&none)) {
        return Ok(());
    }
    let error = ParseError::new("the selector would take every series", place);
    Err(error
        .hint("name a metric, or give a matcher that an absent label does not satisfy, as `{job=\"x\"}`"))
}
