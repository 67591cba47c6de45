//! A small borrowed JSON tree that is stricter than JSON: no object may name a member twice.
//! Never turns a float into an integer or a null into an absence.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Bounds the duplicate check, which is quadratic. Tokens and JWKs have about ten members.
const MEMBERS_MAX: usize = 64;

/// One JSON value. Numbers that are not integers in `i64` are kept apart, never rounded.
#[derive(Debug)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    OtherNumber,
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The members of a JSON object in written order, each name once.
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Object<'a> {
    /// `None` for anything but one JSON object.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match Json::parse(bytes) {
            Some(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Json<'a>> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// The string of this name; `None` if it is absent or something else.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }
}

impl<'a> Json<'a> {
    /// `None` for anything but one JSON value. The parser's own recursion limit (128) bounds depth.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Json<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate member names")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json<'de>, A::Error> {
        let mut object = Object(Vec::new());
        while let Some(Json::String(name)) = members.next_key()? {
            if object.member(&name).is_some() {
                return Err(A::Error::custom("duplicate member name"));
            }
            if object.0.len() == MEMBERS_MAX {
                return Err(A::Error::custom("too many members"));
            }
            object.0.push((name, members.next_value()?));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_names_are_refused_at_every_depth_and_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
        ] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Object::parse(br#"{"a":{"a":[{"a":1}]}}"#).is_some());
    }

    #[test]
    fn only_integers_in_range_are_integers() {
        let object = Object::parse(
            br#"{"a":7,"b":7.0,"c":1e3,"d":9223372036854775808,"e":"7","f":null,"g":true,"h":-0}"#,
        )
        .expect("valid JSON");
        assert_eq!(object.member("a").and_then(Json::as_integer), Some(7));
        for name in ["b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(
                object.member(name).and_then(Json::as_integer),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn anything_but_one_bounded_object_is_refused() {
        let deep = [r#"{"a":"#.repeat(200), "1".to_owned(), "}".repeat(200)].concat();
        let many = format!(
            "{{{}}}",
            (0..=MEMBERS_MAX)
                .map(|index| format!("\"m{index}\":0"))
                .collect::<Vec<_>>()
                .join(",")
        );
        for text in [
            "",
            "[]",
            "1",
            "null",
            "\"x\"",
            "{",
            "{}x",
            "{\"a\":NaN}",
            "\u{feff}{}",
            &deep,
            &many,
        ] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none());
    }
}
