//! Phase 7: what an endpoint is told beyond the client's own words. Never lets a client speak in our name.

use http::{HeaderName, HeaderValue};
use portcullis_token::headers as internal;

use super::admit::{Request, X_FORWARDED_PROTO, X_REQUEST_ID, is_scheme};
use super::client_address::{Trust, X_FORWARDED_FOR, extended_chain};
use super::client_certificate::{self, is_reserved};
use super::forwarded::{self, NAME as FORWARDED};
use super::head::{Fields, Head, HeaderEdit, Said};
use super::trace::{TRACEPARENT, TRACESTATE};
use crate::config::{Forwarded, ForwardedBy};
use crate::connection::Connection;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// Removed where they are not sent.
const X_FORWARDED: [HeaderName; 4] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
];
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Edits of the head for one attempt. `span` names us as the parent in the trace.
pub(super) fn edits(
    request: &Request,
    head: &impl Head,
    connection: &Connection,
    told: Told<'_>,
    span: u64,
) -> Vec<HeaderEdit> {
    let fields = head.fields();
    let mut edits = Vec::with_capacity(EDITS_USUAL);
    let ours = fields
        .names()
        .filter(|name| is_ours(name, request))
        .filter_map(|name| HeaderName::from_bytes(name).ok());
    edits.extend(ours.map(HeaderEdit::Remove));
    let is_sent = |by| told.how.send == by || told.how.send == ForwardedBy::Both;
    if is_sent(ForwardedBy::XForwarded) {
        forwarded_edits(request, fields, connection, told.trust, &mut edits);
    } else {
        edits.extend(X_FORWARDED.map(HeaderEdit::Remove));
    }
    if is_sent(ForwardedBy::Rfc7239) {
        let chain = rfc7239(request, fields, connection, told);
        edits.push(HeaderEdit::Set(FORWARDED, visible(chain.as_bytes())));
    }
    edits.push(HeaderEdit::Set(X_REAL_IP, client_text(request, connection)));
    client_certificate::tell(connection, &mut edits);
    edits.push(HeaderEdit::Set(X_REQUEST_ID, request.excerpt.id.clone()));
    edits.push(HeaderEdit::Set(TRACEPARENT, request.trace.header(span)));
    edits
}

/// Which fields are believed and sent.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) how: &'a Forwarded,
    pub(super) trust: Trust<'a>,
}

/// The hops that are believed, and the one to us.
fn rfc7239(
    request: &Request,
    fields: &impl Fields,
    connection: &Connection,
    told: Told<'_>,
) -> String {
    let mut chain = String::new();
    if request.is_peer_trusted {
        let mut hops = told.trust.believed(fields);
        if let Some(client) = hops.last_mut() {
            let scheme = told.trust.scheme_behind(fields);
            client.proto = client.proto.or(scheme);
        }
        for hop in hops.iter().rev() {
            forwarded::write(&mut chain, hop, None);
        }
    }
    let host = request.excerpt.host.as_ref();
    let ours = forwarded::Hop {
        address: connection.client.ip(),
        proto: Some(match connection.listener.is_tls {
            true => "https",
            false => "http",
        }),
        host: host.and_then(|host| host.to_str().ok()).map(str::to_owned),
    };
    let by = match &told.how.by {
        Some(by) => by.clone(),
        None => forwarded::node(connection.local.ip()),
    };
    forwarded::write(&mut chain, &ours, Some(&by));
    chain
}

fn client_text(request: &Request, connection: &Connection) -> HeaderValue {
    match request.is_peer_trusted {
        true => visible(request.client.to_string().as_bytes()),
        false => connection.client_text.clone(),
    }
}

/// The `X-Forwarded-*` family. A trusted peer's list is continued and its word on scheme, host and
/// port stands; everybody else's is overwritten.
fn forwarded_edits(
    request: &Request,
    fields: &impl Fields,
    connection: &Connection,
    trust: Trust<'_>,
    edits: &mut Vec<HeaderEdit>,
) {
    let peer = &connection.client_text;
    let is_translated = request.is_peer_trusted && trust.is_rfc7239_believed;
    let believed = match is_translated {
        true => trust.believed(fields),
        false => Vec::new(),
    };
    let stands = |name: &HeaderName, is_valid: fn(&[u8]) -> bool| {
        let is_believed = request.is_peer_trusted && !is_translated;
        is_believed && matches!(fields.said(name), Said::Once(value) if is_valid(value))
    };
    let chain = if is_translated {
        let hops = believed.iter().rev().map(|hop| hop.address.to_string());
        let peer = peer.to_str().unwrap_or_default().to_owned();
        let chain: Vec<String> = hops.chain([peer]).collect();
        visible(chain.join(", ").as_bytes())
    } else if request.is_peer_trusted && fields.has(&X_FORWARDED_FOR) {
        let peer = peer.to_str().unwrap_or_default();
        visible(&extended_chain(peer, fields))
    } else {
        peer.clone()
    };
    edits.push(HeaderEdit::Set(X_FORWARDED_FOR, chain));
    if !stands(&X_FORWARDED_PROTO, is_scheme) {
        let is_https = match is_translated {
            true => request.is_https,
            false => connection.listener.is_tls,
        };
        let scheme = if is_https { "https" } else { "http" };
        edits.push(HeaderEdit::Set(
            X_FORWARDED_PROTO,
            HeaderValue::from_static(scheme),
        ));
    }
    if !stands(&X_FORWARDED_HOST, |host| !host.is_empty()) {
        let told = believed.last().and_then(|hop| hop.host.as_ref());
        let told = told.and_then(|host| HeaderValue::from_str(host).ok());
        edits.push(match told.or_else(|| request.excerpt.host.clone()) {
            Some(host) => HeaderEdit::Set(X_FORWARDED_HOST, host),
            None => HeaderEdit::Remove(X_FORWARDED_HOST),
        });
    }
    if !stands(&X_FORWARDED_PORT, is_port) {
        edits.push(HeaderEdit::Set(X_FORWARDED_PORT, connection.port_text()));
    }
}

/// Header names that only we may write: a client's are removed. Many applications read `_` as `-`
/// (CGI and its heirs), so spellings with underscores count as well; of the forwarding headers only
/// those need removing, since ours overwrite the plain ones. The state of a trace goes with the
/// trace.
fn is_ours(name: &[u8], request: &Request) -> bool {
    let may_be = matches!(
        name,
        [
            b'x' | b'X' | b'p' | b'P' | b'f' | b'F' | b't' | b'T' | b'c' | b'C',
            ..
        ]
    );
    if !may_be {
        return false;
    }
    let is = |other: &str| same_name(name, other);
    let begins = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|head| same_name(head, prefix))
    };
    begins(IDENTITY_PREFIX)
        || is_reserved(name)
        || [
            internal::X_INSTANCE_ID,
            internal::X_SERVED_BY,
            internal::HEALTH_CAUSE,
        ]
        .into_iter()
        .any(is)
        || is("proxy")
        || is(FORWARDED.as_str())
        || (!request.trace.is_continued && is(TRACESTATE.as_str()))
        || (name.contains(&b'_')
            && (begins("x-forwarded-") || is(X_REAL_IP.as_str()) || is(X_REQUEST_ID.as_str())))
}

/// `other` is lower-case and has no underscore.
pub(super) fn same_name(name: &[u8], other: &str) -> bool {
    let plain = |byte: &u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == other.len() && name.iter().map(plain).eq(other.bytes())
}

fn is_port(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|text| text.parse::<u16>().is_ok_and(|port| port != 0))
}

fn visible(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).expect("addresses, commas and spaces are visible ASCII")
}

/// All identity headers begin so: also those that a later version will write.
const IDENTITY_PREFIX: &str = "x-auth-";
/// With an identity; to grow would move them all.
const EDITS_USUAL: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use ipnet::IpNet;

    use super::super::admit::identify;
    use super::super::fake::{FakeHead, connection, tls_connection};
    use super::super::identify::IdSource;
    use super::*;

    const STRANGER: &str = "203.0.113.9:5000";
    const PROXY: &str = "10.0.0.1:5000";

    /// The head that an endpoint would get.
    fn forwarded(head: &FakeHead, connection: &Arc<Connection>) -> HeaderMap {
        forwarded_as(head, connection, &Forwarded::default())
    }

    fn forwarded_as(head: &FakeHead, connection: &Arc<Connection>, how: &Forwarded) -> HeaderMap {
        let proxies: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        let trust = Trust {
            proxies: &proxies,
            is_rfc7239_believed: how.is_rfc7239_believed,
        };
        let request = identify(head, connection, trust, &IdSource::new(1), false);
        let mut headers = head.fields().clone();
        for edit in edits(&request, head, connection, Told { how, trust }, 0xabc) {
            edit.apply(&mut headers);
        }
        headers
    }

    fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.get_all(name).iter().map(text).collect()
    }

    #[test]
    fn stranger_is_described_as_seen() {
        let headers = forwarded(&FakeHead::get("/"), &connection(STRANGER));
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "example.com"),
            ("x-forwarded-port", "8080"),
        ] {
            assert_eq!(all(&headers, name), [value], "{name}");
        }
        assert_eq!(headers["x-request-id"].len(), 32);
        assert!(
            headers["traceparent"]
                .to_str()
                .unwrap()
                .ends_with("-0000000000000abc-01")
        );
    }

    #[test]
    fn tls_listener_and_ipv6_are_told() {
        let headers = forwarded(&FakeHead::get("/"), &tls_connection("[2001:db8::1]:5000"));
        assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["2001:db8::1"]);
        let mapped = forwarded(
            &FakeHead::get("/"),
            &connection("[::ffff:203.0.113.9]:5000"),
        );
        assert_eq!(all(&mapped, "x-real-ip"), ["203.0.113.9"]);
    }

    /// Header, what is sent, what arrives from a stranger, what arrives from a trusted proxy.
    #[test]
    fn spoofing_matrix() {
        for (name, sent, stranger, proxy) in [
            (
                "x-forwarded-for",
                "1.2.3.4",
                Some("203.0.113.9"),
                Some("1.2.3.4, 10.0.0.1"),
            ),
            (
                "x-forwarded-for",
                "evil",
                Some("203.0.113.9"),
                Some("10.0.0.1"),
            ),
            (
                "x-real-ip",
                "1.2.3.4",
                Some("203.0.113.9"),
                Some("10.0.0.1"),
            ),
            ("x-forwarded-proto", "https", Some("http"), Some("https")),
            ("x-forwarded-proto", "gopher", Some("http"), Some("http")),
            (
                "x-forwarded-host",
                "bank.example",
                Some("example.com"),
                Some("bank.example"),
            ),
            ("x-forwarded-port", "443", Some("8080"), Some("443")),
            ("x-forwarded-port", "0", Some("8080"), Some("8080")),
            ("x-forwarded-port", "99999", Some("8080"), Some("8080")),
            ("forwarded", "for=1.2.3.4", None, None),
            ("x_forwarded_for", "1.2.3.4", None, None),
            ("x-forwarded_proto", "https", None, None),
            ("x_real_ip", "1.2.3.4", None, None),
            ("x_request_id", "1", None, None),
            ("x-auth-subject", "root", None, None),
            ("x-auth-roles", "admin", None, None),
            ("x_auth_subject", "root", None, None),
            ("x-auth-whatever-comes", "1", None, None),
            ("x-instance-id", "auth-1", None, None),
            ("client-cert", ":MIIB:", None, None),
            ("Client_Cert_Chain", ":MIIB:", None, None),
            ("x-client-cert-subject", "CN=root", None, None),
            ("X_Client_Cert-Whatever", "1", None, None),
            ("client-certificate", "stays", Some("stays"), Some("stays")),
            ("x-served-by", "me", None, None),
            ("x-health-cause", "draining", None, None),
            ("proxy", "http://evil", None, None),
            ("x-authority", "stays", Some("stays"), Some("stays")),
            ("x-custom_header", "stays", Some("stays"), Some("stays")),
            (
                "authorization",
                "Bearer stays",
                Some("Bearer stays"),
                Some("Bearer stays"),
            ),
        ] {
            let head = FakeHead::get("/").with(name, sent);
            for (peer, expected) in [(STRANGER, stranger), (PROXY, proxy)] {
                let got = all(&forwarded(&head, &connection(peer)), name);
                assert_eq!(
                    got,
                    expected.into_iter().collect::<Vec<_>>(),
                    "{name}: {sent} by {peer}"
                );
            }
        }
    }

    #[test]
    fn case_of_a_name_does_not_hide_that_it_is_ours() {
        let head = FakeHead::get("/");
        let ids = IdSource::new(1);
        let trust = Trust {
            proxies: &[],
            is_rfc7239_believed: false,
        };
        let request = identify(&head, &connection(STRANGER), trust, &ids, false);
        for name in [
            "X-Auth-Subject",
            "X_AUTH_Roles",
            "X-Served-By",
            "Proxy",
            "Forwarded",
            "X-Forwarded_For",
            "X_REAL_IP",
            "TraceState",
        ] {
            assert!(is_ours(name.as_bytes(), &request), "{name}");
        }
        for name in ["X-Forwarded-For", "X-Authority", "Proxy-Authorization", "F"] {
            assert!(!is_ours(name.as_bytes(), &request), "{name}");
        }
    }

    #[test]
    fn identity_headers_of_the_token_contract_are_all_removed() {
        for name in internal::IDENTITY {
            let head = FakeHead::get("/").with(name, "root").with(name, "again");
            assert_eq!(
                all(&forwarded(&head, &connection(PROXY)), name),
                [""; 0],
                "{name}"
            );
        }
    }

    #[test]
    fn repeated_claims_of_a_proxy_are_overwritten() {
        let head = FakeHead::get("/")
            .with("x-forwarded-proto", "https")
            .with("x-forwarded-proto", "http");
        assert_eq!(
            all(&forwarded(&head, &connection(PROXY)), "x-forwarded-proto"),
            ["http"]
        );
    }

    #[test]
    fn real_ip_is_the_client_behind_the_proxies() {
        let head = FakeHead::get("/").with("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.0.0.2");
        let headers = forwarded(&head, &connection(PROXY));
        assert_eq!(all(&headers, "x-real-ip"), ["198.51.100.7"]);
        assert_eq!(
            all(&headers, "x-forwarded-for"),
            ["6.6.6.6, 198.51.100.7, 10.0.0.2, 10.0.0.1"]
        );
    }

    #[test]
    fn trace_state_travels_only_with_its_trace() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let state = |parent: &str| {
            let head = FakeHead::get("/")
                .with("traceparent", parent)
                .with("tracestate", "a=1");
            all(&forwarded(&head, &connection(STRANGER)), "tracestate")
        };
        assert_eq!(state(good), ["a=1"]);
        assert_eq!(state("malformed"), [""; 0]);
    }

    #[test]
    fn host_of_the_target_is_told_when_there_is_no_field() {
        let head = FakeHead::get("/")
            .without("host")
            .authority_is("h2.example.com");
        let headers = forwarded(&head, &connection(STRANGER));
        assert_eq!(all(&headers, "x-forwarded-host"), ["h2.example.com"]);
        let old = FakeHead::get("/")
            .without("host")
            .with("x-forwarded-host", "spoofed");
        assert_eq!(
            all(&forwarded(&old, &connection(STRANGER)), "x-forwarded-host"),
            [""; 0]
        );
    }

    fn sending(send: ForwardedBy, is_rfc7239_believed: bool) -> Forwarded {
        Forwarded {
            send,
            is_rfc7239_believed,
            by: Some("_edge".to_owned()),
        }
    }

    #[test]
    fn forwarded_is_written_and_what_is_not_sent_is_removed() {
        let head = FakeHead::get("/")
            .with("forwarded", "for=6.6.6.6;proto=https")
            .with("x-forwarded-for", "6.6.6.6")
            .with("x-forwarded-host", "evil.example");
        let how = sending(ForwardedBy::Rfc7239, false);
        let headers = forwarded_as(&head, &connection("[2001:db8::1]:5000"), &how);
        assert_eq!(
            all(&headers, "forwarded"),
            ["for=\"[2001:db8::1]\";by=_edge;host=example.com;proto=http"]
        );
        for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            assert_eq!(all(&headers, name), [""; 0], "{name}");
        }
        let both = sending(ForwardedBy::Both, false);
        let headers = forwarded_as(&head, &connection(PROXY), &both);
        assert_eq!(
            all(&headers, "forwarded"),
            ["for=6.6.6.6, for=10.0.0.1;by=_edge;host=example.com;proto=http"]
        );
        assert_eq!(all(&headers, "x-forwarded-for"), ["6.6.6.6, 10.0.0.1"]);
    }

    #[test]
    fn one_source_wins_where_a_proxy_sends_both() {
        let head = FakeHead::get("/")
            .with(
                "forwarded",
                "for=7.7.7.7, for=198.51.100.7;host=a.test;proto=https, for=10.0.0.2",
            )
            .with("x-forwarded-for", "6.6.6.6")
            .with("x-forwarded-proto", "http")
            .with("x-forwarded-host", "evil.example");
        let how = sending(ForwardedBy::Both, true);
        let headers = forwarded_as(&head, &connection(PROXY), &how);
        for (name, expected) in [
            ("x-real-ip", "198.51.100.7"),
            ("x-forwarded-for", "198.51.100.7, 10.0.0.2, 10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.test"),
            (
                "forwarded",
                "for=198.51.100.7;host=a.test;proto=https, for=10.0.0.2, for=10.0.0.1;by=_edge;host=example.com;proto=http",
            ),
        ] {
            assert_eq!(all(&headers, name), [expected], "{name}");
        }
        let stranger = forwarded_as(&head, &connection(STRANGER), &how);
        assert_eq!(all(&stranger, "x-real-ip"), ["203.0.113.9"]);
        assert_eq!(
            all(&stranger, "forwarded"),
            ["for=203.0.113.9;by=_edge;host=example.com;proto=http"]
        );
    }
}
