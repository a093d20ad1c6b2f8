//! `alerts` and `pack`: rules, routes, intervals, silences.

use super::*;

pub(super) fn lower(fields: &Fields<'_>, pack: Option<&Pack>) -> Option<Alerts> {
    fields.one_of("engine", &[("embedded", ())]);
    let spanned = |text: Spanned<String>| Spanned { value: file_ref(&text), span: text.span };
    let own: Vec<_> = fields.texts("rules").into_iter().map(spanned).collect();
    let from_pack = |file: Option<&FileRef>| file.cloned().map(Spanned::default_value);
    let rules = match fields.get("rules") {
        Some(_) => own,
        None => from_pack(pack.and_then(|pack| pack.rules.as_ref())).into_iter().collect(),
    };
    let alertmanager = fields.text("alertmanager").map(spanned);
    let intervals = ["scrape_interval", "evaluation_interval"].map(|key| interval(fields, key));
    let [scrape_interval, evaluation_interval] = intervals;
    Some(Alerts {
        scrape_interval: scrape_interval?,
        evaluation_interval: evaluation_interval?,
        rules,
        alertmanager: alertmanager.or_else(|| from_pack(pack.and_then(|pack| pack.alertmanager.as_ref()))),
        background: fields.texts("background"),
        silences: Vec::new(),
        receivers: receivers(fields),
    })
}

fn interval(fields: &Fields<'_>, key: &str) -> Option<Spanned<Duration>> {
    let interval = fields.read(key, units::duration)?;
    if interval.value < Duration::from_millis(1) {
        let problem =
            Problem::error(format!("`{key}` is zero"), interval.span.unwrap_or_else(|| fields.place()));
        fields.cx.report(problem.hint("write, for example, `15s`"));
        return None;
    }
    Some(interval)
}

fn receivers(fields: &Fields<'_>) -> Vec<(Spanned<String>, u16)> {
    let one = |(key, node): (&crate::yaml::Key, &Node)| {
        let status = Fields::new(fields.cx, node, "alerts.receivers.*").read("status", http_status)?;
        Some((fields::spanned(key), status.value))
    };
    fields.named("receivers").into_iter().filter_map(one).collect()
}

fn http_status(text: &str) -> Result<u16, UnitError> {
    text.parse().ok().filter(|status| (200..=599).contains(status)).ok_or_else(|| UnitError {
        summary: format!("`{text}` is not an HTTP status"),
        hint: "write one from 200 to 599".to_owned(),
    })
}

/// Adds the silences, which name phases.
pub(super) fn silences(fields: &Fields<'_>, names: &Names, mut alerts: Alerts) -> Alerts {
    let one = |item: Fields<'_>| Silence {
        matchers: item.texts("matchers"),
        during: names.during(&item, "during"),
        comment: item.text("comment").map(|comment| comment.value),
    };
    alerts.silences = fields.list("silences").into_iter().map(one).collect();
    alerts
}
