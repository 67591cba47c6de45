//! Waiting in line for a place. Never overtakes: who comes while others wait goes to the end, but for
//! retries that wait for an endpoint of their own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use portcullis_traffic::queue::{Takes, Ticket};
use portcullis_traffic::select::Ask;
use tokio::sync::Notify;

use super::core::{Aftermath, Chosen, Core, NoPlace, State};
use super::{Refusal, Slot};

/// How to wake those in line. By ticket, so by arrival.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(Ticket, Arc<Notify>)>);

impl Waiting {
    fn add(&mut self, ticket: Ticket) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        self.0.push_back((ticket, Arc::clone(&wake)));
        wake
    }

    pub(super) fn find(&self, ticket: Ticket) -> Option<Arc<Notify>> {
        let position = self.position(ticket)?;
        self.0.get(position).map(|(_, wake)| Arc::clone(wake))
    }

    fn remove(&mut self, ticket: Ticket) {
        if let Some(position) = self.position(ticket) {
            self.0.remove(position);
        }
    }

    fn position(&self, ticket: Ticket) -> Option<usize> {
        self.0.binary_search_by_key(&ticket, |(one, _)| *one).ok()
    }
}

/// What came of asking for a position in line.
enum Joined<'c> {
    Served(Slot),
    Waits(Turn<'c>, Arc<Notify>, Instant),
}

/// A position in line; leaves it on drop.
struct Turn<'c> {
    core: &'c Arc<Core>,
    ticket: Option<Ticket>,
    /// What became of it has been counted.
    is_counted: bool,
}

/// A place for this request, as soon as it has its turn.
pub(super) async fn wait(core: &Arc<Core>, ask: &Ask<'_>) -> Result<Slot, Refusal> {
    let (mut turn, wake, deadline) = match join(core, ask)? {
        Joined::Served(slot) => return Ok(slot),
        Joined::Waits(turn, wake, deadline) => (turn, wake, deadline),
    };
    loop {
        let called = tokio::time::timeout_at(deadline.into(), wake.notified()).await;
        let now = tokio::time::Instant::now().into_std();
        if called.is_err() {
            core.metrics.queue_timeouts.inc();
            turn.is_counted = true;
            return Err(Refusal::QueueTimeout {
                retry_after_seconds: core.look(|state| state.queue.retry_after_seconds(now)),
            });
        }
        match turn.take(&Ask { now, ..*ask }) {
            Ok(slot) => {
                core.metrics.queue_served.inc();
                return Ok(slot);
            }
            Err(NoPlace::Full) => {}
            Err(NoPlace::Nobody) => {
                turn.is_counted = true;
                return Err(Refusal::NoEndpoint);
            }
        }
    }
}

/// Between looking and joining no place may be given back unseen, so both are one visit.
fn join<'c>(core: &'c Arc<Core>, ask: &Ask<'_>) -> Result<Joined<'c>, Refusal> {
    let mut aftermath = Aftermath::default();
    let mut state = core.lock();
    let joined = match state.line_up(ask, &mut aftermath) {
        Ok(Lined::Chosen(chosen)) => match state.hold(core, chosen, ask.now) {
            Ok(slot) => Ok(Joined::Served(slot)),
            Err(NoPlace::Nobody | NoPlace::Full) => Err(Refusal::NoEndpoint),
        },
        Ok(Lined::Waits(ticket)) => {
            let deadline = state.queue.deadline(ticket).unwrap_or(ask.now);
            let wake = state.waiting.add(ticket);
            let turn = Turn {
                core,
                ticket: Some(ticket),
                is_counted: false,
            };
            Ok(Joined::Waits(turn, wake, deadline))
        }
        Err(refusal) => {
            if matches!(refusal, Refusal::QueueFull { .. }) {
                core.metrics.queue_refused.inc();
            }
            Err(refusal)
        }
    };
    drop(state);
    core.see_to(aftermath);
    joined
}

/// What comes of asking for a position in line.
#[derive(Debug)]
pub(super) enum Lined {
    /// There is a place after all.
    Chosen(Chosen),
    /// This is the position.
    Waits(Ticket),
}

impl State {
    /// A position in line where no place is free.
    pub(super) fn line_up(
        &mut self,
        ask: &Ask<'_>,
        aftermath: &mut Aftermath,
    ) -> Result<Lined, Refusal> {
        let chosen = match self.queue.must_wait() {
            true => Err(NoPlace::Full),
            false => self.choose(ask, aftermath),
        };
        match chosen {
            Ok(chosen) => Ok(Lined::Chosen(chosen)),
            Err(NoPlace::Nobody) => Err(Refusal::NoEndpoint),
            Err(NoPlace::Full) => match self.queue.join(takes(ask), ask.now) {
                Ok(ticket) => Ok(Lined::Waits(ticket)),
                Err(full) => {
                    let again = self.go_again(ask, aftermath).map(Lined::Chosen);
                    again.ok_or(Refusal::QueueFull {
                        retry_after_seconds: full.retry_after_seconds,
                    })
                }
            },
        }
    }

    /// A retry that may not wait takes what it declined, unless others wait for that.
    fn go_again(&mut self, ask: &Ask<'_>, aftermath: &mut Aftermath) -> Option<Chosen> {
        if ask.tried.is_empty() || self.queue.must_wait() {
            return None;
        }
        self.choose(&ask.whoever_has_room(), aftermath).ok()
    }
}

/// A retry declines what is free at endpoints it has tried.
fn takes(ask: &Ask<'_>) -> Takes {
    match ask.tried {
        [] => Takes::Any,
        _ => Takes::Some,
    }
}

impl Turn<'_> {
    /// Takes a place now that it is called, and lets the next one look, too: there may be more.
    fn take(&mut self, ask: &Ask<'_>) -> Result<Slot, NoPlace> {
        let Some(ticket) = self.ticket else {
            return Err(NoPlace::Nobody);
        };
        let mut state = self.core.lock();
        let mut aftermath = state.tick(ask.now);
        let taken = state.take(self.core, ask, &mut aftermath);
        match taken {
            Ok(_) => {
                self.ticket = None;
                state.queue.take(ticket);
                state.waiting.remove(ticket);
                state.call_next(ask.now, &mut aftermath);
            }
            Err(NoPlace::Full) => {
                let next = state.queue.miss(ticket, ask.now);
                aftermath.wake(next.and_then(|next| state.waiting.find(next)));
            }
            Err(NoPlace::Nobody) => {}
        }
        drop(state);
        self.core.see_to(aftermath);
        taken
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let now = tokio::time::Instant::now().into_std();
        let mut aftermath = Aftermath::default();
        if !self.is_counted {
            self.core.metrics.queue_left.inc();
        }
        let mut state = self.core.lock();
        state.waiting.remove(ticket);
        if let Some(next) = state.queue.leave(ticket, now) {
            aftermath.wake(state.waiting.find(next));
        }
        drop(state);
        self.core.see_to(aftermath);
    }
}
