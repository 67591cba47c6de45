//! Where the requests of one route go now, and how that changes while the edge runs. Never touches a
//! request on its way: it keeps the target it was given.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::{Edge, Snapshot};
use crate::cluster::Cluster;
use crate::config::{self, SplitBy};
use crate::metrics::{Metrics, RequestCounters};

/// A cluster as one route's target.
#[derive(Debug)]
pub struct Target {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// Its share beside the other targets' weights.
    pub weight: u16,
    /// By listener.
    pub(crate) counters: Vec<Option<RequestCounters>>,
}

/// What a request finds: the targets of this moment.
#[derive(Debug)]
pub(crate) struct Choice {
    /// At least one.
    pub(crate) targets: Vec<Arc<Target>>,
    /// What tells users apart; `None` if there is nothing to choose.
    pub(crate) by: Option<SplitBy>,
}

/// The targets of one route.
#[derive(Debug)]
pub struct Targets {
    now: ArcSwap<Choice>,
    by: Option<SplitBy>,
    /// Shared by the generations that have the same words for this route.
    memory: Arc<Mutex<Memory>>,
}

/// One cluster's share of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The cluster's name.
    pub cluster: String,
    /// Its share beside the other weights.
    pub weight: u16,
}

#[derive(Debug)]
struct Memory {
    /// As the file has it.
    written: Vec<Share>,
    now: Vec<Share>,
    before: Option<Vec<Share>>,
    changes: u64,
}

/// What another process takes over of a route that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutePast {
    /// As the file had it.
    pub(crate) written: Vec<Share>,
    /// As it was changed.
    pub(crate) now: Vec<Share>,
    /// As it was before.
    pub(crate) before: Option<Vec<Share>>,
}

/// What a change of a route's targets did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switched {
    /// The route.
    pub route: String,
    /// How often the route's targets were changed since the file's words came into force.
    pub change: u64,
    /// Shares until now.
    pub before: Vec<Share>,
    /// Shares of all requests from now on.
    pub now: Vec<Share>,
}

/// A change that was not made; everything is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// No such route.
    #[error("there is no route `{0}`")]
    UnknownRoute(String),
    /// The route redirects or responds.
    #[error("the route `{0}` sends its requests to no cluster")]
    NoTargets(String),
    /// No such cluster in the configuration.
    #[error("there is no cluster `{0}`")]
    UnknownCluster(String),
    /// Weights for a route with one cluster.
    #[error("the route `{0}` has no `split` in its configuration")]
    NotASplit(String),
    /// A cluster that the route's split does not name.
    #[error("the split of the route `{route}` has no cluster `{cluster}`")]
    NotAMember {
        /// The route.
        route: String,
        /// The cluster.
        cluster: String,
    },
    /// All weights would be zero, or one is beyond [`WEIGHT_MAX`].
    #[error("weights go from 0 to {WEIGHT_MAX}, and at least one is above 0")]
    Weights,
    /// There was no change that could be undone.
    #[error("the route `{0}` has not been switched")]
    NothingBefore(String),
}

/// Largest weight of a target.
pub const WEIGHT_MAX: u16 = 1_000;

impl Targets {
    pub(super) fn build(
        route: &str,
        action: &config::Action,
        parts: &Parts<'_>,
        previous: Option<&Self>,
    ) -> Option<Self> {
        let share = |(id, weight): (config::ClusterId, u16)| Share {
            cluster: parts.clusters[id.0].name().to_owned(),
            weight,
        };
        let (written, by) = match action {
            config::Action::Cluster(id) => (vec![share((*id, 1))], None),
            config::Action::Split(split) => {
                let shares = split.members.iter().map(|member| share(*member));
                (shares.collect::<Vec<_>>(), Some(split.by.clone()))
            }
            config::Action::Redirect(_) | config::Action::Respond(_) => return None,
        };
        // What the operator changed holds until the file says something else.
        let memory = previous.map(|previous| &previous.memory);
        let memory = memory.filter(|memory| {
            let memory = lock(memory);
            memory.written == written && parts.choice(route, &memory.now, None).is_some()
        });
        let memory = memory.map_or_else(
            || {
                Arc::new(Mutex::new(Memory {
                    now: written.clone(),
                    written,
                    before: None,
                    changes: 0,
                }))
            },
            Arc::clone,
        );
        let choice = parts.choice(route, &lock(&memory).now, by.as_ref())?;
        Some(Self {
            now: ArcSwap::from_pointee(choice),
            by,
            memory,
        })
    }

    /// The targets of this moment.
    #[inline]
    pub(crate) fn now(&self) -> arc_swap::Guard<Arc<Choice>> {
        self.now.load()
    }

    /// Whether the file splits the route's requests.
    pub(crate) fn is_split(&self) -> bool {
        self.by.is_some()
    }

    /// Shares as the file has them.
    pub(crate) fn written(&self) -> Vec<Share> {
        lock(&self.memory).written.clone()
    }

    /// What was changed, if something was.
    pub(crate) fn past(&self) -> Option<RoutePast> {
        let memory = lock(&self.memory);
        (memory.changes > 0).then(|| RoutePast {
            written: memory.written.clone(),
            now: memory.now.clone(),
            before: memory.before.clone(),
        })
    }

    /// Shares now, and what a switch back would lead to.
    pub fn shares(&self) -> (Vec<Share>, Option<Vec<Share>>) {
        let memory = lock(&self.memory);
        (memory.now.clone(), memory.before.clone())
    }
}

/// What targets are made of.
pub(super) struct Parts<'a> {
    pub(super) clusters: &'a [Arc<Cluster>],
    pub(super) listeners: &'a [Option<String>],
    pub(super) metrics: &'a Metrics,
}

impl Parts<'_> {
    pub(super) fn counters(&self, route: &str, cluster: &str) -> Vec<Option<RequestCounters>> {
        let counters = |listener: &Option<String>| {
            let listener = listener.as_deref()?;
            Some(self.metrics.requests(listener, route, cluster))
        };
        self.listeners.iter().map(counters).collect()
    }

    /// `None` if a cluster is unknown.
    fn choice(&self, route: &str, shares: &[Share], by: Option<&SplitBy>) -> Option<Choice> {
        let target = |share: &Share| {
            let mut clusters = self.clusters.iter();
            let cluster = clusters.find(|cluster| cluster.name() == share.cluster)?;
            Some(Arc::new(Target {
                cluster: Arc::clone(cluster),
                weight: share.weight,
                counters: self.counters(route, &share.cluster),
            }))
        };
        let targets: Option<Vec<_>> = shares.iter().map(target).collect();
        Some(Choice {
            by: by.filter(|_| shares.len() > 1).cloned(),
            targets: targets.filter(|targets| !targets.is_empty())?,
        })
    }
}

impl Snapshot {
    /// Gives every route the targets it has now, whenever this generation was built.
    pub(super) fn renew_targets(&self, metrics: &Metrics) {
        for route in &self.routes {
            let Some(targets) = &route.targets else {
                continue;
            };
            let memory = lock(&targets.memory);
            let parts = self.parts(metrics);
            if let Some(choice) = parts.choice(&route.name, &memory.now, targets.by.as_ref()) {
                targets.now.store(Arc::new(choice));
            }
        }
    }
}

impl Edge {
    /// Sends all requests of a route to one cluster of the configuration from now on, in one step.
    /// Requests on their way finish where they are.
    pub fn switch(&self, route: &str, cluster: &str) -> Result<Switched, SwitchError> {
        self.change(route, |_, memory| {
            let only = |share: &Share| Share {
                cluster: share.cluster.clone(),
                weight: u16::from(share.cluster == cluster),
            };
            // Among the members of a split, so that its weights can be set again.
            let is_member = memory.written.iter().any(|share| share.cluster == cluster);
            Ok(match is_member {
                true => memory.written.iter().map(only).collect(),
                false => vec![Share {
                    cluster: cluster.to_owned(),
                    weight: 1,
                }],
            })
        })
    }

    /// Gives members of a route's split other weights, in one step; who is not named keeps its own.
    pub fn set_split(&self, route: &str, weights: &[Share]) -> Result<Switched, SwitchError> {
        self.change(route, |targets, memory| {
            if targets.by.is_none() {
                return Err(SwitchError::NotASplit(route.to_owned()));
            }
            // After a switch to a cluster beside the split: from what the file says.
            let clusters = |shares: &[Share]| {
                let names = shares.iter().map(|share| share.cluster.clone());
                names.collect::<Vec<_>>()
            };
            let mut shares = match clusters(&memory.now) == clusters(&memory.written) {
                true => memory.now.clone(),
                false => memory.written.clone(),
            };
            for wanted in weights {
                let mut members = shares.iter_mut();
                let member = members.find(|share| share.cluster == wanted.cluster);
                let member = member.ok_or_else(|| SwitchError::NotAMember {
                    route: route.to_owned(),
                    cluster: wanted.cluster.clone(),
                })?;
                member.weight = wanted.weight;
            }
            let is_sound = shares.iter().all(|share| share.weight <= WEIGHT_MAX)
                && shares.iter().any(|share| share.weight > 0);
            is_sound.then_some(shares).ok_or(SwitchError::Weights)
        })
    }

    /// Undoes the last change of a route's targets, in one step. Doing it twice leads back again.
    pub fn switch_back(&self, route: &str) -> Result<Switched, SwitchError> {
        self.change(route, |_, memory| {
            let before = memory.before.clone();
            before.ok_or_else(|| SwitchError::NothingBefore(route.to_owned()))
        })
    }

    /// Goes on where another process was, unless the file says something else of the route now.
    pub(crate) fn resume_targets(&self, route: &str, past: RoutePast) {
        let changed = self.change(route, |_, memory| match memory.written == past.written {
            true => Ok(past.now.clone()),
            false => Err(SwitchError::NothingBefore(route.to_owned())),
        });
        let snapshot = self.snapshot.load();
        let targets = snapshot.route_named(route).map(|state| &state.targets);
        if let (Ok(_), Some(Some(targets))) = (changed, targets) {
            lock(&targets.memory).before = past.before;
        }
    }

    fn change(
        &self,
        route: &str,
        decide: impl FnOnce(&Targets, &Memory) -> Result<Vec<Share>, SwitchError>,
    ) -> Result<Switched, SwitchError> {
        let _one_at_a_time = lock(&self.switching);
        let snapshot = self.snapshot.load_full();
        let mut routes = snapshot.routes.iter();
        let state = routes.find(|state| state.name == route);
        let state = state.ok_or_else(|| SwitchError::UnknownRoute(route.to_owned()))?;
        let targets = state.targets.as_ref();
        let targets = targets.ok_or_else(|| SwitchError::NoTargets(route.to_owned()))?;
        let mut memory = lock(&targets.memory);
        let now = decide(targets, &memory)?;
        let parts = snapshot.parts(&self.metrics);
        let choice = parts.choice(route, &now, targets.by.as_ref());
        let choice = choice.ok_or_else(|| {
            let known = |share: &&Share| snapshot.cluster_named(&share.cluster).is_none();
            let unknown = now.iter().find(known).map(|share| share.cluster.clone());
            SwitchError::UnknownCluster(unknown.unwrap_or_default())
        })?;
        targets.now.store(Arc::new(choice));
        memory.changes += 1;
        let before = std::mem::replace(&mut memory.now, now.clone());
        // Whoever asks twice for the same thing can still go back to what was before.
        if before != now {
            memory.before = Some(before.clone());
        }
        tracing::info!(
            route,
            change = memory.changes,
            before = %Shares(&before),
            now = %Shares(&now),
            "the targets of a route changed"
        );
        Ok(Switched {
            route: route.to_owned(),
            change: memory.changes,
            before,
            now,
        })
    }
}

/// `blue 95, green 5`
struct Shares<'a>(&'a [Share]);

impl std::fmt::Display for Shares<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, share) in self.0.iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            write!(f, "{comma}{} {}", share.cluster, share.weight)?;
        }
        Ok(())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way; what is inside is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
