//! Has health checks asked before their time and waits for what they find. Never asks by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::Refused;
use super::{apply, status};
use crate::cluster::{Cluster, EndpointStatus};
use crate::state::Edge;

/// Checks that take longer are told as unanswered; they go on all the same.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// How often is looked whether they have answered.
const POLL: Duration = Duration::from_millis(20);

/// The cluster of this name, or all.
pub(super) fn clusters(edge: &Edge, name: Option<&str>) -> Result<Vec<Arc<Cluster>>, Refused> {
    match name {
        Some(name) => Ok(vec![apply::find_cluster(edge, name)?]),
        None => Ok(edge.snapshot.load().clusters.clone()),
    }
}

/// Rings for them, and tells how every endpoint stands when its checks have answered.
pub(super) async fn now(clusters: &[Arc<Cluster>]) -> Value {
    let begin = Instant::now();
    for cluster in clusters {
        cluster.bell().ring();
    }
    while begin.elapsed() < WAIT_MAX && !clusters.iter().all(|one| has_answered(one, begin)) {
        tokio::time::sleep(POLL).await;
    }
    let now = Instant::now();
    let told = clusters
        .iter()
        .map(|cluster| of_cluster(cluster, begin, now));
    json!({
        "checked": true,
        "took_ms": begin.elapsed().as_millis(),
        "clusters": told.collect::<Vec<_>>(),
    })
}

fn has_answered(cluster: &Cluster, begin: Instant) -> bool {
    let status = cluster.status(Instant::now());
    status.endpoints.iter().all(|one| is_fresh(one, begin))
}

/// Whether all its checks have answered since; there may be none.
fn is_fresh(endpoint: &EndpointStatus, begin: Instant) -> bool {
    let mut checks = endpoint.report.checks.iter();
    checks.all(|check| check.last.as_ref().is_some_and(|(at, _)| *at >= begin))
}

fn of_cluster(cluster: &Cluster, begin: Instant, now: Instant) -> Value {
    let endpoints = cluster.status(now).endpoints;
    let of_endpoint = |one: &EndpointStatus| {
        let mut told = status::endpoint(one, now);
        told["answered"] = json!(is_fresh(one, begin));
        told["has_checks"] = json!(!one.report.checks.is_empty());
        told
    };
    json!({
        "cluster": cluster.name(),
        "endpoints": endpoints.iter().map(of_endpoint).collect::<Vec<_>>(),
    })
}
