//! Clusters and their endpoints while they run. Never does IO.
//!
//! A [`Cluster`] is what one generation of the configuration makes of a name: policies that never
//! change. Behind it stands the state that all generations of the name share (`core`): who is in,
//! how busy, who waits. A request takes a place with [`Cluster::acquire`] and holds it as a
//! [`Slot`]; every change of an endpoint's standing is told by [`Events`].

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use bytes::Bytes;
use portcullis_ops::Secret;
use portcullis_traffic::containment::Trouble;
use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::retry::Budget;
pub use portcullis_traffic::select::Ask;
use portcullis_traffic::select::Member;
use rustls_pki_types::ServerName;
use tokio::sync::Notify;

use crate::affinity::{self, Affinity, Bond, KeyError};
use crate::config::{self, Balance, Discover, HashKey, HealthCheck, Retries, UpstreamTimeouts};
use crate::dialling::{Dialling, Via};
use crate::discovery::{Found, SourceStatus};
use crate::listener::Origin;
use crate::metrics::{ClusterMetrics, Metrics};
use crate::probe::Bell;

pub(crate) mod clock;
mod core;
mod endpoint;
mod events;
mod past;
mod policy;
mod rehearse;
mod slot;
mod status;
#[cfg(test)]
mod tests;
mod wait;

use self::core::{Core, NoPlace, Shape};
pub use endpoint::{Endpoint, OpaqueIds};
pub use events::{Event, Events};
pub(crate) use past::EndpointPast;
pub(crate) use rehearse::{Rehearsed, Would};
pub use slot::Slot;
pub(crate) use status::obstacle_name;
pub use status::{ClusterStatus, EndpointStatus};

/// What the clusters of one edge share over all generations.
#[derive(Debug)]
pub struct Keeper {
    ids: OpaqueIds,
    next_endpoint: AtomicU32,
    events: Arc<Events>,
    alarm: Arc<Notify>,
    found: Arc<Found>,
    /// By cluster: what the process before drew for affinity.
    affinity: HashMap<String, Secret<[u8; 32]>>,
}

impl Keeper {
    /// No cluster yet.
    pub fn new(ids: OpaqueIds) -> Self {
        Self {
            ids,
            next_endpoint: AtomicU32::new(1),
            events: Arc::new(Events::new()),
            alarm: Arc::new(Notify::new()),
            found: Arc::default(),
            affinity: HashMap::new(),
        }
    }

    /// Goes on with what the process before drew for affinity, by cluster.
    #[must_use]
    pub(crate) fn with_affinity(mut self, affinity: HashMap<String, Secret<[u8; 32]>>) -> Self {
        self.affinity = affinity;
        self
    }

    /// Endpoints that were found while the edge runs.
    pub(crate) fn found(&self) -> &Arc<Found> {
        &self.found
    }

    /// What changed lately.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Resolves when time will change something sooner than was known.
    pub(crate) async fn alarm(&self) {
        self.alarm.notified().await;
    }

    /// Has the clusters looked at: there are others now.
    pub(crate) fn ring(&self) {
        self.alarm.notify_one();
    }

    fn next_id(&self) -> EndpointId {
        EndpointId(self.next_endpoint.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why a request gets no place at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is eligible.
    NoEndpoint,
    /// All endpoints are full, and so is the queue.
    QueueFull {
        /// When it may be better.
        retry_after_seconds: u64,
    },
    /// The request waited as long as it may.
    QueueTimeout {
        /// When it may be better.
        retry_after_seconds: u64,
    },
}

/// A named set of interchangeable endpoints and the policy over them.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    key: u64,
    core: Arc<Core>,
    shape: Shape,
    /// Position of each endpoint in the shape, by the name it has in affinity cookies.
    by_affinity_id: Vec<(u64, EndpointId)>,
    hash: Option<HashKey>,
    health: Vec<HealthCheck>,
    affinity: Option<Arc<Affinity>>,
    timeouts: UpstreamTimeouts,
    dialling: Dialling,
    discover: Discover,
    found: Arc<Found>,
    retries: Retries,
    retry_budget: Arc<Budget>,
}

impl Cluster {
    /// Builds a cluster for an edge in this zone. Endpoints that the previous generation knows by
    /// address stay who they are; nothing changes for them before [`Cluster::put_in_force`].
    pub fn build(
        config: &config::Cluster,
        zone: Option<&str>,
        metrics: &Metrics,
        keeper: &Keeper,
        previous: Option<&Self>,
    ) -> Result<Self, KeyError> {
        let endpoint = |address: SocketAddr| {
            let known = previous.and_then(|cluster| cluster.endpoint(address));
            known.map(Arc::clone).unwrap_or_else(|| {
                let id = keeper.next_id();
                let endpoint = Endpoint::new(id, &config.name, address, &keeper.ids, metrics);
                Arc::new(endpoint)
            })
        };
        let known = keeper.found.all(config);
        let endpoints: Vec<_> = known.iter().map(|one| endpoint(one.address)).collect();
        let dialling = Dialling::new(config, &known);
        let members = known.iter().zip(&endpoints);
        let shape = Shape {
            settings: policy::settings(config, zone),
            members: members
                .map(|(config, endpoint)| policy::member(config, endpoint))
                .collect(),
            policy: policy::containment(config),
            limits: policy::queue(config.queue.as_ref()),
            endpoints,
        };
        let core = match previous {
            Some(previous) => Arc::clone(&previous.core),
            None => Arc::new(Core::new(
                &config.name,
                metrics.cluster(&config.name),
                Arc::clone(&keeper.events),
                Arc::clone(&keeper.alarm),
                &shape,
                Instant::now(),
            )),
        };
        let known_affinity = previous.and_then(|cluster| cluster.affinity.as_ref());
        let affinity_ids = shape
            .endpoints
            .iter()
            .map(|one| (one.affinity_id(), one.id()));
        let mut by_affinity_id: Vec<_> = affinity_ids.collect();
        by_affinity_id.sort_unstable();
        Ok(Self {
            name: config.name.clone(),
            key: name_key(&config.name) ^ dialling.identity(),
            dialling,
            discover: config.discover.clone(),
            found: Arc::clone(&keeper.found),
            core,
            shape,
            by_affinity_id,
            hash: match &config.balance {
                Balance::Hash { key, .. } => Some(key.clone()),
                _ => None,
            },
            health: config.health.clone(),
            affinity: match &config.affinity {
                Some(affinity) => {
                    let inherited = keeper.affinity.get(&config.name);
                    let inherited = inherited.map(|secret| *secret.expose());
                    let name = &config.name;
                    Some(Affinity::build(affinity, name, known_affinity, inherited)?)
                }
                None => None,
            },
            timeouts: config.timeouts,
            retries: config.retries,
            retry_budget: previous
                .map_or_else(Arc::default, |previous| Arc::clone(&previous.retry_budget)),
        })
    }

    /// Makes this generation's endpoints and policies the ones that count.
    pub fn put_in_force(&self, now: Instant) {
        self.core.reshape(&self.shape, now);
    }

    /// The `cluster` label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All endpoints of this generation, those written down first and in file order, eligible or not.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.shape.endpoints
    }

    /// The endpoint at an address.
    pub fn endpoint(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints()
            .iter()
            .find(|endpoint| endpoint.address() == address)
    }

    /// The endpoint that an affinity cookie names.
    pub(crate) fn bound_to(&self, affinity_id: u64) -> Option<EndpointId> {
        let found = self
            .by_affinity_id
            .binary_search_by_key(&affinity_id, |(known, _)| *known);
        self.by_affinity_id.get(found.ok()?).map(|(_, id)| *id)
    }

    /// Where endpoints are found.
    pub(crate) fn discover(&self) -> &Discover {
        &self.discover
    }

    /// What its sources said.
    pub(crate) fn sources(&self) -> Vec<SourceStatus> {
        self.found.status(&self.name, &self.discover)
    }

    /// Whether readiness waits for its sources: nothing else gives it endpoints.
    pub(crate) fn is_awaited(&self, now: Instant) -> bool {
        self.endpoints().is_empty() && self.found.is_awaited(&self.name, &self.discover, now)
    }

    /// Deadlines towards endpoints.
    pub fn timeouts(&self) -> &UpstreamTimeouts {
        &self.timeouts
    }

    /// How an endpoint is connected to for a client that speaks with us at a local address, and which
    /// pooled connections will do.
    pub(crate) fn via(
        &self,
        endpoint: &Endpoint,
        client: SocketAddr,
        local: SocketAddr,
    ) -> (Via, u64) {
        let origin = Origin {
            source: client,
            destination: local,
        };
        let via = self.dialling.via(endpoint.address(), origin);
        let key = self.key ^ via.identity();
        (via, self.dialling.share(key, origin))
    }

    /// What a connection of our own to an endpoint begins with.
    pub(crate) fn own_preamble(&self) -> Option<Bytes> {
        self.dialling.own_preamble()
    }

    /// Whether its endpoints speak HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.dialling.is_http2()
    }

    /// Whether that is TCP and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.dialling.is_plain()
    }

    /// The name of an endpoint's host, else its address: what its certificate is for.
    pub(crate) fn own_name(&self, endpoint: &Endpoint) -> ServerName<'static> {
        self.dialling.name(endpoint.address())
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
        self.core.look(|state| state.selector.total_in_flight())
    }

    /// Metric handles.
    pub fn metrics(&self) -> &ClusterMetrics {
        &self.core.metrics
    }

    /// The active checks.
    pub fn health_checks(&self) -> &[HealthCheck] {
        &self.health
    }

    /// Has all endpoints checked now.
    pub fn bell(&self) -> &Bell {
        &self.core.bell
    }

    /// Whether and how clients are kept, if they are.
    pub(crate) fn affinity(&self) -> Option<&Affinity> {
        self.affinity.as_deref()
    }

    /// What of a request decides, if its endpoint is chosen by hashing.
    pub fn hash_key(&self) -> Option<&HashKey> {
        self.hash.as_ref()
    }

    /// Takes a place at an endpoint: that the client is bound to if it may be had, else the
    /// balancer's choice. Waits in the queue only if all are full; dropping the future then leaves
    /// the queue.
    pub async fn acquire(&self, ask: &Ask<'_>) -> Result<Slot, Refusal> {
        match self.core.take(ask) {
            Ok(slot) => Ok(slot),
            Err(NoPlace::Nobody) => Err(Refusal::NoEndpoint),
            // Rare and large, so not a part of every request's future.
            Err(NoPlace::Full) => Box::pin(wait::wait(&self.core, ask)).await,
        }
    }

    /// Whether somebody is eligible. Endpoints of last resort are not.
    pub fn has_eligible(&self) -> bool {
        self.core.look(|state| state.selector.eligible() > 0)
    }

    /// Whether an endpoint is eligible that is none of `tried`; without a queue it must have room, too.
    /// Asks those that are in force: a request of an earlier generation may go on to endpoints that
    /// came since.
    pub(crate) fn has_untried(&self, tried: &[EndpointId]) -> bool {
        self.core.look(|state| match state.queue.is_on() {
            true => state.selector.has_untried(tried),
            false => state.selector.has_room_untried(tried),
        })
    }

    /// The endpoint that a client belongs to: where it is bound if that one still serves, else where
    /// the hash of its value points.
    pub(crate) fn preferred(&self, bond: Bond, tried: &[EndpointId]) -> Option<EndpointId> {
        if bond.endpoint().is_none() && bond.hash().is_none() {
            return None;
        }
        self.core.look(|state| {
            let standing =
                |id: EndpointId| state.selector.standing(id).filter(|_| !tried.contains(&id));
            let bound = bond.endpoint().and_then(|id| self.bound_to(id));
            let serves = |id: &EndpointId| {
                standing(*id).is_some_and(|one| one.is_eligible() || one == Standing::Draining)
            };
            let (None, Some(hash)) = (bound.filter(serves), bond.hash()) else {
                return bound.filter(serves);
            };
            let weight = |member: &Member| {
                standing(member.id).filter(|one| one.is_eligible())?;
                state
                    .selector
                    .weight(member.id)
                    .filter(|weight| *weight > 0)
            };
            let endpoints = self.shape.members.iter().zip(&self.shape.endpoints);
            let takers = endpoints.filter_map(|(member, endpoint)| {
                Some((member.priority, endpoint, weight(member)?))
            });
            // Zones do not count here: edges of all zones must agree.
            let tier = takers.clone().map(|(priority, ..)| priority).min()?;
            let takers = takers.filter(|(priority, ..)| *priority == tier);
            let takers = takers.map(|(_, one, weight)| (one.affinity_id(), u32::from(weight)));
            self.bound_to(affinity::first_choice(hash, takers)?)
        })
    }

    /// A probe of the health check at this position ended.
    pub fn probed(
        &self,
        endpoint: &Endpoint,
        check: usize,
        result: Result<(), Trouble>,
        now: Instant,
    ) {
        self.core.change(now, |state| {
            state.containment.probed(endpoint.id(), check, result, now)
        });
    }

    /// The endpoint said, in a probe's answer or any other, that it is about to leave.
    pub fn announced_draining(&self, endpoint: &Endpoint, now: Instant) {
        self.core.change(now, |state| {
            state.containment.announced_draining(endpoint.id(), now)
        });
    }

    /// The operator puts an endpoint aside, or takes it back.
    pub fn drain(&self, endpoint: &Endpoint, is_drained: bool, now: Instant) {
        self.core.change(now, |state| {
            state.containment.drain(endpoint.id(), is_drained, now)
        });
    }

    /// The operator gives an endpoint another weight, until the configuration says another than before.
    pub fn set_weight(&self, endpoint: &Endpoint, weight: u16, now: Instant) {
        self.core.change(now, |state| {
            state.selector.set_weight(endpoint.id(), weight);
            Vec::new()
        });
    }

    /// Lets time act; returns when it does so next.
    pub(crate) fn tick(&self, now: Instant) -> Option<Instant> {
        self.core.tick(now)
    }

    /// All that is known of the endpoints, and why they are out.
    pub fn status(&self, now: Instant) -> ClusterStatus {
        self.core.look(|state| state.status(self.endpoints(), now))
    }

    /// All that is known of one endpoint; `None` if a later configuration has removed it.
    pub fn endpoint_status(
        &self,
        endpoint: &Arc<Endpoint>,
        now: Instant,
    ) -> Option<EndpointStatus> {
        self.core.look(|state| state.endpoint_status(endpoint, now))
    }
}

/// The same name keeps its pooled connections across generations. Within one build of the program
/// this hash is fixed.
fn name_key(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
