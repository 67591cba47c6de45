//! Phase 6: by what of a request its endpoint is chosen where the cluster hashes. Never chooses.

use std::borrow::Cow;
use std::net::IpAddr;

use portcullis_traffic::route::{normalize_host, plain_path};

use super::head::{Fields, Head};
use crate::affinity::cookie_values;
use crate::config::HashKey;

/// What is hashed. `None` if the request has nothing of the kind: then it goes where there is least
/// to do.
pub(super) fn key(hash: &HashKey, head: &impl Head, client: IpAddr) -> Option<Vec<u8>> {
    let found = match hash {
        HashKey::Source => Cow::Owned(octets(client)),
        HashKey::Path => match plain_path(head.path()) {
            Cow::Borrowed(path) => Cow::Borrowed(path.as_bytes()),
            Cow::Owned(path) => Cow::Owned(path.into_bytes()),
        },
        HashKey::Host => lower(normalize_host(head.authority()?).as_bytes()),
        HashKey::Header(name) => Cow::Borrowed(head.fields().first(name)?),
        HashKey::Cookie(name) => Cow::Borrowed(cookie(head.fields(), name)?),
        HashKey::Query(name) => Cow::Borrowed(parameter(head.query()?, name)?.as_bytes()),
    };
    (!found.is_empty()).then(|| found.into_owned())
}

/// A client's address as it is hashed.
pub(crate) fn octets(client: IpAddr) -> Vec<u8> {
    match client {
        IpAddr::V4(client) => client.octets().to_vec(),
        IpAddr::V6(client) => client.octets().to_vec(),
    }
}

/// Hosts are the same in any case.
fn lower(host: &[u8]) -> Cow<'_, [u8]> {
    if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

pub(super) fn cookie<'h>(fields: &'h impl Fields, name: &str) -> Option<&'h [u8]> {
    cookie_values(fields, name).next()
}

/// The first parameter of this name, as sent.
pub(super) fn parameter<'h>(query: &'h str, name: &str) -> Option<&'h str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::super::fake::FakeHead;
    use super::*;

    fn hashed(hash: &HashKey, head: &FakeHead) -> Option<String> {
        let client = IpAddr::from([203, 0, 113, 9]);
        key(hash, head, client).map(|found| String::from_utf8_lossy(&found).into_owned())
    }

    #[test]
    fn each_key_is_taken_from_its_place() {
        let head = FakeHead::get("/a/b?id=7&other=8&id=9")
            .with("x-user", "ada")
            .with("cookie", "theme=dark; session=s1")
            .authority_is("Example.COM.:8080");
        for (hash, expected) in [
            (HashKey::Path, "/a/b"),
            (HashKey::Host, "example.com"),
            (HashKey::Header(HeaderName::from_static("x-user")), "ada"),
            (HashKey::Cookie("session".to_owned()), "s1"),
            (HashKey::Query("id".to_owned()), "7"),
        ] {
            assert_eq!(hashed(&hash, &head).as_deref(), Some(expected), "{hash:?}");
        }
        let source = key(&HashKey::Source, &head, IpAddr::from([203, 0, 113, 9]));
        assert_eq!(source.as_deref(), Some(&[203, 0, 113, 9][..]));
    }

    #[test]
    fn what_is_missing_or_empty_is_no_key() {
        let head = FakeHead::get("/?id=&a")
            .with("x-user", "")
            .with("cookie", "session=; session2=x");
        for hash in [
            HashKey::Header(HeaderName::from_static("x-user")),
            HashKey::Header(HeaderName::from_static("x-other")),
            HashKey::Cookie("session".to_owned()),
            HashKey::Query("id".to_owned()),
            HashKey::Query("a".to_owned()),
            HashKey::Query("b".to_owned()),
        ] {
            assert_eq!(hashed(&hash, &head), None, "{hash:?}");
        }
    }
}
