//! A listener after parsing. Never holds a string that somebody must parse again.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_traffic::route::PathRules;

use super::{
    ClientAuth, ClientLists, ClusterId, ConnectionsPerAddress, ProxyProtocol, RateLimitId,
    SecurityHeaders, TicketKeys,
};

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
    /// Connections that one client may have; `None` (default) knows no bound but that of all.
    pub connections_per_address: Option<ConnectionsPerAddress>,
    /// Which clients may come in.
    pub clients: Option<ClientLists>,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Fields that make browsers careful, on routes that say nothing of them (default none).
    pub security_headers: Option<SecurityHeaders>,
    /// The port of https that everybody is sent to; `None` (default): nobody is.
    pub redirect_to_https: Option<u16>,
    /// What becomes of odd paths.
    pub paths: PathRules,
    /// What limits all requests here.
    pub rate_limits: Vec<RateLimitId>,
    /// Sizes and counts.
    pub limits: Limits,
    /// Deadlines towards the client.
    pub timeouts: ClientTimeouts,
    /// HTTP/2 limits.
    pub http2: Http2,
}

/// What carries the HTTP/1.1 of a listener. HTTP/2 is always native.
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
    /// What becomes of clients that name no server, or one without certificate (default: the first
    /// certificate).
    pub unknown_name: UnknownName,
    /// Oldest protocol version accepted (default 1.2).
    pub min_version: TlsVersion,
    /// Secrets of session tickets; `None` (default) draws keys for this process alone.
    pub ticket_keys: Option<TicketKeys>,
    /// Certificates that clients show; for each name the first rules that are for it.
    pub client_auth: Vec<ClientAuth>,
}

/// What a client gets that asks for a server name without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownName {
    /// The first certificate.
    Default,
    /// An alert.
    Refuse,
}

/// Oldest TLS version spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// A certificate chain and its key, read and matched with each other at parse time.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it was read.
    pub files: CertificateFiles,
    /// DNS names of the leaf (subject alternative names), lower case.
    pub names: Vec<NamePattern>,
    /// End of validity of the leaf, seconds since the Unix epoch.
    pub not_after_unix_seconds: i64,
    /// Until when the OCSP staple holds, seconds since the Unix epoch; `None` without one.
    pub ocsp_until: Option<i64>,
    /// Ready for rustls.
    pub key: Arc<rustls::sign::CertifiedKey>,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// What the authority last said of it (an OCSP response, DER).
    pub ocsp: Option<PathBuf>,
}

/// A server name as certificates and passthrough rules give it, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// `auth.example.com`
    Exact(String),
    /// `*.example.com`, kept as `example.com`; matches one label in front (RFC 6125 6.4.3).
    Wildcard(String),
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
        }
    }
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
    /// Longest silence of an upgraded connection (default 1 h).
    pub tunnel: Duration,
}

/// HTTP/2 on one listener.
#[derive(Clone, Debug)]
pub struct Http2 {
    /// Whether a plain listener takes connections that begin with the HTTP/2 preface (default no).
    pub cleartext: bool,
    /// Concurrent streams per connection (default 100).
    pub max_streams: u32,
    /// Flow-control window of a stream, bytes (default 64 KiB).
    pub stream_window: u32,
    /// Flow-control window of a connection, bytes (default 1 MiB).
    pub connection_window: u32,
    /// What a client may send that is not a request.
    pub frames: FrameLimits,
}

/// HTTP/2 frames of one connection that are work without being requests: how many each 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// RST_STREAM of the client (default 100).
    pub resets: u32,
    /// Streams that we reset for a mistake of the client (default 100).
    pub stream_errors: u32,
    /// PING (default 100).
    pub pings: u32,
    /// SETTINGS (default 50).
    pub settings: u32,
    /// CONTINUATION, of one header block instead of each 10 s (default 5).
    pub continuations: u32,
    /// Frames that carry nothing (default 1,000).
    pub idle: u32,
}
