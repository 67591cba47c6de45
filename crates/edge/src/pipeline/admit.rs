//! Phase 2: who asks, under which id, and whether the head may be served at all. Never looks at routes.

use std::net::IpAddr;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Method, Version};

use super::client_address::{Trust, is_trusted};
use super::excerpt::Excerpt;
use super::head::{Fields, Head, Said};
use super::identify::{IdSource, hex};
use super::trace::Trace;
use crate::config::Limits;
use crate::connection::Connection;
use crate::outcome::Cause;

/// `X-Request-Id`.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `X-Forwarded-Proto`.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request as all later phases and the access log know it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) excerpt: Excerpt,
    pub(super) trace: Trace,
    /// The client, behind however many trusted proxies.
    pub(super) client: IpAddr,
    /// Whether the TCP peer may speak for others.
    pub(super) is_peer_trusted: bool,
    /// Whether the client speaks TLS, to us or to the proxy before us.
    pub(super) is_https: bool,
    pub(super) method: Method,
    pub(super) version: Version,
}

/// Names the request and whoever sent it. Cannot fail: a request that is refused has a name too.
/// `is_logged`: whether the access log will ask for its words.
pub(super) fn identify(
    head: &impl Head,
    connection: &Connection,
    trust: Trust<'_>,
    ids: &IdSource,
    is_logged: bool,
) -> Request {
    let fields = head.fields();
    let peer = connection.client.ip();
    let is_peer_trusted = is_trusted(peer, trust.proxies);
    // One number names both the request and the trace that begins with it: there is one thing to
    // look for.
    let number = ids.draw();
    let own_id = hex::<32>(number);
    let claims = is_peer_trusted.then_some(fields);
    let id = claims.and_then(claimed_request_id).unwrap_or(&own_id);
    let scheme = claims.and_then(|fields| trust.scheme_behind(fields));
    Request {
        excerpt: Excerpt::new(id, head, is_logged),
        trace: Trace::read(fields).unwrap_or_else(|| Trace::begin(number)),
        client: client_of(fields, connection, trust),
        is_peer_trusted,
        is_https: scheme.map_or(connection.listener.is_tls, |scheme| scheme == "https"),
        method: head.method().clone(),
        version: head.version(),
    }
}

/// The client of a request, behind however many trusted proxies.
pub(super) fn client_of(fields: &impl Fields, connection: &Connection, trust: Trust<'_>) -> IpAddr {
    let peer = connection.client.ip();
    match is_trusted(peer, trust.proxies) {
        true => trust.client_behind(peer, fields),
        false => peer.to_canonical(),
    }
}

/// Whether the head keeps to the protocol and to the listener's limits.
pub(super) fn check(head: &impl Head, limits: &Limits) -> Result<(), Cause> {
    let fields = head.fields();
    if fields.len() > limits.header_count {
        return Err(Cause::HeadTooLarge);
    }
    if head.path().len() + head.query().map_or(0, str::len) > limits.target_bytes {
        return Err(Cause::TargetTooLong);
    }
    if matches!(*head.method(), Method::CONNECT | Method::TRACE) {
        return Err(Cause::MethodNotAllowed);
    }
    check_host(head)?;
    match body_length(fields, head.version())? {
        Some(length) if length > limits.body_bytes => Err(Cause::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Whether a forwarded scheme is one that we know.
pub(super) fn is_scheme(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"https") || value.eq_ignore_ascii_case(b"http")
}

/// An id that a proxy gave; taken over only if it can be quoted anywhere without harm.
fn claimed_request_id(fields: &impl Fields) -> Option<&[u8]> {
    let id = fields.first(&X_REQUEST_ID)?;
    let is_harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let is_quotable =
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.iter().all(is_harmless);
    is_quotable.then_some(id)
}

/// One host, and the same wherever it is said (RFC 9112, 3.2; RFC 9113, 8.3.1). Only HTTP/1.0 may
/// leave it out.
fn check_host(head: &impl Head) -> Result<(), Cause> {
    let field = head.fields().said(&HOST);
    let Some(authority) = head.authority() else {
        let is_old = matches!(head.version(), Version::HTTP_09 | Version::HTTP_10);
        return if is_old && field == Said::Never {
            Ok(())
        } else {
            Err(Cause::HeadMalformed)
        };
    };
    let is_consistent = match field {
        Said::Never => true,
        Said::Once(field) => field.eq_ignore_ascii_case(authority.as_bytes()),
        Said::Repeatedly => false,
    };
    if is_consistent && is_authority(authority) {
        Ok(())
    } else {
        Err(Cause::HeadMalformed)
    }
}

/// A host, and a port that exists behind a colon (RFC 3986, 3.2): no user info, path, list or white space, and no
/// second colon by which the next reader would find another host.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_host = match inner {
        Some(literal) => literal
            .bytes()
            .all(|byte| byte == b':' || is_host_byte(byte)),
        None => host.bytes().all(is_host_byte),
    };
    let is_port = port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    is_host && !host.is_empty() && is_port
}

/// Of a name or an address (RFC 3986, 3.2.2), without the brackets and colons of some.
fn is_host_byte(byte: u8) -> bool {
    HOST_BYTES[usize::from(byte)]
}

static HOST_BYTES: [bool; 256] = host_bytes();

const fn host_bytes() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+;=";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Length that the head declares. Exactly one framing, or none: two readings of one message are
/// how requests are smuggled (RFC 9112, 6.3).
fn body_length(fields: &impl Fields, version: Version) -> Result<Option<u64>, Cause> {
    match (
        fields.said(&TRANSFER_ENCODING),
        fields.said(&CONTENT_LENGTH),
    ) {
        (Said::Never, Said::Never) => Ok(None),
        (Said::Once(encoding), Said::Never)
            if version == Version::HTTP_11 && encoding.eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(None)
        }
        (Said::Never, Said::Once(length)) => digits(length).map(Some).ok_or(Cause::HeadMalformed),
        _ => Err(Cause::HeadMalformed),
    }
}

/// Digits only; what is beyond 64 bits is beyond every limit.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |value: u64, digit: &u8| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(text.iter().fold(0, add))
}

const REQUEST_ID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeHead, connection, tls_connection};
    use super::*;

    fn limits() -> Limits {
        connection("203.0.113.9:5000").listener.limits.clone()
    }

    fn trusted() -> Trust<'static> {
        Trust {
            proxies: PROXIES,
            is_rfc7239_believed: false,
        }
    }

    const PROXIES: &[ipnet::IpNet] = &[ipnet::IpNet::V4(ipnet::Ipv4Net::new_assert(
        std::net::Ipv4Addr::new(10, 0, 0, 0),
        8,
    ))];

    fn request(peer: &str, head: &FakeHead) -> Request {
        identify(head, &connection(peer), trusted(), &IdSource::new(1), true)
    }

    fn check(head: &FakeHead) -> Result<(), Cause> {
        super::check(head, &limits())
    }

    #[test]
    fn request_id_is_believed_from_trusted_proxies_only() {
        let head = FakeHead::get("/").with("x-request-id", "abc-1.2_3");
        assert_eq!(request("10.0.0.1:80", &head).excerpt.id, "abc-1.2_3");
        assert_ne!(request("203.0.113.9:80", &head).excerpt.id, "abc-1.2_3");
    }

    #[test]
    fn request_id_that_cannot_be_quoted_is_replaced() {
        for id in ["", " ", "a b", "a\"b", "a\u{e9}", "<x>", &"a".repeat(129)] {
            let head = FakeHead::get("/").with("x-request-id", id);
            let given = request("10.0.0.1:80", &head).excerpt.id;
            assert_eq!(given.len(), 32, "{id:?}");
            assert_ne!(given.as_bytes(), id.as_bytes());
        }
        let longest = "a".repeat(128);
        let head = FakeHead::get("/").with("x-request-id", &longest);
        assert_eq!(request("10.0.0.1:80", &head).excerpt.id, longest);
    }

    #[test]
    fn every_request_gets_an_id_of_its_own() {
        let (ids, head) = (IdSource::new(1), FakeHead::get("/"));
        let id = || {
            identify(&head, &connection("203.0.113.9:80"), trusted(), &ids, true)
                .excerpt
                .id
        };
        assert_ne!(id(), id());
    }

    #[test]
    fn scheme_comes_from_the_listener_or_a_trusted_proxy() {
        let https = |connection: &Connection, head: &FakeHead| {
            identify(head, connection, trusted(), &IdSource::new(1), true).is_https
        };
        let plain = FakeHead::get("/");
        let claims = FakeHead::get("/").with("x-forwarded-proto", "https");
        let lies = FakeHead::get("/").with("x-forwarded-proto", "gopher");
        assert!(!https(&connection("203.0.113.9:80"), &plain));
        assert!(https(&tls_connection("203.0.113.9:80"), &plain));
        assert!(
            !https(&connection("203.0.113.9:80"), &claims),
            "a stranger claims it"
        );
        assert!(https(&connection("10.0.0.1:80"), &claims));
        assert!(!https(&connection("10.0.0.1:80"), &lies));
    }

    #[test]
    fn header_count_is_bounded() {
        let mut head = FakeHead::get("/");
        let free = limits().header_count - head.fields().len();
        for number in 0..free {
            head = head.with(&format!("x-{number}"), "1");
        }
        assert_eq!(check(&head), Ok(()));
        assert_eq!(check(&head.with("x-more", "1")), Err(Cause::HeadTooLarge));
    }

    #[test]
    fn repeated_fields_count_one_by_one() {
        let mut head = FakeHead::get("/");
        for _ in 0..=limits().header_count {
            head = head.with("x-same", "1");
        }
        assert_eq!(check(&head), Err(Cause::HeadTooLarge));
    }

    #[test]
    fn path_and_query_are_bounded_together() {
        let limit = limits().target_bytes;
        let path = format!("/{}", "a".repeat(limit / 2 - 1));
        let target = |query: usize| format!("{path}?{}", "q".repeat(query));
        let check = |target: &str| check(&FakeHead::get(target));
        assert_eq!(check(&target(limit - limit / 2)), Ok(()));
        let beyond = target(limit - limit / 2 + 1);
        assert_eq!(check(&beyond), Err(Cause::TargetTooLong));
        let long_path = format!("/{}", "a".repeat(limit));
        assert_eq!(check(&long_path), Err(Cause::TargetTooLong));
    }

    #[test]
    fn tunnels_and_echoes_are_refused() {
        for method in [Method::CONNECT, Method::TRACE] {
            assert_eq!(
                check(&FakeHead::new(method, "/")),
                Err(Cause::MethodNotAllowed)
            );
        }
        let odd = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(
            check(&FakeHead::new(odd, "/")),
            Ok(()),
            "unknown methods are the endpoint's"
        );
    }

    #[test]
    fn host_is_said_once_and_plainly() {
        let bare = |version| FakeHead::get("/").without("host").version(version);
        assert_eq!(check(&bare(Version::HTTP_11)), Err(Cause::HeadMalformed));
        assert_eq!(check(&bare(Version::HTTP_2)), Err(Cause::HeadMalformed));
        assert_eq!(
            check(&bare(Version::HTTP_10)),
            Ok(()),
            "HTTP/1.0 knows no Host"
        );
        assert_eq!(
            check(&FakeHead::get("/").with("host", "again")),
            Err(Cause::HeadMalformed)
        );
        for host in [
            "",
            "a b",
            "user@host",
            "a,b",
            "a/b",
            "a\\b",
            "a?b",
            "caf\u{e9}",
            ":80",
            "a:8o",
            "evil.example:.example.com",
            "a:80:b.example.com",
            "::1",
            "[::1",
            "[a]b.example.com",
        ] {
            let head = FakeHead::get("/").without("host").with("host", host);
            assert_eq!(check(&head), Err(Cause::HeadMalformed), "{host:?}");
        }
        for host in [
            "a",
            "a.example.com.",
            "a:8080",
            "a:",
            "[::1]",
            "[::1]:80",
            "10.0.0.1",
            "*.a",
            "a_b",
        ] {
            let head = FakeHead::get("/").without("host").with("host", host);
            assert_eq!(check(&head), Ok(()), "{host:?}");
        }
    }

    #[test]
    fn host_field_agrees_with_the_target() {
        let head = |target: &str| FakeHead::get("/").authority_is(target);
        assert_eq!(check(&head("EXAMPLE.com")), Ok(()), "case does not matter");
        assert_eq!(check(&head("other.example.com")), Err(Cause::HeadMalformed));
        assert_eq!(
            check(&head("any").without("host").version(Version::HTTP_2)),
            Ok(())
        );
    }

    #[test]
    fn framing_is_single_and_plain() {
        let chunked = || FakeHead::post("/").with("transfer-encoding", "chunked");
        assert_eq!(check(&chunked()), Ok(()));
        for (head, why) in [
            (chunked().with("content-length", "3"), "both"),
            (chunked().with("transfer-encoding", "chunked"), "twice"),
            (chunked().version(Version::HTTP_10), "in HTTP/1.0"),
            (chunked().version(Version::HTTP_2), "in HTTP/2"),
            (
                FakeHead::post("/").with("transfer-encoding", "gzip, chunked"),
                "a list",
            ),
            (
                FakeHead::post("/").with("transfer-encoding", "identity"),
                "not chunked",
            ),
            (
                FakeHead::post("/").with("transfer-encoding", "xchunked"),
                "nearly chunked",
            ),
            (
                FakeHead::post("/")
                    .with("content-length", "1")
                    .with("content-length", "1"),
                "twice",
            ),
            (FakeHead::post("/").with("content-length", "1, 1"), "a list"),
            (FakeHead::post("/").with("content-length", "+1"), "a sign"),
            (FakeHead::post("/").with("content-length", "-1"), "negative"),
            (
                FakeHead::post("/").with("content-length", "0x10"),
                "hexadecimal",
            ),
            (FakeHead::post("/").with("content-length", ""), "empty"),
        ] {
            assert_eq!(check(&head), Err(Cause::HeadMalformed), "{why}");
        }
    }

    #[test]
    fn declared_body_beyond_the_limit_is_refused_at_once() {
        let declared = |length: &str| check(&FakeHead::post("/").with("content-length", length));
        let limit = limits().body_bytes;
        assert_eq!(declared("0"), Ok(()));
        assert_eq!(declared(&limit.to_string()), Ok(()));
        assert_eq!(declared(&(limit + 1).to_string()), Err(Cause::BodyTooLarge));
        assert_eq!(
            declared(&"9".repeat(40)),
            Err(Cause::BodyTooLarge),
            "beyond 64 bits"
        );
    }
}
