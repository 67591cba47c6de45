//! Phase 8: what a client is told beyond the endpoint's own words. Never shows a stranger where endpoints are.

use std::net::IpAddr;

use http::header::{DATE, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use portcullis_token::headers::{HEALTH_CAUSE, HEALTH_CAUSE_DRAINING, X_SERVED_BY};

use super::admit::X_REQUEST_ID;
use super::date::date;
use super::head::{Fields, HeaderEdit};
use crate::cluster::Endpoint;

const SERVED_BY: HeaderName = HeaderName::from_static(X_SERVED_BY);
const CAUSE: HeaderName = HeaderName::from_static(HEALTH_CAUSE);

/// Edits of a response head. `affinity_cookie` is there when the client must get one.
pub(super) fn edits(
    endpoint: &Endpoint,
    is_local: bool,
    request_id: &HeaderValue,
    affinity_cookie: Option<HeaderValue>,
    fields: &impl Fields,
) -> Vec<HeaderEdit> {
    let served_by = if is_local {
        endpoint.served_by_plain()
    } else {
        endpoint.served_by_opaque()
    };
    let mut edits = Vec::with_capacity(EDITS_USUAL);
    edits.push(HeaderEdit::Set(SERVED_BY, served_by.clone()));
    edits.push(HeaderEdit::Set(X_REQUEST_ID, request_id.clone()));
    if let Some(cookie) = affinity_cookie {
        edits.push(HeaderEdit::Append(SET_COOKIE, cookie));
    }
    if !fields.has(&DATE) {
        edits.push(HeaderEdit::Set(DATE, date()));
    }
    if fields.has(&CAUSE) {
        edits.push(HeaderEdit::Remove(CAUSE));
    }
    edits
}

/// With the five fields of a rate limit.
const EDITS_USUAL: usize = 10;

/// Whether the client sits on this machine: both the connection and the client that proxies name.
pub(super) fn is_local(peer: IpAddr, client: IpAddr) -> bool {
    peer.to_canonical().is_loopback() && client.is_loopback()
}

/// Whether the endpoint says that it is about to leave.
pub(crate) fn announces_draining(fields: &impl Fields) -> bool {
    fields
        .first(&CAUSE)
        .is_some_and(|cause| cause == HEALTH_CAUSE_DRAINING.as_bytes())
}

/// What the endpoint says it lacks.
pub(crate) fn cause(fields: &impl Fields) -> Option<&str> {
    std::str::from_utf8(fields.first(&CAUSE)?).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn is_local(peer: &str, client: &str) -> bool {
        super::is_local(peer.parse().unwrap(), client.parse().unwrap())
    }

    #[test]
    fn addresses_of_endpoints_are_for_this_machine_only() {
        assert!(is_local("127.0.0.1", "127.0.0.1"));
        assert!(is_local("::1", "::1"));
        assert!(is_local("::ffff:127.0.0.1", "127.0.0.1"));
        assert!(!is_local("203.0.113.9", "203.0.113.9"));
        assert!(
            !is_local("127.0.0.1", "203.0.113.9"),
            "a local proxy speaks for a stranger"
        );
        assert!(
            !is_local("10.0.0.1", "127.0.0.1"),
            "a remote proxy says loopback"
        );
    }

    #[test]
    fn only_the_exact_word_announces_draining() {
        let announces = |cause: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CAUSE, HeaderValue::from_static(cause));
            announces_draining(&headers)
        };
        assert!(announces("draining"));
        assert!(!announces("database"));
        assert!(!announces("draining, database"));
        assert!(!announces_draining(&HeaderMap::new()));
    }
}
