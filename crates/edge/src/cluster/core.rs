//! What generations of a cluster share: who is in, how busy, and who waits. Never waits under its lock.
//!
//! One mutex guards three state machines of `traffic`: `Selector`, `Containment` and `Queue`. Every
//! call is one short visit; what follows from it (log, metrics, wake-ups) happens after the lock is
//! free.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portcullis_traffic::containment::{Change, Changes, Containment, Policy, Trouble};
use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::queue::{Limits, Queue};
use portcullis_traffic::select::{Ask, Member, Picked, Selector, Settings, Why};
use tokio::sync::Notify;

use super::events::Events;
use super::slot::Verdict;
use super::wait::Waiting;
use super::{Endpoint, Slot};
use crate::metrics::ClusterMetrics;
use crate::probe::Bell;

/// What a configuration makes of a cluster.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) settings: Settings,
    pub(super) members: Vec<Member>,
    pub(super) policy: Policy,
    pub(super) limits: Limits,
    /// In file order.
    pub(super) endpoints: Vec<Arc<Endpoint>>,
}

/// The state of a cluster.
#[derive(Debug)]
pub(super) struct Core {
    name: String,
    pub(super) metrics: ClusterMetrics,
    events: Arc<Events>,
    /// Wakes whoever acts when time alone changes something.
    alarm: Arc<Notify>,
    /// Has all endpoints probed now.
    pub(super) bell: Bell,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) selector: Selector,
    pub(super) containment: Containment,
    pub(super) queue: Queue,
    pub(super) waiting: Waiting,
    /// By id.
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// As [`Containment::next_change`] said last.
    pub(super) next_change: Option<Instant>,
}

/// What is left to do when the lock is free.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    changes: Vec<(Change, Option<Arc<Endpoint>>)>,
    woken: Vec<Arc<Notify>>,
    is_sooner: bool,
    /// The last eligible endpoint is lost.
    is_lost: bool,
}

/// An endpoint for a request, and how it came to be this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) id: EndpointId,
    pub(super) why: Why,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// All eligible endpoints are full, or others wait already.
    Full,
    /// Nobody is eligible.
    Nobody,
}

impl Core {
    pub(super) fn new(
        name: &str,
        metrics: ClusterMetrics,
        events: Arc<Events>,
        alarm: Arc<Notify>,
        shape: &Shape,
        now: Instant,
    ) -> Self {
        let endpoints = by_id(&shape.endpoints);
        let ids: Vec<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id()).collect();
        let containment = Containment::new(shape.policy.clone(), &ids, now);
        let mut selector = Selector::new(shape.settings.clone(), &shape.members);
        for endpoint in &endpoints {
            let standing = containment.standing(endpoint.id());
            selector.set_standing(endpoint.id(), standing, now);
            endpoint.stands(standing);
        }
        Self {
            name: name.to_owned(),
            metrics,
            events,
            alarm,
            bell: Bell::default(),
            state: Mutex::new(State {
                selector,
                next_change: containment.next_change(),
                containment,
                queue: Queue::new(shape.limits),
                waiting: Waiting::default(),
                endpoints,
            }),
        }
    }

    /// Takes on another shape. What is known of endpoints that stay is kept; those that go finish
    /// what they have.
    pub(super) fn reshape(&self, shape: &Shape, now: Instant) {
        let mut state = self.lock();
        let endpoints = by_id(&shape.endpoints);
        let ids: Vec<EndpointId> = endpoints.iter().map(|endpoint| endpoint.id()).collect();
        state
            .selector
            .reshape(shape.settings.clone(), &shape.members, now);
        let changes = state.containment.reshape(shape.policy.clone(), &ids, now);
        for endpoint in &endpoints {
            let standing = state.containment.standing(endpoint.id());
            state.selector.set_standing(endpoint.id(), standing, now);
            endpoint.stands(standing);
        }
        state.endpoints = endpoints;
        state.queue.reshape(shape.limits);
        let aftermath = state.settle(changes, now);
        drop(state);
        self.see_to(aftermath);
    }

    /// A place for this request, at once or not at all.
    pub(super) fn take(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Slot, NoPlace> {
        let mut state = self.lock();
        let mut aftermath = state.tick(ask.now);
        let chosen = state.choose_at_once(ask, &mut aftermath);
        let taken = chosen.and_then(|chosen| state.hold(self, chosen, ask.now));
        drop(state);
        self.see_to(aftermath);
        taken
    }

    /// How an attempt went that still holds its place.
    pub(super) fn judge(&self, endpoint: &Endpoint, result: Result<(), Trouble>, now: Instant) {
        self.change(now, |state| {
            state.containment.ended(endpoint.id(), result, now)
        });
    }

    /// Gives a place back.
    pub(super) fn release(
        &self,
        endpoint: &Endpoint,
        latency: Option<Duration>,
        verdict: Verdict,
        now: Instant,
    ) {
        let id = endpoint.id();
        let mut state = self.lock();
        let changes = match verdict {
            Verdict::Given => Changes::new(),
            Verdict::Now(result) => state.containment.ended(id, result, now),
            Verdict::None => state.containment.abandoned(id, now),
        };
        state.selector.release(id, latency, now);
        let aftermath = state.settle(changes, now);
        drop(state);
        self.see_to(aftermath);
    }

    /// Lets time act; returns when it does so next.
    pub(super) fn tick(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let aftermath = state.tick(now);
        let next = state.next_change;
        drop(state);
        self.see_to(aftermath);
        next
    }

    /// Tells containment something, and does what follows.
    pub(super) fn change(&self, now: Instant, tell: impl FnOnce(&mut State) -> Changes) {
        let mut state = self.lock();
        let changes = tell(&mut state);
        let aftermath = state.settle(changes, now);
        drop(state);
        self.see_to(aftermath);
    }

    /// Looks without changing anything.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Log, metrics, wake-ups: after the lock.
    pub(super) fn see_to(&self, aftermath: Aftermath) {
        let Aftermath {
            changes,
            woken,
            is_sooner,
            is_lost,
        } = aftermath;
        for woken in woken {
            woken.notify_one();
        }
        if is_sooner {
            self.alarm.notify_one();
        }
        if is_lost {
            // Nothing is more urgent now than to find out who is there.
            self.bell.ring();
        }
        for (change, endpoint) in changes {
            self.events
                .publish(&self.name, endpoint.as_deref(), &change);
        }
    }
}

impl Aftermath {
    pub(super) fn wake(&mut self, sleeper: Option<Arc<Notify>>) {
        self.woken.extend(sleeper);
    }
}

impl State {
    /// The endpoint of this id, unless it was removed.
    pub(super) fn endpoint(&self, id: EndpointId) -> Option<&Arc<Endpoint>> {
        let found = self.endpoints.binary_search_by_key(&id, |one| one.id());
        self.endpoints.get(found.ok()?)
    }

    /// Takes a place, whoever waits.
    pub(super) fn take(
        &mut self,
        core: &Arc<Core>,
        ask: &Ask<'_>,
        aftermath: &mut Aftermath,
    ) -> Result<Slot, NoPlace> {
        let chosen = self.choose(ask, aftermath)?;
        self.hold(core, chosen, ask.now)
    }

    /// Chooses, unless others wait already.
    pub(super) fn choose_at_once(
        &mut self,
        ask: &Ask<'_>,
        aftermath: &mut Aftermath,
    ) -> Result<Chosen, NoPlace> {
        match self.queue.must_wait() && !self.is_bound_to_draining(ask) {
            true => Err(NoPlace::Full),
            false => self.choose(ask, aftermath),
        }
    }

    /// Chooses an endpoint, whoever waits, and counts a place of it as taken.
    pub(super) fn choose(
        &mut self,
        ask: &Ask<'_>,
        aftermath: &mut Aftermath,
    ) -> Result<Chosen, NoPlace> {
        match self.selector.pick(ask) {
            Picked::Endpoint { id, why } => {
                let changes = self.containment.attempted(id, ask.now);
                self.apply(changes, ask.now, aftermath);
                Ok(Chosen { id, why })
            }
            Picked::Full => Err(NoPlace::Full),
            Picked::Nobody => Err(NoPlace::Nobody),
        }
    }

    /// The place that was counted becomes somebody's.
    pub(super) fn hold(
        &mut self,
        core: &Arc<Core>,
        chosen: Chosen,
        now: Instant,
    ) -> Result<Slot, NoPlace> {
        let Some(endpoint) = self.endpoint(chosen.id) else {
            // Selector and endpoints change together, so this cannot happen.
            self.selector.release(chosen.id, None, now);
            return Err(NoPlace::Nobody);
        };
        let endpoint = Arc::clone(endpoint);
        core.metrics.count_pick(chosen.why);
        Ok(Slot::new(Arc::clone(core), endpoint, chosen.why, now))
    }

    /// Lets time act if there is something to do.
    pub(super) fn tick(&mut self, now: Instant) -> Aftermath {
        if self.next_change.is_none_or(|next| now < next) {
            return Aftermath::default();
        }
        let changes = self.containment.tick(now);
        let mut aftermath = self.settle(changes, now);
        self.see_next(&mut aftermath);
        aftermath
    }

    /// What follows from these changes, and from a place or an endpoint that may be free now.
    pub(super) fn settle(&mut self, changes: Changes, now: Instant) -> Aftermath {
        let mut aftermath = Aftermath::default();
        self.apply(changes, now, &mut aftermath);
        if !self.queue.is_empty() {
            self.call_next(now, &mut aftermath);
        }
        aftermath
    }

    /// Calls the first in line, if there is one: a place may be free.
    pub(super) fn call_next(&mut self, now: Instant, aftermath: &mut Aftermath) {
        if let Some(ticket) = self.queue.call(now) {
            aftermath.wake(self.waiting.find(ticket));
        }
    }

    fn apply(&mut self, changes: Changes, now: Instant, aftermath: &mut Aftermath) {
        if changes.is_empty() {
            return;
        }
        let could_serve = self.selector.eligible() > 0;
        for change in changes {
            let endpoint = change.endpoint.and_then(|(id, standing)| {
                self.selector.set_standing(id, standing, now);
                let endpoint = self.endpoint(id)?;
                endpoint.stands(standing);
                Some(Arc::clone(endpoint))
            });
            aftermath.changes.push((change, endpoint));
        }
        aftermath.is_lost |= could_serve && self.selector.eligible() == 0;
        self.see_next(aftermath);
    }

    fn see_next(&mut self, aftermath: &mut Aftermath) {
        let next = self.containment.next_change();
        aftermath.is_sooner |= match (next, self.next_change) {
            (Some(next), Some(known)) => next < known,
            (Some(_), None) => true,
            (None, _) => false,
        };
        self.next_change = next;
    }

    /// Whoever is bound to an endpoint that takes nobody else has its places for itself.
    fn is_bound_to_draining(&self, ask: &Ask<'_>) -> bool {
        ask.bound
            .is_some_and(|id| self.selector.standing(id) == Some(Standing::Draining))
    }
}

fn by_id(endpoints: &[Arc<Endpoint>]) -> Vec<Arc<Endpoint>> {
    let mut endpoints = endpoints.to_vec();
    endpoints.sort_by_key(|endpoint| endpoint.id());
    endpoints
}
