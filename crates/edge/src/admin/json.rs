//! JSON bodies of requests. Never lets a name stand for two values: whoever wrote it meant one of them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// An object, with the objects and lists in it, if no name is there twice.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, NoObject> {
    match serde_json::from_slice::<Unique>(body) {
        Ok(Unique(Value::Object(fields))) => Ok(fields),
        Err(error) if error.to_string().starts_with(TWICE) => Err(NoObject::Twice),
        Ok(_) | Err(_) => Err(NoObject::Other),
    }
}

/// Why a body is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoObject {
    /// A name is there twice.
    Twice,
    /// It is something else.
    Other,
}

const TWICE: &str = "a name is there twice";

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(value)) = elements.next_element()? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, _>()? {
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_one_value() {
        for twice in [
            r#"{"weight": 1, "weight": 1}"#,
            r#"{"weight": 1, "w\u0065ight": 2}"#,
            r#"{"weights": {"blue": 1, "blue": 2}}"#,
            r#"{"list": [{"blue": 1, "blue": 2}]}"#,
        ] {
            assert_eq!(object(twice.as_bytes()), Err(NoObject::Twice), "{twice}");
        }
        let fields = object(br#"{"weights": {"blue": 1, "green": 2.5}, "blue": null}"#).unwrap();
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let (deep, long) = ("{\"a\":".repeat(50_000), "[".repeat(50_000));
        for other in ["", "[]", "{} {}", "{\"a\": [1}", "1", &deep, &long] {
            assert_eq!(object(other.as_bytes()), Err(NoObject::Other));
        }
    }
}
