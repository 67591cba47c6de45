//! The edge's configuration after parsing: every value checked, every reference resolved.
//! Never serialised, and never holds a string that somebody must parse again.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
pub use portcullis_traffic::route::{Conditions, HostPattern, PathPattern, Pattern};

mod address;
mod admin;
mod affinity;
mod authorities;
pub(crate) mod certificate;
mod check;
pub(crate) mod client_auth;
mod client_certificate;
mod clients;
mod cluster;
pub(crate) mod discovery;
pub(crate) mod endpoint_file;
mod file;
mod flag;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod health;
mod issuer;
// One key a line: a table is read by its columns.
#[rustfmt::skip]
mod keys;
mod listener;
mod live_client;
mod names;
mod ocsp;
mod page;
mod parse;
mod policies;
mod problem;
mod rate_limit;
mod retries;
mod revocations;
mod route;
mod template;
pub(crate) mod ticket_keys;
mod upstream;
mod words;

pub use admin::{Admin, AdminRole, AdminToken, AuditLog};
pub use affinity::{Affinity, AffinityBy, AffinityCookie, AffinityValue, SameSite, Secure};
pub(crate) use check::table;
pub use check::{CheckReport, check, json_schema, key_paths, load, parse, reference};
pub use client_auth::{ClientAuth, ClientPolicies, ClientRules, ClientTrust};
pub use clients::{ClientLists, ConnectionsPerAddress, Forwarded, ForwardedBy, ProxyProtocol};
pub use cluster::{
    Balance, Breaker, BreakerMode, Cluster, Ejection, Endpoint, HashKey, Queue, UpstreamTimeouts,
};
pub use discovery::{
    Discover, DnsPlace, DnsQuestion, EndpointDefaults, Family, Place, RedisPlace, Source,
};
pub use flag::{Flag, FlagKey};
pub use health::{
    CheckMethod, CheckPace, CheckTls, ExpectedHeader, GrpcQuestion, HealthCheck, HttpQuestion,
    Question, Role,
};
pub use issuer::{Auth, Issuer, IssuerId, JwksSource, JwksTls, Tunnels};
pub use listener::{
    Certificate, CertificateFiles, ClientTimeouts, Engine, FrameLimits, Http2, Limits, Listener,
    NamePattern, Passthrough, Tls, TlsVersion, UnknownName,
};
pub use live_client::{ClientFiles, CurrentClient, LiveClient};
pub use page::{Maintenance, Page, Words};
pub(crate) use parse::FLAGS_MAX;
pub use parse::{Parsed, Resolve, Surroundings, parse_in};
pub use policies::{Cors, CorsPolicy, Origin, SecurityHeaders};
pub use problem::Problem;
pub use rate_limit::{Cost, Criticality, KeyPart, LimitFields, RateLimit, RateLimitId, Tiers};
pub use retries::{Backoff, BudgetPolicy, Retries};
pub use revocations::{Follow, WhenLost};
pub use route::{
    Action, HeaderChanges, HostChange, Location, PathChange, PathPart, Redirect, Respond, Rewrite,
    Route, Scheme, Split, SplitBy,
};
pub use template::{Part, Placeholder, Template};
pub use ticket_keys::TicketKeys;
pub use upstream::{ClientCertificate, Protocol, ProxyVersion, UpstreamTls};

/// Everything one edge process runs, as one consistent whole.
#[derive(Debug)]
pub struct Config {
    /// Bound addresses, in file order. At least one.
    pub listeners: Vec<Listener>,
    /// Named sets of endpoints; [`ClusterId`] indexes this list.
    pub clusters: Vec<Cluster>,
    /// Routes in file order; precedence comes from the patterns, not the order.
    pub routes: Vec<Route>,
    /// Whose tokens are believed; [`IssuerId`] indexes this list.
    pub issuers: Vec<Issuer>,
    /// How often clients may come; [`RateLimitId`] indexes this list.
    pub rate_limits: Vec<RateLimit>,
    /// Features that are on for some clients; [`portcullis_traffic::flag::FlagId`] indexes this list.
    pub flags: Vec<Flag>,
    /// Where this edge is; endpoints of the same zone come first. `None` (default): nowhere.
    pub zone: Option<String>,
    /// What to say with answers of ours; the first match wins.
    pub pages: Vec<Page>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// In which fields they are, and endpoints are told.
    pub forwarded: Forwarded,
    /// The operator's listener. `None` switches it off.
    pub admin: Option<Admin>,
    /// Where changes and who made them are written.
    pub audit_log: AuditLog,
    /// Where finished requests are written.
    pub access_log: AccessLog,
    /// Whether requests for paths that health checks ask for are written, too, if they are served.
    pub logs_health_checks: bool,
    /// What of persons is written.
    pub log_privacy: LogPrivacy,
    /// Which of them are written at all.
    pub log_sample: LogSample,
    /// How the process leaves.
    pub shutdown: Shutdown,
    /// When the file is read again.
    pub reload: Reload,
    /// Connections of all listeners together (default 50,000).
    pub max_connections: u32,
    /// Threads that carry requests; `None` (default) is one per processor core.
    pub workers: Option<NonZeroUsize>,
}

impl Config {
    /// All hosts that routes and certificates name.
    pub fn named_hosts(&self) -> Vec<HostPattern> {
        let routed = self.routes.iter().map(|route| route.pattern.host.clone());
        let tls = self
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let names = tls
            .flat_map(|tls| &tls.certificates)
            .flat_map(|one| &one.names);
        let certified = names.map(|name| match name {
            NamePattern::Exact(name) => HostPattern::Exact(name.clone()),
            NamePattern::Wildcard(name) => HostPattern::Wildcard(name.clone()),
        });
        let mut named: Vec<_> = routed.chain(certified).collect();
        named.retain(|host| *host != HostPattern::Any);
        named.sort_unstable();
        named.dedup();
        named
    }
}

/// Position of a cluster in [`Config::clusters`]. Made by the parser, so it always resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClusterId(pub usize);

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

/// How many of the requests that went well are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSample {
    /// So many percent (default 100).
    pub percent: u8,
    /// And all that took as long as this (default 1 s).
    pub slow: Duration,
}

/// What the access log says of persons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPrivacy {
    /// Whether addresses of clients lose their last byte, of IPv6 the last ten (default no).
    pub truncates_addresses: bool,
    /// Fields that are hashed.
    pub hashed: Vec<PrivateField>,
    /// Fields that are left out.
    pub dropped: Vec<PrivateField>,
    /// How long one salt is used (default 24 h).
    pub salt_rotation: Duration,
}

/// A field of the access log that tells of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields have the names of the log")]
pub enum PrivateField {
    Client,
    Host,
    Path,
    ServerName,
    UserAgent,
}

/// When the configuration is read again without being asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Whenever the file changes (default no).
    pub watches_file: bool,
}

/// How the process leaves after SIGTERM.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Readiness fails, everything is still served (default 15 s; 0 on a laptop).
    pub delay: Duration,
    /// Then: no new connections, what runs may finish (default 30 s).
    pub drain: Duration,
    /// After an upgrade: how long connections of the process before may last (default 1 h).
    pub upgrade_drain: Duration,
    /// How long another binary may take to be ready (default 60 s).
    pub upgrade_timeout: Duration,
}

#[cfg(test)]
mod tests;
