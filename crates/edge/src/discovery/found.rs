//! What the sources of all clusters said last, over all generations of the configuration. Never asks one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::merge::merge;
use crate::config::{Cluster, Discover, Endpoint};

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    clusters: Mutex<HashMap<String, Vec<Said>>>,
    changed: Notify,
}

/// What one source said.
#[derive(Debug)]
struct Said {
    label: String,
    /// `None` before its first answer.
    endpoints: Option<Arc<[Endpoint]>>,
    followed_since: Instant,
    answered: Option<Instant>,
    problem: Option<String>,
}

/// One source, for the operator.
#[derive(Debug)]
pub(crate) struct SourceStatus {
    pub(crate) label: String,
    pub(crate) endpoints: usize,
    /// When it said so.
    pub(crate) answered: Option<Instant>,
    /// Why it says nothing now.
    pub(crate) problem: Option<String>,
}

/// How an answer differs from the one before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) now: usize,
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

impl Found {
    /// All endpoints of a cluster. As long as a source has not answered yet, those of sources hold that
    /// the configuration had before: whoever renames one does not lose the endpoints for a while.
    pub(crate) fn all(&self, cluster: &Cluster) -> Vec<Endpoint> {
        let discover = &cluster.discover;
        let clusters = self.lock();
        let said = clusters.get(&cluster.name).map_or(&[][..], Vec::as_slice);
        let labels: Vec<String> = discover.sources.iter().map(|one| one.label()).collect();
        let of_label = |label: &String| said.iter().find(|said| said.label == *label);
        let is_answered = |label| of_label(label).is_some_and(|said| said.endpoints.is_some());
        let before = said.iter().filter(|said| !labels.contains(&said.label));
        let before = match labels.iter().all(is_answered) {
            true => None,
            false => Some(before),
        };
        let found = labels.iter().filter_map(of_label);
        let found = found.chain(before.into_iter().flatten());
        let found = found.filter_map(|said| said.endpoints.as_deref());
        merge(&cluster.endpoints, found, discover.endpoints_max)
    }

    /// These are the clusters and sources that are followed from now on.
    pub(super) fn follow<'a>(
        &self,
        discovers: impl Iterator<Item = (&'a str, &'a Discover)>,
        now: Instant,
    ) {
        let mut clusters = self.lock();
        let mut before = std::mem::take(&mut *clusters);
        for (cluster, discover) in discovers.filter(|(_, one)| !one.sources.is_empty()) {
            let mut known = before.remove(cluster).unwrap_or_default();
            let labels: Vec<String> = discover.sources.iter().map(|one| one.label()).collect();
            for label in &labels {
                if !known.iter().any(|said| said.label == *label) {
                    known.push(Said {
                        label: label.clone(),
                        endpoints: None,
                        followed_since: now,
                        answered: None,
                        problem: None,
                    });
                }
            }
            let of_now = |said: &Said| labels.contains(&said.label);
            let is_awaited = |said: &Said| of_now(said) && said.endpoints.is_none();
            if !known.iter().any(is_awaited) {
                known.retain(of_now);
            }
            clusters.insert(cluster.to_owned(), known);
        }
    }

    /// A source said which endpoints there are; `None` if it said so before.
    pub(super) fn answered(
        &self,
        cluster: &str,
        label: &str,
        mut endpoints: Vec<Endpoint>,
        problem: Option<String>,
        now: Instant,
    ) -> Option<Difference> {
        // Name services turn their answers round.
        endpoints.sort_by_key(|one| one.address);
        let mut clusters = self.lock();
        let said = find(&mut clusters, cluster, label)?;
        said.answered = Some(now);
        said.problem = problem;
        if said.endpoints.as_deref() == Some(&endpoints[..]) {
            return None;
        }
        let before = said.endpoints.replace(Arc::from(endpoints));
        let (before, now) = (
            addresses(before.as_deref().unwrap_or_default()),
            addresses(said.endpoints.as_deref().unwrap_or_default()),
        );
        let missing = |these: &[SocketAddr], those: &[SocketAddr]| {
            let missing = these.iter().filter(|one| those.binary_search(one).is_err());
            missing.count()
        };
        let difference = Difference {
            now: now.len(),
            added: missing(&now, &before),
            removed: missing(&before, &now),
        };
        drop(clusters);
        self.changed.notify_one();
        Some(difference)
    }

    /// A source failed. Returns whether that is news.
    pub(super) fn failed(&self, cluster: &str, label: &str, problem: &str) -> bool {
        let mut clusters = self.lock();
        let Some(said) = find(&mut clusters, cluster, label) else {
            return false;
        };
        let is_news = said.problem.as_deref() != Some(problem);
        said.problem = Some(problem.to_owned());
        is_news
    }

    /// Resolves when other endpoints were found.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the sources of a cluster said.
    pub(crate) fn status(&self, cluster: &str, discover: &Discover) -> Vec<SourceStatus> {
        if discover.sources.is_empty() {
            return Vec::new();
        }
        let mut clusters = self.lock();
        let status = discover.sources.iter().map(|source| {
            let label = source.label();
            let said = find(&mut clusters, cluster, &label);
            let endpoints = said.as_ref().and_then(|said| said.endpoints.as_deref());
            SourceStatus {
                endpoints: endpoints.map_or(0, <[Endpoint]>::len),
                answered: said.as_ref().and_then(|said| said.answered),
                problem: said.and_then(|said| said.problem.clone()),
                label,
            }
        });
        status.collect()
    }

    /// Whether a source has not answered yet and may still be waited for.
    pub(crate) fn is_awaited(&self, cluster: &str, discover: &Discover, now: Instant) -> bool {
        let mut clusters = self.lock();
        discover.sources.iter().any(|source| {
            let Some(said) = find(&mut clusters, cluster, &source.label()) else {
                // Nobody has begun to ask it.
                return true;
            };
            let waited = now.saturating_duration_since(said.followed_since);
            said.endpoints.is_none() && waited < discover.timeout
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Said>>> {
        // Nothing here panics half-way; what is inside is whole.
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'s>(
    clusters: &'s mut HashMap<String, Vec<Said>>,
    cluster: &str,
    label: &str,
) -> Option<&'s mut Said> {
    let said = clusters.get_mut(cluster)?.iter_mut();
    said.into_iter().find(|said| said.label == label)
}

/// Sorted, for they are.
fn addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    endpoints.iter().map(|one| one.address).collect()
}
