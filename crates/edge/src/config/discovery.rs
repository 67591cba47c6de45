//! Where endpoints are found while the edge runs. Never looks for one.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
}

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
        }
    }
}
