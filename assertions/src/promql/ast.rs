//! Our own syntax tree of a PromQL expression: only what the evaluator can answer.
//!
//! It is separate from the parser's tree so that the parser can be replaced, and so that an unsupported
//! construct cannot reach the evaluator: it has no form here.

use super::function::Function;
use crate::labels::Labels;
use crate::time::Millis;
use regex::Regex;
use std::ops::Range;
use std::sync::Arc;

/// Which Prometheus' answers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Prometheus 2.x, as 2.42: ranges include both ends.
    #[default]
    V2,
    /// Prometheus 3.x: the left end of a range, of the look-back and of a subquery is left out.
    V3,
}

/// Bytes `start..end` of the text that an expression was read from.
///
/// A node that was made and not read has the place of what it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of `self` to the end of `last`.
    #[must_use]
    pub fn to(self, last: Span) -> Span {
        Span { start: self.start, end: last.end.max(self.start) }
    }

    /// As a range of bytes, for slicing the text.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// An expression.
#[derive(Debug, Clone)]
pub enum Expr {
    /// A number.
    Number(f64, Span),
    /// A string, as a parameter of a function.
    Text(String, Span),
    /// The newest sample of each selected series.
    Selector(Selector),
    /// All samples of each selected series in the last `range` ms.
    Range {
        /// Which series, and when.
        selector: Selector,
        /// Length of the window, ms, above 0.
        range: i64,
        /// The window with its brackets.
        window: Span,
    },
    /// An expression evaluated again and again over a range.
    Subquery(Box<Subquery>),
    /// The negated expression; the place has the minus.
    Negate(Box<Expr>, Span),
    /// Two expressions and an operator.
    Binary(Box<Binary>),
    /// Many elements into few.
    Aggregate(Box<Aggregate>),
    /// A function of arguments.
    Call(Call),
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One number.
    Scalar,
    /// One string.
    Text,
    /// A number for each label set.
    Vector,
    /// Samples for each label set; only a function's argument.
    Matrix,
}

/// Which series, and as of when.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The metric's name; `None` where it is matched by a pattern or not at all.
    pub name: Option<Arc<str>>,
    /// What else the labels must satisfy, all of it.
    pub matchers: Vec<Matcher>,
    /// As of when.
    pub time: TimeShift,
    /// Name and matchers, without range and modifiers.
    pub head: Span,
    /// All of it: with its range, if it has one, and modifiers.
    pub span: Span,
}

/// The modifiers `@` and `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeShift {
    /// The moment meant instead of the evaluation's.
    pub at: Option<At>,
    /// How much earlier, ms; negative is later.
    pub offset: i64,
}

/// The moment after an `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The query's start; of an instant query its only moment.
    Start,
    /// The query's end; of an instant query its only moment.
    End,
    /// A fixed moment.
    Moment(Millis),
}

/// One condition on a label.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label; one that a series lacks has the value "".
    pub name: Arc<str>,
    /// What its value must be.
    pub op: MatchOp,
    /// From the label to the end of the value.
    pub span: Span,
}

/// What a label's value must be.
#[derive(Debug, Clone)]
pub enum MatchOp {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `=~`, anchored at both ends.
    Match(Regex, String),
    /// `!~`, anchored at both ends.
    NotMatch(Regex, String),
}

impl Matcher {
    /// Whether a label set satisfies it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name);
        match &self.op {
            MatchOp::Equal(wanted) => value == wanted,
            MatchOp::NotEqual(unwanted) => value != unwanted,
            MatchOp::Match(regex, _) => regex.is_match(value),
            MatchOp::NotMatch(regex, _) => !regex.is_match(value),
        }
    }
}

/// `expr[range:step]`.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// What is evaluated at each step.
    pub expr: Expr,
    /// Length of the window, ms, above 0.
    pub range: i64,
    /// Distance of the steps, ms; `None`: the rules' evaluation interval.
    pub step: Option<i64>,
    /// As of when.
    pub time: TimeShift,
    /// Range and step with their brackets.
    pub window: Span,
    /// All of it.
    pub span: Span,
}

/// Two expressions and an operator.
#[derive(Debug, Clone)]
pub struct Binary {
    /// The operator.
    pub op: Operator,
    /// What stands left of it.
    pub left: Expr,
    /// What stands right of it.
    pub right: Expr,
    /// For a comparison: answer 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// Which elements meet, if both sides are vectors.
    pub matching: Matching,
    /// The operator alone.
    pub op_span: Span,
    /// All of it, with the parentheses of its sides.
    pub span: Span,
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// A number from two numbers.
    Arithmetic(Arithmetic),
    /// Keeps what compares true, or answers 0 or 1.
    Comparison(Comparison),
    /// Keeps elements by whether they have a partner.
    Set(SetOperator),
}

/// A number from two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator of its name")]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator of its name")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Keeps elements by whether they have a partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator of its name")]
pub enum SetOperator {
    And,
    Or,
    Unless,
}

/// Which elements of two vectors meet.
#[derive(Debug, Clone, Default)]
pub struct Matching {
    /// The labels compared.
    pub labels: MatchLabels,
    /// How many elements may meet one.
    pub cardinality: Cardinality,
    /// From `on` or `ignoring` to the end of `group_left(...)`; empty behind the operator where none is written.
    pub span: Span,
}

/// The labels by which elements meet.
#[derive(Debug, Clone)]
pub enum MatchLabels {
    /// `on(...)`: these.
    On(Vec<Arc<str>>),
    /// `ignoring(...)`: all but the metric's name and these.
    Ignoring(Vec<Arc<str>>),
}

impl Default for MatchLabels {
    fn default() -> MatchLabels {
        MatchLabels::Ignoring(Vec::new())
    }
}

/// How many elements of a side may meet one of the other.
#[derive(Debug, Clone, Default)]
pub enum Cardinality {
    /// One each.
    #[default]
    OneToOne,
    /// `group_left(...)`: many on the left; these labels come from the right.
    ManyToOne(Vec<Arc<str>>),
    /// `group_right(...)`: many on the right; these labels come from the left.
    OneToMany(Vec<Arc<str>>),
}

/// `op by (labels) (parameter, expr)`.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// What is made of each group.
    pub op: AggregateOperator,
    /// What is grouped.
    pub expr: Expr,
    /// The number or label name some operators need.
    pub parameter: Option<Expr>,
    /// What makes a group.
    pub grouping: Grouping,
    /// The operator's name.
    pub op_span: Span,
    /// `by (...)` or `without (...)`; empty behind the operator where none is written.
    pub grouping_span: Span,
    /// All of it.
    pub span: Span,
}

/// `function(arguments)`.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is called.
    pub function: Function,
    /// Its arguments, of the number and kinds that it takes.
    pub arguments: Vec<Expr>,
    /// The function's name.
    pub name_span: Span,
    /// All of it.
    pub span: Span,
}

/// What is made of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PromQL operator of its name")]
pub enum AggregateOperator {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    Quantile,
    CountValues,
}

impl AggregateOperator {
    /// All of them.
    pub const ALL: [AggregateOperator; 12] = {
        use AggregateOperator as A;
        [
            A::Sum,
            A::Avg,
            A::Min,
            A::Max,
            A::Count,
            A::Group,
            A::Stddev,
            A::Stdvar,
            A::Topk,
            A::Bottomk,
            A::Quantile,
            A::CountValues,
        ]
    };

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            AggregateOperator::Sum => "sum",
            AggregateOperator::Avg => "avg",
            AggregateOperator::Min => "min",
            AggregateOperator::Max => "max",
            AggregateOperator::Count => "count",
            AggregateOperator::Group => "group",
            AggregateOperator::Stddev => "stddev",
            AggregateOperator::Stdvar => "stdvar",
            AggregateOperator::Topk => "topk",
            AggregateOperator::Bottomk => "bottomk",
            AggregateOperator::Quantile => "quantile",
            AggregateOperator::CountValues => "count_values",
        }
    }
}

/// What makes a group.
#[derive(Debug, Clone)]
pub enum Grouping {
    /// Equal values of these labels; none: all elements are one group.
    By(Vec<Arc<str>>),
    /// Equal values of all labels but the metric's name and these.
    Without(Vec<Arc<str>>),
}

impl Expr {
    /// What it evaluates to.
    pub fn kind(&self) -> Kind {
        match self {
            Expr::Number(..) => Kind::Scalar,
            Expr::Text(..) => Kind::Text,
            Expr::Selector(_) | Expr::Aggregate(_) => Kind::Vector,
            Expr::Range { .. } | Expr::Subquery(_) => Kind::Matrix,
            Expr::Negate(inner, _) => inner.kind(),
            Expr::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
            Expr::Call(call) => call.function.kind(),
        }
    }

    /// Where it was written, without parentheses around it.
    pub fn span(&self) -> Span {
        match self {
            Expr::Number(_, span) | Expr::Text(_, span) | Expr::Negate(_, span) => *span,
            Expr::Selector(selector) | Expr::Range { selector, .. } => selector.span,
            Expr::Subquery(subquery) => subquery.span,
            Expr::Binary(binary) => binary.span,
            Expr::Aggregate(aggregate) => aggregate.span,
            Expr::Call(call) => call.span,
        }
    }

    /// The expressions directly inside it.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(..) | Expr::Text(..) | Expr::Selector(_) | Expr::Range { .. } => Vec::new(),
            Expr::Subquery(subquery) => vec![&subquery.expr],
            Expr::Negate(inner, _) => vec![inner],
            Expr::Binary(binary) => vec![&binary.left, &binary.right],
            Expr::Aggregate(aggregate) => aggregate.parameter.iter().chain([&aggregate.expr]).collect(),
            Expr::Call(call) => call.arguments.iter().collect(),
        }
    }
}
