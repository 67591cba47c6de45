//! Clusters and their endpoints while they run. Never does IO; `now` is an argument.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use portcullis_traffic::balance::{Balancer, Candidate};
use portcullis_traffic::eject::{self, may_eject};
use portcullis_traffic::health::{Observation, Thresholds};
use portcullis_traffic::retry::Budget;

use crate::affinity::{self, Affinity, Bond, KeyError};
use crate::config::{self, Balance, HealthCheck, Retries, UpstreamTimeouts};
use crate::metrics::{ClusterMetrics, Metrics};
use crate::probe::Bell;

mod endpoint;
#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, OpaqueIds, Slot};

/// A named set of interchangeable endpoints and the policy over them.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    key: u64,
    endpoints: Vec<Arc<Endpoint>>,
    /// Held while picking and while ejecting, never across anything that waits: so in-flight
    /// counts, turns and the ejection cap are exact.
    selection: Mutex<Selection>,
    health: Vec<HealthCheck>,
    bell: Arc<Bell>,
    ejection: Option<eject::Policy>,
    affinity: Option<Arc<Affinity>>,
    timeouts: UpstreamTimeouts,
    retries: Retries,
    retry_budget: Arc<Budget>,
    metrics: ClusterMetrics,
}

#[derive(Debug)]
struct Selection {
    balancer: Balancer,
    /// By endpoint position; kept, so that picking allocates nothing. Only the weights outlive a
    /// pick.
    candidates: Vec<Candidate>,
}

impl Cluster {
    /// Builds a cluster; endpoints that the previous generation knows by address keep their state.
    pub fn build(
        config: &config::Cluster,
        metrics: &Metrics,
        ids: &OpaqueIds,
        previous: Option<&Self>,
    ) -> Result<Self, KeyError> {
        let is_probed = !config.health.is_empty();
        let endpoint = |address: SocketAddr| {
            let known = previous.and_then(|cluster| cluster.endpoint(address));
            let Some(known) = known else {
                let name = &config.name;
                return Arc::new(Endpoint::new(name, address, is_probed, ids, metrics));
            };
            if !is_probed {
                known.assume_healthy();
            }
            Arc::clone(known)
        };
        let candidate = |endpoint: &config::Endpoint| Candidate {
            weight: u32::from(endpoint.weight.get()),
            in_flight: 0,
            is_eligible: false,
        };
        let balancer = match config.balance {
            Balance::RoundRobin => Balancer::round_robin(config.endpoints.len()),
            Balance::LeastConn => Balancer::least_conn(config.endpoints.len()),
        };
        let known_affinity = previous.and_then(|cluster| cluster.affinity.as_ref());
        Ok(Self {
            name: config.name.clone(),
            key: name_key(&config.name),
            endpoints: config
                .endpoints
                .iter()
                .map(|one| endpoint(one.address))
                .collect(),
            selection: Mutex::new(Selection {
                balancer,
                candidates: config.endpoints.iter().map(candidate).collect(),
            }),
            health: config.health.clone(),
            bell: previous.map_or_else(Arc::default, |cluster| Arc::clone(&cluster.bell)),
            ejection: config.ejection.as_ref().map(ejection_policy),
            affinity: match &config.affinity {
                Some(affinity) => Some(Affinity::build(affinity, &config.name, known_affinity)?),
                None => None,
            },
            timeouts: config.timeouts,
            retries: config.retries,
            retry_budget: previous
                .map_or_else(Arc::default, |previous| Arc::clone(&previous.retry_budget)),
            metrics: metrics.cluster(&config.name),
        })
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

    /// The endpoint at an address.
    pub fn endpoint(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.address() == address)
    }

    /// Deadlines towards endpoints.
    pub fn timeouts(&self) -> &UpstreamTimeouts {
        &self.timeouts
    }

    /// What is allowed after a failed attempt.
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// The retries that run, of all generations of this cluster.
    pub(crate) fn retry_budget(&self) -> &Arc<Budget> {
        &self.retry_budget
    }

    /// Attempts running now at all endpoints.
    pub(crate) fn in_flight(&self) -> u32 {
        self.endpoints
            .iter()
            .map(|endpoint| endpoint.in_flight())
            .sum()
    }

    /// Metric handles.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    /// The active checks.
    pub fn health_checks(&self) -> &[HealthCheck] {
        &self.health
    }

    /// Has all endpoints checked now.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Whether and how clients are kept, if they are.
    pub(crate) fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// Whether a request could be served now.
    pub fn has_eligible(&self, now: Instant) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.is_eligible(now))
    }

    /// Whether an endpoint is eligible that is none of `tried`.
    pub(crate) fn has_untried(&self, tried: &[SocketAddr], now: Instant) -> bool {
        let mut untried = self
            .endpoints
            .iter()
            .filter(|endpoint| !tried.contains(&endpoint.address()));
        untried.any(|endpoint| endpoint.is_eligible(now))
    }

    /// Picks an eligible endpoint, none of `tried` while another is eligible, and takes one of its
    /// slots. `None` when nothing is eligible.
    pub fn pick(&self, tried: &[SocketAddr], now: Instant) -> Option<Slot> {
        self.pick_preferring(None, tried, now)
    }

    /// The endpoint that a client belongs to: where it is bound if that one may be had, else where the
    /// hash of its value points. [`Endpoint::affinity_id`] names it.
    pub(crate) fn preferred(&self, bond: Bond, tried: &[SocketAddr], now: Instant) -> Option<u64> {
        let may_take =
            |endpoint: &Endpoint| endpoint.is_eligible(now) && !tried.contains(&endpoint.address());
        let mut endpoints = self.endpoints.iter();
        let bound = bond.endpoint().filter(|id| {
            endpoints.any(|endpoint| endpoint.affinity_id() == *id && may_take(endpoint))
        });
        let Some(hash) = bond.hash().filter(|_| bound.is_none()) else {
            return bound;
        };
        let selection = self.lock();
        let weights = selection
            .candidates
            .iter()
            .map(|candidate| candidate.weight);
        let endpoints = self.endpoints.iter().zip(weights);
        let takers = endpoints.filter(|(endpoint, _)| may_take(endpoint));
        affinity::first_choice(
            hash,
            takers.map(|(one, weight)| (one.affinity_id(), weight)),
        )
    }

    /// As [`Cluster::pick`]; the endpoint that a client belongs to goes before the balancer.
    pub(crate) fn pick_preferring(
        &self,
        preferred: Option<u64>,
        tried: &[SocketAddr],
        now: Instant,
    ) -> Option<Slot> {
        let mut selection = self.lock();
        let may_take = |endpoint: &Endpoint, tried: &[SocketAddr]| {
            endpoint.is_eligible(now) && !tried.contains(&endpoint.address())
        };
        if let Some(id) = preferred {
            let bound = self
                .endpoints
                .iter()
                .find(|endpoint| endpoint.affinity_id() == id);
            if let Some(bound) = bound.filter(|endpoint| may_take(endpoint, tried)) {
                return Some(Slot::take(bound));
            }
        }
        let Selection {
            balancer,
            candidates,
        } = &mut *selection;
        for tried in [tried, &[]] {
            for (candidate, endpoint) in candidates.iter_mut().zip(&self.endpoints) {
                candidate.in_flight = endpoint.in_flight();
                candidate.is_eligible = may_take(endpoint, tried);
            }
            if let Some(position) = balancer.pick(candidates) {
                return self.endpoints.get(position).map(Slot::take);
            }
            if tried.is_empty() {
                break;
            }
        }
        None
    }

    /// Takes a probe's result, or a response's announcement, into account. `reason` goes into the
    /// log if the verdict changes. Without an active check nothing could bring an endpoint back, so
    /// then announcements are ignored.
    pub fn observe(&self, endpoint: &Endpoint, observation: Observation, reason: &str) {
        let Some(check) = self.health.first() else {
            return;
        };
        let thresholds = Thresholds {
            rise: check.rise,
            fall: check.fall,
        };
        endpoint.observe(observation, &thresholds, reason);
    }

    /// An attempt failed by the endpoint's fault: counts it, and ejects the endpoint if its
    /// failures ask for it and the rest of the cluster can spare it. `reason` goes into the log then.
    pub fn record_failure(&self, endpoint: &Endpoint, reason: &str, now: Instant) {
        endpoint.metrics().failures.inc();
        let Some(policy) = &self.ejection else { return };
        if !endpoint.fail(now, policy) {
            return;
        }
        let _one_at_a_time = self.lock();
        let out = self
            .endpoints
            .iter()
            .filter(|endpoint| !endpoint.is_eligible(now))
            .count();
        if endpoint.is_eligible(now) && may_eject(self.endpoints.len(), out, policy) {
            endpoint.eject(now, policy, reason);
        }
    }

    /// An attempt ended well.
    pub fn record_success(&self, endpoint: &Endpoint) {
        endpoint.succeed();
    }

    fn lock(&self) -> MutexGuard<'_, Selection> {
        self.selection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn ejection_policy(config: &config::Ejection) -> eject::Policy {
    eject::Policy {
        failures: config.failures,
        window: config.window,
        duration: config.duration,
        max_percent: config.max_percent,
    }
}

/// The same name keeps its pooled connections across generations. Within one build of the program
/// this hash is fixed.
fn name_key(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
