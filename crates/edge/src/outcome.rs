//! Every way a request can end, a closed set: access log, metrics and tests share it. Never chooses a status.
//!
//! The prefix says whose doing it was.
//!
//! | outcome | status | means |
//! |---|---|---|
//! | `served` | the endpoint's | the endpoint's answer (below 500) reached the client whole |
//! | `redirected` | the route's 3xx | the route sends the client elsewhere |
//! | `responded` | the route's | the route answers by itself |
//! | `passed_through` | none | a TLS connection went to an endpoint unopened, and has ended |
//! | `endpoint_error` | the endpoint's 5xx | the endpoint answered 5xx; it was passed on |
//! | `client_malformed` | 400 | the head breaks the protocol |
//! | `client_head_too_large` | 431 | too many header fields or bytes |
//! | `client_target_too_long` | 414 | path and query are too long |
//! | `client_head_timeout` | 408 | the head did not arrive in time |
//! | `client_method` | 405 | CONNECT or TRACE |
//! | `client_body_too_large` | 413 | the body is, or grew, beyond the limit |
//! | `client_body_timeout` | 408 | the body fell silent, or trickled |
//! | `client_body_malformed` | 400 | the body breaks its framing |
//! | `client_plain_http` | 400 | a request in clear text on a TLS port |
//! | `client_handshake` | none | the TLS handshake failed or broke off, or the bytes were not TLS |
//! | `client_handshake_timeout` | none | the TLS handshake was not done in time |
//! | `client_gone` | none, or cut short | the client left before the answer was complete |
//! | `refused_no_route` | 404 | no route matches host and path |
//! | `refused_maintenance` | 503 | its route is closed for maintenance |
//! | `refused_no_token` | 401 | its route asks for an access token, and there is none |
//! | `refused_token` | 401 | the access token is not accepted |
//! | `refused_forbidden` | 403 | the access token lacks a role or a scope |
//! | `refused_server_name` | none | TLS for a server name that has no certificate, where only those are served |
//! | `refused_client_certificate` | none | the client showed no certificate where one is required, or one that is not accepted |
//! | `refused_misdirected` | 421 | the host belongs to other rules for client certificates than the server name of the connection |
//! | `refused_upgrade` | 501 | it asks for another protocol, such as WebSocket, at endpoints that speak HTTP/2 |
//! | `refused_origin` | 403 | a page of another origin asks whether it may, and may not |
//! | `refused_rate_limit` | 429 | it comes more often than a limit allows |
//! | `refused_concurrency_limit` | 429 | as many requests of its key run as a limit allows |
//! | `refused_connections` | 503 | too many connections |
//! | `refused_client` | 403, or none | a list or a ban keeps the client out |
//! | `refused_address_connections` | 429, or none | too many connections of this client |
//! | `refused_proxy_header` | none | the connection does not begin with the PROXY header that its listener asks for, or comes from who may not send one |
//! | `refused_http2_abuse` | none | the guard closed an abusive HTTP/2 connection |
//! | `refused_queue_full` | 503 | every endpoint has all it may have, and so has the queue |
//! | `refused_queue_timeout` | 503 | the request waited for an endpoint as long as it may |
//! | `refused_draining` | 503, none, or cut short | the edge is leaving, or its drain deadline cut the request off |
//! | `failed_no_endpoint` | 503 | no endpoint of the cluster is eligible |
//! | `failed_connect_refused` | 502 | nothing listens at the endpoint's address |
//! | `failed_connect_timeout` | 504 | the endpoint did not accept in time |
//! | `failed_connect` | 502 | the connection could not be made otherwise |
//! | `failed_tls_untrusted` | 502 | the endpoint's certificate comes from nobody who is trusted |
//! | `failed_tls_name` | 502 | the endpoint's certificate is for another name |
//! | `failed_tls_expired` | 502 | the endpoint's certificate is no longer valid, or not yet |
//! | `failed_tls_plain` | 502 | the endpoint does not speak TLS |
//! | `failed_tls` | 502 | the TLS handshake failed otherwise |
//! | `failed_no_http2` | 502 | the endpoint does not speak HTTP/2 |
//! | `failed_endpoint_refused` | 502 | the endpoint refused the request before it began with it (HTTP/2) |
//! | `failed_endpoint_reset` | 502 | the endpoint closed before it answered |
//! | `failed_endpoint_timeout` | 504, or as sent | the endpoint was silent too long before or inside its answer |
//! | `failed_endpoint_malformed` | 502 | the endpoint's answer is not HTTP |
//! | `failed_endpoint_truncated` | as sent | the endpoint stopped inside its answer |
//! | `failed_no_keys` | 503 | the issuer's keys cannot be had, so no token can be verified |
//! | `failed_no_revocations` | 503 | the feed of revocations is lost, and the route does not accept tokens without it |
//! | `internal` | 500 | a fault of ours |

use portcullis_traffic::containment::Trouble;

mod token;

pub use token::TokenResult;

/// How a request ended: a metric label and a log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "the table in the module header documents every variant"
)]
pub enum Outcome {
    Served,
    Redirected,
    Responded,
    PassedThrough,
    EndpointError,
    ClientMalformed,
    ClientHeadTooLarge,
    ClientTargetTooLong,
    ClientHeadTimeout,
    ClientMethod,
    ClientBodyTooLarge,
    ClientBodyTimeout,
    ClientBodyMalformed,
    ClientPlainHttp,
    ClientHandshake,
    ClientHandshakeTimeout,
    ClientGone,
    RefusedNoRoute,
    RefusedMaintenance,
    RefusedNoToken,
    RefusedToken,
    RefusedForbidden,
    RefusedServerName,
    RefusedClientCertificate,
    RefusedMisdirected,
    RefusedUpgrade,
    RefusedOrigin,
    RefusedRateLimit,
    RefusedConcurrencyLimit,
    RefusedConnections,
    RefusedClient,
    RefusedAddressConnections,
    RefusedProxyHeader,
    RefusedHttp2Abuse,
    RefusedQueueFull,
    RefusedQueueTimeout,
    RefusedDraining,
    FailedNoEndpoint,
    FailedConnectRefused,
    FailedConnectTimeout,
    FailedConnect,
    FailedTlsUntrusted,
    FailedTlsName,
    FailedTlsExpired,
    FailedTlsPlain,
    FailedTls,
    FailedNoHttp2,
    FailedEndpointRefused,
    FailedEndpointReset,
    FailedEndpointTimeout,
    FailedEndpointMalformed,
    FailedEndpointTruncated,
    FailedNoKeys,
    FailedNoRevocations,
    Internal,
}

impl Outcome {
    /// All of them, in declaration order.
    pub const ALL: [Self; 55] = [
        Self::Served,
        Self::Redirected,
        Self::Responded,
        Self::PassedThrough,
        Self::EndpointError,
        Self::ClientMalformed,
        Self::ClientHeadTooLarge,
        Self::ClientTargetTooLong,
        Self::ClientHeadTimeout,
        Self::ClientMethod,
        Self::ClientBodyTooLarge,
        Self::ClientBodyTimeout,
        Self::ClientBodyMalformed,
        Self::ClientPlainHttp,
        Self::ClientHandshake,
        Self::ClientHandshakeTimeout,
        Self::ClientGone,
        Self::RefusedNoRoute,
        Self::RefusedMaintenance,
        Self::RefusedNoToken,
        Self::RefusedToken,
        Self::RefusedForbidden,
        Self::RefusedServerName,
        Self::RefusedClientCertificate,
        Self::RefusedMisdirected,
        Self::RefusedUpgrade,
        Self::RefusedOrigin,
        Self::RefusedRateLimit,
        Self::RefusedConcurrencyLimit,
        Self::RefusedConnections,
        Self::RefusedClient,
        Self::RefusedAddressConnections,
        Self::RefusedProxyHeader,
        Self::RefusedHttp2Abuse,
        Self::RefusedQueueFull,
        Self::RefusedQueueTimeout,
        Self::RefusedDraining,
        Self::FailedNoEndpoint,
        Self::FailedConnectRefused,
        Self::FailedConnectTimeout,
        Self::FailedConnect,
        Self::FailedTlsUntrusted,
        Self::FailedTlsName,
        Self::FailedTlsExpired,
        Self::FailedTlsPlain,
        Self::FailedTls,
        Self::FailedNoHttp2,
        Self::FailedEndpointRefused,
        Self::FailedEndpointReset,
        Self::FailedEndpointTimeout,
        Self::FailedEndpointMalformed,
        Self::FailedEndpointTruncated,
        Self::FailedNoKeys,
        Self::FailedNoRevocations,
        Self::Internal,
    ];

    /// The name in logs, metrics and problem documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Redirected => "redirected",
            Self::Responded => "responded",
            Self::PassedThrough => "passed_through",
            Self::EndpointError => "endpoint_error",
            Self::ClientMalformed => "client_malformed",
            Self::ClientHeadTooLarge => "client_head_too_large",
            Self::ClientTargetTooLong => "client_target_too_long",
            Self::ClientHeadTimeout => "client_head_timeout",
            Self::ClientMethod => "client_method",
            Self::ClientBodyTooLarge => "client_body_too_large",
            Self::ClientBodyTimeout => "client_body_timeout",
            Self::ClientBodyMalformed => "client_body_malformed",
            Self::ClientPlainHttp => "client_plain_http",
            Self::ClientHandshake => "client_handshake",
            Self::ClientHandshakeTimeout => "client_handshake_timeout",
            Self::ClientGone => "client_gone",
            Self::RefusedNoRoute => "refused_no_route",
            Self::RefusedMaintenance => "refused_maintenance",
            Self::RefusedNoToken => "refused_no_token",
            Self::RefusedToken => "refused_token",
            Self::RefusedForbidden => "refused_forbidden",
            Self::RefusedServerName => "refused_server_name",
            Self::RefusedClientCertificate => "refused_client_certificate",
            Self::RefusedMisdirected => "refused_misdirected",
            Self::RefusedUpgrade => "refused_upgrade",
            Self::RefusedOrigin => "refused_origin",
            Self::RefusedRateLimit => "refused_rate_limit",
            Self::RefusedConcurrencyLimit => "refused_concurrency_limit",
            Self::RefusedConnections => "refused_connections",
            Self::RefusedClient => "refused_client",
            Self::RefusedAddressConnections => "refused_address_connections",
            Self::RefusedProxyHeader => "refused_proxy_header",
            Self::RefusedHttp2Abuse => "refused_http2_abuse",
            Self::RefusedQueueFull => "refused_queue_full",
            Self::RefusedQueueTimeout => "refused_queue_timeout",
            Self::RefusedDraining => "refused_draining",
            Self::FailedNoEndpoint => "failed_no_endpoint",
            Self::FailedConnectRefused => "failed_connect_refused",
            Self::FailedConnectTimeout => "failed_connect_timeout",
            Self::FailedConnect => "failed_connect",
            Self::FailedTlsUntrusted => "failed_tls_untrusted",
            Self::FailedTlsName => "failed_tls_name",
            Self::FailedTlsExpired => "failed_tls_expired",
            Self::FailedTlsPlain => "failed_tls_plain",
            Self::FailedTls => "failed_tls",
            Self::FailedNoHttp2 => "failed_no_http2",
            Self::FailedEndpointRefused => "failed_endpoint_refused",
            Self::FailedEndpointReset => "failed_endpoint_reset",
            Self::FailedEndpointTimeout => "failed_endpoint_timeout",
            Self::FailedEndpointMalformed => "failed_endpoint_malformed",
            Self::FailedEndpointTruncated => "failed_endpoint_truncated",
            Self::FailedNoKeys => "failed_no_keys",
            Self::FailedNoRevocations => "failed_no_revocations",
            Self::Internal => "internal",
        }
    }

    /// Position in [`Outcome::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Why something failed, in words every engine can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The request head breaks the protocol.
    HeadMalformed,
    /// Too many header fields or bytes.
    HeadTooLarge,
    /// Path and query are too long.
    TargetTooLong,
    /// The head did not arrive in time.
    HeadTimeout,
    /// CONNECT or TRACE.
    MethodNotAllowed,
    /// The request body is beyond the limit.
    BodyTooLarge,
    /// The request body fell silent, or arrives too slowly.
    BodyTimeout,
    /// The request body breaks its framing.
    BodyMalformed,
    /// A request in clear text where TLS is spoken.
    PlainHttp,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake was not done in time.
    HandshakeTimeout,
    /// TLS for a server name without certificate.
    UnknownName,
    /// No client certificate, or one that is not accepted.
    ClientCertificate,
    /// The host belongs to other rules for client certificates than the connection.
    Misdirected,
    /// The client left.
    ClientGone,
    /// No route matches.
    NoRoute,
    /// The route is closed.
    Maintenance,
    /// No access token.
    NoToken,
    /// An access token that is not accepted.
    BadToken,
    /// An access token that lacks a role or a scope.
    Forbidden,
    /// Another protocol is asked for, and the endpoints speak HTTP/2.
    NoUpgrade,
    /// A preflight of a page that may not read.
    OriginRefused,
    /// The request comes too often.
    RateLimited,
    /// Too many requests of its key run.
    ConcurrencyLimited,
    /// Tokens cannot be verified for want of keys.
    NoKeys,
    /// Nobody can say which tokens were revoked.
    NoRevocations,
    /// No endpoint is eligible.
    NoEndpoint,
    /// All endpoints are full, and so is the queue.
    QueueFull,
    /// The request waited for a place as long as it may.
    QueueTimeout,
    /// Connection refused by the endpoint's host.
    ConnectRefused,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// The connection could not be made for another reason.
    ConnectFailed,
    /// Nobody who is trusted vouches for the endpoint's certificate.
    TlsUntrusted,
    /// The endpoint's certificate is for another name.
    TlsName,
    /// The endpoint's certificate is no longer valid, or not yet.
    TlsExpired,
    /// What the endpoint answered is no TLS.
    TlsPlain,
    /// The handshake failed for another reason.
    TlsFailed,
    /// The endpoint does not speak HTTP/2.
    NoHttp2,
    /// The endpoint has not begun with the request, as it says.
    EndpointRefused,
    /// The endpoint closed before a response head.
    EndpointReset,
    /// No byte from the endpoint within the read or write timeout.
    EndpointTimeout,
    /// The endpoint's answer breaks the protocol.
    EndpointMalformed,
    /// The endpoint stopped after its response head.
    EndpointTruncated,
    /// The listener or the process holds as many connections as it may.
    TooManyConnections,
    /// A list or a ban keeps the client out.
    ClientRefused,
    /// The client holds as many connections as it may.
    TooManyOfAddress,
    /// The connection does not begin with the PROXY header that it must begin with.
    ProxyHeader,
    /// The guard saw HTTP/2 frames beyond its limits.
    Http2Abuse,
    /// The edge is leaving.
    Draining,
    /// A fault of ours.
    Internal,
}

impl Cause {
    /// All of them, for tables and tests.
    pub const ALL: [Self; 50] = [
        Self::HeadMalformed,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::HeadTimeout,
        Self::MethodNotAllowed,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::BodyMalformed,
        Self::PlainHttp,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::UnknownName,
        Self::ClientCertificate,
        Self::Misdirected,
        Self::ClientGone,
        Self::NoRoute,
        Self::Maintenance,
        Self::NoToken,
        Self::BadToken,
        Self::Forbidden,
        Self::NoUpgrade,
        Self::OriginRefused,
        Self::RateLimited,
        Self::ConcurrencyLimited,
        Self::NoKeys,
        Self::NoRevocations,
        Self::NoEndpoint,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::TlsUntrusted,
        Self::TlsName,
        Self::TlsExpired,
        Self::TlsPlain,
        Self::TlsFailed,
        Self::NoHttp2,
        Self::EndpointRefused,
        Self::EndpointReset,
        Self::EndpointTimeout,
        Self::EndpointMalformed,
        Self::EndpointTruncated,
        Self::TooManyConnections,
        Self::ClientRefused,
        Self::TooManyOfAddress,
        Self::ProxyHeader,
        Self::Http2Abuse,
        Self::Draining,
        Self::Internal,
    ];

    /// Whether the endpoint is to blame: these count against it.
    pub fn is_endpoint_fault(self) -> bool {
        self.trouble().is_some()
    }

    /// Whether the endpoint has seen nothing of the request, or has not begun with it.
    pub fn is_without_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectRefused
                | Self::ConnectTimeout
                | Self::ConnectFailed
                | Self::NoHttp2
                | Self::EndpointRefused
        ) || self.is_tls()
    }

    /// Whether there was a connection, but no secure one.
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Self::TlsUntrusted
                | Self::TlsName
                | Self::TlsExpired
                | Self::TlsPlain
                | Self::TlsFailed
        )
    }

    /// What containment is told of the endpoint; `None` if it is not to blame.
    pub fn trouble(self) -> Option<Trouble> {
        match self {
            Self::ConnectRefused => Some(Trouble::Refused),
            Self::ConnectTimeout => Some(Trouble::ConnectTimeout),
            Self::ConnectFailed => Some(Trouble::ConnectFailed),
            _ if self.is_tls() => Some(Trouble::Tls),
            Self::NoHttp2 => Some(Trouble::ConnectFailed),
            Self::EndpointRefused => Some(Trouble::Reset),
            Self::EndpointReset => Some(Trouble::Reset),
            Self::EndpointTimeout => Some(Trouble::Timeout),
            Self::EndpointMalformed => Some(Trouble::Malformed),
            Self::EndpointTruncated => Some(Trouble::Truncated),
            _ => None,
        }
    }
}

/// Why another attempt is made: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// No connection came about.
    Connect,
    /// The connection broke before a response head.
    Reset,
    /// No response head in time.
    Timeout,
    /// The answer was not HTTP.
    Malformed,
    /// The answer was 502, 503 or 504.
    Status,
    /// The endpoint went out while the request waited for it.
    EndpointOut,
}

impl RetryReason {
    /// All of them, in declaration order.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Reset,
        Self::Timeout,
        Self::Malformed,
        Self::Status,
        Self::EndpointOut,
    ];

    /// As metrics say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Status => "status",
            Self::EndpointOut => "endpoint_out",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_is_the_position_in_all() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position, "{outcome:?}");
        }
    }

    #[test]
    fn names_are_unique_and_in_the_table() {
        let table = include_str!("outcome.rs");
        let mut seen = std::collections::HashSet::new();
        for outcome in Outcome::ALL {
            assert!(seen.insert(outcome.name()), "{} twice", outcome.name());
            assert!(
                table.contains(&format!("//! | `{}` |", outcome.name())),
                "{outcome:?}"
            );
        }
    }
}
