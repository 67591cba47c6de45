//! A cluster after parsing. Never holds a string that somebody must parse again.

use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use rustls_pki_types::ServerName;

use super::Affinity;
use super::discovery::Discover;

use super::retries::Retries;

use super::{HealthCheck, Protocol, ProxyVersion, UpstreamTls};

/// A named set of interchangeable endpoints and the policy over them.
#[derive(Debug)]
pub struct Cluster {
    /// Unique; the `cluster` label in logs and metrics.
    pub name: String,
    /// How to choose an endpoint (default `least_conn`).
    pub balance: Balance,
    /// Those that are written down. Host names are resolved when the file is read, one endpoint per address.
    pub endpoints: Vec<Endpoint>,
    /// Where more are found.
    pub discover: Discover,
    /// Active checks; with none endpoints count as healthy.
    pub health: Vec<HealthCheck>,
    /// Passive ejection; `None` switches it off.
    pub ejection: Option<Ejection>,
    /// Circuit breaker of each endpoint; `None` (default) is off.
    pub breaker: Option<Breaker>,
    /// Time in which an endpoint that comes back grows into its share (default 30 s); `None`: at once.
    pub slow_start: Option<Duration>,
    /// Where requests wait while every endpoint has all it may have; `None` switches it off.
    pub queue: Option<Queue>,
    /// Further attempts after the first.
    pub retries: Retries,
    /// Deadlines towards endpoints.
    pub timeouts: UpstreamTimeouts,
    /// TLS towards endpoints; `None` (default) is plain.
    pub tls: Option<Arc<UpstreamTls>>,
    /// What endpoints speak (default HTTP/1.1).
    pub protocol: Protocol,
    /// Whether every connection begins with whose it is; `None` (default) is off.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether a client is kept at one endpoint; `None` (default) is off.
    pub affinity: Option<Affinity>,
}

/// Balancing algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest requests in flight per weight.
    LeastConn,
    /// The less busy of two drawn at random.
    P2c,
    /// The quicker of two drawn at random, by latency and requests in flight.
    PeakEwma,
    /// Consistent hashing.
    Hash {
        /// What decides.
        key: HashKey,
        /// Most requests of one endpoint, in percent of the mean (default 150); `None`: as many as
        /// come.
        bounded_load_percent: Option<u16>,
    },
}

/// What consistent hashing looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address, behind trusted proxies.
    Source,
    /// The path without its query.
    Path,
    /// The host, without port.
    Host,
    /// The first field of this name.
    Header(HeaderName),
    /// The first cookie of this name.
    Cookie(String),
    /// The first query parameter of this name, as sent.
    Query(String),
}

/// One address in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// The host name or address under which it was written; `None` if no certificate can carry it.
    pub host: Option<ServerName<'static>>,
    /// Share of the traffic (default 1); 0 takes none.
    pub weight: u16,
    /// Tier (default 0): higher numbers get traffic only when the tiers before fall short.
    pub priority: u8,
    /// Where it is.
    pub zone: Option<String>,
    /// Requests in flight at once (default 1024).
    pub max_requests: NonZeroU32,
}

/// Where requests wait for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that wait at once (default 256).
    pub length: NonZeroU32,
    /// How long one waits (default 5 s).
    pub timeout: Duration,
}

/// Passive ejection after failures seen on real traffic.
#[derive(Clone, Debug)]
pub struct Ejection {
    /// Failures in a row within `window` (default 3).
    pub failures: NonZeroU32,
    /// Default 30 s.
    pub window: Duration,
    /// How long an ejected endpoint stays out (default 30 s), times how often it happened.
    pub duration: Duration,
    /// The longest it stays out (default 300 s).
    pub max_duration: Duration,
    /// Answers 502, 503 or 504 in a row that eject (default 5).
    pub gateway_errors: Option<NonZeroU32>,
    /// Share of failed requests that ejects (default 50).
    pub error_percent: Option<NonZeroU8>,
    /// Requests before that share counts (default 10).
    pub error_requests: NonZeroU32,
    /// Largest share of a cluster that may be out at once (default 50); never the last endpoint.
    pub max_percent: u8,
}

/// Circuit breaker of each endpoint.
#[derive(Clone, Debug)]
pub struct Breaker {
    /// Failures in a row that open it (default 5).
    pub failures: NonZeroU32,
    /// Share of failed requests within `window` that opens it (default 50).
    pub error_percent: Option<NonZeroU8>,
    /// Requests before that share counts (default 10).
    pub error_requests: NonZeroU32,
    /// Default 10 s.
    pub window: Duration,
    /// How long it stays open (default 60 s).
    pub duration: Duration,
    /// Successes that close it (default 5).
    pub successes: NonZeroU32,
    /// Whether it acts.
    pub mode: BreakerMode,
}

/// Whether a breaker acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerMode {
    /// It does.
    Enforce,
    /// It only tells what it would do.
    Monitor,
}

/// Deadlines towards endpoints.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTimeouts {
    /// Until a connection stands, TLS included (default 5 s).
    pub connect: Duration,
    /// Longest silence while a response is awaited or read (default 60 s).
    pub read: Duration,
    /// Longest stall of a request write (default 60 s).
    pub write: Duration,
    /// How long an idle pooled connection is kept (default 60 s).
    pub idle: Duration,
}
