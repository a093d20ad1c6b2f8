//! `thresholds`: k6's, by metric, with their options.

use super::*;
use crate::threshold;
use crate::yaml::Key;

pub(super) fn lower(root: &Fields<'_>, names: &Names) -> Vec<Threshold> {
    let entries = root.named("thresholds").into_iter();
    entries.flat_map(|(key, node)| of_metric(root, names, key, node)).collect()
}

fn of_metric(root: &Fields<'_>, names: &Names, key: &Key, node: &Node) -> Vec<Threshold> {
    let metric = match threshold::metric(&key.text) {
        Ok(metric) => metric,
        Err(error) => {
            root.cx.report(Problem::error(error.summary, key.span.clone()).hint(error.hint));
            return Vec::new();
        }
    };
    if let Some((_, phase)) = metric.tags.iter().find(|(tag, _)| tag == "phase") {
        names.phase(phase, &key.span, root.cx);
    }
    let metric = Spanned::at(metric, key.span.clone());
    let items = match &node.value {
        Value::Sequence(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items.iter().filter_map(|item| one(root.cx, names, &metric, item)).collect()
}

fn one(cx: &Context, names: &Names, metric: &Spanned<threshold::Metric>, node: &Node) -> Option<Threshold> {
    let text = Value::Mapping(Vec::new());
    let empty = Node { span: node.span.clone(), value: text };
    let is_map = matches!(node.value, Value::Mapping(_));
    let fields = Fields::new(cx, if is_map { node } else { &empty }, "thresholds.*[]");
    let expression =
        if is_map { fields.text("threshold").and_then(|_| fields.get("threshold"))? } else { node };
    let written = fields.text_of(expression)?;
    let parsed = threshold::expression(&written.value)
        .map_err(|error| expect::syntax(&fields, expression, error))
        .ok();
    let no_data = fields.one_of("no_data", &[("fail", NoData::Fail), ("pass", NoData::Pass)]);
    let abort_on_fail = fields.one_of_bool("abortOnFail");
    let delay = fields.read("delayAbortEval", units::duration);
    let during = names.during(&fields, "during");
    let window = fields.read("window", units::duration);
    Some(Threshold {
        metric: metric.clone(),
        expression: Spanned { value: parsed?, span: written.span },
        abort_on_fail: abort_on_fail?,
        delay_abort_eval: delay?.value,
        no_data: no_data?.value,
        during,
        window,
    })
}

impl Fields<'_> {
    /// `true` or `false`.
    fn one_of_bool(&self, key: &str) -> Option<bool> {
        let read = self.read(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(UnitError {
                summary: format!("`{text}` is neither `true` nor `false`"),
                hint: "write `true` or `false`".to_owned(),
            }),
        });
        read.map(|read| read.value)
    }
}
