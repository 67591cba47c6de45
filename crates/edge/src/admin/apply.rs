//! Makes the changes an operator asks for, and answers with what is in force then. Never decides
//! whether somebody may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::Refused;
use super::change::{Change, EndpointChange, RouteChange};
use super::status;
use crate::cluster::{Cluster, Endpoint};
use crate::gate::{NEVER, unix_seconds};
use crate::state::{Edge, Share, Snapshot, SwitchError, Targets};

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
        Change::Ban { network, ttl } => {
            let end = |ttl: &Duration| unix_seconds().saturating_add(ttl.as_secs());
            let until = ttl.as_ref().map_or(NEVER, end);
            let added = edge.bans.add(*network, until);
            added.map_err(|error| {
                Refused::Conflict(format!("{}.", capitalized(&error.to_string())))
            })?;
            Ok(json!({ "ban": status::ban((*network, until)) }))
        }
        Change::Unban { network } => {
            let removed = edge.bans.remove(*network);
            removed.map_err(|error| {
                Refused::NotFound(format!("{}.", capitalized(&error.to_string())))
            })?;
            Ok(json!({ "network": network.to_string(), "banned": false }))
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
        return Err(Refused::NotFound(format!(
            "The cluster has no such endpoint. It has: {}.",
            listed(labels)
        )));
    };
    Ok((cluster, endpoint))
}

fn find_cluster(edge: &Edge, name: &str) -> Result<Arc<Cluster>, Refused> {
    let snapshot = edge.snapshot.load();
    snapshot.cluster_named(name).cloned().ok_or_else(|| {
        let names = clusters(&snapshot);
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
    let switched = switched.map_err(|error| refusal(&edge.snapshot.load(), &error))?;
    Ok(json!({
        "route": switched.route,
        "change": switched.change,
        "before": status::shares(&switched.before),
        "now": status::shares(&switched.now),
    }))
}

/// What is wrong, and what there is instead.
fn refusal(snapshot: &Snapshot, error: &SwitchError) -> Refused {
    let detail = match alternatives(snapshot, error) {
        Some(instead) => format!("{}. {instead}.", capitalized(&error.to_string())),
        None => format!("{}.", capitalized(&error.to_string())),
    };
    match error {
        SwitchError::UnknownRoute(_) | SwitchError::UnknownCluster(_) => Refused::NotFound(detail),
        SwitchError::Weights => Refused::Invalid(detail),
        SwitchError::NoTargets(_)
        | SwitchError::NotASplit(_)
        | SwitchError::NotAMember { .. }
        | SwitchError::NothingBefore(_) => Refused::Conflict(detail),
    }
}

fn alternatives(snapshot: &Snapshot, error: &SwitchError) -> Option<String> {
    let routes = |is_meant: fn(&Targets) -> bool| {
        let routes = snapshot.routes.iter();
        let meant = routes.filter(|route| route.targets.as_ref().is_some_and(is_meant));
        listed(meant.map(|route| route.name.as_str()).collect())
    };
    let written = |route: &str| {
        let mut routes = snapshot.routes.iter();
        let targets = routes.find(|one| one.name == route)?.targets.as_ref()?;
        Some(targets.written())
    };
    Some(match error {
        SwitchError::UnknownRoute(_) | SwitchError::NoTargets(_) => {
            format!("Routes that send to clusters: {}", routes(|_| true))
        }
        SwitchError::UnknownCluster(_) => format!("There are: {}", clusters(snapshot)),
        SwitchError::NotASplit(_) => {
            format!("Routes that have one: {}", routes(Targets::is_split))
        }
        SwitchError::NotAMember { route, .. } => {
            let shares = written(route)?;
            let names = shares.iter().map(|share| share.cluster.as_str());
            format!("It has: {}", listed(names.collect()))
        }
        SwitchError::NothingBefore(route) => {
            let shares = written(route)?;
            let now: Vec<_> = shares
                .iter()
                .map(|share| format!("{} {}", share.cluster, share.weight))
                .collect();
            let now = listed(now.iter().map(String::as_str).collect());
            format!("It has what the configuration says: {now}")
        }
        SwitchError::Weights => return None,
    })
}

fn clusters(snapshot: &Snapshot) -> String {
    listed(snapshot.clusters.iter().map(|one| one.name()).collect())
}

/// As many names as somebody reads.
fn listed(names: Vec<&str>) -> String {
    match names.len() {
        0 => "none".to_owned(),
        count if count > LISTED_MAX => {
            let shown = names[..LISTED_MAX].join(", ");
            format!("{shown} and {} more", count - LISTED_MAX)
        }
        _ => names.join(", "),
    }
}

const LISTED_MAX: usize = 50;

fn capitalized(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
