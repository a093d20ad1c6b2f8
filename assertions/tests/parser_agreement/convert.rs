//! `promql-parser`'s tree as ours, without places, so that both can be shown by one printer.

use assertions::promql::ast::{
    Aggregate, AggregateOperator, Arithmetic, At, Binary, Call, Cardinality, Comparison, Dialect, Expr,
    Grouping, MatchLabels, MatchOp, Matcher, Matching, Operator, Selector, SetOperator, Span, Subquery,
    TimeShift,
};
use assertions::promql::function;
use assertions::store::METRIC_NAME;
use assertions::time::Millis;
use promql_parser::label::MatchOp as TheirMatchOp;
use promql_parser::parser::{self as theirs, token};
use regex::Regex;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

type Converted<T> = Result<T, String>;

const NOWHERE: Span = Span { start: 0, end: 0 };

/// Their tree as ours. Errors: what ours has no form for.
pub(crate) fn expr(tree: &theirs::Expr) -> Converted<Expr> {
    match tree {
        theirs::Expr::NumberLiteral(number) => Ok(Expr::Number(number.val, NOWHERE)),
        theirs::Expr::StringLiteral(text) => Ok(Expr::Text(text.val.clone(), NOWHERE)),
        theirs::Expr::Paren(paren) => expr(&paren.expr),
        theirs::Expr::Unary(unary) => Ok(match expr(&unary.expr)? {
            Expr::Number(number, span) => Expr::Number(-number, span),
            other => Expr::Negate(Box::new(other), NOWHERE),
        }),
        theirs::Expr::VectorSelector(vector) => Ok(Expr::Selector(selector(vector)?)),
        theirs::Expr::MatrixSelector(matrix) => {
            Ok(Expr::Range { selector: selector(&matrix.vs)?, range: millis(matrix.range)?, window: NOWHERE })
        }
        theirs::Expr::Subquery(query) => subquery(query),
        theirs::Expr::Binary(operation) => binary(operation),
        theirs::Expr::Aggregate(aggregation) => aggregate(aggregation),
        theirs::Expr::Call(called) => call(called),
        theirs::Expr::Extension(_) => Err("an extension".into()),
    }
}

fn selector(vector: &theirs::VectorSelector) -> Converted<Selector> {
    if !vector.matchers.or_matchers.is_empty() {
        return Err("`or` between matchers".into());
    }
    let mut name: Option<Arc<str>> = vector.name.as_deref().map(Arc::from);
    let mut matchers = Vec::new();
    for matcher in &vector.matchers.matchers {
        match &matcher.op {
            TheirMatchOp::Equal
                if matcher.name == METRIC_NAME && name.is_none() && !matcher.value.is_empty() =>
            {
                name = Some(Arc::from(matcher.value.as_str()));
            }
            op => matchers.push(Matcher {
                name: Arc::from(matcher.name.as_str()),
                op: match_op(op, &matcher.value),
                span: NOWHERE,
            }),
        }
    }
    let time = time_shift(vector.at.as_ref(), vector.offset.as_ref())?;
    Ok(Selector { name, matchers, time, head: NOWHERE, span: NOWHERE })
}

fn match_op(op: &TheirMatchOp, value: &str) -> MatchOp {
    // Only the text is compared, so any pattern will do.
    let any = || Regex::new("").expect("the empty pattern");
    match op {
        TheirMatchOp::Equal => MatchOp::Equal(value.into()),
        TheirMatchOp::NotEqual => MatchOp::NotEqual(value.into()),
        TheirMatchOp::Re(_) => MatchOp::Match(any(), value.into()),
        TheirMatchOp::NotRe(_) => MatchOp::NotMatch(any(), value.into()),
    }
}

fn subquery(query: &theirs::SubqueryExpr) -> Converted<Expr> {
    Ok(Expr::Subquery(Box::new(Subquery {
        expr: expr(&query.expr)?,
        range: millis(query.range)?,
        step: query.step.map(millis).transpose()?,
        time: time_shift(query.at.as_ref(), query.offset.as_ref())?,
        window: NOWHERE,
        span: NOWHERE,
    })))
}

fn binary(operation: &theirs::BinaryExpr) -> Converted<Expr> {
    let modifier = operation.modifier.clone().unwrap_or_default();
    let labels = match &modifier.matching {
        None => MatchLabels::default(),
        Some(theirs::LabelModifier::Include(labels)) => MatchLabels::On(names(labels)),
        Some(theirs::LabelModifier::Exclude(labels)) => MatchLabels::Ignoring(names(labels)),
    };
    let cardinality = match &modifier.card {
        theirs::VectorMatchCardinality::ManyToOne(included) => Cardinality::ManyToOne(names(included)),
        theirs::VectorMatchCardinality::OneToMany(included) => Cardinality::OneToMany(names(included)),
        _ => Cardinality::OneToOne,
    };
    let (left, right) = (expr(&operation.lhs)?, expr(&operation.rhs)?);
    // Between numbers there is nothing to match; ours drops what is written there.
    let has_number =
        [&left, &right].into_iter().any(|side| side.kind() == assertions::promql::ast::Kind::Scalar);
    let matching =
        if has_number { Matching::default() } else { Matching { labels, cardinality, span: NOWHERE } };
    Ok(Expr::Binary(Box::new(Binary {
        op: operator(operation.op.id())?,
        left,
        right,
        returns_bool: modifier.return_bool,
        matching,
        op_span: NOWHERE,
        span: NOWHERE,
    })))
}

fn aggregate(aggregation: &theirs::AggregateExpr) -> Converted<Expr> {
    let name = aggregation.op.to_string();
    let op = AggregateOperator::ALL.into_iter().find(|op| op.name() == name).ok_or(name)?;
    let grouping = match &aggregation.modifier {
        None => Grouping::By(Vec::new()),
        Some(theirs::LabelModifier::Include(labels)) => Grouping::By(names(labels)),
        Some(theirs::LabelModifier::Exclude(labels)) => Grouping::Without(names(labels)),
    };
    Ok(Expr::Aggregate(Box::new(Aggregate {
        op,
        expr: expr(&aggregation.expr)?,
        parameter: aggregation.param.as_deref().map(expr).transpose()?,
        grouping,
        op_span: NOWHERE,
        grouping_span: NOWHERE,
        span: NOWHERE,
    })))
}

fn call(called: &theirs::Call) -> Converted<Expr> {
    let function =
        function::find(called.func.name, Dialect::V3, true).map_err(|_| called.func.name.to_string())?;
    let arguments = called.args.args.iter().map(|argument| expr(argument)).collect::<Converted<_>>()?;
    Ok(Expr::Call(Call { function, arguments, name_span: NOWHERE, span: NOWHERE }))
}

fn names(labels: &promql_parser::label::Labels) -> Vec<Arc<str>> {
    labels.labels.iter().map(|name| Arc::from(name.as_str())).collect()
}

fn millis(duration: Duration) -> Converted<i64> {
    i64::try_from(duration.as_millis()).map_err(|_| "a long duration".into())
}

fn time_shift(at: Option<&theirs::AtModifier>, offset: Option<&theirs::Offset>) -> Converted<TimeShift> {
    let offset = match offset {
        None => 0,
        Some(theirs::Offset::Pos(duration)) => millis(*duration)?,
        Some(theirs::Offset::Neg(duration)) => -millis(*duration)?,
    };
    let at = match at {
        None => None,
        Some(theirs::AtModifier::Start) => Some(At::Start),
        Some(theirs::AtModifier::End) => Some(At::End),
        Some(theirs::AtModifier::At(time)) => {
            Some(At::Moment(Millis(match time.duration_since(UNIX_EPOCH) {
                Ok(after) => millis(after)?,
                Err(before) => -millis(before.duration())?,
            })))
        }
    };
    Ok(TimeShift { at, offset })
}

fn operator(id: token::TokenId) -> Converted<Operator> {
    use Operator::{Arithmetic as A, Comparison as C, Set as S};
    Ok(match id {
        token::T_ADD => A(Arithmetic::Add),
        token::T_SUB => A(Arithmetic::Subtract),
        token::T_MUL => A(Arithmetic::Multiply),
        token::T_DIV => A(Arithmetic::Divide),
        token::T_MOD => A(Arithmetic::Modulo),
        token::T_POW => A(Arithmetic::Power),
        token::T_ATAN2 => A(Arithmetic::Atan2),
        token::T_EQLC => C(Comparison::Equal),
        token::T_NEQ => C(Comparison::NotEqual),
        token::T_LSS => C(Comparison::Less),
        token::T_LTE => C(Comparison::LessOrEqual),
        token::T_GTR => C(Comparison::Greater),
        token::T_GTE => C(Comparison::GreaterOrEqual),
        token::T_LAND => S(SetOperator::And),
        token::T_LOR => S(SetOperator::Or),
        token::T_LUNLESS => S(SetOperator::Unless),
        _ => return Err("an operator".into()),
    })
}
