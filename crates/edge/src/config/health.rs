//! Health checks after parsing. Never holds a string that somebody must parse again.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
pub use portcullis_traffic::containment::Role;
use rustls_pki_types::ServerName;

use super::LiveClient;

/// One active health check of a cluster's endpoints.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// What an endpoint must do to pass.
    pub question: Question,
    /// Asks over HTTP/2, as the cluster's requests do.
    pub is_http2: bool,
    /// Port probed (default: the endpoint's).
    pub port: Option<NonZeroU16>,
    /// Probes over TLS; `None` (default) is plain.
    pub tls: Option<CheckTls>,
    /// When the next probe follows.
    pub pace: CheckPace,
    /// Deadline of a whole probe (default 5 s).
    pub timeout: Duration,
    /// Successes in a row that make it pass again (default 2).
    pub rise: NonZeroU32,
    /// Failures in a row that make it fail (default 3).
    pub fall: NonZeroU32,
    /// What its failing means (default: the endpoint is out).
    pub role: Role,
}

/// What an endpoint must do to pass.
#[derive(Clone, Debug)]
pub enum Question {
    /// Accept a connection, and finish the handshake if there is TLS.
    Connect,
    /// Answer a request as expected.
    Http(HttpQuestion),
    /// Say by the gRPC health protocol that it is serving.
    Grpc(GrpcQuestion),
}

/// A question by the gRPC health protocol, over HTTP/2: with prior knowledge, or over TLS.
#[derive(Clone, Debug)]
pub struct GrpcQuestion {
    /// The service asked about; empty (default) is the endpoint as a whole.
    pub service: String,
    /// `:authority` sent (default: the endpoint's address).
    pub host: Option<String>,
}

/// A request and the answer that passes.
#[derive(Clone, Debug)]
pub struct HttpQuestion {
    /// Default GET.
    pub method: CheckMethod,
    /// Path and query (default `/health/ready`).
    pub path: String,
    /// `Host` header sent (default: the endpoint's address).
    pub host: Option<String>,
    /// Further headers sent.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
    /// Status codes that pass (default 200-299).
    pub expect: RangeInclusive<u16>,
    /// Headers that the answer must have.
    pub headers: Vec<ExpectedHeader>,
    /// Text that must occur in the body.
    pub body: Option<String>,
}

/// How a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckMethod {
    /// With an answer that has a body.
    Get,
    /// Without a body.
    Head,
}

/// A header that an answer must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedHeader {
    /// Its name.
    pub name: HeaderName,
    /// Its value, byte by byte; `None` takes any.
    pub value: Option<Vec<u8>>,
}

/// When probes follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckPace {
    /// Time from probe to probe (default 10 s).
    pub interval: Duration,
    /// The same while a verdict is about to change and while nobody is eligible (default 2 s); at
    /// most `interval`.
    pub fast_interval: Duration,
    /// How much both vary, in percent (default 15).
    pub jitter_percent: u8,
}

/// How probes speak TLS.
#[derive(Clone)]
pub struct CheckTls {
    /// Name sent and verified (default: the host of the check, else the endpoint's address).
    pub server_name: Option<ServerName<'static>>,
    /// Whether these are the settings of the cluster's requests, so that the endpoint's own name comes
    /// before the check's host.
    pub is_as_requests: bool,
    /// Whom the edge trusts and what it shows of itself, as the files say it now.
    pub live: Arc<LiveClient>,
}

impl fmt::Debug for CheckTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckTls")
            .field("server_name", &self.server_name)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}
