//! What an endpoint says it received: its answer as JSON, in the shapes that echo services have. Never
//! believes that it is complete.

use serde_json::Value;

/// Names in lower case and values, in order. `None` where the body is no echo.
pub(super) fn received(body: &[u8]) -> Option<Vec<(String, String)>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let headers = answer.get("headers").unwrap_or(&answer);
    let mut fields = Vec::new();
    match headers {
        Value::Object(members) => {
            for (name, value) in members {
                add(&mut fields, name, value);
            }
        }
        Value::Array(pairs) => {
            for pair in pairs {
                match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(name), value]) => add(&mut fields, name, value),
                    _ => return None,
                }
            }
        }
        _ => return None,
    }
    // Every request has one: without it this is some other document.
    fields
        .iter()
        .any(|(name, _)| name == "host")
        .then_some(fields)
}

fn add(fields: &mut Vec<(String, String)>, name: &str, value: &Value) {
    match value {
        Value::String(value) => fields.push((name.to_ascii_lowercase(), value.clone())),
        Value::Array(values) => {
            let values = values.iter().filter_map(Value::as_str);
            fields.extend(values.map(|value| (name.to_ascii_lowercase(), value.to_owned())));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_echo_services_are_read() {
        let expected = Some(vec![
            ("host".to_owned(), "a".to_owned()),
            ("x-y".to_owned(), "1".to_owned()),
        ]);
        for body in [
            r#"{"headers": {"Host": "a", "X-Y": "1"}, "method": "GET"}"#,
            r#"{"headers": [["host", "a"], ["x-y", "1"]]}"#,
            r#"{"headers": {"Host": ["a"], "X-Y": ["1"]}}"#,
            r#"{"host": "a", "x-y": "1"}"#,
        ] {
            assert_eq!(received(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn other_documents_are_no_echo() {
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"headers": 1}"#,
            r#"{"headers": [1]}"#,
            r#"{"ok": true}"#,
        ] {
            assert_eq!(received(body.as_bytes()), None, "{body}");
        }
    }
}
