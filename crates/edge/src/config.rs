//! The edge's configuration after parsing: every value checked, every reference resolved.
//! Never serialised, and never holds a string that somebody must parse again.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_ops::Secret;
pub use portcullis_traffic::route::{HostPattern, PathPattern};

mod certificate;
mod check;
mod file;
// One key a line: a table is read by its columns.
#[rustfmt::skip]
mod keys;
mod names;
mod parse;

pub use check::{CheckReport, check, json_schema, key_paths, load, parse, reference};
pub use parse::{Parsed, Resolve, Surroundings, parse_in};

/// Everything one edge process runs, as one consistent whole.
#[derive(Debug)]
pub struct Config {
    /// Bound addresses, in file order. At least one.
    pub listeners: Vec<Listener>,
    /// Named sets of endpoints; [`ClusterId`] indexes this list.
    pub clusters: Vec<Cluster>,
    /// Routes in file order; precedence comes from the patterns, not the order.
    pub routes: Vec<Route>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where `/livez`, `/readyz` and `/metrics` answer. `None` switches them off.
    pub admin: Option<SocketAddr>,
    /// Where finished requests are written.
    pub access_log: AccessLog,
    /// How the process leaves.
    pub shutdown: Shutdown,
    /// Connections of all listeners together (default 50,000).
    pub max_connections: u32,
    /// Threads that carry requests; `None` (default) is one per processor core.
    pub workers: Option<NonZeroUsize>,
}

/// Position of a cluster in [`Config::clusters`]. Made by the parser, so it always resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub usize);

/// One bound address with what it does to the bytes that arrive.
#[derive(Debug)]
pub struct Listener {
    /// Unique; the `listener` label in logs and metrics. Defaults to the address as written.
    pub name: String,
    /// Address to bind. Port 0 lets the kernel choose (tests).
    pub address: SocketAddr,
    /// Certificates to terminate TLS with; `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// What carries HTTP/1.1 (default `native`).
    pub engine: Engine,
    /// Server names whose TLS bytes go to a cluster untouched. First match wins.
    pub passthrough: Vec<Passthrough>,
    /// Connections open at once on this listener (default 10,000).
    pub max_connections: u32,
    /// Sizes and counts.
    pub limits: Limits,
    /// Deadlines towards the client.
    pub timeouts: ClientTimeouts,
    /// HTTP/2 limits.
    pub http2: Http2,
}

/// What carries the HTTP/1.1 of a listener. HTTP/2 is always pingora's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Our own.
    Native,
    /// pingora's proxy.
    Pingora,
}

/// TLS termination on one listener.
#[derive(Debug)]
pub struct Tls {
    /// Chosen by server name; the first answers clients that send none or an unknown one.
    pub certificates: Vec<Certificate>,
    /// Oldest protocol version accepted (default 1.2).
    pub min_version: TlsVersion,
}

/// Oldest TLS version a listener accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// A certificate chain and its key, read and matched with each other at parse time.
#[derive(Debug)]
pub struct Certificate {
    /// File with the chain, leaf first, PEM.
    pub cert_path: PathBuf,
    /// File with the private key, PEM.
    pub key_path: PathBuf,
    /// DNS names of the leaf (subject alternative names), lower case.
    pub names: Vec<NamePattern>,
    /// End of validity of the leaf, seconds since the Unix epoch.
    pub not_after_unix_seconds: i64,
    /// Ready for rustls.
    pub key: Arc<rustls::sign::CertifiedKey>,
}

/// A server name as certificates and passthrough rules give it, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// `auth.example.com`
    Exact(String),
    /// `*.example.com`, kept as `example.com`; matches one label in front (RFC 6125 6.4.3).
    Wildcard(String),
}

impl NamePattern {
    /// Whether the pattern takes this server name, given in lower case.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Wildcard(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
        }
    }
}

/// Raw TLS for one server name.
#[derive(Debug)]
pub struct Passthrough {
    /// Server name in the ClientHello.
    pub sni: NamePattern,
    /// Where its bytes go.
    pub cluster: ClusterId,
}

/// Sizes and counts that bound one client.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Request line and header fields together (default 32 KiB): 431 beyond.
    pub header_bytes: usize,
    /// Header fields (default 100): 431 beyond.
    pub header_count: usize,
    /// Path and query (default 8 KiB): 414 beyond.
    pub target_bytes: usize,
    /// Request body (default 1 MiB): 413 beyond.
    pub body_bytes: u64,
    /// Least bytes a second of a request body, on average over the time it was waited for (default
    /// 240): 408 below. 0 allows any.
    pub body_rate: u64,
    /// Requests on one connection before it is closed politely (default 1,000).
    pub requests_per_connection: NonZeroU32,
    /// Age after which a connection is closed politely (default 1 h).
    pub connection_age: Duration,
}

/// Deadlines towards the client.
#[derive(Clone, Debug)]
pub struct ClientTimeouts {
    /// TLS handshake, ClientHello included (default 10 s).
    pub handshake: Duration,
    /// Whole request header, from its first byte; also from accept to the first byte (default 10 s): 408.
    pub header: Duration,
    /// Longest silence inside a request body (default 30 s): 408.
    pub body: Duration,
    /// Longest stall of a response write (default 60 s).
    pub write: Duration,
    /// Idle time between requests (default 75 s).
    pub keep_alive: Duration,
}

/// HTTP/2 limits of one listener. Frame-rate limits are constants of the guard.
#[derive(Clone, Debug)]
pub struct Http2 {
    /// Concurrent streams per connection (default 100).
    pub max_streams: u32,
    /// Flow-control window of a stream, bytes (default 64 KiB).
    pub stream_window: u32,
    /// Flow-control window of a connection, bytes (default 1 MiB).
    pub connection_window: u32,
}

/// A named set of interchangeable endpoints and the policy over them.
#[derive(Debug)]
pub struct Cluster {
    /// Unique; the `cluster` label in logs and metrics.
    pub name: String,
    /// How to choose an endpoint (default `least_conn`).
    pub balance: Balance,
    /// At least one. Host names are resolved when the file is read, one endpoint per address.
    pub endpoints: Vec<Endpoint>,
    /// Active check; `None` means endpoints count as healthy.
    pub health: Option<HealthCheck>,
    /// Passive ejection; `None` switches it off.
    pub ejection: Option<Ejection>,
    /// Further attempts after the first (default 1).
    pub retries: u32,
    /// Deadlines towards endpoints.
    pub timeouts: UpstreamTimeouts,
    /// Cookie affinity; `None` (default) is off.
    pub affinity: Option<Affinity>,
}

/// Balancing algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest requests in flight per weight.
    LeastConn,
}

/// One address in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// Share of the traffic (default 1).
    pub weight: NonZeroU16,
}

/// Active HTTP health check.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// Path of the GET (default `/health/ready`).
    pub path: String,
    /// `Host` header sent (default: the endpoint's address).
    pub host: Option<String>,
    /// Time between probes of one endpoint (default 10 s).
    pub interval: Duration,
    /// Deadline of a whole probe (default 5 s).
    pub timeout: Duration,
    /// Successes in a row that bring an unhealthy endpoint back (default 2).
    pub rise: NonZeroU32,
    /// Failures in a row that take a healthy endpoint out (default 3).
    pub fall: NonZeroU32,
    /// Status codes that count as success (default 200-299).
    pub expect: RangeInclusive<u16>,
}

/// Passive ejection after failures seen on real traffic.
#[derive(Clone, Debug)]
pub struct Ejection {
    /// Failures in a row within `window` (default 3).
    pub failures: NonZeroU32,
    /// Default 30 s.
    pub window: Duration,
    /// How long an ejected endpoint stays out (default 30 s).
    pub duration: Duration,
    /// Largest share of a cluster that may be out at once (default 50); never the last endpoint.
    pub max_percent: u8,
}

/// Deadlines towards endpoints.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTimeouts {
    /// TCP connect (default 5 s).
    pub connect: Duration,
    /// Longest silence while a response is awaited or read (default 60 s).
    pub read: Duration,
    /// Longest stall of a request write (default 60 s).
    pub write: Duration,
    /// How long an idle pooled connection is kept (default 60 s).
    pub idle: Duration,
}

/// Cookie affinity: the cookie is opaque and authenticated.
#[derive(Debug)]
pub struct Affinity {
    /// Cookie name (default `_portcullis_affinity`).
    pub cookie: String,
    /// Lifetime of the binding (default 1 h).
    pub ttl: Duration,
    /// Key material shared by several edges; `None` draws one at start, so bindings end with the process.
    pub secret: Option<Secret<String>>,
}

/// Match rule and where its requests go.
#[derive(Debug)]
pub struct Route {
    /// Unique; the `route` label in logs and metrics. Defaults to host and path as written.
    pub name: String,
    /// Which hosts.
    pub host: HostPattern,
    /// Which paths.
    pub path: PathPattern,
    /// Where to.
    pub cluster: ClusterId,
    /// Whether requests of this route are written to the access log (default yes).
    pub access_log: bool,
}

/// Where finished requests are written, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output (default).
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// How the process leaves after SIGTERM.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Readiness fails, everything is still served (default 15 s; 0 on a laptop).
    pub delay: Duration,
    /// Then: no new connections, what runs may finish (default 30 s).
    pub drain: Duration,
}

#[cfg(test)]
mod tests;
