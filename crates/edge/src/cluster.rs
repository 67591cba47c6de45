//! Clusters and their endpoints while they run. Never does IO; `now` is an argument.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Instant;

use crate::config::{self, UpstreamTimeouts};
use crate::metrics::{ClusterMetrics, EndpointMetrics, Metrics};

/// A named set of interchangeable endpoints.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    key: u64,
    endpoints: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
    timeouts: Arc<UpstreamTimeouts>,
    retries: u32,
    metrics: ClusterMetrics,
}

impl Cluster {
    /// From the configuration; `key` groups pooled connections.
    pub fn build(config: &config::Cluster, key: u64, metrics: &Metrics) -> Self {
        let endpoint = |endpoint: &config::Endpoint| {
            let label = endpoint.address.to_string();
            Arc::new(Endpoint {
                address: endpoint.address,
                metrics: metrics.endpoint(&config.name, &label),
                label,
                in_flight: AtomicU32::new(0),
                is_healthy: AtomicBool::new(config.health.is_none()),
            })
        };
        Self {
            name: config.name.clone(),
            key,
            endpoints: config.endpoints.iter().map(endpoint).collect(),
            next: AtomicUsize::new(0),
            timeouts: Arc::new(config.timeouts.clone()),
            retries: config.retries,
            metrics: metrics.cluster(&config.name),
        }
    }

    /// The `cluster` label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Groups pooled connections: no two clusters share one.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// All endpoints, eligible or not.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Deadlines towards endpoints.
    pub fn timeouts(&self) -> &Arc<UpstreamTimeouts> {
        &self.timeouts
    }

    /// Attempts allowed after the first.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Metric handles.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    /// Picks an eligible endpoint, none of `tried` while another is eligible, and takes one of its
    /// slots. `None` when nothing is eligible.
    pub fn pick(&self, tried: &[SocketAddr], _now: Instant) -> Option<Slot> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let rotated = || {
            (0..self.endpoints.len())
                .map(move |step| &self.endpoints[(start + step) % self.endpoints.len()])
                .filter(|endpoint| endpoint.is_healthy())
        };
        let fresh = rotated().find(|endpoint| !tried.contains(&endpoint.address));
        fresh.or_else(|| rotated().next()).map(Slot::take)
    }
}

/// One address in a cluster, with what is known of it.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    label: String,
    in_flight: AtomicU32,
    is_healthy: AtomicBool,
    metrics: EndpointMetrics,
}

impl Endpoint {
    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `endpoint` label: the address as text.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Attempts running now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether active checks hold it healthy.
    pub fn is_healthy(&self) -> bool {
        self.is_healthy.load(Ordering::Relaxed)
    }

    /// Whether it is put aside for failures seen on traffic.
    pub fn is_ejected(&self, _now: Instant) -> bool {
        false
    }

    pub(crate) fn assume_healthy(&self) {
        self.is_healthy.store(true, Ordering::Relaxed);
    }
}

/// A place in an endpoint's in-flight count; given back on drop.
#[derive(Debug)]
pub struct Slot {
    endpoint: Arc<Endpoint>,
}

impl Slot {
    fn take(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        endpoint.metrics.requests.inc();
        Self {
            endpoint: Arc::clone(endpoint),
        }
    }

    /// Whose place it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
