//! The load balancer in a few words, under the paths that dashboards of the auth service ask for:
//! health, figures, instances. Never changes anything.

use std::time::Instant;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, document};
use super::status;
use super::table::Told;
use crate::cluster::{Cluster, EndpointStatus};
use crate::state::Edge;

/// One of the documents.
pub(super) fn tell(edge: &Edge, what: Told, now: Instant) -> Answer {
    match what {
        Told::Health => health(edge, now),
        Told::Metrics => document(StatusCode::OK, &metrics(edge, now)),
        Told::Instances => document(StatusCode::OK, &instances(edge, now)),
    }
}

/// How well a cluster fares, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fares {
    Healthy,
    Degraded,
    Unhealthy,
}

impl Fares {
    fn of(cluster: &Cluster, endpoints: &[EndpointStatus]) -> Self {
        if !cluster.has_eligible() {
            return Self::Unhealthy;
        }
        match endpoints.iter().all(|one| one.state() == "in") {
            true => Self::Healthy,
            false => Self::Degraded,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One cluster that is out makes the balancer degraded; unhealthy is where nothing can be served.
fn health(edge: &Edge, now: Instant) -> Answer {
    let snapshot = edge.snapshot.load();
    let mut told = Vec::new();
    let mut fares = Vec::new();
    for cluster in &snapshot.clusters {
        let status = cluster.status(now);
        let how = Fares::of(cluster, &status.endpoints);
        let count = |state| {
            let endpoints = status.endpoints.iter();
            endpoints.filter(|one| one.state() == state).count()
        };
        fares.push(how);
        told.push(json!({
            "name": cluster.name(),
            "status": how.name(),
            "total": status.endpoints.len(),
            "in": count("in"),
            "degraded": count("degraded"),
            "draining": count("draining"),
            "out": count("out") + count("last_resort"),
        }));
    }
    let is_out = fares.iter().all(|how| *how == Fares::Unhealthy);
    let is_well = fares.iter().all(|how| *how == Fares::Healthy) && !edge.is_draining();
    let (code, how) = match (is_out, is_well) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, Fares::Unhealthy),
        (false, true) => (StatusCode::OK, Fares::Healthy),
        (false, false) => (StatusCode::OK, Fares::Degraded),
    };
    let body = json!({
        "status": how.name(),
        "is_draining": edge.is_draining(),
        "generation": snapshot.generation,
        "clusters": told,
    });
    document(code, &body)
}

fn metrics(edge: &Edge, now: Instant) -> Value {
    let outcomes = edge.metrics.requests_by_outcome();
    let open = edge.metrics.connections_by_listener();
    let retries = edge.metrics.retries_by_cluster();
    let snapshot = edge.snapshot.load();
    let clusters = snapshot.clusters.iter().map(|cluster| {
        let status = cluster.status(now);
        json!({
            "name": cluster.name(),
            "queued": status.queued,
            "retries": retries.get(cluster.name()).copied().unwrap_or_default(),
            "endpoints": status.endpoints.iter().map(figures).collect::<Vec<_>>(),
        })
    });
    json!({
        "requests": {
            "total": outcomes.values().sum::<f64>(),
            "by_outcome": outcomes,
        },
        "connections_open": open,
        "clusters": clusters.collect::<Vec<_>>(),
    })
}

fn figures(one: &EndpointStatus) -> Value {
    let metrics = one.endpoint.metrics();
    let (sum, count) = (
        metrics.duration.get_sample_sum(),
        metrics.duration.get_sample_count(),
    );
    let mean_ms = (count > 0).then(|| sum / count as f64 * 1_000.0);
    json!({
        "address": one.endpoint.label(),
        "in_flight": one.in_flight,
        "requests": metrics.requests.get(),
        "failures": metrics.failures.get(),
        "mean_ms": mean_ms,
        "probes_passed": metrics.probes_passed.get(),
        "probes_failed": metrics.probes_failed.get(),
    })
}

fn instances(edge: &Edge, now: Instant) -> Value {
    let snapshot = edge.snapshot.load();
    let of_cluster = |cluster: &std::sync::Arc<Cluster>| {
        let endpoints = cluster.status(now).endpoints;
        let told = endpoints.iter().map(|one| {
            let mut told = status::endpoint(one, now);
            told["cluster"] = json!(cluster.name());
            told
        });
        told.collect::<Vec<_>>()
    };
    let instances: Vec<Value> = snapshot.clusters.iter().flat_map(of_cluster).collect();
    json!({ "total": instances.len(), "instances": instances })
}
