//! What would come of asking for a place: a copy of the state does all that a request would have the state
//! do. Never changes the state itself, and nobody hears of what the copy does.

use std::sync::Arc;
use std::time::Duration;

use portcullis_traffic::queue::Queue;
use portcullis_traffic::select::{Ask, Balance, Candidate, Why};

use super::core::{Aftermath, Core, NoPlace, State};
use super::wait::{Lined, Waiting};
use super::{Cluster, ClusterStatus, Endpoint, Refusal};

/// What would become of a request, and of whom it would have been chosen.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    /// What [`Cluster::acquire`] would come to.
    pub(crate) would: Would,
    /// All endpoints in force, by which the choice goes; preferred tier and zone first.
    pub(crate) candidates: Vec<(Arc<Endpoint>, Candidate)>,
    /// How they stand.
    pub(crate) status: ClusterStatus,
}

/// What would become of a request.
#[derive(Debug)]
pub(crate) enum Would {
    /// It would have a place here.
    Have(Arc<Endpoint>, Why),
    /// It would wait in line.
    Wait {
        /// How many are before it.
        before: usize,
        /// Until it gives up.
        for_at_most: Duration,
    },
    /// It would have none.
    Fail(Refusal),
}

impl Cluster {
    /// What [`Cluster::acquire`] would come to now. Takes no place, moves no turn and counts nothing.
    pub(crate) fn rehearse(&self, ask: &Ask<'_>) -> Rehearsed {
        let (copy, endpoints) = self.core.copy();
        copy.rehearse(&endpoints, ask)
    }

    /// By what rule it chooses.
    pub(crate) fn balance(&self) -> Balance {
        self.shape.settings.balance
    }
}

impl Core {
    /// The copy knows no endpoints, so that none of them hears of what it does.
    fn copy(&self) -> (State, Vec<Arc<Endpoint>>) {
        self.look(|state| {
            let copy = State {
                selector: state.selector.clone(),
                containment: state.containment.clone(),
                queue: Queue::clone(&state.queue),
                waiting: Waiting::default(),
                endpoints: Vec::new(),
                next_change: state.next_change,
            };
            (copy, state.endpoints.clone())
        })
    }
}

impl State {
    fn rehearse(mut self, endpoints: &[Arc<Endpoint>], ask: &Ask<'_>) -> Rehearsed {
        let mut unheard: Aftermath = self.tick(ask.now);
        let rehearsal = self.selector.rehearse(ask);
        let status = self.status(endpoints, ask.now);
        let known = |id| {
            let found = endpoints.binary_search_by_key(&id, |one| one.id());
            endpoints.get(found.ok()?)
        };
        let before = self.queue.len();
        let chosen = match self.choose_at_once(ask, &mut unheard) {
            Err(NoPlace::Full) => self.line_up(ask, &mut unheard),
            Err(NoPlace::Nobody) => Err(Refusal::NoEndpoint),
            Ok(chosen) => Ok(Lined::Chosen(chosen)),
        };
        let would = match chosen {
            Ok(Lined::Chosen(chosen)) => match known(chosen.id) {
                Some(endpoint) => Would::Have(Arc::clone(endpoint), chosen.why),
                None => Would::Fail(Refusal::NoEndpoint),
            },
            Ok(Lined::Waits(ticket)) => {
                let deadline = self.queue.deadline(ticket).unwrap_or(ask.now);
                Would::Wait {
                    before,
                    for_at_most: deadline.saturating_duration_since(ask.now),
                }
            }
            Err(refusal) => Would::Fail(refusal),
        };
        let candidates = rehearsal.candidates.into_iter();
        let named = candidates.filter_map(|one| Some((Arc::clone(known(one.id)?), one)));
        Rehearsed {
            would,
            candidates: named.collect(),
            status,
        }
    }
}
