//! Makes the changes an operator asks for, and answers with what is in force then. Never decides
//! whether somebody may.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::answer::Refused;
use super::change::{Change, EndpointChange, RouteChange};
use super::{flags, status};
use crate::cluster::{Cluster, Endpoint, EndpointStatus};
use crate::gate::{NEVER, unix_seconds};
use crate::state::{Edge, Share, Snapshot, SwitchError, Targets};
use crate::unknown::{listed, meant, no_such};

/// A change that was made.
pub(super) struct Applied {
    /// What whoever asked is told.
    pub(super) answer: Value,
    /// What was in force, for the audit.
    pub(super) before: Value,
    /// What is.
    pub(super) after: Value,
}

/// Makes one change.
pub(super) fn apply(edge: &Edge, change: &Change, now: Instant) -> Result<Applied, Refused> {
    match change {
        Change::Endpoint {
            cluster,
            endpoint,
            change,
        } => {
            let (cluster, endpoint) = find(edge, cluster, *endpoint)?;
            apply_to_endpoint(&cluster, &endpoint, *change, now)
        }
        Change::Ban { network, ttl } => {
            let end = |ttl: &Duration| unix_seconds().saturating_add(ttl.as_secs());
            let until = ttl.as_ref().map_or(NEVER, end);
            let before = ban_of(edge, *network);
            let added = edge.bans.add(*network, until);
            added.map_err(|error| {
                Refused::Conflict(format!("{}.", capitalized(&error.to_string())))
            })?;
            let after = status::ban((*network, until));
            Ok(Applied {
                answer: json!({ "ban": after }),
                before,
                after,
            })
        }
        Change::Unban { network } => {
            let before = ban_of(edge, *network);
            let removed = edge.bans.remove(*network);
            removed.map_err(|error| {
                Refused::NotFound(format!("{}.", capitalized(&error.to_string())))
            })?;
            Ok(Applied {
                answer: json!({ "network": network.to_string(), "banned": false }),
                before,
                after: Value::Null,
            })
        }
        Change::Flag { flag, to } => flags::change(edge, flag, *to),
        Change::Route { route, change } => apply_to_route(edge, route, change),
    }
}

fn ban_of(edge: &Edge, network: IpNet) -> Value {
    let mut bans = edge.bans.list().into_iter();
    let ban = bans.find(|(banned, _)| *banned == network);
    ban.map_or(Value::Null, status::ban)
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

/// A cluster by its name.
pub(super) fn find_cluster(edge: &Edge, name: &str) -> Result<Arc<Cluster>, Refused> {
    let snapshot = edge.snapshot.load();
    snapshot.cluster_named(name).cloned().ok_or_else(|| {
        let names = snapshot.clusters.iter().map(|one| one.name());
        Refused::NotFound(no_such("cluster", name, names))
    })
}

fn apply_to_endpoint(
    cluster: &Cluster,
    endpoint: &Arc<Endpoint>,
    change: EndpointChange,
    now: Instant,
) -> Result<Applied, Refused> {
    let status = || {
        let status = cluster.endpoint_status(endpoint, now);
        status.ok_or_else(|| {
            Refused::Conflict("The endpoint was removed from its cluster meanwhile.".to_owned())
        })
    };
    let in_short = |status: &EndpointStatus| {
        json!({
            "state": status.state(),
            "weight": status.weight,
        })
    };
    let before = in_short(&status()?);
    match change {
        EndpointChange::Drain => cluster.drain(endpoint, true, now),
        EndpointChange::Undrain => cluster.drain(endpoint, false, now),
        EndpointChange::Weight(weight) => cluster.set_weight(endpoint, weight, now),
    }
    let status = status()?;
    Ok(Applied {
        answer: json!({ "endpoint": status::endpoint(&status, now) }),
        before,
        after: in_short(&status),
    })
}

fn apply_to_route(edge: &Edge, route: &str, change: &RouteChange) -> Result<Applied, Refused> {
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
    let before = status::shares(&switched.before);
    let after = status::shares(&switched.now);
    Ok(Applied {
        answer: json!({
            "route": switched.route,
            "change": switched.change,
            "before": before,
            "now": after,
        }),
        before,
        after,
    })
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
        listed(meant.map(|route| route.name.as_str()))
    };
    let written = |route: &str| {
        let mut routes = snapshot.routes.iter();
        let targets = routes.find(|one| one.name == route)?.targets.as_ref()?;
        Some(targets.written())
    };
    Some(match error {
        SwitchError::UnknownRoute(route) => {
            let names = snapshot.routes.iter().map(|route| route.name.as_str());
            let meant = meant(route, names);
            format!("{meant}Routes that send to clusters: {}", routes(|_| true))
        }
        SwitchError::NoTargets(_) => {
            format!("Routes that send to clusters: {}", routes(|_| true))
        }
        SwitchError::UnknownCluster(cluster) => {
            let meant = meant(cluster, snapshot.clusters.iter().map(|one| one.name()));
            format!("{meant}There are: {}", clusters(snapshot))
        }
        SwitchError::NotASplit(_) => {
            format!("Routes that have one: {}", routes(Targets::is_split))
        }
        SwitchError::NotAMember { route, .. } => {
            let shares = written(route)?;
            let names = shares.iter().map(|share| share.cluster.as_str());
            format!("It has: {}", listed(names))
        }
        SwitchError::NothingBefore(route) => {
            let shares = written(route)?;
            let now: Vec<_> = shares
                .iter()
                .map(|share| format!("{} {}", share.cluster, share.weight))
                .collect();
            let now = listed(now.iter().map(String::as_str));
            format!("It has what the configuration says: {now}")
        }
        SwitchError::Weights => return None,
    })
}

fn clusters(snapshot: &Snapshot) -> String {
    listed(snapshot.clusters.iter().map(|one| one.name()))
}

pub(super) fn capitalized(sentence: &str) -> String {
    let mut rest = sentence.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
