//! A syntax tree back to text: canonical, so that two expressions that mean the same by their grammar are the same text.
//!
//! Parentheses stand only where the grammar needs them; durations, numbers and strings have one form; grouping stands before
//! the arguments. Reading the text gives the tree again.

use super::ast::{
    Aggregate, AggregateOperator, Arithmetic, At, Binary, Cardinality, Comparison, Expr, Grouping,
    MatchLabels, MatchOp, Matcher, Matching, Operator, Selector, SetOperator, Subquery, TimeShift,
};
use super::lex::{is_plain_label, is_plain_metric};
use super::literal::{quoted, show_duration};
use crate::store::METRIC_NAME;
use std::fmt::{Display, Formatter, Result};
use std::sync::Arc;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::Number(number, _) => f.write_str(&show_number(*number)),
            Expr::Text(text, _) => f.write_str(&quoted(text)),
            Expr::Selector(selector) => write!(f, "{selector}{}", selector.time),
            Expr::Range { selector, range, .. } => {
                write!(f, "{selector}[{}]{}", show_duration(*range), selector.time)
            }
            Expr::Subquery(subquery) => subquery.fmt(f),
            Expr::Negate(inner, _) => {
                f.write_str("-")?;
                enclosed(f, inner, matches!(&**inner, Expr::Binary(binary) if !is_power(binary)))
            }
            Expr::Binary(binary) => binary.fmt(f),
            Expr::Aggregate(aggregate) => aggregate.fmt(f),
            Expr::Call(call) => {
                write!(f, "{}({})", call.function.name().unwrap_or_default(), Listed(&call.arguments))
            }
        }
    }
}

/// A number so that it is read back as itself: short, and never octal.
fn show_number(number: f64) -> String {
    match number {
        n if n.is_nan() => "NaN".into(),
        n if n.is_infinite() => if n > 0.0 { "Inf" } else { "-Inf" }.into(),
        n if n != 0.0 && !(1e-6..1e21).contains(&n.abs()) => format!("{n:e}"),
        n => format!("{n}"),
    }
}

fn enclosed(f: &mut Formatter<'_>, expr: &Expr, in_parentheses: bool) -> Result {
    if in_parentheses { write!(f, "({expr})") } else { write!(f, "{expr}") }
}

struct Listed<'a, T>(&'a [T]);

impl<T: Display> Display for Listed<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn label(name: &str) -> String {
    if is_plain_label(name) { name.to_string() } else { quoted(name) }
}

/// `(a, b)`
fn labels(names: &[Arc<str>]) -> String {
    let names: Vec<String> = names.iter().map(|name| label_in_list(name)).collect();
    format!("({})", names.join(", "))
}

/// In a list of labels `inf` and `nan` would be read as numbers.
fn label_in_list(name: &str) -> String {
    let is_number = name.eq_ignore_ascii_case("inf") || name.eq_ignore_ascii_case("nan");
    if is_number { quoted(name) } else { label(name) }
}

/// `name="value"` as in a selector.
impl Display for Matcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (op, value) = match &self.op {
            MatchOp::Equal(value) => ("=", value),
            MatchOp::NotEqual(value) => ("!=", value),
            MatchOp::Match(_, text) => ("=~", text),
            MatchOp::NotMatch(_, text) => ("!~", text),
        };
        write!(f, "{}{op}{}", label(&self.name), quoted(value))
    }
}

/// Whether a metric's name can stand before the braces.
fn stands_alone(name: &str) -> bool {
    const KEYWORDS: [&str; 8] =
        ["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"];
    is_plain_metric(name) && !KEYWORDS.iter().any(|keyword| name.eq_ignore_ascii_case(keyword))
}

/// `metric{label="value"}`, without modifiers.
impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut matchers: Vec<String> = Vec::with_capacity(self.matchers.len());
        match self.name.as_deref() {
            Some(name) if stands_alone(name) && !self.matchers.iter().any(|m| *m.name == *METRIC_NAME) => {
                f.write_str(name)?;
            }
            Some(name) => matchers.push(format!("{METRIC_NAME}={}", quoted(name))),
            None => {}
        }
        matchers.extend(self.matchers.iter().map(Matcher::to_string));
        match matchers.is_empty() && self.name.is_some() {
            true => Ok(()),
            false => write!(f, "{{{}}}", matchers.join(", ")),
        }
    }
}

/// `@ 10 offset 5m`, with a blank before each.
impl Display for TimeShift {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Moment(moment)) => {
                let (sign, distance) = (if moment.0 < 0 { "-" } else { "" }, moment.0.unsigned_abs());
                let seconds = format!("{}.{:03}", distance / 1000, distance % 1000);
                write!(f, " @ {sign}{}", seconds.trim_end_matches('0').trim_end_matches('.'))?;
            }
        }
        match self.offset {
            0 => Ok(()),
            earlier if earlier > 0 => write!(f, " offset {}", show_duration(earlier)),
            later => write!(f, " offset -{}", show_duration(later.saturating_neg())),
        }
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let is_loose = match &self.expr {
            Expr::Selector(selector) => selector.time != TimeShift::default(),
            Expr::Binary(_) | Expr::Negate(..) => true,
            _ => false,
        };
        enclosed(f, &self.expr, is_loose)?;
        let step = self.step.map(show_duration).unwrap_or_default();
        write!(f, "[{}:{step}]{}", show_duration(self.range), self.time)
    }
}

fn is_power(binary: &Binary) -> bool {
    binary.op == Operator::Arithmetic(Arithmetic::Power)
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        // `^` is the one operator that groups to the right, and binds tighter than a sign.
        let power = is_power(self);
        let is_loose = |side: &Expr, is_left: bool| match side {
            Expr::Binary(inner) => {
                let (inner, own) = (inner.precedence(), self.precedence());
                inner < own || (inner == own && is_left == power)
            }
            Expr::Negate(..) => power && is_left,
            Expr::Number(number, _) => power && is_left && number.is_sign_negative() && !number.is_nan(),
            _ => false,
        };
        enclosed(f, &self.left, is_loose(&self.left, true))?;
        write!(f, " {}{}{} ", self.op, if self.returns_bool { " bool" } else { "" }, self.matching)?;
        enclosed(f, &self.right, is_loose(&self.right, false))
    }
}

impl Display for Operator {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        use Operator::{Arithmetic as A, Comparison as C, Set as S};
        f.write_str(match self {
            A(Arithmetic::Add) => "+",
            A(Arithmetic::Subtract) => "-",
            A(Arithmetic::Multiply) => "*",
            A(Arithmetic::Divide) => "/",
            A(Arithmetic::Modulo) => "%",
            A(Arithmetic::Power) => "^",
            A(Arithmetic::Atan2) => "atan2",
            C(Comparison::Equal) => "==",
            C(Comparison::NotEqual) => "!=",
            C(Comparison::Less) => "<",
            C(Comparison::LessOrEqual) => "<=",
            C(Comparison::Greater) => ">",
            C(Comparison::GreaterOrEqual) => ">=",
            S(SetOperator::And) => "and",
            S(SetOperator::Or) => "or",
            S(SetOperator::Unless) => "unless",
        })
    }
}

/// ` on (a) group_left (b)`, with a blank before each; nothing if all labels must match one to one.
impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let is_plain = matches!(self.cardinality, Cardinality::OneToOne);
        match &self.labels {
            MatchLabels::On(names) => write!(f, " on {}", labels(names))?,
            MatchLabels::Ignoring(names) if names.is_empty() && is_plain => {}
            MatchLabels::Ignoring(names) => write!(f, " ignoring {}", labels(names))?,
        }
        // Always with parentheses: the right side may begin with one.
        match &self.cardinality {
            Cardinality::OneToOne => Ok(()),
            Cardinality::ManyToOne(names) => write!(f, " group_left {}", labels(names)),
            Cardinality::OneToMany(names) => write!(f, " group_right {}", labels(names)),
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.op.fmt(f)?;
        match &self.grouping {
            Grouping::By(names) if names.is_empty() => {}
            Grouping::By(names) => write!(f, " by {} ", labels(names))?,
            Grouping::Without(names) => write!(f, " without {} ", labels(names))?,
        }
        match &self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for AggregateOperator {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
pub(crate) mod tests;
