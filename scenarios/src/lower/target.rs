//! `target`: what is under drill, and secrets that must not stand in a file.

use super::*;
use crate::span::Source;

/// Keys that name a kind of target.
const KINDS: [&str; 4] = ["gateway", "url", "docker", "signals"];

pub(super) fn lower(root: &Fields<'_>) -> Option<Target> {
    let Some(node) = root.get("target") else {
        root.missing("target");
        return None;
    };
    let fields = Fields::new(root.cx, node, "target");
    let kinds: Vec<_> = KINDS.iter().filter_map(|kind| Some((*kind, fields.key_span(kind)?))).collect();
    match kinds.as_slice() {
        [("gateway", _)] => Some(Target::Gateway { flags: fields.map("gateway").named_texts("flags") }),
        [("url", _)] => url(&fields),
        // The key check has said that this kind is not supported.
        [_] => None,
        [] => {
            let problem = Problem::error("the target is not named", node.head());
            root.cx.report(problem.hint("write `target: {gateway: {}}`"));
            None
        }
        [(first, first_at), (second, second_at), ..] => {
            let problem = Problem::error(format!("two targets, `{first}` and `{second}`"), second_at.clone());
            root.cx.report(problem.hint("keep one").related(first_at.clone(), "the other one"));
            None
        }
    }
}

fn url(fields: &Fields<'_>) -> Option<Target> {
    fields.one_of("protocol", &[("im.v1", ())]);
    let url = fields.text("url");
    let (token, headers) = (token(fields), headers(fields));
    let (admin, metrics) = (fields.text("admin"), fields.text("metrics"));
    let url = url?;
    let place = url.span.clone().unwrap_or_else(|| fields.place());
    let rest = url.value.split_once("://").filter(|(scheme, _)| matches!(*scheme, "ws" | "wss"));
    match rest {
        None => {
            let problem = Problem::error("the target's address is not a WebSocket address", place);
            fields.cx.report(problem.hint("it begins with `ws://` or `wss://`"));
        }
        Some((_, rest)) => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
                literal_secret(fields.cx, "a password in the address", &place);
            }
        }
    }
    Some(Target::Url(Box::new(UrlTarget { url, token, admin, metrics: metrics?, headers })))
}

fn token(fields: &Fields<'_>) -> Option<Spanned<String>> {
    let node = fields.get("token")?;
    match (&node.value, node.get("secret")) {
        (Value::Mapping(entries), Some(name)) if entries.len() == 1 => fields.text_of(name),
        (Value::Scalar(_), _) => {
            literal_secret(fields.cx, "a token in the file", &node.span);
            None
        }
        _ => {
            let problem = Problem::error("a secret is given by its name", node.head());
            fields.cx.report(problem.hint("write `{secret: NAME}`"));
            None
        }
    }
}

fn headers(fields: &Fields<'_>) -> Vec<(Spanned<String>, Spanned<String>)> {
    let headers = fields.named_texts("headers");
    for (name, value) in &headers {
        let is_secret = ["authorization", "cookie", "proxy-authorization"]
            .contains(&name.value.to_ascii_lowercase().as_str());
        if let (true, false, Some(place)) = (is_secret, value.value.contains("{{secret."), &value.span) {
            literal_secret(fields.cx, &format!("a literal in `{}`", name.value), place);
        }
    }
    headers
}

/// Refuses a secret; what is printed of the file shows stars in its place.
fn literal_secret(cx: &Context, what: &str, place: &Span) {
    let stars = "*".repeat(place.end - place.start);
    let text = [&place.source.text[..place.start], &stars, &place.source.text[place.end..]].concat();
    let hidden = std::sync::Arc::new(Source { name: place.source.name.clone(), text });
    let problem = Problem::error(what, Span::new(hidden, place.start, place.end));
    let hint = "write `{secret: NAME}` or `{{secret.NAME}}` and set LOADGEN_SECRET_NAME; a secret never stands in a file";
    cx.report(problem.hint(hint));
}
