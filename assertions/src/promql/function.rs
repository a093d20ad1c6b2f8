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
    HistogramFraction,
}

use CalendarPart as C;
use Function::{Calendar, Math, Other, Range};
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

/// Name, function, since when.
const TABLE: &[(&str, Function, Since)] = &[
    ("abs", Math(M::Abs), Since::Always),
    ("ceil", Math(M::Ceil), Since::Always),
    ("floor", Math(M::Floor), Since::Always),
    ("exp", Math(M::Exp), Since::Always),
    ("sqrt", Math(M::Sqrt), Since::Always),
    ("ln", Math(M::Ln), Since::Always),
    ("log2", Math(M::Log2), Since::Always),
    ("log10", Math(M::Log10), Since::Always),
    ("sgn", Math(M::Sgn), Since::Always),
    ("deg", Math(M::Degrees), Since::Always),
    ("rad", Math(M::Radians), Since::Always),
    ("sin", Math(M::Sin), Since::Always),
    ("cos", Math(M::Cos), Since::Always),
    ("tan", Math(M::Tan), Since::Always),
    ("asin", Math(M::Asin), Since::Always),
    ("acos", Math(M::Acos), Since::Always),
    ("atan", Math(M::Atan), Since::Always),
    ("sinh", Math(M::Sinh), Since::Always),
    ("cosh", Math(M::Cosh), Since::Always),
    ("tanh", Math(M::Tanh), Since::Always),
    ("asinh", Math(M::Asinh), Since::Always),
    ("acosh", Math(M::Acosh), Since::Always),
    ("atanh", Math(M::Atanh), Since::Always),
    ("minute", Calendar(C::Minute), Since::Always),
    ("hour", Calendar(C::Hour), Since::Always),
    ("day_of_week", Calendar(C::DayOfWeek), Since::Always),
    ("day_of_month", Calendar(C::DayOfMonth), Since::Always),
    ("day_of_year", Calendar(C::DayOfYear), Since::Always),
    ("days_in_month", Calendar(C::DaysInMonth), Since::Always),
    ("month", Calendar(C::Month), Since::Always),
    ("year", Calendar(C::Year), Since::Always),
    ("rate", Range(R::Rate), Since::Always),
    ("increase", Range(R::Increase), Since::Always),
    ("delta", Range(R::Delta), Since::Always),
    ("irate", Range(R::Irate), Since::Always),
    ("idelta", Range(R::Idelta), Since::Always),
    ("deriv", Range(R::Deriv), Since::Always),
    ("predict_linear", Range(R::PredictLinear), Since::Always),
    ("holt_winters", Range(R::DoubleExponentialSmoothing), Since::Only2),
    ("double_exponential_smoothing", Range(R::DoubleExponentialSmoothing), Since::Experimental3),
    ("changes", Range(R::Changes), Since::Always),
    ("resets", Range(R::Resets), Since::Always),
    ("avg_over_time", Range(R::AvgOverTime), Since::Always),
    ("min_over_time", Range(R::MinOverTime), Since::Always),
    ("max_over_time", Range(R::MaxOverTime), Since::Always),
    ("sum_over_time", Range(R::SumOverTime), Since::Always),
    ("count_over_time", Range(R::CountOverTime), Since::Always),
    ("last_over_time", Range(R::LastOverTime), Since::Always),
    ("first_over_time", Range(R::FirstOverTime), Since::Experimental3),
    ("present_over_time", Range(R::PresentOverTime), Since::Always),
    ("stddev_over_time", Range(R::StddevOverTime), Since::Always),
    ("stdvar_over_time", Range(R::StdvarOverTime), Since::Always),
    ("quantile_over_time", Range(R::QuantileOverTime), Since::Always),
    ("mad_over_time", Range(R::MadOverTime), Since::Experimental3),
    ("ts_of_min_over_time", Range(R::TsOfMinOverTime), Since::Experimental3),
    ("ts_of_max_over_time", Range(R::TsOfMaxOverTime), Since::Experimental3),
    ("ts_of_first_over_time", Range(R::TsOfFirstOverTime), Since::Experimental3),
    ("ts_of_last_over_time", Range(R::TsOfLastOverTime), Since::Experimental3),
    ("absent", Other(O::Absent), Since::Always),
    ("absent_over_time", Other(O::AbsentOverTime), Since::Always),
    ("scalar", Other(O::Scalar), Since::Always),
    ("vector", Other(O::Vector), Since::Always),
    ("time", Other(O::Time), Since::Always),
    ("pi", Other(O::Pi), Since::Always),
    ("timestamp", Other(O::Timestamp), Since::Always),
    ("round", Other(O::Round), Since::Always),
    ("clamp", Other(O::Clamp), Since::Always),
    ("clamp_min", Other(O::ClampMin), Since::Always),
    ("clamp_max", Other(O::ClampMax), Since::Always),
    ("sort", Other(O::Sort), Since::Always),
    ("sort_desc", Other(O::SortDesc), Since::Always),
    ("sort_by_label", Other(O::SortByLabel), Since::Experimental3),
    ("sort_by_label_desc", Other(O::SortByLabelDesc), Since::Experimental3),
    ("label_replace", Other(O::LabelReplace), Since::Always),
    ("label_join", Other(O::LabelJoin), Since::Always),
    ("histogram_quantile", Other(O::HistogramQuantile), Since::Always),
    ("histogram_fraction", Other(O::HistogramFraction), Since::Only3),
];

/// Why a function cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such function, or one of native histograms, which are not supported.
    Unsupported,
    /// It exists in the other dialect only.
    OtherDialect,
    /// Prometheus has it behind a flag.
    Experimental,
}

/// The function of that name. Errors: why it cannot be used.
pub fn find(name: &str, dialect: Dialect, experimental: bool) -> Result<Function, Refusal> {
    let (_, function, since) = TABLE.iter().find(|(n, ..)| *n == name).ok_or(Refusal::Unsupported)?;
    match (since, dialect) {
        (Since::Always, _) | (Since::Only2, Dialect::V2) | (Since::Only3, Dialect::V3) => Ok(*function),
        (Since::Experimental3, Dialect::V3) if experimental => Ok(*function),
        (Since::Experimental3, Dialect::V3) => Err(Refusal::Experimental),
        _ => Err(Refusal::OtherDialect),
    }
}

/// The names of all functions the evaluator knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, ..)| *name)
}

impl Function {
    /// Its name; of one that has two, the older.
    pub fn name(self) -> Option<&'static str> {
        TABLE.iter().find(|(_, function, _)| *function == self).map(|(name, ..)| *name)
    }

    /// What it answers with.
    pub fn kind(self) -> Kind {
        match self {
            Other(O::Scalar | O::Time | O::Pi) => Kind::Scalar,
            _ => Kind::Vector,
        }
    }
}
