//! Lays one tree over another: maps merge, lists and values replace, null removes.

use crate::yaml::{Key, Node, Value};

/// Keys of which a target has one; naming another replaces the target whole.
const TARGET_KINDS: [&str; 4] = ["gateway", "url", "docker", "signals"];

/// `over` laid over `base`. `pattern` is the place of both in the table of keys, `""` for whole files.
pub(crate) fn merge(base: Node, over: Node, pattern: &str) -> Node {
    let (Value::Mapping(below), Value::Mapping(above)) = (base.value, &over.value) else { return over };
    if pattern == "target" && other_kind(&below, above) {
        return over;
    }
    let span = over.span.clone();
    let Value::Mapping(above) = over.value else { return Node { span, value: Value::Mapping(below) } };
    let mut merged = below;
    for (key, value) in above {
        let at = merged.iter().position(|(known, _)| known.text == key.text);
        match at {
            Some(at) if value.is_null() => drop(merged.remove(at)),
            Some(at) => {
                let inner = crate::keys::join(pattern, &key.text);
                let below = std::mem::replace(&mut merged[at].1, value.clone());
                merged[at] = (key, merge(below, value, &inner));
            }
            None => merged.push((key, value)),
        }
    }
    Node { span, value: Value::Mapping(merged) }
}

fn other_kind(below: &[(Key, Node)], above: &[(Key, Node)]) -> bool {
    let has = |entries: &[(Key, Node)], kind: &str| entries.iter().any(|(key, _)| key.text == kind);
    TARGET_KINDS.iter().any(|kind| has(above, kind) && !has(below, kind))
}
