//! What a selector is told: members and how to choose among them. Never holds state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::endpoint::EndpointId;

/// Most an endpoint may weigh; more counts as this.
pub const MAX_WEIGHT: u16 = 1_000;

/// Where an endpoint or the edge is. Only equality counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Arc<str>);

impl Zone {
    /// The zone of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// An endpoint as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in this process.
    pub id: EndpointId,
    /// Its name on the ring of [`Balance::Hash`]: the same for every edge, so that all of them
    /// send a key to the same endpoint.
    pub address: SocketAddr,
    /// Share of the traffic, relative to the others; at most [`MAX_WEIGHT`]. Zero takes no new
    /// clients.
    pub weight: u16,
    /// Tier; the lowest number goes first.
    pub priority: u8,
    /// Where it is.
    pub zone: Option<Zone>,
    /// Most places taken at once; `u32::MAX` for no limit.
    pub max_in_flight: u32,
}

impl Member {
    /// A member of weight 1 in the first tier, without zone and limit.
    pub fn new(id: EndpointId, address: SocketAddr) -> Self {
        Self {
            id,
            address,
            weight: 1,
            priority: 0,
            zone: None,
            max_in_flight: u32::MAX,
        }
    }
}

/// How to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The algorithm.
    pub balance: Balance,
    /// Whether an endpoint that comes or returns begins with little.
    pub slow_start: Option<SlowStart>,
    /// Where the edge is: within a tier, endpoints of the same zone go first.
    pub zone: Option<Zone>,
    /// How much more than its share a tier or zone can carry, in percent: with 140, it keeps all
    /// its traffic while at least 100/140 of its weight is eligible, and what it is short of goes
    /// to the next. Less than 100 counts as 100.
    pub overprovisioning_percent: u16,
}

impl Settings {
    /// These with no slow start, no zone and Envoy's overprovisioning of 140 %.
    pub fn new(balance: Balance) -> Self {
        Self {
            balance,
            slow_start: None,
            zone: None,
            overprovisioning_percent: 140,
        }
    }
}

/// How one endpoint is chosen among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Turns in proportion to the weights, spread evenly.
    RoundRobin,
    /// The least busy for its weight; turns among equals.
    LeastConn,
    /// The less busy of two drawn by weight.
    P2c,
    /// The lowest latency times requests in flight per weight.
    PeakEwma {
        /// How long a latency counts: after this it weighs 1/e. 10 s is a good value.
        decay: Duration,
    },
    /// The same endpoint for the same key, as long as it may take it.
    Hash {
        /// Nobody takes more than this percentage of the average in flight; its surplus goes to
        /// the next on the ring. 150 is a good value; `None` for no bound.
        bounded_load_percent: Option<u16>,
    },
}

/// Traffic for an endpoint that comes or returns: a tenth of its weight at first, growing evenly to
/// all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// How long it takes.
    pub window: Duration,
}

impl SlowStart {
    /// How often an endpoint that begins gets more: for every percent.
    pub(super) fn step(&self) -> Duration {
        self.window / 90
    }
}
