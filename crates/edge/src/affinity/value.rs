//! The value in a request that tells one client from another: of a header, the query or the token.
//! Never keeps it: only its hash under a key leaves here, which no client can foresee.

use std::borrow::Cow;

use aws_lc_rs::hmac;

use super::claim;
use super::derived;
use crate::config::AffinityValue;
use crate::pipeline::{Fields, Head};

/// Of several the first counts; an empty value, or one beyond all measure, counts as absent.
pub(super) fn hash(source: &AffinityValue, key: &hmac::Key, head: &impl Head) -> Option<u64> {
    let value = match source {
        AffinityValue::Header(name) => Cow::Borrowed(head.fields().first(name)?.trim_ascii()),
        AffinityValue::Query(name) => parameter(head.query()?.as_bytes(), name.as_bytes())?,
        AffinityValue::Claim(name) => Cow::Owned(claim::read(head.fields(), name)?),
    };
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let tag = hmac::sign(key, &value);
    tag.as_ref()
        .first_chunk()
        .map(|first| u64::from_be_bytes(*first))
}

/// The key for hashes of values of one cluster.
pub(super) fn key(secret: &[u8], cluster: &str) -> hmac::Key {
    let purpose = [b"portcullis affinity value 1 ", cluster.as_bytes()].concat();
    hmac::Key::new(hmac::HMAC_SHA256, derived(secret, &purpose).as_ref())
}

/// The value of a parameter, both as HTML forms encode them, so that `a%20b` is `a+b`.
fn parameter<'q>(query: &'q [u8], name: &[u8]) -> Option<Cow<'q, [u8]>> {
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (written, value) = (&pair[..equals], &pair[equals + 1..]);
        (*decoded(written) == *name).then(|| decoded(value))
    })
}

/// What is no encoding stands for itself.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let hex = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        rest = behind;
        match (first, behind) {
            (b'+', _) => plain.push(b' '),
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    plain.push(high << 4 | low);
                    rest = behind;
                }
                _ => plain.push(b'%'),
            },
            (byte, _) => plain.push(*byte),
        }
    }
    Cow::Owned(plain)
}

/// Room for a token in a header; nothing that names a client is longer.
const VALUE_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::pipeline::fake::FakeHead;

    fn hash(source: &AffinityValue, head: &FakeHead) -> Option<u64> {
        super::hash(source, &key(b"secret", "auth"), head)
    }

    fn query(query: &str) -> Option<u64> {
        hash(
            &AffinityValue::Query("user id".to_owned()),
            &FakeHead::get(&format!("/?{query}")),
        )
    }

    fn header(values: &[&str]) -> Option<u64> {
        let head = values.iter().fold(FakeHead::get("/"), |head, value| {
            head.with("x-tenant", value)
        });
        hash(
            &AffinityValue::Header(HeaderName::from_static("x-tenant")),
            &head,
        )
    }

    #[test]
    fn parameters_are_compared_decoded() {
        let plain = query("user+id=a%20b");
        assert!(plain.is_some());
        for same in [
            "user%20id=a+b",
            "x=1&user+id=%61%20b",
            "user+id=a+b&user+id=other",
            "&&=&user+id=a+b&",
        ] {
            assert_eq!(query(same), plain, "{same}");
        }
        for other in [
            "user+id=a%2Bb",
            "user+id=a%2",
            "user+id=a%zzb",
            "user+id=a+b=",
            "user+id=%",
        ] {
            assert!(
                query(other).is_some_and(|hash| Some(hash) != plain),
                "{other}"
            );
        }
        for absent in [
            "",
            "user+id",
            "user+id=",
            "USER+ID=a",
            "user+id%3Da+b",
            "other=1",
        ] {
            assert_eq!(query(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_first_header_counts() {
        let one = header(&["one"]);
        assert!(one.is_some());
        assert_eq!(header(&["one", "two"]), one);
        assert_eq!(header(&[" one "]), one);
        assert_ne!(header(&["two", "one"]), one);
        assert_eq!(header(&[""]), None);
        assert_eq!(header(&[]), None);
    }

    #[test]
    fn a_value_beyond_measure_counts_as_absent() {
        assert!(header(&[&"a".repeat(VALUE_BYTES_MAX)]).is_some());
        assert_eq!(header(&[&"a".repeat(VALUE_BYTES_MAX + 1)]), None);
    }

    #[test]
    fn values_need_not_be_text() {
        let source = AffinityValue::Header(HeaderName::from_static("x-tenant"));
        let mut headers = http::HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        assert!(
            headers
                .first(&HeaderName::from_static("x-tenant"))
                .is_some()
        );
        let head = FakeHead::get("/").with("x-tenant", "ä");
        assert!(hash(&source, &head).is_some());
    }

    #[test]
    fn hashes_depend_on_secret_and_cluster() {
        let source = AffinityValue::Query("u".to_owned());
        let head = FakeHead::get("/?u=1");
        let by = |secret: &[u8], cluster| super::hash(&source, &key(secret, cluster), &head);
        assert_eq!(by(b"one", "auth"), by(b"one", "auth"));
        assert_ne!(by(b"one", "auth"), by(b"two", "auth"));
        assert_ne!(by(b"one", "auth"), by(b"one", "shop"));
    }
}
