//! Text to tree, through `promql-parser`; what we do not evaluate is refused here.

use super::ast::{Aggregation, Binary, Expr, Function, Grouping, Matching, Op, Selector, Shift, Side};
use crate::matcher::{Matcher, Op as MatchOp};
use promql_parser::label::MatchOp as TheirMatchOp;
use promql_parser::parser::{
    self as theirs, AtModifier, LabelModifier, Offset, VectorMatchCardinality, token,
};
use std::time::{Duration, SystemTime};

/// Why an expression cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not PromQL.
    #[error("not valid PromQL: {0}")]
    Syntax(String),
    /// It is PromQL that this version does not evaluate.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl ParseError {
    /// The piece of the expression that the error is about, to look for in its text.
    pub fn subject(&self) -> Option<&str> {
        match self {
            ParseError::Syntax(_) => None,
            ParseError::Unsupported(what) => what.split('`').nth(1).map(|name| name.trim_end_matches("()")),
        }
    }
}

/// Reads an expression.
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let parsed = theirs::parse(text).map_err(ParseError::Syntax)?;
    convert(&parsed)
}

fn convert(expr: &theirs::Expr) -> Result<Expr, ParseError> {
    Ok(match expr {
        theirs::Expr::NumberLiteral(number) => Expr::Number(number.val),
        theirs::Expr::StringLiteral(text) => Expr::Text(text.val.clone()),
        theirs::Expr::Paren(paren) => convert(&paren.expr)?,
        theirs::Expr::Unary(unary) => Expr::Negative(Box::new(convert(&unary.expr)?)),
        theirs::Expr::VectorSelector(vector) => Expr::Vector(selector(vector)?),
        theirs::Expr::MatrixSelector(matrix) => Expr::Range(selector(&matrix.vs)?, matrix.range),
        theirs::Expr::Subquery(subquery) => Expr::Subquery {
            expr: Box::new(convert(&subquery.expr)?),
            range: subquery.range,
            step: subquery.step,
            shift: shift(subquery.offset.as_ref(), subquery.at.as_ref())?,
        },
        theirs::Expr::Call(call) => {
            let name = call.func.name;
            let function = Function::of(name)
                .ok_or_else(|| ParseError::Unsupported(format!("the function `{name}()`")))?;
            Expr::Call(
                function,
                call.args.args.iter().map(|argument| convert(argument)).collect::<Result<_, _>>()?,
            )
        }
        theirs::Expr::Aggregate(aggregate) => Expr::Aggregate {
            op: aggregation(aggregate.op)?,
            parameter: aggregate
                .param
                .as_ref()
                .map(|parameter| convert(parameter).map(Box::new))
                .transpose()?,
            expr: Box::new(convert(&aggregate.expr)?),
            grouping: match &aggregate.modifier {
                None => Grouping::By(Vec::new()),
                Some(LabelModifier::Include(labels)) => Grouping::By(labels.labels.clone()),
                Some(LabelModifier::Exclude(labels)) => Grouping::Without(labels.labels.clone()),
            },
        },
        theirs::Expr::Binary(binary) => Expr::Binary(Box::new(convert_binary(binary)?)),
        theirs::Expr::Extension(_) => return Err(ParseError::Unsupported("an extension".into())),
    })
}

fn convert_binary(binary: &theirs::BinaryExpr) -> Result<Binary, ParseError> {
    let modifier = binary.modifier.as_ref();
    if modifier
        .is_some_and(|modifier| modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some())
    {
        return Err(ParseError::Unsupported("`fill`".into()));
    }
    let (on, labels) = match modifier.and_then(|modifier| modifier.matching.as_ref()) {
        Some(LabelModifier::Include(labels)) => (true, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (false, labels.labels.clone()),
        None => (false, Vec::new()),
    };
    let side = match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(labels)) => Side::Left(labels.labels.clone()),
        Some(VectorMatchCardinality::OneToMany(labels)) => Side::Right(labels.labels.clone()),
        _ => Side::None,
    };
    Ok(Binary {
        op: operator(binary.op)?,
        left: convert(&binary.lhs)?,
        right: convert(&binary.rhs)?,
        returns_bool: modifier.is_some_and(|modifier| modifier.return_bool),
        matching: Matching { on, labels, side },
    })
}

fn selector(vector: &theirs::VectorSelector) -> Result<Selector, ParseError> {
    if !vector.matchers.or_matchers.is_empty() {
        return Err(ParseError::Unsupported("`or` between matchers".into()));
    }
    let mut name = vector.name.clone();
    let mut matchers = Vec::new();
    for matcher in &vector.matchers.matchers {
        let op = match matcher.op {
            TheirMatchOp::Equal if matcher.name == "__name__" => {
                name = Some(matcher.value.clone());
                continue;
            }
            TheirMatchOp::Equal => MatchOp::Equal,
            TheirMatchOp::NotEqual => MatchOp::NotEqual,
            TheirMatchOp::Re(_) => MatchOp::Matches,
            TheirMatchOp::NotRe(_) => MatchOp::MatchesNot,
        };
        let matcher = Matcher::new(&matcher.name, op, &matcher.value);
        matchers.push(matcher.map_err(|problem| ParseError::Syntax(problem.to_string()))?);
    }
    Ok(Selector { name, matchers, shift: shift(vector.offset.as_ref(), vector.at.as_ref())? })
}

fn shift(offset: Option<&Offset>, at: Option<&AtModifier>) -> Result<Shift, ParseError> {
    let ms = |duration: &Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(duration)) => ms(duration),
        Some(Offset::Neg(duration)) => -ms(duration),
    };
    let at_ms = match at {
        None | Some(AtModifier::Start | AtModifier::End) => None,
        Some(AtModifier::At(time)) => Some(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => ms(&after),
            Err(before) => -ms(&before.duration()),
        }),
    };
    Ok(Shift { offset_ms, at_ms })
}

fn aggregation(op: theirs::token::TokenType) -> Result<Aggregation, ParseError> {
    Ok(match op.id() {
        token::T_SUM => Aggregation::Sum,
        token::T_AVG => Aggregation::Avg,
        token::T_MIN => Aggregation::Min,
        token::T_MAX => Aggregation::Max,
        token::T_COUNT => Aggregation::Count,
        token::T_GROUP => Aggregation::Group,
        token::T_STDDEV => Aggregation::Stddev,
        token::T_STDVAR => Aggregation::Stdvar,
        token::T_TOPK => Aggregation::Topk,
        token::T_BOTTOMK => Aggregation::Bottomk,
        token::T_QUANTILE => Aggregation::Quantile,
        token::T_COUNT_VALUES => Aggregation::CountValues,
        _ => return Err(ParseError::Unsupported(format!("the aggregation `{op}`"))),
    })
}

fn operator(op: theirs::token::TokenType) -> Result<Op, ParseError> {
    Ok(match op.id() {
        token::T_ADD => Op::Add,
        token::T_SUB => Op::Subtract,
        token::T_MUL => Op::Multiply,
        token::T_DIV => Op::Divide,
        token::T_MOD => Op::Modulo,
        token::T_POW => Op::Power,
        token::T_ATAN2 => Op::Atan2,
        token::T_EQLC => Op::Equal,
        token::T_NEQ => Op::NotEqual,
        token::T_GTR => Op::Greater,
        token::T_LSS => Op::Less,
        token::T_GTE => Op::GreaterOrEqual,
        token::T_LTE => Op::LessOrEqual,
        token::T_LAND => Op::And,
        token::T_LOR => Op::Or,
        token::T_LUNLESS => Op::Unless,
        _ => return Err(ParseError::Unsupported(format!("the operator `{op}`"))),
    })
}
