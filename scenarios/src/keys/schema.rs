//! The table as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use super::{Default, KeyRow, Kind, Status, children};

/// The schema of a scenario file, JSON Schema draft 2020-12. Unknown keys are not allowed anywhere.
pub fn json_schema() -> Value {
    let mut schema = object("");
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("loadgen scenario"));
    Value::Object(schema)
}

fn object(pattern: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, row) in children(pattern).filter(|(name, row)| *name != "*" && runs(row)) {
        properties.insert(name.to_owned(), of(row));
        // Maps merge with those of an included file, so only items of lists must be whole.
        if row.default == Default::Required && pattern.contains("[]") {
            required.push(json!(name));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        schema.insert("required".into(), Value::Array(required));
    }
    schema
}

fn runs(row: &KeyRow) -> bool {
    row.status == Status::Runs
}

fn of(row: &KeyRow) -> Value {
    let mut schema = kind(row);
    schema.insert("description".into(), json!(row.doc));
    if let Default::Is(text) = row.default {
        schema.insert("default".into(), serde_json::from_str(text).unwrap_or_else(|_| json!(text)));
    }
    // `null` takes away what a layer below says.
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn kind(row: &KeyRow) -> Map<String, Value> {
    let number = r"[0-9]+(\.[0-9]+)?";
    let time = format!("({number}(ms|s|m|h|d|w))+");
    let text = |pattern: String| json!({ "type": "string", "pattern": format!("^{pattern}$") });
    let schema = match row.kind {
        Kind::Map => Value::Object(object(row.path)),
        Kind::Named => json!({ "type": "object", "additionalProperties": under(row, "*") }),
        Kind::List => {
            let item = under(row, "[]");
            json!({ "anyOf": [{ "type": "array", "items": item }, { "type": "string" }] })
        }
        Kind::Texts | Kind::Phases => {
            json!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }] })
        }
        Kind::Word => text("[a-z0-9-]+".into()),
        Kind::Text => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Integer => json!({ "type": "integer", "minimum": 0 }),
        Kind::Count => {
            json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, text(format!("{number}[kM]?"))] })
        }
        Kind::Duration => text(time),
        Kind::DurationRange => text(format!(r"{time} *\.\. *{time}")),
        Kind::Rate => text(format!("{number}[kM]?/[smh]")),
        Kind::Size => text(format!("{number}([KMG]i)?B")),
        Kind::Share => text(format!("{number} *%")),
        Kind::ShareRate => text(format!("{number} *%/m")),
        Kind::Factor => text(format!("{number}x")),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Timestamp => json!({ "type": "string", "format": "date-time" }),
        Kind::OneOf(words) => json!({ "enum": words }),
        Kind::Secret => json!({ "type": "object", "properties": { "secret": { "type": "string" } },
            "required": ["secret"], "additionalProperties": false }),
        Kind::Any => json!({}),
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What a map of names or a list holds. An environment may hold any key of a file.
fn under(row: &KeyRow, last: &str) -> Value {
    if row.path == "environments" {
        let doc = super::row("environments.*").map(|row| row.doc);
        return json!({ "$ref": "#", "description": doc });
    }
    super::row(&super::join(row.path, last)).filter(|row| runs(row)).map_or(json!({}), |row| match row.path {
        "thresholds.*" => json!({ "anyOf": [{ "type": "string" }, of(row)] }),
        "thresholds.*[]" => json!({ "anyOf": [{ "type": "string" }, of(row)] }),
        _ => of(row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_running_key_is_in_the_schema() {
        let text = json_schema().to_string();
        for row in super::super::all().iter().filter(|row| runs(row)) {
            assert!(text.contains(&json!(row.doc).to_string()), "{}", row.path);
        }
    }
}
