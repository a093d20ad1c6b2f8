//! The functions the evaluator knows, in one table.

use super::ast::{Dialect, Kind};

/// A function that can be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// One number from one number, for each element.
    Math(MathFunction),
    /// A part of a calendar date (UTC), for each element.
    Calendar(CalendarPart),
    /// One number from the samples of a window, for each series.
    Range(RangeFunction),
    /// Anything else.
    Other(OtherFunction),
}

/// One number from one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PromQL function of its name")]
pub enum MathFunction {
    Abs,
    Ceil,
    Floor,
    Exp,
    Sqrt,
    Ln,
    Log2,
    Log10,
    Sgn,
    Degrees,
    Radians,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
}

/// A part of a calendar date, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PromQL function of its name")]
pub enum CalendarPart {
    Minute,
    Hour,
    DayOfWeek,
    DayOfMonth,
    DayOfYear,
    DaysInMonth,
    Month,
    Year,
}

/// One number from the samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PromQL function of its name")]
pub enum RangeFunction {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Deriv,
    PredictLinear,
    HoltWinters,
    DoubleExponentialSmoothing,
    Changes,
    Resets,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    SumOverTime,
    CountOverTime,
    LastOverTime,
    FirstOverTime,
    PresentOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    MadOverTime,
    TsOfMinOverTime,
    TsOfMaxOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
}

/// Functions with a form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the PromQL function of its name")]
pub enum OtherFunction {
    Absent,
    AbsentOverTime,
    Scalar,
    Vector,
    Time,
    Pi,
    Timestamp,
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Sort,
    SortDesc,
    SortByLabel,
    SortByLabelDesc,
    LabelReplace,
    LabelJoin,
    HistogramQuantile,
    HistogramQuantiles,
    HistogramFraction,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

use CalendarPart as C;
use Function::{Calendar, Math, Other, Range};
use Kind as K;
use MathFunction as M;
use OtherFunction as O;
use RangeFunction as R;

/// Since when a function can be used without a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// In every Prometheus the dialects stand for.
    Always,
    /// Stable in 2, called otherwise or behind a flag in 3.
    Only2,
    /// New in 3, stable.
    Only3,
    /// New in 3, behind the flag for experimental functions.
    Experimental3,
}

/// How many arguments a function takes, and of which kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Kinds in order; the last stands for all further arguments.
    pub kinds: &'static [Kind],
    /// Fewest arguments.
    pub min: usize,
    /// Most arguments; `None`: any number.
    pub max: Option<usize>,
}

impl Signature {
    /// The kind of argument `index`, counted from 0; `None` if there is no such argument.
    pub fn kind(&self, index: usize) -> Option<Kind> {
        let is_there = self.max.is_none_or(|max| index < max);
        self.kinds.get(index).or(self.kinds.last()).copied().filter(|_| is_there)
    }
}

const fn exactly(kinds: &'static [Kind]) -> Signature {
    Signature { kinds, min: kinds.len(), max: Some(kinds.len()) }
}

const fn between(min: usize, max: usize, kinds: &'static [Kind]) -> Signature {
    Signature { kinds, min, max: Some(max) }
}

const fn at_least(min: usize, kinds: &'static [Kind]) -> Signature {
    Signature { kinds, min, max: None }
}

const VECTOR: Signature = exactly(&[K::Vector]);
const RANGE: Signature = exactly(&[K::Matrix]);
/// A vector of times; without it, the evaluation's.
const DATE: Signature = between(0, 1, &[K::Vector]);
const SMOOTHING: Signature = exactly(&[K::Matrix, K::Scalar, K::Scalar]);

/// Name, function, since when, arguments.
const TABLE: &[(&str, Function, Since, Signature)] = &[
    ("abs", Math(M::Abs), Since::Always, VECTOR),
    ("ceil", Math(M::Ceil), Since::Always, VECTOR),
    ("floor", Math(M::Floor), Since::Always, VECTOR),
    ("exp", Math(M::Exp), Since::Always, VECTOR),
    ("sqrt", Math(M::Sqrt), Since::Always, VECTOR),
    ("ln", Math(M::Ln), Since::Always, VECTOR),
    ("log2", Math(M::Log2), Since::Always, VECTOR),
    ("log10", Math(M::Log10), Since::Always, VECTOR),
    ("sgn", Math(M::Sgn), Since::Always, VECTOR),
    ("deg", Math(M::Degrees), Since::Always, VECTOR),
    ("rad", Math(M::Radians), Since::Always, VECTOR),
    ("sin", Math(M::Sin), Since::Always, VECTOR),
    ("cos", Math(M::Cos), Since::Always, VECTOR),
    ("tan", Math(M::Tan), Since::Always, VECTOR),
    ("asin", Math(M::Asin), Since::Always, VECTOR),
    ("acos", Math(M::Acos), Since::Always, VECTOR),
    ("atan", Math(M::Atan), Since::Always, VECTOR),
    ("sinh", Math(M::Sinh), Since::Always, VECTOR),
    ("cosh", Math(M::Cosh), Since::Always, VECTOR),
    ("tanh", Math(M::Tanh), Since::Always, VECTOR),
    ("asinh", Math(M::Asinh), Since::Always, VECTOR),
    ("acosh", Math(M::Acosh), Since::Always, VECTOR),
    ("atanh", Math(M::Atanh), Since::Always, VECTOR),
    ("minute", Calendar(C::Minute), Since::Always, DATE),
    ("hour", Calendar(C::Hour), Since::Always, DATE),
    ("day_of_week", Calendar(C::DayOfWeek), Since::Always, DATE),
    ("day_of_month", Calendar(C::DayOfMonth), Since::Always, DATE),
    ("day_of_year", Calendar(C::DayOfYear), Since::Always, DATE),
    ("days_in_month", Calendar(C::DaysInMonth), Since::Always, DATE),
    ("month", Calendar(C::Month), Since::Always, DATE),
    ("year", Calendar(C::Year), Since::Always, DATE),
    ("rate", Range(R::Rate), Since::Always, RANGE),
    ("increase", Range(R::Increase), Since::Always, RANGE),
    ("delta", Range(R::Delta), Since::Always, RANGE),
    ("irate", Range(R::Irate), Since::Always, RANGE),
    ("idelta", Range(R::Idelta), Since::Always, RANGE),
    ("deriv", Range(R::Deriv), Since::Always, RANGE),
    ("predict_linear", Range(R::PredictLinear), Since::Always, exactly(&[K::Matrix, K::Scalar])),
    ("holt_winters", Range(R::HoltWinters), Since::Only2, SMOOTHING),
    ("double_exponential_smoothing", Range(R::DoubleExponentialSmoothing), Since::Experimental3, SMOOTHING),
    ("changes", Range(R::Changes), Since::Always, RANGE),
    ("resets", Range(R::Resets), Since::Always, RANGE),
    ("avg_over_time", Range(R::AvgOverTime), Since::Always, RANGE),
    ("min_over_time", Range(R::MinOverTime), Since::Always, RANGE),
    ("max_over_time", Range(R::MaxOverTime), Since::Always, RANGE),
    ("sum_over_time", Range(R::SumOverTime), Since::Always, RANGE),
    ("count_over_time", Range(R::CountOverTime), Since::Always, RANGE),
    ("last_over_time", Range(R::LastOverTime), Since::Always, RANGE),
    ("first_over_time", Range(R::FirstOverTime), Since::Experimental3, RANGE),
    ("present_over_time", Range(R::PresentOverTime), Since::Always, RANGE),
    ("stddev_over_time", Range(R::StddevOverTime), Since::Always, RANGE),
    ("stdvar_over_time", Range(R::StdvarOverTime), Since::Always, RANGE),
    ("quantile_over_time", Range(R::QuantileOverTime), Since::Always, exactly(&[K::Scalar, K::Matrix])),
    ("mad_over_time", Range(R::MadOverTime), Since::Experimental3, RANGE),
    ("ts_of_min_over_time", Range(R::TsOfMinOverTime), Since::Experimental3, RANGE),
    ("ts_of_max_over_time", Range(R::TsOfMaxOverTime), Since::Experimental3, RANGE),
    ("ts_of_first_over_time", Range(R::TsOfFirstOverTime), Since::Experimental3, RANGE),
    ("ts_of_last_over_time", Range(R::TsOfLastOverTime), Since::Experimental3, RANGE),
    ("absent", Other(O::Absent), Since::Always, VECTOR),
    ("absent_over_time", Other(O::AbsentOverTime), Since::Always, RANGE),
    ("scalar", Other(O::Scalar), Since::Always, VECTOR),
    ("vector", Other(O::Vector), Since::Always, exactly(&[K::Scalar])),
    ("time", Other(O::Time), Since::Always, exactly(&[])),
    ("pi", Other(O::Pi), Since::Always, exactly(&[])),
    ("timestamp", Other(O::Timestamp), Since::Always, VECTOR),
    ("round", Other(O::Round), Since::Always, between(1, 2, &[K::Vector, K::Scalar])),
    ("clamp", Other(O::Clamp), Since::Always, exactly(&[K::Vector, K::Scalar, K::Scalar])),
    ("clamp_min", Other(O::ClampMin), Since::Always, exactly(&[K::Vector, K::Scalar])),
    ("clamp_max", Other(O::ClampMax), Since::Always, exactly(&[K::Vector, K::Scalar])),
    ("sort", Other(O::Sort), Since::Always, VECTOR),
    ("sort_desc", Other(O::SortDesc), Since::Always, VECTOR),
    ("sort_by_label", Other(O::SortByLabel), Since::Experimental3, at_least(1, &[K::Vector, K::Text])),
    (
        "sort_by_label_desc",
        Other(O::SortByLabelDesc),
        Since::Experimental3,
        at_least(1, &[K::Vector, K::Text]),
    ),
    (
        "label_replace",
        Other(O::LabelReplace),
        Since::Always,
        exactly(&[K::Vector, K::Text, K::Text, K::Text, K::Text]),
    ),
    ("label_join", Other(O::LabelJoin), Since::Always, at_least(3, &[K::Vector, K::Text, K::Text, K::Text])),
    ("histogram_quantile", Other(O::HistogramQuantile), Since::Always, exactly(&[K::Scalar, K::Vector])),
    (
        "histogram_fraction",
        Other(O::HistogramFraction),
        Since::Only3,
        exactly(&[K::Scalar, K::Scalar, K::Vector]),
    ),
    (
        "histogram_quantiles",
        Other(O::HistogramQuantiles),
        Since::Experimental3,
        at_least(3, &[K::Vector, K::Text, K::Scalar]),
    ),
    ("start", Other(O::Start), Since::Experimental3, exactly(&[])),
    ("end", Other(O::End), Since::Experimental3, exactly(&[])),
    ("step", Other(O::Step), Since::Experimental3, exactly(&[])),
    ("range", Other(O::Range), Since::Experimental3, exactly(&[])),
    ("max_of", Other(O::MaxOf), Since::Experimental3, exactly(&[K::Scalar, K::Scalar])),
    ("min_of", Other(O::MinOf), Since::Experimental3, exactly(&[K::Scalar, K::Scalar])),
];

/// Functions that Prometheus has and this evaluator has not: name, whether it needs a flag there, what to use.
const ABSENT: &[(&str, Absence, &str)] = &[
    ("histogram_avg", Absence::Native, "of classic histograms: `rate(x_sum[5m]) / rate(x_count[5m])`"),
    ("histogram_count", Absence::Native, "of classic histograms: the series `x_count`"),
    ("histogram_sum", Absence::Native, "of classic histograms: the series `x_sum`"),
    ("histogram_stddev", Absence::Native, "of classic histograms: compare two `histogram_quantile`"),
    ("histogram_stdvar", Absence::Native, "of classic histograms: compare two `histogram_quantile`"),
    ("info", Absence::Flag, "join with `* on (...) group_left (...) target_info`"),
    ("integral", Absence::Flag, "`sum_over_time(x[5m]) * interval` comes near"),
    ("limitk", Absence::Flag, "`topk` takes a number of elements by value"),
    ("limit_ratio", Absence::Flag, "`topk` takes a number of elements by value"),
];

/// Why the evaluator does not have a function of Prometheus'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It is of native histograms only.
    Native,
    /// Prometheus has it behind a flag.
    Flag,
}

/// Why a function cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such function.
    Unknown,
    /// Prometheus has it, this evaluator has not: why, and what to use.
    Absent(Absence, &'static str),
    /// It exists in the other dialect only.
    OtherDialect,
    /// This dialect has it under another name.
    OtherName(&'static str),
    /// Prometheus 3 has it behind a flag: what to use.
    Experimental(&'static str),
}

/// The function of that name. Errors: why it cannot be used.
pub fn find(name: &str, dialect: Dialect, experimental: bool) -> Result<Function, Refusal> {
    let Some((_, function, since, _)) = TABLE.iter().find(|(n, ..)| *n == name) else {
        let absent = ABSENT.iter().find(|(n, ..)| *n == name);
        return Err(absent.map_or(Refusal::Unknown, |(_, why, instead)| Refusal::Absent(*why, instead)));
    };
    match (since, dialect) {
        (Since::Always, _) | (Since::Only2, Dialect::V2) | (Since::Only3, Dialect::V3) => Ok(*function),
        (Since::Experimental3, Dialect::V3) if experimental => Ok(*function),
        (Since::Experimental3, Dialect::V2) if *function == Range(R::DoubleExponentialSmoothing) => {
            Err(Refusal::OtherName("holt_winters"))
        }
        (Since::Experimental3, _) => Err(Refusal::Experimental(instead_of(*function))),
        _ => Err(Refusal::OtherDialect),
    }
}

/// What to use instead of a function behind a flag.
fn instead_of(function: Function) -> &'static str {
    match function {
        Range(R::MadOverTime) => "`stddev_over_time` tells the spread too",
        Range(R::DoubleExponentialSmoothing) => "`avg_over_time` smooths, `predict_linear` extends the trend",
        Range(R::FirstOverTime) => "`x offset 5m` is the value 5 minutes ago",
        Range(R::TsOfLastOverTime) => "`timestamp(x)` is the time of the newest sample",
        Other(O::SortByLabel | O::SortByLabelDesc) => "the order means nothing to a rule; leave it out",
        Other(O::HistogramQuantiles) => "write one `histogram_quantile` for each quantile",
        Other(O::Start | O::End) => "in a rule, `time()` is the moment of evaluation",
        Other(O::Step | O::Range) => "a rule has neither step nor range; write the number",
        Other(O::MaxOf) => "`max(a or b)`, or `clamp_min(a, b)` with a number",
        Other(O::MinOf) => "`min(a or b)`, or `clamp_max(a, b)` with a number",
        _ => "a recording rule can keep what it would look for",
    }
}

/// The names of all functions the evaluator knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

impl Function {
    /// Its name.
    pub fn name(self) -> Option<&'static str> {
        TABLE.iter().find(|(_, function, ..)| *function == self).map(|(name, ..)| *name)
    }

    /// The arguments it takes.
    pub fn signature(self) -> Signature {
        TABLE
            .iter()
            .find(|(_, function, ..)| *function == self)
            .map_or(exactly(&[]), |(.., signature)| *signature)
    }

    /// Whether the order of its elements is what it is for.
    pub fn sorts(self) -> bool {
        matches!(self, Other(O::Sort | O::SortDesc | O::SortByLabel | O::SortByLabelDesc))
    }

    /// What it answers with.
    pub fn kind(self) -> Kind {
        match self {
            Other(O::Scalar | O::Time | O::Pi) => Kind::Scalar,
            Other(O::Start | O::End | O::Step | O::Range | O::MaxOf | O::MinOf) => Kind::Scalar,
            _ => Kind::Vector,
        }
    }
}
