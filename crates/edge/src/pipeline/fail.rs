//! Phase 8: the one map from a cause to outcome, status and words. Nobody else chooses a status, and no inside text gets out.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::Answer;
use super::admit::X_REQUEST_ID;
use crate::outcome::{Cause, Outcome};

/// What a cause leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    status: StatusCode,
    detail: &'static str,
    challenge: Option<&'static str>,
    closes: bool,
}

/// Everything that can go wrong, on two screens: how it counts, and what is said.
pub(super) fn failure(cause: Cause) -> Failure {
    let (outcome, status) = outcome_and_status(cause);
    Failure {
        outcome,
        status,
        detail: detail(cause),
        challenge: challenge(cause),
        closes: closes(cause),
    }
}

fn outcome_and_status(cause: Cause) -> (Outcome, StatusCode) {
    use {Outcome as O, StatusCode as S};
    match cause {
        Cause::HeadMalformed => (O::ClientMalformed, S::BAD_REQUEST),
        Cause::HeadTooLarge => (O::ClientHeadTooLarge, S::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Cause::TargetTooLong => (O::ClientTargetTooLong, S::URI_TOO_LONG),
        Cause::HeadTimeout => (O::ClientHeadTimeout, S::REQUEST_TIMEOUT),
        Cause::MethodNotAllowed => (O::ClientMethod, S::METHOD_NOT_ALLOWED),
        Cause::BodyTooLarge => (O::ClientBodyTooLarge, S::PAYLOAD_TOO_LARGE),
        Cause::BodyTimeout => (O::ClientBodyTimeout, S::REQUEST_TIMEOUT),
        Cause::BodyMalformed => (O::ClientBodyMalformed, S::BAD_REQUEST),
        Cause::PlainHttp => (O::ClientPlainHttp, S::BAD_REQUEST),
        Cause::Handshake => (O::ClientHandshake, S::BAD_REQUEST),
        Cause::HandshakeTimeout => (O::ClientHandshakeTimeout, S::REQUEST_TIMEOUT),
        Cause::UnknownName => (O::RefusedServerName, S::BAD_REQUEST),
        Cause::ClientCertificate => (O::RefusedClientCertificate, S::BAD_REQUEST),
        Cause::Misdirected => (O::RefusedMisdirected, S::MISDIRECTED_REQUEST),
        Cause::ClientGone => (O::ClientGone, S::BAD_REQUEST),
        Cause::NoRoute => (O::RefusedNoRoute, S::NOT_FOUND),
        Cause::Maintenance => (O::RefusedMaintenance, S::SERVICE_UNAVAILABLE),
        Cause::NoToken => (O::RefusedNoToken, S::UNAUTHORIZED),
        Cause::BadToken => (O::RefusedToken, S::UNAUTHORIZED),
        Cause::Forbidden => (O::RefusedForbidden, S::FORBIDDEN),
        Cause::NoUpgrade => (O::RefusedUpgrade, S::NOT_IMPLEMENTED),
        Cause::OriginRefused => (O::RefusedOrigin, S::FORBIDDEN),
        Cause::RateLimited => (O::RefusedRateLimit, S::TOO_MANY_REQUESTS),
        Cause::ConcurrencyLimited => (O::RefusedConcurrencyLimit, S::TOO_MANY_REQUESTS),
        Cause::NoKeys => (O::FailedNoKeys, S::SERVICE_UNAVAILABLE),
        Cause::NoRevocations => (O::FailedNoRevocations, S::SERVICE_UNAVAILABLE),
        Cause::NoEndpoint => (O::FailedNoEndpoint, S::SERVICE_UNAVAILABLE),
        Cause::QueueFull => (O::RefusedQueueFull, S::SERVICE_UNAVAILABLE),
        Cause::QueueTimeout => (O::RefusedQueueTimeout, S::SERVICE_UNAVAILABLE),
        Cause::ConnectRefused => (O::FailedConnectRefused, S::BAD_GATEWAY),
        Cause::ConnectTimeout => (O::FailedConnectTimeout, S::GATEWAY_TIMEOUT),
        Cause::ConnectFailed => (O::FailedConnect, S::BAD_GATEWAY),
        Cause::TlsUntrusted => (O::FailedTlsUntrusted, S::BAD_GATEWAY),
        Cause::TlsName => (O::FailedTlsName, S::BAD_GATEWAY),
        Cause::TlsExpired => (O::FailedTlsExpired, S::BAD_GATEWAY),
        Cause::TlsPlain => (O::FailedTlsPlain, S::BAD_GATEWAY),
        Cause::TlsFailed => (O::FailedTls, S::BAD_GATEWAY),
        Cause::NoHttp2 => (O::FailedNoHttp2, S::BAD_GATEWAY),
        Cause::EndpointRefused => (O::FailedEndpointRefused, S::BAD_GATEWAY),
        Cause::EndpointReset => (O::FailedEndpointReset, S::BAD_GATEWAY),
        Cause::EndpointTimeout => (O::FailedEndpointTimeout, S::GATEWAY_TIMEOUT),
        Cause::EndpointMalformed => (O::FailedEndpointMalformed, S::BAD_GATEWAY),
        Cause::EndpointTruncated => (O::FailedEndpointTruncated, S::BAD_GATEWAY),
        Cause::TooManyConnections => (O::RefusedConnections, S::SERVICE_UNAVAILABLE),
        Cause::ClientRefused => (O::RefusedClient, S::FORBIDDEN),
        Cause::TooManyOfAddress => (O::RefusedAddressConnections, S::TOO_MANY_REQUESTS),
        Cause::ProxyHeader => (O::RefusedProxyHeader, S::BAD_REQUEST),
        Cause::Http2Abuse => (O::RefusedHttp2Abuse, S::BAD_REQUEST),
        Cause::Draining => (O::RefusedDraining, S::SERVICE_UNAVAILABLE),
        Cause::Internal => (O::Internal, S::INTERNAL_SERVER_ERROR),
    }
}

/// For whoever reads the answer: what happened, and what to do about it.
fn detail(cause: Cause) -> &'static str {
    match cause {
        Cause::HeadMalformed => {
            "The request breaks HTTP. Send one Host, one framing and a plain path, and nothing else in their place."
        }
        Cause::HeadTooLarge => {
            "The header fields are too many or too large. Send fewer or shorter ones; old cookies are the usual reason."
        }
        Cause::TargetTooLong => {
            "Path and query are too long. Send what is long in the body of a POST."
        }
        Cause::HeadTimeout => {
            "The request did not arrive in time. Send it again on a new connection."
        }
        Cause::MethodNotAllowed => {
            "CONNECT and TRACE are not served. Use one of the methods in Allow."
        }
        Cause::BodyTooLarge => "The request body is beyond the limit. Send less at once.",
        Cause::BodyTimeout => {
            "The request body stopped arriving, or came too slowly. Send the request again."
        }
        Cause::BodyMalformed => {
            "The request body breaks its framing. Send as many bytes as declared, in valid chunks."
        }
        Cause::PlainHttp
        | Cause::Handshake
        | Cause::HandshakeTimeout
        | Cause::UnknownName
        | Cause::ClientCertificate
        | Cause::Misdirected => detail_of_tls(cause),
        Cause::ClientGone => "The client left before the answer.",
        Cause::NoRoute => "No route matches the host and path. Check both for a typing error.",
        Cause::Maintenance
        | Cause::NoUpgrade
        | Cause::OriginRefused
        | Cause::RateLimited
        | Cause::ConcurrencyLimited => detail_of_policy(cause),
        Cause::NoToken
        | Cause::BadToken
        | Cause::Forbidden
        | Cause::NoKeys
        | Cause::NoRevocations => detail_of_token(cause),
        Cause::NoEndpoint | Cause::QueueFull | Cause::QueueTimeout => detail_of_choice(cause),
        Cause::ConnectRefused
        | Cause::ConnectTimeout
        | Cause::ConnectFailed
        | Cause::TlsUntrusted
        | Cause::TlsName
        | Cause::TlsExpired
        | Cause::TlsPlain
        | Cause::TlsFailed
        | Cause::NoHttp2
        | Cause::EndpointRefused
        | Cause::EndpointReset
        | Cause::EndpointTimeout
        | Cause::EndpointMalformed
        | Cause::EndpointTruncated => detail_of_endpoint(cause),
        Cause::TooManyConnections
        | Cause::ClientRefused
        | Cause::TooManyOfAddress
        | Cause::ProxyHeader
        | Cause::Http2Abuse => detail_of_connection(cause),
        Cause::Draining => "This server is leaving. Try again on a new connection.",
        Cause::Internal => "A fault on our side. Report it with the request id.",
    }
}

/// The same for requests that no endpoint could be found for.
fn detail_of_choice(cause: Cause) -> &'static str {
    match cause {
        Cause::QueueFull => {
            "Every endpoint is busy, and too many wait. Try again after the seconds in Retry-After."
        }
        Cause::QueueTimeout => {
            "Every endpoint stayed busy. Try again after the seconds in Retry-After."
        }
        _ => "No endpoint can serve this now. Try again after the seconds in Retry-After.",
    }
}

/// The same for what the endpoint did wrong.
fn detail_of_endpoint(cause: Cause) -> &'static str {
    match cause {
        Cause::ConnectRefused => {
            "The endpoint refuses connections. Try again; the request was not carried out."
        }
        Cause::ConnectTimeout => {
            "The endpoint did not accept a connection in time. Try again; the request was not carried out."
        }
        Cause::EndpointRefused => {
            "The endpoint takes no more requests now. Try again; the request was not carried out."
        }
        Cause::ConnectFailed | Cause::NoHttp2 => {
            "The endpoint cannot be reached. Try again; the request was not carried out."
        }
        _ if cause.is_tls() => {
            "The endpoint cannot be reached securely. Try again later; the request was not carried out."
        }
        Cause::EndpointReset => {
            "The endpoint closed the connection before it answered. The request may have been carried out: check before you repeat it."
        }
        Cause::EndpointTimeout => {
            "The endpoint did not answer in time. The request may have been carried out: check before you repeat it."
        }
        Cause::EndpointMalformed => {
            "The endpoint's answer is not HTTP. The request may have been carried out: check before you repeat it."
        }
        _ => {
            "The endpoint stopped inside its answer. The request may have been carried out: check before you repeat it."
        }
    }
}

/// The same for connections that never spoke TLS with us, or not as the host asks.
fn detail_of_tls(cause: Cause) -> &'static str {
    match cause {
        Cause::PlainHttp => {
            "This port speaks TLS, and the request came in clear text. Ask for https:// instead of http://."
        }
        Cause::HandshakeTimeout => "The TLS handshake was not done in time.",
        Cause::UnknownName => "There is no certificate for this server name.",
        Cause::ClientCertificate => "A client certificate is asked for, and none was accepted.",
        Cause::Misdirected => {
            "This host asks for another client certificate than the connection was opened with. Send the request on a connection of its own."
        }
        _ => "The TLS handshake failed.",
    }
}

/// The same for connections that are not served, or no longer.
fn detail_of_connection(cause: Cause) -> &'static str {
    match cause {
        Cause::ClientRefused => "Your address is not let in here.",
        Cause::TooManyOfAddress => {
            "Too many connections from one address. Close some, or use them again."
        }
        Cause::ProxyHeader => "The connection does not begin with a PROXY header.",
        Cause::Http2Abuse => "The connection sent control frames beyond every reasonable number.",
        _ => "Too many connections. Try again after the seconds in Retry-After.",
    }
}

/// The same for requests that a policy refuses.
fn detail_of_policy(cause: Cause) -> &'static str {
    match cause {
        Cause::Maintenance => {
            "This is closed for maintenance. Try again after the seconds in Retry-After."
        }
        Cause::NoUpgrade => {
            "No other protocol, such as WebSocket, is spoken here. Send the request without Upgrade."
        }
        Cause::OriginRefused => {
            "Pages of this origin may not ask here. Ask whoever runs the server."
        }
        Cause::ConcurrencyLimited => {
            "Too many requests at the same time. Wait for answers before you send more."
        }
        _ => "Too many requests. Try again after the seconds in Retry-After.",
    }
}

/// The same for requests whose token decides.
fn detail_of_token(cause: Cause) -> &'static str {
    match cause {
        Cause::NoToken => "This needs an access token. Send it as Authorization: Bearer.",
        Cause::Forbidden => {
            "The access token does not allow this. Ask whoever grants roles and scopes."
        }
        Cause::NoKeys | Cause::NoRevocations => {
            "Access tokens cannot be verified now. Try again after the seconds in Retry-After."
        }
        _ => {
            "The access token is not accepted: it is malformed, expired, revoked or meant for another. Get a new one."
        }
    }
}

/// What a client needs to do better (RFC 6750 section 3). The same for all bad tokens.
fn challenge(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::NoToken => Some("Bearer realm=\"portcullis\""),
        Cause::BadToken => Some("Bearer realm=\"portcullis\", error=\"invalid_token\""),
        Cause::Forbidden => Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\""),
        _ => None,
    }
}

/// Whether the state of the client's connection is in doubt, so that nothing more may be read from
/// it. What the endpoint did wrong leaves the client's side as it was.
fn closes(cause: Cause) -> bool {
    let is_of_request_or_endpoint = matches!(
        cause,
        Cause::NoRoute
            | Cause::Misdirected
            | Cause::Maintenance
            | Cause::NoToken
            | Cause::BadToken
            | Cause::Forbidden
            | Cause::NoUpgrade
            | Cause::OriginRefused
            | Cause::RateLimited
            | Cause::ConcurrencyLimited
            | Cause::NoKeys
            | Cause::NoRevocations
            | Cause::NoEndpoint
            | Cause::QueueFull
            | Cause::QueueTimeout
            | Cause::EndpointReset
            | Cause::EndpointTimeout
            | Cause::EndpointMalformed
    );
    !is_of_request_or_endpoint && !cause.is_without_connection()
}

impl Failure {
    /// What happened, in words.
    pub(super) fn detail(self) -> &'static str {
        self.detail
    }

    /// The answer to send, a problem document (RFC 9457). `request_id` holds no character that
    /// JSON escapes: it was checked or made by `admit`.
    pub(super) fn answer(self, request_id: Option<&HeaderValue>) -> Answer {
        let mut headers = Vec::with_capacity(4);
        headers.push((
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        ));
        headers.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if let Some(id) = request_id {
            headers.push((X_REQUEST_ID, id.clone()));
        }
        if COME_BACK_LATER.contains(&self.status) {
            headers.push((RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS)));
        }
        if let Some(challenge) = self.challenge {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.push((ALLOW, HeaderValue::from_static(METHODS_ALLOWED)));
        }
        Answer {
            status: self.status,
            headers,
            body: self.body(request_id),
            close: self.closes,
        }
    }

    fn body(self, request_id: Option<&HeaderValue>) -> Bytes {
        let Self {
            outcome,
            status,
            detail,
            ..
        } = self;
        let name = outcome.name();
        let title = status.canonical_reason().unwrap_or_default();
        let status = status.as_str();
        let id = request_id.and_then(|id| id.to_str().ok());
        let (before, id, after) = match id {
            Some(id) => (",\"request_id\":\"", id, "\"}\n"),
            None => ("", "", "}\n"),
        };
        let parts = [
            "{\"type\":\"urn:portcullis:problem:",
            name,
            "\",\"title\":\"",
            title,
            "\",\"status\":",
            status,
            ",\"detail\":\"",
            detail,
            "\"",
            before,
            id,
            after,
        ];
        Bytes::from(parts.concat())
    }
}

/// Longer than a restart of one endpoint takes, short enough not to be felt as an outage.
const RETRY_AFTER_SECONDS: u16 = 5;
/// Statuses that say when to try again (RFC 9110, 10.2.3; RFC 6585, 4).
const COME_BACK_LATER: [StatusCode; 2] = [
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::TOO_MANY_REQUESTS,
];
const METHODS_ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        let found = answer
            .headers
            .iter()
            .find(|(header, _)| header.as_str() == name);
        found.map(|(_, value)| value.to_str().unwrap())
    }

    #[test]
    fn every_cause_has_an_outcome_of_its_own() {
        let outcomes: HashSet<Outcome> = Cause::ALL
            .iter()
            .map(|cause| failure(*cause).outcome)
            .collect();
        assert_eq!(outcomes.len(), Cause::ALL.len());
        assert!(!outcomes.contains(&Outcome::Served));
        assert!(!outcomes.contains(&Outcome::EndpointError));
    }

    #[test]
    fn every_answer_is_a_problem_document() {
        let id = HeaderValue::from_static("abc-1");
        for cause in Cause::ALL {
            let answer = failure(cause).answer(Some(&id));
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["status"], json!(answer.status.as_u16()), "{cause:?}");
            assert_eq!(body["request_id"], json!("abc-1"));
            let kind = body["type"].as_str().unwrap();
            assert_eq!(
                kind,
                format!("urn:portcullis:problem:{}", failure(cause).outcome.name())
            );
            assert!(body["detail"].as_str().unwrap().ends_with('.'), "{cause:?}");
            assert!(!body["title"].as_str().unwrap().is_empty());
            assert_eq!(
                header(&answer, "content-type"),
                Some("application/problem+json")
            );
            assert_eq!(header(&answer, "x-request-id"), Some("abc-1"));
            assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        }
    }

    #[test]
    fn answer_without_a_request_id_is_still_json() {
        let answer = failure(Cause::HeadMalformed).answer(None);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body.get("request_id"), None);
        assert_eq!(header(&answer, "x-request-id"), None);
    }

    #[test]
    fn unavailable_says_when_to_come_back_and_nothing_else_does() {
        for cause in Cause::ALL {
            let answer = failure(cause).answer(None);
            let is_unavailable = COME_BACK_LATER.contains(&answer.status);
            assert_eq!(
                header(&answer, "retry-after").is_some(),
                is_unavailable,
                "{cause:?}"
            );
        }
        let refused = failure(Cause::MethodNotAllowed).answer(None);
        assert!(header(&refused, "allow").unwrap().contains("GET"));
    }

    #[test]
    fn refusals_of_tokens_say_what_is_wanted_and_nothing_else_does() {
        for cause in Cause::ALL {
            let answer = failure(cause).answer(None);
            let expected = match cause {
                Cause::NoToken => Some("Bearer realm=\"portcullis\""),
                Cause::BadToken => Some("Bearer realm=\"portcullis\", error=\"invalid_token\""),
                Cause::Forbidden => {
                    Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\"")
                }
                _ => None,
            };
            assert_eq!(header(&answer, "www-authenticate"), expected, "{cause:?}");
        }
    }

    /// Cause, status, whether the connection closes: changes here are changes of behaviour.
    #[test]
    fn statuses_are_those_of_the_table() {
        for (cause, status, closes) in [
            (Cause::HeadMalformed, 400, true),
            (Cause::HeadTooLarge, 431, true),
            (Cause::TargetTooLong, 414, true),
            (Cause::HeadTimeout, 408, true),
            (Cause::MethodNotAllowed, 405, true),
            (Cause::BodyTooLarge, 413, true),
            (Cause::BodyTimeout, 408, true),
            (Cause::BodyMalformed, 400, true),
            (Cause::PlainHttp, 400, true),
            (Cause::Misdirected, 421, false),
            (Cause::NoRoute, 404, false),
            (Cause::NoUpgrade, 501, false),
            (Cause::OriginRefused, 403, false),
            (Cause::RateLimited, 429, false),
            (Cause::ConcurrencyLimited, 429, false),
            (Cause::Maintenance, 503, false),
            (Cause::NoToken, 401, false),
            (Cause::BadToken, 401, false),
            (Cause::Forbidden, 403, false),
            (Cause::NoKeys, 503, false),
            (Cause::NoRevocations, 503, false),
            (Cause::NoEndpoint, 503, false),
            (Cause::QueueFull, 503, false),
            (Cause::QueueTimeout, 503, false),
            (Cause::ConnectRefused, 502, false),
            (Cause::ConnectTimeout, 504, false),
            (Cause::ConnectFailed, 502, false),
            (Cause::TlsUntrusted, 502, false),
            (Cause::TlsName, 502, false),
            (Cause::TlsExpired, 502, false),
            (Cause::TlsPlain, 502, false),
            (Cause::TlsFailed, 502, false),
            (Cause::NoHttp2, 502, false),
            (Cause::EndpointRefused, 502, false),
            (Cause::EndpointReset, 502, false),
            (Cause::EndpointTimeout, 504, false),
            (Cause::EndpointMalformed, 502, false),
            (Cause::TooManyConnections, 503, true),
            (Cause::Draining, 503, true),
            (Cause::Internal, 500, true),
        ] {
            let answer = failure(cause).answer(None);
            assert_eq!(
                (answer.status.as_u16(), answer.close),
                (status, closes),
                "{cause:?}"
            );
        }
    }
}
