//! An expression's text to our syntax tree; everything that cannot be evaluated is refused here.
//!
//! The grammar is `promql-parser`'s. It knows no positions, so `locate.rs` finds the place to point at.

use super::ast::{
    Aggregate, AggregateOperator, Arithmetic, At, Binary, Call, Cardinality, Comparison, Dialect, Expr,
    Grouping, MatchLabels, MatchOp, Matcher, Matching, Operator, Selector, SetOperator, Span, Subquery,
    TimeShift,
};
use super::function::{self, Refusal};
use super::locate::{self, DEPTH_MAX};
use crate::store::METRIC_NAME;
use crate::time::Millis;
use promql_parser::label::MatchOp as TheirMatchOp;
use promql_parser::parser::{self as theirs, token};
use regex::Regex;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What may be used in an expression.
#[derive(Debug, Clone, Copy, Default)]
pub struct ParseOptions {
    /// Whose language.
    pub dialect: Dialect,
    /// Whether functions that Prometheus has behind a flag are accepted.
    pub experimental: bool,
}

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct ParseError {
    /// What is wrong, lower case, no full stop.
    pub summary: String,
    /// The bytes of the expression it is about; the whole expression if nothing better is known.
    pub range: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Reads an expression.
///
/// Errors: syntax, types, functions and constructs that are not supported or not of this dialect.
pub fn parse(text: &str, options: ParseOptions) -> Result<Expr, ParseError> {
    let tokens = locate::tokens(text);
    let units_needed = options.dialect == Dialect::V2;
    let fault =
        locate::obvious_fault(text, &tokens).or_else(|| locate::duration_fault(text, &tokens, units_needed));
    if let Some(fault) = fault {
        return Err(ParseError { summary: fault.summary, range: fault.range, hint: fault.hint });
    }
    check_functions(text, &tokens, options)?;
    let place = |summary: String| {
        let range = locate::quoted_place(text, &tokens, &summary).unwrap_or(whole(text));
        ParseError { summary, range, hint: None }
    };
    let tree = theirs::parse(&with_current_names(text, &tokens)).map_err(|message| place(lower(&message)))?;
    let place_of_all = whole(text);
    let whole_span = Span { start: place_of_all.start as u32, end: place_of_all.end as u32 };
    let converter = Converter { options, whole: whole_span };
    converter.expr(&tree, 0).map_err(place)
}

/// Everything but the white space around it.
fn whole(text: &str) -> Range<usize> {
    let start = text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

fn lower(message: &str) -> String {
    let mut chars = message.trim().chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    match message.trim() {
        "invalid promql query" => "this is not a PromQL expression".into(),
        _ => first + chars.as_str(),
    }
}

/// Refuses functions that cannot be evaluated, at the place where they are called.
fn check_functions(text: &str, tokens: &[locate::Token], options: ParseOptions) -> Result<(), ParseError> {
    for (name, range) in locate::called(text, tokens) {
        if is_keyword(name) {
            continue;
        }
        let refuse =
            |summary: String, hint: Option<String>| Err(ParseError { summary, range: range.clone(), hint });
        match function::find(name, options.dialect, options.experimental) {
            Ok(_) => {}
            Err(Refusal::Unsupported) => {
                let hint = scenarios::problem::nearest(name, function::names())
                    .map(|near| format!("did you mean `{near}`?"));
                return refuse(format!("unknown or unsupported function `{name}`"), hint);
            }
            Err(Refusal::OtherDialect) => {
                return refuse(
                    format!("`{name}` does not exist in this Prometheus"),
                    Some(match options.dialect {
                        Dialect::V2 => {
                            "it is of Prometheus 3; set the dialect to 3 if that is what runs".into()
                        }
                        Dialect::V3 => {
                            "it is of Prometheus 2; set the dialect to 2 if that is what runs".into()
                        }
                    }),
                );
            }
            Err(Refusal::Experimental) => {
                return refuse(
                    format!("`{name}` is experimental in Prometheus"),
                    Some("it needs a server flag, so it is refused here".into()),
                );
            }
        }
    }
    Ok(())
}

/// Words that are followed by `(` without being functions.
fn is_keyword(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "atan2",
        "start",
        "end",
        "fill",
        "fill_left",
        "fill_right",
    ];
    WORDS.contains(&name.to_ascii_lowercase().as_str())
}

/// The text with names that the grammar knows: it has only the newer name of a renamed function.
fn with_current_names(text: &str, tokens: &[locate::Token]) -> String {
    let mut renamed = String::with_capacity(text.len());
    let mut copied = 0;
    for (_, range) in locate::called(text, tokens).filter(|(name, _)| *name == "holt_winters") {
        renamed.push_str(&text[copied..range.start]);
        renamed.push_str("double_exponential_smoothing");
        copied = range.end;
    }
    renamed.push_str(&text[copied..]);
    renamed
}

struct Converter {
    options: ParseOptions,
    /// The place of every node: the grammar below tells none.
    whole: Span,
}

type Converted<T> = Result<T, String>;

impl Converter {
    fn expr(&self, tree: &theirs::Expr, depth: usize) -> Converted<Expr> {
        if depth > DEPTH_MAX {
            return Err("the expression is nested too deeply".into());
        }
        let below = depth + 1;
        match tree {
            theirs::Expr::NumberLiteral(number) => Ok(Expr::Number(number.val, self.whole)),
            theirs::Expr::StringLiteral(text) => Ok(Expr::Text(text.val.clone(), self.whole)),
            theirs::Expr::Paren(paren) => self.expr(&paren.expr, below),
            theirs::Expr::Unary(unary) => Ok(match self.expr(&unary.expr, below)? {
                Expr::Number(number, span) => Expr::Number(-number, span),
                other => Expr::Negate(Box::new(other), self.whole),
            }),
            theirs::Expr::VectorSelector(selector) => Ok(Expr::Selector(self.selector(selector)?)),
            theirs::Expr::MatrixSelector(matrix) => Ok(Expr::Range {
                selector: self.selector(&matrix.vs)?,
                range: positive(matrix.range)?,
                window: self.whole,
            }),
            theirs::Expr::Subquery(subquery) => self.subquery(subquery, below),
            theirs::Expr::Binary(binary) => self.binary(binary, below),
            theirs::Expr::Aggregate(aggregate) => self.aggregate(aggregate, below),
            theirs::Expr::Call(call) => self.call(call, below),
            theirs::Expr::Extension(_) => Err("extensions of the language are not supported".into()),
        }
    }

    fn selector(&self, selector: &theirs::VectorSelector) -> Converted<Selector> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err("`or` between label matchers is not Prometheus' language".into());
        }
        let mut name = selector.name.as_deref().map(Arc::from);
        let mut matchers = Vec::new();
        for matcher in &selector.matchers.matchers {
            let op = self.match_op(matcher)?;
            match &op {
                MatchOp::Equal(value) if matcher.name == METRIC_NAME && name.is_none() => {
                    name = Some(Arc::from(value.as_str()));
                }
                _ => matchers.push(Matcher { name: Arc::from(matcher.name.as_str()), op, span: self.whole }),
            }
        }
        let time = time_shift(selector.at.as_ref(), selector.offset.as_ref())?;
        Ok(Selector { name, matchers, time, head: self.whole, span: self.whole })
    }

    fn match_op(&self, matcher: &promql_parser::label::Matcher) -> Converted<MatchOp> {
        let value = matcher.value.clone();
        Ok(match &matcher.op {
            TheirMatchOp::Equal => MatchOp::Equal(value),
            TheirMatchOp::NotEqual => MatchOp::NotEqual(value),
            TheirMatchOp::Re(parsed) => MatchOp::Match(self.anchored(parsed)?, value),
            TheirMatchOp::NotRe(parsed) => MatchOp::NotMatch(self.anchored(parsed)?, value),
        })
    }

    /// Their pattern, with our anchors: in Prometheus 3 a dot matches a line end too.
    fn anchored(&self, parsed: &Regex) -> Converted<Regex> {
        let inner = parsed.as_str().strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"));
        anchored_regex(inner.unwrap_or(parsed.as_str()), self.options.dialect)
            .map_err(|_| format!("not a regular expression: {}", parsed.as_str()))
    }

    fn subquery(&self, subquery: &theirs::SubqueryExpr, depth: usize) -> Converted<Expr> {
        Ok(Expr::Subquery(Box::new(Subquery {
            expr: self.expr(&subquery.expr, depth)?,
            range: positive(subquery.range)?,
            step: subquery.step.map(positive).transpose()?,
            time: time_shift(subquery.at.as_ref(), subquery.offset.as_ref())?,
            window: self.whole,
            span: self.whole,
        })))
    }

    fn binary(&self, binary: &theirs::BinaryExpr, depth: usize) -> Converted<Expr> {
        let op = operator(binary.op.id())?;
        let modifier = binary.modifier.clone().unwrap_or_default();
        if modifier.fill_values != theirs::VectorMatchFillValues::default() {
            return Err("`fill` is experimental in Prometheus and not supported".into());
        }
        let left = self.expr(&binary.lhs, depth)?;
        let right = self.expr(&binary.rhs, depth)?;
        let matching = Matching { span: self.whole, ..matching(&modifier) };
        let returns_bool = modifier.return_bool;
        let (op_span, span) = (self.whole, self.whole);
        Ok(Expr::Binary(Box::new(Binary { op, left, right, returns_bool, matching, op_span, span })))
    }

    fn aggregate(&self, aggregate: &theirs::AggregateExpr, depth: usize) -> Converted<Expr> {
        let op = aggregate_operator(aggregate.op.id())?;
        let parameter = aggregate.param.as_deref().map(|p| self.expr(p, depth)).transpose()?;
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(theirs::LabelModifier::Include(labels)) => Grouping::By(names(labels)),
            Some(theirs::LabelModifier::Exclude(labels)) => Grouping::Without(names(labels)),
        };
        let expr = self.expr(&aggregate.expr, depth)?;
        let (op_span, grouping_span, span) = (self.whole, self.whole, self.whole);
        Ok(Expr::Aggregate(Box::new(Aggregate {
            op,
            expr,
            parameter,
            grouping,
            op_span,
            grouping_span,
            span,
        })))
    }

    fn call(&self, call: &theirs::Call, depth: usize) -> Converted<Expr> {
        // The rename in `with_current_names` is undone by asking for whichever name this dialect has.
        let name = match (call.func.name, self.options.dialect) {
            ("double_exponential_smoothing", Dialect::V2) => "holt_winters",
            (name, _) => name,
        };
        let function = function::find(name, self.options.dialect, self.options.experimental)
            .map_err(|_| format!("unsupported function {name}"))?;
        let arguments: Vec<Expr> =
            call.args.args.iter().map(|argument| self.expr(argument, depth)).collect::<Converted<_>>()?;
        Ok(Expr::Call(Call { function, arguments, name_span: self.whole, span: self.whole }))
    }
}

/// A pattern as PromQL means it: anchored at both ends; in dialect 3 a dot matches a line end too.
pub(super) fn anchored_regex(pattern: &str, dialect: Dialect) -> Result<Regex, regex::Error> {
    match dialect {
        Dialect::V2 => Regex::new(&format!("^(?:{pattern})$")),
        Dialect::V3 => Regex::new(&format!("^(?s:{pattern})$")),
    }
}

fn names(labels: &promql_parser::label::Labels) -> Vec<Arc<str>> {
    labels.labels.iter().map(|name| Arc::from(name.as_str())).collect()
}

fn millis(duration: Duration) -> Converted<i64> {
    // A century is more than any rule looks back and leaves room for adding.
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|ms| *ms <= 100 * 366 * 86_400_000)
        .ok_or_else(|| "the duration is longer than 100 years".to_string())
}

fn positive(duration: Duration) -> Converted<i64> {
    match millis(duration)? {
        0 => Err("a range or step must be at least 1ms".into()),
        ms => Ok(ms),
    }
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
        Some(theirs::AtModifier::At(time)) => Some(At::Moment(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Millis(moment(after)?),
            Err(before) => Millis(-moment(before.duration())?),
        })),
    };
    Ok(TimeShift { at, offset })
}

/// A distance from the epoch, at most that of the year 9999.
fn moment(distance: Duration) -> Converted<i64> {
    i64::try_from(distance.as_millis())
        .ok()
        .filter(|ms| *ms <= 253_402_300_800_000)
        .ok_or_else(|| "the moment after @ is out of range".to_string())
}

fn matching(modifier: &theirs::BinModifier) -> Matching {
    let labels = match &modifier.matching {
        None => MatchLabels::default(),
        Some(theirs::LabelModifier::Include(labels)) => MatchLabels::On(names(labels)),
        Some(theirs::LabelModifier::Exclude(labels)) => MatchLabels::Ignoring(names(labels)),
    };
    let cardinality = match &modifier.card {
        theirs::VectorMatchCardinality::ManyToOne(included) => Cardinality::ManyToOne(names(included)),
        theirs::VectorMatchCardinality::OneToMany(included) => Cardinality::OneToMany(names(included)),
        theirs::VectorMatchCardinality::OneToOne | theirs::VectorMatchCardinality::ManyToMany => {
            Cardinality::OneToOne
        }
    };
    Matching { labels, cardinality, span: Span::default() }
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
        _ => return Err("unsupported operator".into()),
    })
}

fn aggregate_operator(id: token::TokenId) -> Converted<AggregateOperator> {
    Ok(match id {
        token::T_SUM => AggregateOperator::Sum,
        token::T_AVG => AggregateOperator::Avg,
        token::T_MIN => AggregateOperator::Min,
        token::T_MAX => AggregateOperator::Max,
        token::T_COUNT => AggregateOperator::Count,
        token::T_GROUP => AggregateOperator::Group,
        token::T_STDDEV => AggregateOperator::Stddev,
        token::T_STDVAR => AggregateOperator::Stdvar,
        token::T_TOPK => AggregateOperator::Topk,
        token::T_BOTTOMK => AggregateOperator::Bottomk,
        token::T_QUANTILE => AggregateOperator::Quantile,
        token::T_COUNT_VALUES => AggregateOperator::CountValues,
        token::T_LIMITK => return Err("limitk is experimental in Prometheus and not supported".into()),
        token::T_LIMIT_RATIO => {
            return Err("limit_ratio is experimental in Prometheus and not supported".into());
        }
        _ => return Err("unsupported aggregation".into()),
    })
}

#[cfg(test)]
mod tests;
