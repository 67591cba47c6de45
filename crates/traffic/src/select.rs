//! Which endpoint takes an attempt, and who is working on how much. Never waits, reads a clock or
//! draws chance: both come with the [`Ask`].
//!
//! A [`Selector`] holds the places of one cluster. [`Selector::pick`] takes a place and
//! [`Selector::release`] gives it back. In between stand, from the widest to the narrowest choice:
//!
//! 1. the endpoint that the client is bound to, as long as it is there;
//! 2. `levels`: the tier and zone that takes this request, by how much of each is left;
//! 3. `balance`: one endpoint of that level;
//! 4. panic: when nobody is eligible, whoever still accepts connections.

mod algorithm;
mod candidates;
mod keyed;
mod levels;
mod members;
mod settings;
mod slot;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::endpoint::{EndpointId, Standing};

pub use candidates::{Candidate, Rehearsal, Skipped};
use members::Members;
pub use settings::{Balance, MAX_WEIGHT, Member, Settings, SlowStart, Zone};

/// What is asked for one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The endpoint the client is bound to.
    pub bound: Option<EndpointId>,
    /// What [`Balance::Hash`] hashes. Without a key it takes turns.
    pub key: Option<&'a [u8]>,
    /// Endpoints that earlier attempts of the request went to: none of them is picked again while
    /// another is eligible, be it full.
    pub tried: &'a [EndpointId],
    /// The present instant.
    pub now: Instant,
    /// Random bits.
    pub chance: u64,
}

impl Ask<'_> {
    /// The same of a request that cannot wait for those it has not tried: it goes again to one that
    /// it has, rather than nowhere.
    pub fn whoever_has_room(&self) -> Self {
        Self {
            bound: None,
            tried: &[],
            ..*self
        }
    }
}

/// The answer to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    /// This one, and a place of it is taken.
    Endpoint {
        /// To be [released](Selector::release) once.
        id: EndpointId,
        /// How it came to be this one.
        why: Why,
    },
    /// There are endpoints for it, and all of them are full; those aside that were tried while
    /// another is eligible.
    Full,
    /// There is none.
    Nobody,
}

/// How an endpoint came to be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The client is bound to it.
    Bound,
    /// By the balancer, from the preferred tier and zone.
    Balanced,
    /// By the balancer, from another tier or zone: the preferred ones are short of endpoints or
    /// full.
    Spilled,
    /// Nobody was eligible, and it still accepts connections.
    Panic,
}

/// The endpoints of one cluster, the places taken at each, and whose turn it is.
///
/// ```
/// use std::time::Instant;
/// use portcullis_traffic::endpoint::{EndpointId, Standing};
/// use portcullis_traffic::select::{Ask, Balance, Member, Picked, Selector, Settings, Why};
///
/// let member = |id: u16| Member::new(EndpointId(id.into()), ([127, 0, 0, 1], 4000 + id).into());
/// let settings = Settings::new(Balance::RoundRobin);
/// let mut selector = Selector::new(settings, &[member(1), member(2)]);
///
/// let now = Instant::now();
/// let ask = Ask { bound: None, key: None, tried: &[], now, chance: 7 };
/// let first = Picked::Endpoint { id: EndpointId(1), why: Why::Balanced };
/// assert_eq!(selector.pick(&ask), first);
///
/// let refuses = Standing::Out { is_last_resort: false };
/// selector.set_standing(EndpointId(2), refuses, now);
/// assert_eq!(selector.pick(&ask), first);
/// assert_eq!(selector.in_flight(EndpointId(1)), 2);
///
/// selector.set_standing(EndpointId(1), refuses, now);
/// assert_eq!(selector.pick(&ask), Picked::Nobody);
/// selector.release(EndpointId(1), None, now);
/// assert_eq!(selector.in_flight(EndpointId(1)), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Selector {
    members: Members,
}

impl Selector {
    /// A selector over these members, all of them in until [`Selector::set_standing`] says
    /// otherwise. Slow start is not for them: a whole cluster that starts must not crawl.
    ///
    /// A second member of the same id is passed over.
    pub fn new(settings: Settings, members: &[Member]) -> Self {
        Self {
            members: Members::new(settings, members),
        }
    }

    /// Other members or settings. Those that stay keep what is known of them; one that goes while
    /// it works is forgotten with its last place; one that comes begins slowly.
    pub fn reshape(&mut self, settings: Settings, members: &[Member], now: Instant) {
        self.members.reshape(settings, members, now);
    }

    /// Another weight; at most [`MAX_WEIGHT`]. Zero takes no new clients. It holds until a configuration
    /// has another one than the last had.
    pub fn set_weight(&mut self, id: EndpointId, weight: u16) {
        self.members.set_weight(id, weight);
    }

    /// Another standing. An endpoint that comes in after it was out begins slowly.
    pub fn set_standing(&mut self, id: EndpointId, standing: Standing, now: Instant) {
        self.members.set_standing(id, standing, now);
    }

    /// Picks an endpoint and takes a place of it. Allocates nothing.
    pub fn pick(&mut self, ask: &Ask<'_>) -> Picked {
        self.members.advance(ask.now);
        if let Some(position) = self.bound(ask) {
            return self.take(position, Why::Bound);
        }
        let mut found = self.balance_untried(ask);
        if found.is_none() && !ask.tried.is_empty() && !self.has_untried(ask.tried) {
            found = self.balance(ask);
        }
        match found {
            Some((position, why)) => self.take(position, why),
            None if self.members.eligible() > 0 => Picked::Full,
            None => self.panic(ask),
        }
    }

    /// Gives back a place. `latency` is the time to the head of the response, if one came. Without
    /// a place taken it does nothing.
    pub fn release(&mut self, id: EndpointId, latency: Option<Duration>, now: Instant) {
        self.members.release(id, latency, now);
    }

    /// Places taken at an endpoint, also at one that was removed while it worked.
    pub fn in_flight(&self, id: EndpointId) -> u32 {
        self.members.in_flight(id)
    }

    /// Places taken at all endpoints together.
    pub fn total_in_flight(&self) -> u32 {
        self.members.total_in_flight()
    }

    /// How many endpoints may take new clients, full or not.
    pub fn eligible(&self) -> usize {
        self.members.eligible()
    }

    /// Whether an endpoint may take new clients that is none of these, full or not.
    pub fn has_untried(&self, tried: &[EndpointId]) -> bool {
        self.members.has_eligible_but(tried)
    }

    /// Whether one of these has a place just now. Looks at all members.
    pub fn has_room_untried(&self, tried: &[EndpointId]) -> bool {
        self.members.has_room_but(tried)
    }

    /// The weight an endpoint was given; `None` if it is no member.
    pub fn weight(&self, id: EndpointId) -> Option<u16> {
        Some(self.members.slot(id)?.weight)
    }

    /// The standing an endpoint was given; `None` if it is no member.
    pub fn standing(&self, id: EndpointId) -> Option<Standing> {
        Some(self.members.slot(id)?.standing())
    }

    /// How much of its weight slow start lets an endpoint have now: 100 unless it is beginning.
    pub fn slow_start_percent(&self, id: EndpointId, now: Instant) -> Option<u8> {
        let slot = self.members.slot(id)?;
        Some(match &self.members.settings.slow_start {
            Some(slow_start) => slot.percent_at(slow_start, now),
            None => 100,
        })
    }

    /// The latency that peak EWMA reckons with, in seconds; `None` for other algorithms and as long
    /// as nothing was observed.
    pub fn latency_seconds(&self, id: EndpointId, now: Instant) -> Option<f64> {
        self.members.latency_seconds(id, now)
    }

    /// The endpoint the client is bound to, if it has a place for it.
    fn bound(&self, ask: &Ask<'_>) -> Option<usize> {
        let bound = ask.bound.filter(|id| !ask.tried.contains(id))?;
        self.members.bound(bound)
    }

    fn balance_untried(&mut self, ask: &Ask<'_>) -> Option<(usize, Why)> {
        for tried in ask.tried {
            self.members.close(*tried);
        }
        let found = self.balance(ask);
        for tried in ask.tried {
            self.members.reopen(*tried);
        }
        found
    }

    /// From the level whose turn it is, else from the first that has a place.
    fn balance(&mut self, ask: &Ask<'_>) -> Option<(usize, Why)> {
        let levels = &self.members.levels;
        let (chosen, count) = (levels.choose(ask), levels.len());
        let others = (0..count).filter(|level| *level != chosen);
        let mut order = std::iter::once(chosen).chain(others);
        order.find_map(|level| {
            let why = match level {
                0 => Why::Balanced,
                _ => Why::Spilled,
            };
            Some((self.members.pick_within(level, ask)?, why))
        })
    }

    /// The least busy of those that at least accept connections, whatever the algorithm.
    fn panic(&mut self, ask: &Ask<'_>) -> Picked {
        match self.members.last_resort(ask) {
            Some(position) => self.take(position, Why::Panic),
            None if self.members.has_last_resort() => Picked::Full,
            None => Picked::Nobody,
        }
    }

    fn take(&mut self, position: usize, why: Why) -> Picked {
        let id = self.members.take(position);
        Picked::Endpoint { id, why }
    }
}
