//! Makes the changes an operator asks for, and answers with what is in force then. Never decides
//! whether somebody may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::answer::Refused;
use super::change::{Change, EndpointChange, RouteChange};
use super::status;
use crate::cluster::{Cluster, Endpoint};
use crate::state::{Edge, Share, SwitchError};

/// Makes one change.
pub(super) fn apply(edge: &Edge, change: &Change, now: Instant) -> Result<Value, Refused> {
    match change {
        Change::Endpoint {
            cluster,
            endpoint,
            change,
        } => {
            let (cluster, endpoint) = find(edge, cluster, *endpoint)?;
            apply_to_endpoint(&cluster, &endpoint, *change, now)
        }
        Change::Check { cluster } => {
            find_cluster(edge, cluster)?.bell().ring();
            Ok(json!({ "cluster": cluster, "checked": true }))
        }
        Change::Route { route, change } => apply_to_route(edge, route, change),
    }
}

fn find(
    edge: &Edge,
    cluster: &str,
    endpoint: SocketAddr,
) -> Result<(Arc<Cluster>, Arc<Endpoint>), Refused> {
    let cluster = find_cluster(edge, cluster)?;
    let Some(endpoint) = cluster.endpoint(endpoint).map(Arc::clone) else {
        let labels: Vec<&str> = cluster.endpoints().iter().map(|one| one.label()).collect();
        let labels = labels.join(", ");
        return Err(Refused::NotFound(format!(
            "The cluster has no such endpoint. It has: {labels}."
        )));
    };
    Ok((cluster, endpoint))
}

fn find_cluster(edge: &Edge, name: &str) -> Result<Arc<Cluster>, Refused> {
    let snapshot = edge.snapshot.load();
    snapshot.cluster_named(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = snapshot.clusters.iter().map(|one| one.name()).collect();
        let names = names.join(", ");
        Refused::NotFound(format!("There is no such cluster. There are: {names}."))
    })
}

fn apply_to_endpoint(
    cluster: &Cluster,
    endpoint: &Arc<Endpoint>,
    change: EndpointChange,
    now: Instant,
) -> Result<Value, Refused> {
    match change {
        EndpointChange::Drain => cluster.drain(endpoint, true, now),
        EndpointChange::Undrain => cluster.drain(endpoint, false, now),
        EndpointChange::Weight(weight) => cluster.set_weight(endpoint, weight, now),
    }
    let status = cluster.endpoint_status(endpoint, now).ok_or_else(|| {
        Refused::Conflict("The endpoint was removed from its cluster meanwhile.".to_owned())
    })?;
    Ok(json!({ "endpoint": status::endpoint(&status, now) }))
}

fn apply_to_route(edge: &Edge, route: &str, change: &RouteChange) -> Result<Value, Refused> {
    let switched = match change {
        RouteChange::Switch(cluster) => edge.switch(route, cluster),
        RouteChange::SwitchBack => edge.switch_back(route),
        RouteChange::Split(weights) => {
            let share = |(cluster, weight): (&String, &u16)| Share {
                cluster: cluster.clone(),
                weight: *weight,
            };
            let shares: Vec<Share> = weights.iter().map(share).collect();
            edge.set_split(route, &shares)
        }
    };
    let switched = switched.map_err(|error| refusal(&error))?;
    Ok(json!({
        "route": switched.route,
        "change": switched.change,
        "before": status::shares(&switched.before),
        "now": status::shares(&switched.now),
    }))
}

fn refusal(error: &SwitchError) -> Refused {
    let detail = format!("{}.", capitalized(&error.to_string()));
    match error {
        SwitchError::UnknownRoute(_) | SwitchError::UnknownCluster(_) => Refused::NotFound(detail),
        SwitchError::Weights => Refused::Invalid(detail),
        SwitchError::NoTargets(_)
        | SwitchError::NotASplit(_)
        | SwitchError::NotAMember { .. }
        | SwitchError::NothingBefore(_) => Refused::Conflict(detail),
    }
}

fn capitalized(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
