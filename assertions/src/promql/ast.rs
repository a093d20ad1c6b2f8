//! The tree of an expression.

use crate::matcher::Matcher;
use std::time::Duration;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The latest sample of each matching series.
    Vector(Selector),
    /// The samples of each matching series over a range; only as an argument of a function.
    Range(Selector, Duration),
    /// An expression evaluated over a range in steps; only as an argument of a function.
    Subquery {
        /// What is evaluated.
        expr: Box<Expr>,
        /// Over what range.
        range: Duration,
        /// In what steps; `None`: the default step.
        step: Option<Duration>,
        /// Moved in time.
        shift: Shift,
    },
    /// A function.
    Call(Function, Vec<Expr>),
    /// An aggregation.
    Aggregate {
        /// Which.
        op: Aggregation,
        /// The parameter of topk, bottomk, quantile and count_values.
        parameter: Option<Box<Expr>>,
        /// What is aggregated.
        expr: Box<Expr>,
        /// By or without which labels.
        grouping: Grouping,
    },
    /// An operator between two expressions.
    Binary(Box<Binary>),
    /// The negative of an expression.
    Negative(Box<Expr>),
}

/// Which series.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The metric; `None`: any.
    pub name: Option<String>,
    /// All of them must match.
    pub matchers: Vec<Matcher>,
    /// Moved in time.
    pub shift: Shift,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    /// Into the past; negative: into the future. Milliseconds.
    pub offset_ms: i64,
    /// A fixed time instead of the evaluation's; milliseconds since the epoch. `start()` and `end()` of an instant query are the
    /// evaluation's own time.
    pub at_ms: Option<i64>,
}

/// `by` and `without`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grouping {
    /// These labels are kept.
    By(Vec<String>),
    /// These are dropped, and the metric's name.
    Without(Vec<String>),
}

/// An operator and its operands.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: Op,
    /// Left.
    pub left: Expr,
    /// Right.
    pub right: Expr,
    /// A comparison gives 0 or 1 instead of filtering.
    pub returns_bool: bool,
    /// How elements of two vectors find each other.
    pub matching: Matching,
}

/// How elements of two vectors find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// `on` (true) or `ignoring` these labels.
    pub on: bool,
    /// The labels.
    pub labels: Vec<String>,
    /// Which side may have several elements for one of the other.
    pub side: Side,
}

/// `group_left` and `group_right`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// One to one.
    None,
    /// Many on the left; these labels come from the right.
    Left(Vec<String>),
    /// Many on the right; these labels come from the left.
    Right(Vec<String>),
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as PromQL names it")]
pub enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl Op {
    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use Op::*;
        matches!(self, Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual)
    }

    /// Whether it works on sets of elements.
    pub fn is_set(self) -> bool {
        matches!(self, Op::And | Op::Or | Op::Unless)
    }
}

/// An aggregation operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named as PromQL names it")]
pub enum Aggregation {
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

macro_rules! functions {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A function that evaluation knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is named as PromQL names it")]
        pub enum Function { $($variant),* }

        impl Function {
            /// The function of this name.
            pub fn of(name: &str) -> Option<Function> {
                match name { $($name => Some(Function::$variant),)* _ => None }
            }
        }
    };
}

functions! {
    Rate "rate", Increase "increase", Delta "delta", Irate "irate", Idelta "idelta", Deriv "deriv",
    PredictLinear "predict_linear", Changes "changes", Resets "resets",
    AvgOverTime "avg_over_time", SumOverTime "sum_over_time", MinOverTime "min_over_time", MaxOverTime "max_over_time",
    CountOverTime "count_over_time", LastOverTime "last_over_time", PresentOverTime "present_over_time",
    StddevOverTime "stddev_over_time", StdvarOverTime "stdvar_over_time", QuantileOverTime "quantile_over_time",
    AbsentOverTime "absent_over_time", Absent "absent", HistogramQuantile "histogram_quantile",
    Abs "abs", Ceil "ceil", Floor "floor", Round "round", Sqrt "sqrt", Exp "exp", Ln "ln", Log2 "log2", Log10 "log10",
    Sgn "sgn", Clamp "clamp", ClampMin "clamp_min", ClampMax "clamp_max",
    Sin "sin", Cos "cos", Tan "tan", Asin "asin", Acos "acos", Atan "atan", Sinh "sinh", Cosh "cosh", Tanh "tanh",
    Asinh "asinh", Acosh "acosh", Atanh "atanh", Deg "deg", Rad "rad", Pi "pi",
    Time "time", Timestamp "timestamp", Vector "vector", Scalar "scalar", Sort "sort", SortDesc "sort_desc",
    LabelReplace "label_replace", LabelJoin "label_join",
}

impl Expr {
    /// Calls `visit` for this expression and all below it.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        match self {
            Expr::Number(_) | Expr::Text(_) | Expr::Vector(_) | Expr::Range(..) => {}
            Expr::Subquery { expr, .. } | Expr::Negative(expr) => expr.walk(visit),
            Expr::Call(_, arguments) => arguments.iter().for_each(|argument| argument.walk(visit)),
            Expr::Aggregate { parameter, expr, .. } => {
                if let Some(parameter) = parameter {
                    parameter.walk(visit);
                }
                expr.walk(visit);
            }
            Expr::Binary(binary) => {
                binary.left.walk(visit);
                binary.right.walk(visit);
            }
        }
    }

    /// Every selector, with its range.
    pub fn selectors(&self) -> Vec<(&Selector, Option<Duration>)> {
        let mut selectors = Vec::new();
        self.walk(&mut |expr| match expr {
            Expr::Vector(selector) => selectors.push((selector, None)),
            Expr::Range(selector, range) => selectors.push((selector, Some(*range))),
            _ => {}
        });
        selectors
    }

    /// How far back the expression looks: ranges, subqueries and offsets added up.
    pub fn reach(&self) -> Duration {
        let past = |shift: &Shift| Duration::from_millis(u64::try_from(shift.offset_ms).unwrap_or(0));
        match self {
            Expr::Number(_) | Expr::Text(_) => Duration::ZERO,
            Expr::Vector(selector) => past(&selector.shift),
            Expr::Range(selector, range) => past(&selector.shift) + *range,
            Expr::Subquery { expr, range, shift, .. } => expr.reach() + *range + past(shift),
            Expr::Call(_, arguments) => arguments.iter().map(Expr::reach).max().unwrap_or_default(),
            Expr::Aggregate { expr, .. } | Expr::Negative(expr) => expr.reach(),
            Expr::Binary(binary) => binary.left.reach().max(binary.right.reach()),
        }
    }
}
