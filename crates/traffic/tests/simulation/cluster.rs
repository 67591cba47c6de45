//! What the edge does around the crate: one place where selector, queue and containment meet. Tells
//! the witness of every step, and never decides anything itself.

use std::time::{Duration, Instant};

use portcullis_traffic::containment::{Changes, Containment, Policy, Trouble, What};
use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::queue::{Queue, Takes, Ticket};
use portcullis_traffic::select::{self, Ask, Member, Picked, Selector};

use crate::settings::Settings;
use crate::witness::Witness;

pub(crate) struct Cluster {
    settings: select::Settings,
    policy: Policy,
    pub(crate) selector: Selector,
    pub(crate) queue: Queue,
    pub(crate) containment: Containment,
    pub(crate) witness: Witness,
    members: Vec<Member>,
    /// The same as the configuration has them.
    written: Vec<Member>,
    /// More may have become free than a place given back.
    has_room: bool,
}

/// What became of a request that asked for a place.
pub(crate) enum Place {
    Taken(EndpointId),
    Waits(Ticket),
    Refused,
}

impl Cluster {
    pub(crate) fn new(settings: &Settings, members: Vec<Member>, now: Instant) -> Self {
        let ids: Vec<_> = members.iter().map(|member| member.id).collect();
        let mut cluster = Self {
            settings: settings.select.clone(),
            policy: settings.policy.clone(),
            selector: Selector::new(settings.select.clone(), &members),
            queue: Queue::new(settings.queue),
            containment: Containment::new(settings.policy.clone(), &ids, now),
            witness: Witness::new(settings, &members, now),
            written: members.clone(),
            members,
            has_room: false,
        };
        for id in ids {
            cluster.apply_standing(id, now);
        }
        cluster
    }

    /// Whether somebody should look for a place, since it was last asked.
    pub(crate) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.has_room)
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// A newcomer asks for a place.
    pub(crate) fn acquire(&mut self, ask: &Ask<'_>) -> Place {
        if !self.queue.must_wait() {
            self.witness.check_nobody_waits();
            match self.pick(ask) {
                Picked::Endpoint { id, .. } => return Place::Taken(id),
                Picked::Nobody => return Place::Refused,
                Picked::Full => {}
            }
        }
        let takes = match ask.tried {
            [] => Takes::Any,
            _ => Takes::Some,
        };
        let joined = self.queue.join(takes, ask.now);
        self.witness.check_join(&joined, ask);
        joined.map_or(Place::Refused, Place::Waits)
    }

    /// Somebody who was called comes for its place: what became of it, and who is called next.
    pub(crate) fn come(&mut self, ticket: Ticket, ask: &Ask<'_>) -> (Place, Option<Ticket>) {
        match self.pick(ask) {
            Picked::Endpoint { id, .. } => {
                self.queue.take(ticket);
                self.witness.left(ticket);
                (Place::Taken(id), self.call(ask.now))
            }
            Picked::Nobody => {
                self.witness.left(ticket);
                let next = self.queue.leave(ticket, ask.now);
                self.witness.check_called(next, ask.now);
                (Place::Refused, next)
            }
            Picked::Full => {
                let next = self.queue.miss(ticket, ask.now);
                self.witness.check_missed(ticket, next, ask.now);
                (Place::Waits(ticket), next)
            }
        }
    }

    /// Somebody gives up waiting; who is called in its stead.
    pub(crate) fn leave(&mut self, ticket: Ticket, now: Instant) -> Option<Ticket> {
        let was_called = self.witness.left(ticket);
        let next = self.queue.leave(ticket, now);
        if was_called {
            self.witness.check_called(next, now);
        } else {
            assert_eq!(next, None, "no place was free");
        }
        next
    }

    /// Whom to wake, if a place may be free.
    pub(crate) fn call(&mut self, now: Instant) -> Option<Ticket> {
        let called = self.queue.call(now);
        self.witness.check_called(called, now);
        called
    }

    fn pick(&mut self, ask: &Ask<'_>) -> Picked {
        let picked = self.selector.pick(ask);
        self.witness.check_pick(ask, picked);
        if let Picked::Endpoint { id, .. } = picked {
            let changes = self.containment.attempted(id, ask.now);
            self.apply(&changes, ask.now);
        }
        picked
    }

    pub(crate) fn release(
        &mut self,
        id: EndpointId,
        latency: Option<Duration>,
        result: Option<Result<(), Trouble>>,
        now: Instant,
    ) {
        self.selector.release(id, latency, now);
        self.witness.released(id, latency, now);
        let changes = match result {
            Some(result) => self.containment.ended(id, result, now),
            None => self.containment.abandoned(id, now),
        };
        self.apply(&changes, now);
    }

    /// Something was observed or ordered that containment has to know.
    pub(crate) fn tell(&mut self, now: Instant, what: impl FnOnce(&mut Containment) -> Changes) {
        let changes = what(&mut self.containment);
        self.apply(&changes, now);
    }

    /// Time passes for containment, if it waits for that.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self
            .containment
            .next_change()
            .is_some_and(|next| next <= now)
        {
            self.tell(now, |containment| containment.tick(now));
        }
    }

    /// Other members, as a configuration has them: what an operator said of a weight holds as long as
    /// that says nothing new of it.
    pub(crate) fn reshape(&mut self, written: Vec<Member>, now: Instant) {
        let ids: Vec<_> = written.iter().map(|member| member.id).collect();
        let known: Vec<_> = self.members.iter().map(|member| member.id).collect();
        let members: Vec<_> = written.iter().map(|member| self.in_force(member)).collect();
        self.selector.reshape(self.settings.clone(), &written, now);
        self.written = written;
        self.witness.reshaped(&members, now);
        self.has_room = true;
        let changes = self.containment.reshape(self.policy.clone(), &ids, now);
        self.members = members;
        self.apply(&changes, now);
        for id in ids.into_iter().filter(|id| !known.contains(id)) {
            self.apply_standing(id, now);
        }
        self.check_standings();
    }

    fn in_force(&self, written: &Member) -> Member {
        let of = |members: &[Member]| {
            let mut members = members.iter();
            Some(members.find(|member| member.id == written.id)?.weight)
        };
        let weight = match of(&self.written) == Some(written.weight) {
            true => of(&self.members).unwrap_or(written.weight),
            false => written.weight,
        };
        Member {
            weight,
            ..written.clone()
        }
    }

    /// Another weight, as an operator sets it at run time.
    pub(crate) fn reweigh(&mut self, id: EndpointId, weight: u16) {
        let member = self.members.iter_mut().find(|member| member.id == id);
        member.expect("only members are reweighed").weight = weight;
        self.selector.set_weight(id, weight);
        self.witness.reweighed(id, weight);
        self.has_room = true;
    }

    fn apply(&mut self, changes: &Changes, now: Instant) {
        for change in changes {
            if let Some((id, _)) = change.endpoint {
                self.apply_standing(id, now);
            }
        }
        let ejects = |what: What| matches!(what, What::Ejected { .. });
        if changes.iter().any(|change| ejects(change.what)) {
            let is_in = |member: &Member| {
                matches!(self.containment.standing(member.id), Standing::In { .. })
            };
            assert!(
                self.members.iter().any(is_in),
                "the last was ejected: {changes:?}"
            );
        }
        if !changes.is_empty() {
            self.check_standings();
        }
    }

    fn apply_standing(&mut self, id: EndpointId, now: Instant) {
        let standing = self.containment.standing(id);
        self.selector.set_standing(id, standing, now);
        self.witness.stands(id, standing, now);
        // Also when somebody leaves: who waits for nobody has to hear that.
        self.has_room = true;
    }

    /// Whatever containment changed, it said so.
    fn check_standings(&self) {
        for member in &self.members {
            let said = self.selector.standing(member.id);
            assert_eq!(
                said,
                Some(self.containment.standing(member.id)),
                "{member:?}"
            );
        }
    }

    /// Counts of crate and witness are the same, and nobody waits beside a free place.
    pub(crate) fn check_books(&self, now: Instant) {
        self.witness.check_books(&self.selector, &self.queue, now);
    }
}
