//! Other query languages, named as what they are: where somebody pastes one into a rule, "unexpected `|`" helps nobody.

use crate::promql::lex::{Flaw, Token, TokenKind};

/// What a token that cannot stand where it does probably means. `None`: no idea.
pub(super) fn hint(text: &str, token: Token) -> Option<&'static str> {
    let from = &text[token.span.start as usize..];
    match token.kind {
        TokenKind::Bad(Flaw::Character) => character(from),
        TokenKind::Match | TokenKind::NotMatch => Some(
            "a pattern stands in braces: `x{label=~\"...\"}`; a filter of log lines is LogQL, not PromQL",
        ),
        TokenKind::Equal => Some("a comparison is written `==`"),
        TokenKind::Greater if text[..token.span.start as usize].trim_end().ends_with('<') => {
            Some("inequality is written `!=`")
        }
        TokenKind::LeftBrace if text[..token.span.start as usize].ends_with('{') => {
            Some("templates are not filled in inside an expression; write the value")
        }
        TokenKind::Word => word(&from[..(token.span.end - token.span.start) as usize]),
        _ => None,
    }
}

fn character(from: &str) -> Option<&'static str> {
    const LOGQL: &str = "this is LogQL (Loki); a rule of Prometheus takes PromQL only";
    let first = from.chars().next()?;
    Some(match first {
        '|' if from.starts_with("||") => "`or` joins vectors",
        '|' if from.starts_with("|>") => "this is Flux (InfluxDB); a rule of Prometheus takes PromQL only",
        '|' => LOGQL,
        '&' => "`and` joins vectors",
        '!' => "`!=` compares, `unless` takes away",
        '$' => "a variable of a dashboard; a rule has none, write its value",
        ';' => "a rule has one expression",
        '~' => "a pattern is written `x{label=~\"...\"}`",
        '“' | '”' | '„' | '‘' | '’' | '«' | '»' => "write straight quotes, `\"`",
        '−' | '–' | '—' => "write a plain `-`",
        '×' => "write `*`",
        '÷' => "write `/`",
        '≥' => "write `>=`",
        '≤' => "write `<=`",
        '≠' => "write `!=`",
        c if c.is_whitespace() || c == '\u{200b}' || c == '\u{feff}' => "an unusual blank; write a plain one",
        '?' => "there is no `? :`; `x > bool 1` answers 0 or 1",
        '\\' => "a line goes on without a backslash",
        _ => return None,
    })
}

/// What a word that no operator goes before or behind probably means.
pub(super) fn word(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "if" | "ifnot" | "default" | "keep_metric_names" => {
            "this is MetricsQL (VictoriaMetrics); in PromQL `and`, `unless` and `or` do it"
        }
        "select" | "from" | "where" | "having" | "order" => {
            "this is SQL or InfluxQL; a rule of Prometheus takes PromQL only"
        }
        "not" => "`unless` takes away, `== bool 0` turns a truth around",
        "xor" => "there is no `xor`; `(a unless b) or (b unless a)`",
        "in" | "like" => "a pattern stands in braces: `x{label=~\"a|b\"}`",
        _ => return None,
    })
}

/// Functions of other languages, and what to write instead; by name.
const FUNCTIONS: &[(&[&str], &str)] = &[
    (
        &[
            "bytes_over_time",
            "bytes_rate",
            "rate_counter",
            "unwrap",
            "line_format",
            "label_format",
            "logfmt",
            "json",
        ],
        "this is LogQL (Loki); a rule of Prometheus takes PromQL only",
    ),
    (&["increase_pure", "increase_prometheus"], "this is MetricsQL (VictoriaMetrics); PromQL has `increase`"),
    (&["rate_prometheus"], "this is MetricsQL (VictoriaMetrics); PromQL has `rate`"),
    (&["delta_prometheus"], "this is MetricsQL (VictoriaMetrics); PromQL has `delta`"),
    (&["changes_prometheus"], "this is MetricsQL (VictoriaMetrics); PromQL has `changes`"),
    (
        &["label_set", "label_map", "label_value", "label_transform", "label_copy", "label_move"],
        METRICSQL_LABELS,
    ),
    (
        &["label_del", "label_keep", "drop_common_labels"],
        "this is MetricsQL (VictoriaMetrics); `sum by (...)` and `sum without (...)` drop labels",
    ),
    (&["median"], "write `quantile(0.5, ...)`"),
    (&["median_over_time"], "write `quantile_over_time(0.5, ...)`"),
    (
        &["quantiles", "quantiles_over_time"],
        "this is MetricsQL (VictoriaMetrics); write one expression for each quantile",
    ),
    (&["histogram_share"], "this is MetricsQL (VictoriaMetrics); divide the bucket's rate by the count's"),
    (&["share_le_over_time", "share_gt_over_time", "share_eq_over_time"], METRICSQL_SHARE),
    (
        &["count_le_over_time", "count_gt_over_time", "count_eq_over_time", "count_ne_over_time"],
        METRICSQL_SHARE,
    ),
    (
        &["range_avg", "range_max", "range_min", "range_quantile", "range_sum", "range_first", "range_last"],
        METRICSQL,
    ),
    (&["running_sum", "running_avg", "running_max", "running_min"], METRICSQL),
    (
        &["rollup", "rollup_rate", "rollup_increase", "rollup_delta", "rollup_candlestick", "aggr_over_time"],
        METRICSQL,
    ),
    (
        &[
            "distinct",
            "distinct_over_time",
            "mode",
            "mode_over_time",
            "zscore",
            "zscore_over_time",
            "outliersk",
            "lag",
        ],
        METRICSQL,
    ),
    (
        &[
            "lifetime",
            "tlast_over_time",
            "tfirst_over_time",
            "tmax_over_time",
            "tmin_over_time",
            "ascent_over_time",
        ],
        METRICSQL,
    ),
    (
        &[
            "rate_over_sum",
            "integrate",
            "interpolate",
            "keep_last_value",
            "remove_resets",
            "union",
            "vmrange",
        ],
        METRICSQL,
    ),
    (
        &[
            "topk_avg",
            "topk_max",
            "topk_min",
            "bottomk_avg",
            "bottomk_max",
            "bottomk_min",
            "any",
            "geomean",
            "sum2",
        ],
        METRICSQL,
    ),
    (&["with"], "this is MetricsQL (VictoriaMetrics); a recording rule keeps a part of an expression"),
    (&["now", "unix_timestamp"], "write `time()`"),
    (&["mean", "average"], "write `avg`"),
    (
        &["percentile", "p99", "p95", "p90", "p50"],
        "`quantile(0.99, x)` of values, `histogram_quantile(0.99, x)` of a histogram",
    ),
    (&["pow", "power"], "write `x ^ 2`"),
    (&["log"], "write `ln`, `log2` or `log10`"),
    (&["mod"], "write `x % 2`"),
    (&["sign"], "write `sgn`"),
    (&["isnan", "is_nan"], "NaN is what does not equal itself: `x != x`"),
    (&["coalesce", "ifnull", "isnull"], "`x or vector(0)` fills in what is missing"),
    (&["len", "length"], "`count(x)` counts the elements"),
    (&["non_negative_derivative", "nonnegativederivative", "persecond"], "write `rate`"),
    (&["derivative"], "write `deriv` for a gauge, `rate` for a counter"),
    (&["movingaverage", "moving_average"], "write `avg_over_time`"),
    (&["sumseries"], "this is Graphite; write `sum`"),
    (&["averageseries"], "this is Graphite; write `avg`"),
    (
        &["alias", "aliasbynode", "aliasbymetric", "groupbynode", "summarize", "seriesbytag", "timeshift"],
        "this is Graphite; a rule of Prometheus takes PromQL only",
    ),
    (
        &["label_values", "query_result", "label_names", "metrics"],
        "this is a variable query of Grafana, no function of PromQL",
    ),
];

const METRICSQL: &str = "this is MetricsQL (VictoriaMetrics); Prometheus does not know it";
const METRICSQL_LABELS: &str =
    "this is MetricsQL (VictoriaMetrics); PromQL has `label_replace` and `label_join`";
const METRICSQL_SHARE: &str =
    "this is MetricsQL (VictoriaMetrics); write `sum_over_time((x > bool 1)[1h:])`, or `avg_over_time`";

/// What to write instead of a function, in small letters, that another language has.
pub(super) fn function(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, hint)| *hint)
}
