//! One claim of a bearer token. Never verifies it: what is read here decides which endpoint a request goes
//! to and which features it has, and nothing else. Never shows it to anybody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::pipeline::Fields;

/// The value of a claim as bytes, if the request has a token in three parts whose payload has it
/// as a text, a number or a flag.
pub(crate) fn read(fields: &impl Fields, claim: &str) -> Option<Vec<u8>> {
    let token = bearer(fields.first(&AUTHORIZATION)?)?;
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    let mut json = serde_json::Deserializer::from_slice(&payload);
    json.deserialize_map(Find(claim)).ok()?
}

/// `Bearer` in any case, one space or more, a token of bounded size.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(SCHEME.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && token.starts_with(b" ");
    let token = token.trim_ascii();
    (is_bearer && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Reads a mapping and keeps one member of it; the others are skipped without being built, however
/// deep they are.
struct Find<'c>(&'c str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the claims of a token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = claims.next_key_seed(IsName(self.0))? {
            if is_wanted {
                found = bytes(claims.next_value()?);
            } else {
                claims.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a name is this one; nothing is copied for that.
struct IsName<'c>(&'c str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a claim")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.into_bytes()),
        Value::Number(number) => Some(number.to_string().into_bytes()),
        Value::Bool(flag) => Some(flag.to_string().into_bytes()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

const SCHEME: &[u8] = b"bearer";
/// As long as a token may be elsewhere.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn claim_of(authorization: &str, claim: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        read(&headers, claim).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn token(payload: impl AsRef<[u8]>) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    fn claim(payload: &str) -> Option<String> {
        claim_of(&format!("Bearer {}", token(payload)), "sub")
    }

    #[test]
    fn texts_numbers_and_flags_are_values() {
        for (payload, expected) in [
            (
                r#"{"iss":"x","sub":"user-1","aud":["a","b"]}"#,
                Some("user-1"),
            ),
            (r#"{"sub":4711}"#, Some("4711")),
            (r#"{"sub":true}"#, Some("true")),
            (r#"{"sub":"\u00e4"}"#, Some("ä")),
            (r#"{"s\u0075b":"escaped"}"#, Some("escaped")),
            (r#"{"sub":null}"#, None),
            (r#"{"sub":["a"]}"#, None),
            (r#"{"sub":{"sub":"a"}}"#, None),
            (r#"{"other":{"sub":"a"}}"#, None),
            ("{}", None),
            ("[]", None),
            ("\"sub\"", None),
            (r#"{"sub":"a""#, None),
            ("", None),
        ] {
            assert_eq!(claim(payload).as_deref(), expected, "{payload}");
        }
    }

    #[test]
    fn only_a_bearer_token_in_three_parts_has_claims() {
        let token = token(r#"{"sub":"a"}"#);
        for good in [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            format!("BEARER  {token} "),
        ] {
            assert_eq!(claim_of(&good, "sub").as_deref(), Some("a"), "{good}");
        }
        for bad in [
            token.clone(),
            format!("Basic {token}"),
            format!("Bearer{token}"),
            format!("Bearer {token}.x"),
            format!("Bearer {}", &token[..token.rfind('.').unwrap()]),
            "Bearer ".to_owned(),
            "Bearer ..".to_owned(),
            "Bearer a.b=.c".to_owned(),
        ] {
            assert_eq!(claim_of(&bad, "sub"), None, "{bad}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = |name: &str| {
            format!(
                r#"{{"{name}":{}1{},"sub":"a"}}"#,
                "[".repeat(2_900),
                "]".repeat(2_900)
            )
        };
        assert_eq!(
            claim(&deep("other")).as_deref(),
            Some("a"),
            "skipped, not built"
        );
        assert_eq!(claim(&deep("sub")), None);
        let long = format!(r#"{{"sub":"{}"}}"#, "a".repeat(TOKEN_BYTES_MAX));
        assert_eq!(claim(&long), None);
    }
}
