//! Where endpoints are found while the edge runs. Never looks for one.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ops::Secret;

/// The sources of a cluster.
#[derive(Clone, Debug)]
pub struct Discover {
    /// In file order; none with a cluster whose endpoints are all written down.
    pub sources: Vec<Arc<Source>>,
    /// How long readiness waits for their first answers where there is no other endpoint (default 10 s).
    pub timeout: Duration,
    /// Most endpoints of the cluster (default 1000); what is found beyond is left out.
    pub endpoints_max: usize,
}

/// One place where endpoints are found.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The place.
    pub place: Place,
    /// What is said of endpoints of which the place says nothing.
    pub defaults: EndpointDefaults,
}

/// Which kind of place.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A file of endpoints, or a directory of such files.
    File(PathBuf),
    /// A name of the DNS.
    Dns(DnsPlace),
    /// A registry in Redis.
    Redis(RedisPlace),
}

/// A name of the DNS.
#[derive(Debug, PartialEq, Eq)]
pub struct DnsPlace {
    /// What is asked.
    pub question: DnsQuestion,
    /// Which addresses count (default all).
    pub family: Family,
    /// Whom to ask; `None` (default): the name servers of the system.
    pub resolver: Option<SocketAddr>,
    /// Least time between two looks (default 1 s).
    pub min_ttl: Duration,
    /// Most time between two looks (default 5 min).
    pub max_ttl: Duration,
}

/// What is asked of the DNS.
#[derive(Debug, PartialEq, Eq)]
pub enum DnsQuestion {
    /// The addresses of a host, all with this port.
    Addresses {
        /// Its name.
        host: String,
        /// Of all endpoints.
        port: u16,
    },
    /// The targets of a service, by their SRV records.
    Service(String),
}

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Each is an endpoint.
    All,
    /// A records.
    Ipv4,
    /// AAAA records.
    Ipv6,
}

/// A registry in Redis.
#[derive(Debug)]
pub struct RedisPlace {
    /// How to get there, with account and password.
    pub url: Secret<String>,
    /// The same without them.
    pub shown: String,
    /// The index; the entry of an id lies under `INDEX:ID`.
    pub registry: String,
    /// Whom TLS trusts; `None` (default): the system's authorities.
    pub authorities: Option<PathBuf>,
    /// Between two looks (default 1 s).
    pub interval: Duration,
}

impl PartialEq for RedisPlace {
    fn eq(&self, other: &Self) -> bool {
        let rest = |one: &Self| (one.registry.clone(), one.authorities.clone(), one.interval);
        self.url.expose() == other.url.expose() && rest(self) == rest(other)
    }
}

impl Eq for RedisPlace {}

/// Properties of endpoints that are not written with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDefaults {
    /// Share of the traffic.
    pub weight: u16,
    /// Tier.
    pub priority: u8,
    /// Where they are.
    pub zone: Option<String>,
    /// Requests in flight at once.
    pub max_requests: NonZeroU32,
}

impl Source {
    /// The `source` label: what it is and where, never a password.
    pub fn label(&self) -> String {
        match &self.place {
            Place::File(path) => format!("file:{}", path.display()),
            Place::Dns(dns) => match &dns.question {
                DnsQuestion::Addresses { host, port } => format!("dns:{host}:{port}"),
                DnsQuestion::Service(service) => format!("srv:{service}"),
            },
            Place::Redis(redis) => format!("{}/{}", redis.shown, redis.registry),
        }
    }
}
