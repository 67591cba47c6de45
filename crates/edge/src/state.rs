//! What requests share: one [`Edge`] for the process, one [`Snapshot`] per generation of the configuration. Never does IO after `build`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::access_log::{AccessLogWriter, OpenError};
use crate::cluster::Cluster;
use crate::config::{ClusterId, Config, HostPattern, PathPattern};
use crate::metrics::{Metrics, RequestCounters};

/// Everything requests share; built once by `server.rs`.
#[derive(Debug)]
pub struct Edge {
    /// The running configuration; a request loads it once and keeps it.
    pub snapshot: ArcSwap<Snapshot>,
    /// All metrics.
    pub metrics: Metrics,
    /// Where finished requests go.
    pub access_log: AccessLogWriter,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the edge is leaving: connections close politely after the exchange at hand.
    pub is_draining: AtomicBool,
}

impl Edge {
    /// Builds everything requests share. Opens the access log.
    pub fn build(config: &Config) -> Result<Self, OpenError> {
        let metrics = Metrics::new();
        let access_log = AccessLogWriter::open(&config.access_log, metrics.log_dropped())?;
        let snapshot = Snapshot::build(config, &metrics, None);
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            metrics,
            access_log,
            trusted_proxies: config.trusted_proxies.clone(),
            is_draining: AtomicBool::new(false),
        })
    }

    /// The Prometheus text.
    pub fn render_metrics(&self, now: Instant) -> String {
        self.metrics.render(&self.snapshot.load(), now)
    }

    /// Whether the edge is leaving.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

/// One generation of the configuration while it runs.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every replacement.
    pub generation: u64,
    /// Routes in file order.
    pub routes: Vec<RouteState>,
    /// Clusters in file order: [`ClusterId`] indexes this list.
    pub clusters: Vec<Arc<Cluster>>,
    unrouted: Vec<RequestCounters>,
}

/// One route while it runs.
#[derive(Debug)]
pub struct RouteState {
    /// The `route` label.
    pub name: String,
    /// Where its requests go.
    pub cluster: ClusterId,
    /// Whether its requests are logged.
    pub is_logged: bool,
    host: HostPattern,
    path: PathPattern,
    counters: Vec<RequestCounters>,
}

impl Snapshot {
    /// Builds a generation; endpoint state is carried over by cluster name and address.
    pub fn build(config: &Config, metrics: &Metrics, previous: Option<&Self>) -> Self {
        let clusters: Vec<_> = (0_u64..)
            .zip(&config.clusters)
            .map(|(key, cluster)| Arc::new(Cluster::build(cluster, key, metrics)))
            .collect();
        let counters = |route: &str, cluster: &str| {
            let one = |listener: &crate::config::Listener| {
                metrics.requests(&listener.name, route, cluster)
            };
            config.listeners.iter().map(one).collect::<Vec<_>>()
        };
        let routes = config
            .routes
            .iter()
            .map(|route| RouteState {
                name: route.name.clone(),
                cluster: route.cluster,
                is_logged: route.access_log,
                host: route.host.clone(),
                path: route.path.clone(),
                counters: counters(&route.name, clusters[route.cluster.0].name()),
            })
            .collect();
        Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            routes,
            unrouted: counters("", ""),
            clusters,
        }
    }

    /// The route of a request, by position.
    pub fn route(&self, host: Option<&str>, path: &str) -> Option<usize> {
        self.routes.iter().position(|route| {
            let host_matches = match &route.host {
                HostPattern::Any => true,
                HostPattern::Exact(name) => host == Some(name),
                HostPattern::Wildcard(parent) => host.is_some_and(|host| host.ends_with(parent)),
            };
            host_matches
                && match &route.path {
                    PathPattern::Exact(exact) => path == exact,
                    PathPattern::Prefix(prefix) => path.starts_with(prefix),
                }
        })
    }

    /// A cluster of this generation.
    pub fn cluster(&self, id: ClusterId) -> &Arc<Cluster> {
        &self.clusters[id.0]
    }

    /// Request counters of a listener and a route; of no route when there is none.
    pub fn counters(&self, listener: usize, route: Option<usize>) -> &RequestCounters {
        route.map_or(&self.unrouted[listener], |route| {
            &self.routes[route].counters[listener]
        })
    }
}
