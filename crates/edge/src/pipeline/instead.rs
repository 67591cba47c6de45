//! The operator's words in place of an endpoint's. Never changes a status.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, PROXY_AUTHENTICATE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Answer;
use super::head::{Fields, HeaderEdit};
use crate::config::Words;

/// What a client needs to go on (RFC 9110, 10.2.1, 10.2.3, 11.6.1 and 11.7.1). All else that an
/// endpoint says is about a body that is not sent.
const KEPT: [HeaderName; 4] = [RETRY_AFTER, WWW_AUTHENTICATE, PROXY_AUTHENTICATE, ALLOW];

/// The answer in place of one with this status and these fields; `edits` are those that it would
/// have got.
pub(super) fn answer(
    status: StatusCode,
    fields: &impl Fields,
    edits: Vec<HeaderEdit>,
    words: &Words,
) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, words.content_type.clone());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for name in KEPT {
        for value in fields.all(&name).take(VALUES_MAX) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    for edit in edits {
        edit.apply(&mut headers);
    }
    let mut name = None;
    let headers = headers.into_iter().filter_map(|(next, value)| {
        name = next.or_else(|| name.take());
        Some((name.clone()?, value))
    });
    Answer {
        status,
        headers: headers.collect(),
        body: words.body.clone(),
        close: false,
    }
}

/// An endpoint offers a few ways to authenticate, each in a field of its own.
const VALUES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_the_client_needs_stays_and_what_was_said_goes() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("content-encoding", "gzip"),
            ("etag", "\"1\""),
            ("x-inside", "10.0.0.1"),
            ("www-authenticate", "Basic realm=a"),
            ("www-authenticate", "Bearer"),
            ("retry-after", "7"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        let words = Words {
            content_type: HeaderValue::from_static("text/plain"),
            body: Bytes::from_static(b"sorry"),
        };
        let served_by = HeaderName::from_static("x-served-by");
        let edits = vec![HeaderEdit::Set(served_by, HeaderValue::from_static("a"))];
        let answer = answer(StatusCode::UNAUTHORIZED, &fields, edits, &words);
        let mut lines: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "cache-control: no-store",
                "content-type: text/plain",
                "retry-after: 7",
                "www-authenticate: Basic realm=a",
                "www-authenticate: Bearer",
                "x-served-by: a",
            ]
        );
        assert_eq!(
            (answer.status.as_u16(), &answer.body[..]),
            (401, &b"sorry"[..])
        );
    }
}
