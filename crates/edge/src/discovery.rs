//! Endpoints that are found while the edge runs: by files, names and registrations. Never takes an
//! endpoint away because a source fails or says nothing: what it said last holds, and health checks
//! tell who is there.
//!
//! Each source has a task that follows it (`discovery/file.rs` and its neighbours). What they find lies
//! in one place ([`Found`]) over all generations of the configuration; a change of it asks for a new
//! generation, at most one in [`GATHER`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::config::{Endpoint, Place, Source};
use crate::control::Controller;
use crate::state::Edge;

mod dns;
mod file;
mod found;
mod merge;
mod redis;
mod registry;
mod service;
mod told;

pub(crate) use found::{Found, SourceStatus};
use told::Endpoints;

/// Changes that come within this time make one generation.
const GATHER: Duration = Duration::from_millis(100);

/// What follows one source.
struct Following {
    source: Arc<Source>,
    task: AbortHandle,
}

/// Where one source tells what it finds.
#[derive(Clone)]
struct Desk {
    edge: Arc<Edge>,
    cluster: String,
    label: String,
}

/// Follows the sources of the running configuration until told to stop.
pub(crate) async fn run(controller: Arc<Controller>, mut stop: watch::Receiver<bool>) {
    let edge = controller.edge();
    let mut generations = edge.snapshot_changes();
    let mut tasks = JoinSet::new();
    let mut following = HashMap::new();
    let found = Arc::clone(edge.keeper.found());
    loop {
        reconcile(edge, &mut following, &mut tasks);
        let has_found = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = generations.changed() => false,
            () = ended(&mut tasks) => false,
            () = found.changed() => true,
        };
        if has_found {
            tokio::time::sleep(GATHER).await;
            renew(&controller).await;
        }
        following.retain(|_, one: &mut Following| !one.task.is_finished());
    }
}

/// Resolves when what followed a source has ended though nobody asked: without it the last set would
/// hold for ever and nobody would know.
async fn ended(tasks: &mut JoinSet<()>) {
    loop {
        match tasks.join_next().await {
            None => std::future::pending().await,
            Some(Err(error)) if error.is_cancelled() => {}
            Some(_) => break,
        }
    }
    tracing::error!("what follows a source of endpoints failed and is started again");
    tokio::time::sleep(GATHER).await;
}

/// Starts to follow what is new in the configuration, and stops following what is gone from it.
fn reconcile(
    edge: &Arc<Edge>,
    following: &mut HashMap<(String, String), Following>,
    tasks: &mut JoinSet<()>,
) {
    let snapshot = edge.snapshot.load();
    let clusters = snapshot.clusters.iter();
    let wanted: HashMap<(String, String), Arc<Source>> = clusters
        .flat_map(|cluster| {
            let sources = cluster.discover().sources.iter();
            sources.map(|one| ((cluster.name().to_owned(), one.label()), Arc::clone(one)))
        })
        .collect();
    following.retain(|key, one| {
        let stays = wanted.get(key).is_some_and(|source| *source == one.source);
        if !stays {
            one.task.abort();
        }
        stays
    });
    let discovers = snapshot
        .clusters
        .iter()
        .map(|one| (one.name(), one.discover()));
    edge.keeper.found().follow(discovers, Instant::now());
    for ((cluster, label), source) in wanted {
        following
            .entry((cluster.clone(), label.clone()))
            .or_insert_with(|| {
                let edge = Arc::clone(edge);
                let desk = Desk {
                    edge,
                    cluster,
                    label,
                };
                let task = tasks.spawn(follow(desk, Arc::clone(&source)));
                Following { source, task }
            });
    }
}

async fn follow(desk: Desk, source: Arc<Source>) {
    match &source.place {
        Place::File(path) => file::follow(&desk, path, &source.defaults).await,
        Place::Dns(place) => dns::follow(&desk, place, &source.defaults).await,
        Place::Redis(place) => redis::follow(&desk, place, &source.defaults).await,
    }
}

/// The next generation of the configuration in force, with what was found.
async fn renew(controller: &Arc<Controller>) {
    let edge = controller.edge();
    // Nobody changes anything meanwhile, so that what is written down is the sources' doing.
    let _one_at_a_time = edge.changing.lock().await;
    let before = Endpoints::of(&edge.snapshot.load());
    match controller.renew().await {
        Ok(()) => before.record_change(edge),
        Err(error) => tracing::error!(%error, "endpoints that were found cannot be used"),
    }
}

impl Desk {
    /// The source said which endpoints there are. None at all is taken for a failure.
    fn found(&self, endpoints: Vec<Endpoint>) {
        self.found_but(endpoints, None);
    }

    /// The same, though a part of what it said cannot be used.
    fn found_but(&self, endpoints: Vec<Endpoint>, problem: Option<String>) {
        if endpoints.is_empty() {
            return self.failed(problem.unwrap_or_else(|| "it knows of no endpoint".to_owned()));
        }
        if let Some(problem) = &problem {
            let (cluster, source) = (&self.cluster, &self.label);
            self.edge.metrics.discovery_failures(cluster, source).inc();
            if self.edge.keeper.found().failed(cluster, source, problem) {
                tracing::warn!(
                    cluster,
                    source,
                    problem,
                    "a source of endpoints is not in order"
                );
            }
        }
        let now = Instant::now();
        let found = self.edge.keeper.found();
        let Some(change) = found.answered(&self.cluster, &self.label, endpoints, problem, now)
        else {
            return;
        };
        tracing::info!(
            cluster = self.cluster,
            source = self.label,
            endpoints = change.now,
            added = change.added,
            removed = change.removed,
            "other endpoints were found"
        );
    }

    /// The source cannot be used, or said nothing.
    fn failed(&self, problem: String) {
        let (cluster, source) = (&self.cluster, &self.label);
        self.edge.metrics.discovery_failures(cluster, source).inc();
        if self.edge.keeper.found().failed(cluster, source, &problem) {
            tracing::warn!(
                cluster,
                source,
                problem,
                "no endpoints from this source: what it said last holds"
            );
        }
    }
}
