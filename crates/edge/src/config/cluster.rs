//! A cluster after parsing. Never holds a string that somebody must parse again.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::Affinity;

use super::retries::Retries;

use super::HealthCheck;

/// A named set of interchangeable endpoints and the policy over them.
#[derive(Debug)]
pub struct Cluster {
    /// Unique; the `cluster` label in logs and metrics.
    pub name: String,
    /// How to choose an endpoint (default `least_conn`).
    pub balance: Balance,
    /// At least one. Host names are resolved when the file is read, one endpoint per address.
    pub endpoints: Vec<Endpoint>,
    /// Active checks; with none endpoints count as healthy.
    pub health: Vec<HealthCheck>,
    /// Passive ejection; `None` switches it off.
    pub ejection: Option<Ejection>,
    /// Further attempts after the first.
    pub retries: Retries,
    /// Deadlines towards endpoints.
    pub timeouts: UpstreamTimeouts,
    /// Whether a client is kept at one endpoint; `None` (default) is off.
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
