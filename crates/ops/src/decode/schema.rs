//! The JSON Schema of a table, for editors. Never stricter than the decoder (only text that looks like a
//! number needs its quotes here); relations between keys and whatever needs the machine (files, names)
//! are the decoder's alone.

use serde_json::{Map, Value, json};

use super::{Key, Kind, Presence, Scalar, Table};

/// A schema (draft 2020-12) of a file with these keys.
pub fn schema(table: &Table, title: &str) -> Value {
    let mut schema = table_schema(table);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema["$defs"] = json!({ "variable": { "type": "string", "pattern": "\\$\\{" } });
    schema
}

fn table_schema(table: &Table) -> Value {
    let properties: Map<String, Value> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), key_schema(key)))
        .collect();
    let required: Vec<_> = table
        .keys
        .iter()
        .filter(|key| matches!(key.presence, Presence::Required(_)))
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(&key.kind);
    let object = schema.as_object_mut().expect("every kind makes an object");
    object.insert("description".to_owned(), json!(key.doc));
    match (key.presence, &key.kind) {
        (Presence::Default(text), Kind::Scalar(scalar)) => {
            object.insert("default".to_owned(), default_value(scalar, text));
        }
        (Presence::Required(_), Kind::List(_)) => {
            object.insert("minItems".to_owned(), json!(1));
        }
        (Presence::Required(_), Kind::Named(..)) => {
            object.insert("minProperties".to_owned(), json!(1));
        }
        _ => {}
    }
    schema
}

fn default_value(scalar: &Scalar, text: &str) -> Value {
    match scalar {
        Scalar::Count(..) => text
            .parse::<u64>()
            .map_or_else(|_| json!(text), |n| json!(n)),
        Scalar::Percent => text
            .parse::<f64>()
            .map_or_else(|_| json!(text), |n| json!(n)),
        Scalar::Flag => json!(matches!(text, "true" | "on")),
        _ => json!(text),
    }
}

fn kind_schema(kind: &Kind) -> Value {
    match kind {
        Kind::Scalar(scalar) => scalar_schema(scalar),
        Kind::Table(table) => table_schema(table),
        Kind::Switch(table) => {
            json!({ "anyOf": [table_schema(table), { "enum": ["off", false] }] })
        }
        Kind::Switches(table) => {
            let one = table_schema(table);
            let many = json!({ "type": "array", "items": one, "minItems": 1 });
            json!({ "anyOf": [one, many, { "enum": ["off", false] }] })
        }
        Kind::Short(table) => {
            let first = table.keys.first().map(|key| kind_schema(&key.kind));
            json!({ "anyOf": [first, table_schema(table)] })
        }
        Kind::List(inner) => json!({ "type": "array", "items": kind_schema(inner) }),
        Kind::Named(table, _) => {
            json!({ "type": "object", "additionalProperties": table_schema(table) })
        }
        Kind::Map(scalar) => {
            json!({ "type": "object", "additionalProperties": scalar_schema(scalar) })
        }
    }
}

fn scalar_schema(scalar: &Scalar) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let integer = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    let plain = match scalar {
        Scalar::Secret => return json!({ "type": "string", "minLength": 1 }),
        Scalar::Text(text) if text.pattern.is_empty() => {
            return json!({ "type": "string", "minLength": 1 });
        }
        Scalar::Text(text) => pattern(text.pattern),
        Scalar::Flag => json!({ "enum": [true, false, "on", "off"] }),
        Scalar::Word(words) => json!({ "enum": words_as_typed(words) }),
        Scalar::Address => pattern("^.+:[0-9]+$"),
        Scalar::Network => pattern("^[0-9a-fA-F:.]+(/[0-9]+)?$"),
        Scalar::StatusRange => json!({ "anyOf": [
            { "type": "integer", "minimum": 100, "maximum": 599 },
            { "type": "string", "pattern": "^[1-5][0-9]{2} *(- *[1-5][0-9]{2})?$" },
        ] }),
        Scalar::Count(min, max) => integer(*min, *max),
        Scalar::Percent => json!({ "type": "number", "minimum": 0, "maximum": 100 }),
        Scalar::Size(min, max) => json!({ "anyOf": [
            integer(*min, *max),
            { "type": "string", "pattern": "^[0-9]+([KMG]iB)?$" },
        ] }),
        Scalar::Duration(..) => pattern("^[0-9]+(ms|s|m|h)$"),
    };
    json!({ "anyOf": [plain, { "$ref": "#/$defs/variable" }] })
}

/// A word such as `1.2` is a number to an editor unless it stands in quotes.
fn words_as_typed(words: &[&str]) -> Vec<Value> {
    let mut values = Vec::new();
    for word in words {
        values.push(json!(word));
        if let Ok(number) = word.parse::<f64>() {
            values.push(json!(number));
        }
    }
    values
}
