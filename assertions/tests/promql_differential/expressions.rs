//! Seeded random expressions of Prometheus 2.42's language, and how exactly two evaluators must agree on each.

use crate::dice::Dice;

/// How far the values of two right evaluators may differ. The order in which Prometheus adds the elements of a group is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exactness {
    /// Short binary fractions: sums are exact in any order.
    Short,
    /// The same operations in the same order.
    Same,
    /// Sums in any order, or functions of a mathematical library.
    Near,
}

use Exactness::{Near, Same, Short};

/// An expression.
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) exactness: Exactness,
}

pub(crate) struct Author<'d> {
    pub(crate) dice: &'d mut Dice,
    pub(crate) end_ms: i64,
}

const GAUGES: [&str; 4] = ["g", "h", "w", "u"];
const COUNTERS: [&str; 2] = ["c_total", "d_total"];
const DURATIONS: [&str; 9] = ["1ms", "15s", "45s", "1m", "1m30s", "2m", "5m", "10m", "1h"];

fn text(text: String, exactness: Exactness) -> Text {
    Text { text, exactness }
}

impl Author<'_> {
    /// A vector or, now and then, a scalar.
    pub(crate) fn expression(&mut self) -> Text {
        let depth = 1 + self.dice.below(3) as u32;
        match self.dice.below(12) {
            0 => self.scalar(depth),
            _ => self.vector(depth),
        }
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.dice.below(from.len() as u64) as usize]
    }

    fn vector(&mut self, depth: u32) -> Text {
        if depth == 0 {
            return self.selector(None);
        }
        match self.dice.below(20) {
            0..=3 => self.of_range(depth - 1),
            4..=7 => self.aggregation(depth - 1),
            8..=11 => self.binary(depth - 1),
            12 => self.with_scalar(depth - 1),
            13..=16 => self.of_vector(depth - 1),
            17 => self.labelled(depth - 1),
            18 => {
                let inner = self.vector(depth - 1);
                text(format!("-({})", inner.text), inner.exactness)
            }
            _ => self.quantile_of_buckets(),
        }
    }

    /// A vector that values can be compared or rounded in.
    fn exact_vector(&mut self, depth: u32) -> Text {
        for _ in 0..8 {
            let found = self.vector(depth);
            if found.exactness <= Same {
                return found;
            }
        }
        self.selector(None)
    }

    fn scalar(&mut self, depth: u32) -> Text {
        match self.dice.below(if depth == 0 { 4 } else { 8 }) {
            0 | 1 => self.number(),
            2 => text("time()".into(), Short),
            3 => text("-3.5".into(), Short),
            4 => text("pi()".into(), Same),
            5 | 6 => {
                let inner = self.vector(depth - 1);
                text(format!("scalar({})", inner.text), inner.exactness)
            }
            _ => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let op = self.pick(&["+", "-", "*", "/"]);
                let exactness = left.exactness.max(right.exactness).max(Same);
                text(format!("({} {op} {})", left.text, right.text), exactness)
            }
        }
    }

    fn number(&mut self) -> Text {
        let number =
            self.pick(&["0", "1", "2", "-1", "0.5", "7.25", "100", "1e3", "NaN", "Inf", "-Inf", "0x10"]);
        text(number.into(), Short)
    }

    /// A selector, with a range if one is given.
    fn selector(&mut self, range: Option<String>) -> Text {
        let metric = match (range.is_some(), self.dice.below(6)) {
            (true, 0..=3) | (false, 0) => self.pick(&COUNTERS),
            _ => self.pick(&GAUGES),
        };
        self.selector_of(metric, range)
    }

    fn selector_of(&mut self, metric: &str, range: Option<String>) -> Text {
        let matchers = match self.dice.below(9) {
            0 => "{job=\"a\"}",
            1 => "{job!=\"a\"}",
            2 => "{instance=~\"1.*\"}",
            3 => "{instance!~\"1|2\", job=~\"a|b\"}",
            4 => "{nope=\"\"}",
            _ => "",
        };
        let mut selector = match self.dice.below(30) {
            0 => format!("{{__name__=~\"{metric}|g\", job=\"a\"}}"),
            _ => format!("{metric}{matchers}"),
        };
        if let Some(range) = range {
            selector.push_str(&format!("[{range}]"));
        }
        selector.push_str(&self.modifiers());
        text(selector, Short)
    }

    fn modifiers(&mut self) -> String {
        let offset =
            self.pick(&["", "", "", "", "", " offset 1m", " offset 47s", " offset -1m30s", " offset 7m"]);
        let at = match self.dice.below(10) {
            0 => format!(" @ {}", self.dice.below(self.end_ms as u64) as f64 / 1000.0),
            1 => self.pick(&[" @ start()", " @ end()"]).to_string(),
            _ => String::new(),
        };
        format!("{at}{offset}")
    }

    fn duration(&mut self) -> String {
        self.pick(&DURATIONS).to_string()
    }

    fn range(&mut self, depth: u32) -> Text {
        let range = self.duration();
        if depth == 0 || !self.dice.one_in(3) {
            return self.selector(Some(range));
        }
        let inner = if self.dice.one_in(6) { self.scalar(depth - 1) } else { self.vector(depth - 1) };
        let range = self.pick(&["1m", "3m", "10m", "7m13s"]);
        let step = self.pick(&["", "30s", "1m", "45s", "17s"]);
        let modifiers = self.modifiers();
        text(format!("({})[{range}:{step}]{modifiers}", inner.text), inner.exactness)
    }

    fn of_range(&mut self, depth: u32) -> Text {
        let range = self.range(depth);
        let inner = range.exactness;
        let (name, exactness) = match self.dice.below(24) {
            0..=2 => ("rate", Same),
            3..=5 => ("increase", Same),
            6 => ("delta", Same),
            7 => ("irate", Same),
            8 => ("idelta", Short),
            9 => ("avg_over_time", Same),
            10 => ("sum_over_time", Same),
            11 => ("min_over_time", Short),
            12 => ("max_over_time", Short),
            13 => ("count_over_time", Short),
            14 => ("last_over_time", Short),
            15 => ("present_over_time", Short),
            16 => ("stddev_over_time", Same),
            17 => ("stdvar_over_time", Same),
            18 => ("deriv", Same),
            19 if inner <= Same => (self.pick(&["changes", "resets"]), Short),
            20 => ("absent_over_time", Short),
            21 => {
                return text(
                    format!("predict_linear({}, {})", range.text, self.number().text),
                    inner.max(Same),
                );
            }
            22 => {
                let q = self.pick(&["0.37", "0", "1", "-1", "2", "NaN", "0.9"]);
                return text(format!("quantile_over_time({q}, {})", range.text), inner.max(Same));
            }
            _ => {
                let factors = self.pick(&["0.5, 0.5", "0.1, 0.9", "0.3, 0.01"]);
                return text(format!("holt_winters({}, {factors})", range.text), inner.max(Same));
            }
        };
        // A sum of what is not short is as exact as its order, which is the same here; a reset may not be one.
        let exactness = if inner == Near { Near } else { exactness.max(inner) };
        text(format!("{name}({})", range.text), exactness)
    }

    fn aggregation(&mut self, depth: u32) -> Text {
        let grouping = match self.dice.below(6) {
            0 => " by (job)",
            1 => " by (job, instance, le)",
            2 => " without (instance)",
            3 => " without ()",
            4 => " by (nope)",
            _ => "",
        };
        match self.dice.below(14) {
            0 => {
                let (op, k) = (
                    self.pick(&["topk", "bottomk"]),
                    self.pick(&["1", "2", "3", "0", "-1", "1.9", "100", "NaN"]),
                );
                let inner = self.selector_of("u", None);
                return text(format!("{op}{grouping} ({k}, {})", inner.text), Short);
            }
            1 => {
                let inner = self.exact_vector(depth);
                return text(format!("count_values{grouping} (\"value\", {})", inner.text), Short);
            }
            2 => {
                let q = self.pick(&["0.5", "0", "1", "0.37", "-0.5", "1.5", "NaN"]);
                let inner = self.vector(depth);
                return text(format!("quantile{grouping} ({q}, {})", inner.text), inner.exactness.max(Same));
            }
            _ => {}
        }
        let inner = self.vector(depth);
        let (op, exactness) = match self.dice.below(9) {
            0..=2 => ("sum", if inner.exactness == Short { Short } else { Near }),
            3 => ("avg", Near),
            4 => ("min", inner.exactness),
            5 => ("max", inner.exactness),
            6 => ("count", Short),
            7 => ("group", Short),
            _ => (self.pick(&["stddev", "stdvar"]), Near),
        };
        text(format!("{op}{grouping} ({})", inner.text), exactness)
    }

    fn binary(&mut self, depth: u32) -> Text {
        let matching = match self.dice.below(8) {
            0 => " on (job, instance)",
            1 => " ignoring (instance)",
            2 => " on (job)",
            3 => " ignoring ()",
            _ => "",
        };
        let grouped = match self.dice.below(5) {
            0 if !matching.is_empty() => self.pick(&[
                " group_left ()",
                " group_right ()",
                " group_left (zone)",
                " group_right (instance)",
            ]),
            _ => "",
        };
        match self.dice.below(4) {
            0 => {
                let op = self.pick(&["and", "or", "unless"]);
                let (left, right) = (self.vector(depth), self.vector(depth));
                let exactness = left.exactness.max(right.exactness);
                text(format!("({}) {op}{matching} ({})", left.text, right.text), exactness)
            }
            1 => {
                let op = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
                let bool = self.pick(&["", " bool"]);
                let (left, right) = (self.exact_vector(depth), self.exact_vector(depth));
                let exactness = if bool.is_empty() { left.exactness } else { Short };
                text(format!("({}) {op}{bool}{matching}{grouped} ({})", left.text, right.text), exactness)
            }
            _ => {
                let (left, right) = (self.vector(depth), self.vector(depth));
                let (op, exactness) = self.arithmetic(&left, &right);
                text(format!("({}) {op}{matching}{grouped} ({})", left.text, right.text), exactness)
            }
        }
    }

    /// An operator that fits the exactness of its sides, and that of its result.
    fn arithmetic(&mut self, left: &Text, right: &Text) -> (&'static str, Exactness) {
        let exactness = left.exactness.max(right.exactness);
        match self.dice.below(8) {
            0..=3 => (self.pick(&["+", "-", "*"]), exactness.max(Same)),
            4 | 5 => ("/", exactness.max(Same)),
            6 if exactness <= Same => ("%", exactness),
            _ => (self.pick(&["^", "atan2"]), Near),
        }
    }

    fn with_scalar(&mut self, depth: u32) -> Text {
        let (vector, scalar) = (self.exact_vector(depth), self.scalar(depth));
        if scalar.exactness == Near || self.dice.one_in(2) {
            let (op, exactness) = self.arithmetic(&vector, &scalar);
            return match self.dice.one_in(2) {
                true => text(format!("({}) {op} {}", vector.text, scalar.text), exactness),
                false => text(format!("{} {op} ({})", scalar.text, vector.text), exactness),
            };
        }
        let op = self.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let bool = self.pick(&["", " bool"]);
        let exactness = if bool.is_empty() { vector.exactness } else { Short };
        match self.dice.one_in(2) {
            true => text(format!("({}) {op}{bool} {}", vector.text, scalar.text), exactness),
            false => text(format!("{} {op}{bool} ({})", scalar.text, vector.text), exactness),
        }
    }

    fn of_vector(&mut self, depth: u32) -> Text {
        match self.dice.below(9) {
            0 | 1 => {
                let name = self.pick(&[
                    "exp", "ln", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan",
                    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
                ]);
                let inner = self.vector(depth);
                text(format!("{name}({})", inner.text), Near)
            }
            2 => {
                let name = self.pick(&[
                    "minute",
                    "hour",
                    "day_of_week",
                    "day_of_month",
                    "day_of_year",
                    "days_in_month",
                    "month",
                    "year",
                ]);
                let inner = self.selector_of("when", None);
                text(format!("{name}({})", inner.text), Short)
            }
            3 => {
                let name = self.pick(&["ceil", "floor", "sgn", "round"]);
                let inner = self.exact_vector(depth);
                text(format!("{name}({})", inner.text), inner.exactness)
            }
            4 => {
                let inner = self.exact_vector(depth);
                let to = self.pick(&["5", "0.1", "-2", "0", "1e-3", "NaN"]);
                text(format!("round({}, {to})", inner.text), Same)
            }
            5 => {
                let inner = self.vector(depth);
                let (low, high) = (self.number().text, self.number().text);
                let call = match self.dice.below(3) {
                    0 => format!("clamp({}, {low}, {high})", inner.text),
                    1 => format!("clamp_min({}, {low})", inner.text),
                    _ => format!("clamp_max({}, {high})", inner.text),
                };
                text(call, inner.exactness)
            }
            6 => {
                let inner = self.vector(depth);
                // 2.42 forgets the offset of a selector with both modifiers when it is asked for its time.
                let is_forgetful = inner.text.contains('@') && inner.text.contains("offset");
                let name = if is_forgetful { "absent" } else { self.pick(&["timestamp", "absent"]) };
                text(format!("{name}({})", inner.text), Short)
            }
            7 => {
                let name = self.pick(&["sort", "sort_desc", "abs"]);
                let inner = self.vector(depth);
                text(format!("{name}({})", inner.text), inner.exactness)
            }
            _ => {
                let inner = self.scalar(depth);
                text(format!("vector({})", inner.text), inner.exactness)
            }
        }
    }

    fn labelled(&mut self, depth: u32) -> Text {
        let inner = self.vector(depth);
        let call = match self.dice.below(3) {
            0 => {
                let target = self.pick(&["new", "job", "__name__", "instance", "not a name"]);
                let sources =
                    self.pick(&["", ", \"job\"", ", \"job\", \"instance\"", ", \"nope\", \"__name__\""]);
                format!("label_join({}, \"{target}\", \"-\"{sources})", inner.text)
            }
            _ => {
                let target = self.pick(&["new", "job", "instance", "1x"]);
                let template = self.pick(&["$1", "x$1y", "${1}y", "", "$$", "$2", "$0"]);
                let source = self.pick(&["instance", "job", "nope", "__name__"]);
                let pattern = self.pick(&["(.*)", "(1)0?", "(", "a|b", "(.)(.*)"]);
                format!(
                    "label_replace({}, \"{target}\", \"{template}\", \"{source}\", \"{pattern}\")",
                    inner.text
                )
            }
        };
        text(call, inner.exactness)
    }

    fn quantile_of_buckets(&mut self) -> Text {
        let q = self.pick(&["0.37", "0.5", "0.9", "0", "1", "-1", "2", "NaN"]);
        let range = self.duration();
        let buckets = match self.dice.below(3) {
            0 => "b_bucket".to_string(),
            1 => format!("rate(b_bucket[{range}])"),
            _ => "sum by (le) (b_bucket)".to_string(),
        };
        text(format!("histogram_quantile({q}, {buckets})"), Same)
    }
}
