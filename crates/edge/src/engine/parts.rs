//! A request head that a library has parsed, seen as ours. Never changes what was asked, but for how it
//! is said.

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, InvalidHeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::pipeline::{Fields as _, Head, Said};

/// A request head as a library has parsed it.
pub(super) struct PartsHead<'a>(&'a Parts);

impl<'a> PartsHead<'a> {
    pub(super) fn new(parts: &'a Parts) -> Self {
        Self(parts)
    }

    /// Whether the head is one that HTTP allows, where the parser behind allows more: names are tokens
    /// (RFC 9110 5.6.2), and what is asked for over HTTP/2 is HTTP.
    pub(super) fn is_well_formed(&self) -> bool {
        let mut names = self.0.headers.keys();
        let scheme = self.0.uri.scheme_str();
        names.all(|name| !name.as_str().contains('"'))
            && scheme.is_none_or(|scheme| ["http", "https"].contains(&scheme))
    }

    /// Whether nothing in a head of HTTP/2 can be read in two ways once it is one of HTTP/1.1: one
    /// target that is a path, one host without a user, one length (RFC 9113, 8.3.1 and 8.2.2).
    pub(super) fn is_unambiguous(&self) -> bool {
        let Parts { uri, headers, .. } = self.0;
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        let is_path = target == "*" || target.starts_with('/');
        let is_clean = !target
            .bytes()
            .any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' '));
        is_path && is_clean && self.has_one_host() && has_one_length(headers)
    }

    fn has_one_host(&self) -> bool {
        let authority = self.0.uri.authority().map(Authority::as_str);
        let host = match self.0.headers.said(&HOST) {
            Said::Never => authority.map(str::as_bytes),
            Said::Once(host) if authority.is_none_or(|named| named.as_bytes() == host) => {
                Some(host)
            }
            Said::Once(_) | Said::Repeatedly => None,
        };
        host.is_some_and(|host| !host.contains(&b'@'))
    }
}

fn has_one_length(headers: &HeaderMap) -> bool {
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    !headers.contains_key(TRANSFER_ENCODING)
        && match headers.said(&CONTENT_LENGTH) {
            Said::Never => true,
            Said::Once(length) => is_number(length),
            Said::Repeatedly => false,
        }
}

/// Says a head of HTTP/2 so that HTTP/1.1 can carry it: cookies in one field (RFC 9113, 8.2.3), and no
/// wait for an interim answer, which nobody would be told of.
pub(super) fn suit_http1(headers: &mut HeaderMap) -> Result<(), InvalidHeaderValue> {
    headers.remove(EXPECT);
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let crumbs = [first, second].into_iter().chain(crumbs);
    let crumbs: Vec<&[u8]> = crumbs.map(HeaderValue::as_bytes).collect();
    let cookie = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))?;
    headers.insert(COOKIE, cookie);
    Ok(())
}

impl Head for PartsHead<'_> {
    type Fields = HeaderMap;

    fn method(&self) -> &Method {
        &self.0.method
    }

    fn version(&self) -> Version {
        self.0.version
    }

    fn path(&self) -> &str {
        self.0.uri.path()
    }

    fn query(&self) -> Option<&str> {
        self.0.uri.query()
    }

    fn authority(&self) -> Option<&str> {
        let target = self.0.uri.authority().map(Authority::as_str);
        target.or_else(|| self.0.headers.get(HOST)?.to_str().ok())
    }

    fn fields(&self) -> &HeaderMap {
        &self.0.headers
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_head_that_two_readers_could_take_for_two_is_told() {
        let good: [(&str, &[(&str, &str)]); 5] = [
            ("https://a.test/x?y", &[]),
            ("https://a.test/", &[("host", "a.test")]),
            ("/x", &[("host", "a.test"), ("content-length", "12")]),
            ("https://a.test/", &[("content-length", "0")]),
            ("*", &[("host", "a.test")]),
        ];
        for (uri, fields) in good {
            assert!(
                PartsHead::new(&parts(uri, fields)).is_unambiguous(),
                "{uri} {fields:?}"
            );
        }
        let bad: [(&str, &[(&str, &str)]); 9] = [
            ("/x", &[]),
            ("https://a.test/", &[("host", "b.test")]),
            ("/", &[("host", "a.test"), ("host", "a.test")]),
            ("/", &[("host", "me@a.test")]),
            ("https://me@a.test/", &[]),
            ("https://a.test/", &[("content-length", "+1")]),
            ("https://a.test/", &[("content-length", "1, 1")]),
            (
                "https://a.test/",
                &[("content-length", "1"), ("content-length", "1")],
            ),
            ("https://a.test/", &[("transfer-encoding", "chunked")]),
        ];
        for (uri, fields) in bad {
            assert!(
                !PartsHead::new(&parts(uri, fields)).is_unambiguous(),
                "{uri} {fields:?}"
            );
        }
    }

    #[test]
    fn cookies_that_came_in_pieces_are_one() {
        let mut headers = parts(
            "/",
            &[
                ("cookie", "a=1"),
                ("expect", "100-continue"),
                ("cookie", "b=2"),
            ],
        )
        .headers;
        suit_http1(&mut headers).unwrap();
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        assert!(!headers.contains_key(EXPECT));
    }
}
