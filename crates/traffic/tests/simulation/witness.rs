//! Checks every decision against what really happened. Keeps books of its own and never asks the
//! code under test.

use std::time::{Duration, Instant};

use portcullis_traffic::endpoint::{EndpointId, Standing};
use portcullis_traffic::queue::{Full, Queue, Ticket};
use portcullis_traffic::select::{Ask, Balance, Member, Picked, Selector, Why};

use crate::settings::Settings;
use crate::waiting::Waiting;
use crate::{judges, ring};

/// An endpoint as the witness saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) member: Member,
    pub(crate) is_member: bool,
    is_member_before: bool,
    pub(crate) in_flight: u32,
    pub(crate) standing: Standing,
    /// Since when it begins slowly.
    begun: Option<Instant>,
    has_been_in: bool,
    pub(crate) picks: u32,
    /// Peak EWMA by the book: seconds, and when it was brought up to date.
    latency: Option<(f64, Instant)>,
}

pub(crate) struct Witness {
    pub(crate) settings: Settings,
    pub(crate) seen: Vec<Seen>,
    pub(crate) ring: ring::Ring,
    waiting: Waiting,
    /// Tiers and zones in which a pick among fewer than all has disturbed the turns since it last
    /// changed who takes part and with what weight.
    disturbed: Vec<(u8, bool)>,
}

impl Witness {
    pub(crate) fn new(settings: &Settings, members: &[Member], now: Instant) -> Self {
        let mut witness = Self {
            settings: settings.clone(),
            seen: Vec::new(),
            ring: ring::Ring::default(),
            waiting: Waiting::new(settings.queue),
            disturbed: Vec::new(),
        };
        witness.reshaped(members, now);
        witness.seen.iter_mut().for_each(|seen| {
            seen.begun = None;
            seen.has_been_in = false;
        });
        witness
    }

    pub(crate) fn reshaped(&mut self, members: &[Member], now: Instant) {
        for seen in &mut self.seen {
            seen.is_member_before = std::mem::take(&mut seen.is_member);
        }
        for member in members {
            if let Some(known) = self
                .seen
                .iter_mut()
                .find(|seen| seen.member.id == member.id)
            {
                if !known.is_member_before {
                    known.forget(now);
                }
                known.member = member.clone();
                known.is_member = true;
                continue;
            }
            let mut seen = Seen {
                member: member.clone(),
                is_member: true,
                is_member_before: false,
                in_flight: 0,
                standing: Standing::FULL,
                begun: None,
                has_been_in: true,
                picks: 0,
                latency: None,
            };
            seen.forget(now);
            self.seen.push(seen);
        }
        // Nothing is remembered of one that is gone, but its places.
        self.seen
            .retain(|seen| seen.is_member || seen.in_flight > 0);
        // As configured, not as seen: equals take turns in that order.
        let order = |id| members.iter().position(|member| member.id == id);
        self.seen.sort_by_key(|seen| order(seen.member.id));
        self.make_ring();
        self.begin_stretch(|_| true);
    }

    fn make_ring(&mut self) {
        if matches!(self.settings.select.balance, Balance::Hash { .. }) {
            self.ring = ring::Ring::new(self.members().map(|seen| &seen.member));
        }
    }

    pub(crate) fn reweighed(&mut self, id: EndpointId, weight: u16) {
        self.of(id).member.weight = weight;
        self.make_ring();
        self.begin_stretch(|_| true);
    }

    pub(crate) fn stands(&mut self, id: EndpointId, standing: Standing, now: Instant) {
        let Some(seen) = self
            .seen
            .iter_mut()
            .find(|seen| seen.member.id == id && seen.is_member)
        else {
            return;
        };
        let was_out = matches!(seen.standing, Standing::Out { .. });
        match standing {
            Standing::In { .. } if was_out && seen.has_been_in => seen.begun = Some(now),
            Standing::Out { .. } => seen.begun = None,
            Standing::In { .. } | Standing::Draining => {}
        }
        seen.has_been_in |= matches!(standing, Standing::In { .. });
        let is_other = seen.standing.share_percent() != standing.share_percent();
        seen.standing = standing;
        if is_other && seen.member.weight > 0 {
            let seen = seen.clone();
            let place = self.place(&seen);
            self.begin_stretch(|other| other == place);
        }
    }

    /// Turns are counted from here in these tiers and zones.
    fn begin_stretch(&mut self, is_concerned: impl Fn((u8, bool)) -> bool) {
        self.disturbed.retain(|place| !is_concerned(*place));
        for position in 0..self.seen.len() {
            if is_concerned(self.place(&self.seen[position])) {
                self.seen[position].picks = 0;
            }
        }
    }

    pub(crate) fn is_undisturbed(&self, place: (u8, bool)) -> bool {
        !self.disturbed.contains(&place)
    }

    pub(crate) fn check_pick(&mut self, ask: &Ask<'_>, picked: Picked) {
        let open: Vec<_> = self
            .members()
            .filter(|seen| seen.is_open())
            .cloned()
            .collect();
        let untried: Vec<_> = open
            .iter()
            .filter(|seen| !seen.is_among(ask.tried))
            .cloned()
            .collect();
        let bound = self
            .members()
            .find(|seen| Some(seen.member.id) == ask.bound);
        let is_bound = bound.is_some_and(|seen| seen.serves_bound() && !seen.is_among(ask.tried));
        let Picked::Endpoint { id, why } = picked else {
            let may_repeat = self.eligible().all(|seen| seen.is_among(ask.tried));
            let choice = if may_repeat { &open } else { &untried };
            assert!(
                choice.is_empty() && !is_bound,
                "{picked:?} though {choice:?}"
            );
            let (eligible, resorts) = (self.eligible().count(), self.resorts().count());
            assert!(
                self.resorts().all(Seen::is_full) || eligible > 0,
                "{picked:?}"
            );
            let expected = if eligible + resorts > 0 {
                Picked::Full
            } else {
                Picked::Nobody
            };
            return assert_eq!(picked, expected);
        };
        let chosen = self.members().find(|seen| seen.member.id == id).cloned();
        let chosen = chosen.expect("only members are picked");
        assert!(!chosen.is_full(), "beyond its places: {chosen:?}");
        assert_eq!(
            why == Why::Bound,
            is_bound,
            "{chosen:?} for {:?}",
            ask.bound
        );
        match why {
            Why::Bound => assert_eq!(Some(id), ask.bound),
            Why::Panic => self.check_panic(&chosen, ask),
            Why::Balanced | Why::Spilled => {
                assert!(chosen.is_open(), "{chosen:?}");
                let may_repeat = self.eligible().all(|seen| seen.is_among(ask.tried));
                assert!(
                    may_repeat || !chosen.is_among(ask.tried),
                    "{chosen:?} again, and another is eligible"
                );
                let among = if may_repeat { &open } else { &untried };
                self.check_place(&chosen, why, among);
                let peers: Vec<_> = among
                    .iter()
                    .filter(|s| self.place(s) == self.place(&chosen))
                    .cloned()
                    .collect();
                self.disturb(&chosen, &peers);
                judges::check(self, &chosen, &peers, ask);
            }
        }
        let now = self.of(id);
        now.in_flight += 1;
        now.has_been_in = true;
    }

    fn check_panic(&self, chosen: &Seen, ask: &Ask<'_>) {
        assert_eq!(
            self.eligible().count(),
            0,
            "panic though somebody is eligible"
        );
        let is_last_resort = Standing::Out {
            is_last_resort: true,
        };
        assert_eq!(chosen.standing, is_last_resort, "it refuses, or leaves");
        assert!(chosen.member.weight > 0);
        let mut others = self.resorts().filter(|seen| !seen.is_full());
        assert!(!chosen.is_among(ask.tried) || others.all(|seen| seen.is_among(ask.tried)));
    }

    /// Whoever is not of the first tier and zone is picked only where those are short.
    fn check_place(&self, chosen: &Seen, why: Why, among: &[Seen]) {
        let place = self.place(chosen);
        let first = self.members().map(|seen| self.place(seen)).min();
        let first = first.expect("it is a member itself");
        assert_eq!(
            why == Why::Balanced,
            place == first,
            "{why:?} to {chosen:?}"
        );
        let is_short = self.is_short(|one| one.0 == first.0)
            || place.0 == first.0 && self.is_short(|one| one == first);
        let is_taken = !among.iter().any(|seen| self.place(seen) == first);
        assert!(
            place == first || is_short || is_taken,
            "spilled to {chosen:?} without need"
        );
    }

    /// Whether less of the weight is eligible than overprovisioning makes up for.
    fn is_short(&self, is_concerned: impl Fn((u8, bool)) -> bool) -> bool {
        let concerned = self.members().filter(|seen| is_concerned(self.place(seen)));
        let (whole, rest) = concerned.fold((0, 0), |(whole, rest), seen| {
            let weight = u64::from(seen.member.weight);
            let share = u64::from(seen.standing.share_percent());
            (whole + weight * 100, rest + weight * share)
        });
        rest * u64::from(self.settings.select.overprovisioning_percent) < whole * 100
    }

    /// Notes the pick, and whether turns are disturbed: who takes part in them was changed by more
    /// than a standing.
    fn disturb(&mut self, chosen: &Seen, peers: &[Seen]) {
        let all = self
            .eligible()
            .filter(|seen| self.place(seen) == self.place(chosen))
            .count();
        let is_beginning = self.members().any(|seen| seen.begun.is_some());
        if all != peers.len() || (is_beginning && self.settings.select.slow_start.is_some()) {
            self.disturbed.push(self.place(chosen));
        }
        self.of(chosen.member.id).picks += 1;
    }

    /// Tier, and whether it is outside of the edge's zone.
    pub(crate) fn place(&self, seen: &Seen) -> (u8, bool) {
        let zone = &self.settings.select.zone;
        (
            seen.member.priority,
            zone.is_some() && seen.member.zone != *zone,
        )
    }

    pub(crate) fn released(&mut self, id: EndpointId, latency: Option<Duration>, now: Instant) {
        let Balance::PeakEwma { decay } = self.settings.select.balance else {
            let seen = self.of(id);
            seen.in_flight = seen.in_flight.checked_sub(1).expect("a place was taken");
            return;
        };
        let seen = self.of(id);
        seen.in_flight = seen.in_flight.checked_sub(1).expect("a place was taken");
        if let Some(latency) = latency.filter(|_| seen.is_member) {
            let latency = latency.as_secs_f64();
            seen.latency = Some(match seen.latency {
                Some((known, at)) if latency < known => {
                    let kept = (-now.duration_since(at).as_secs_f64() / decay.as_secs_f64()).exp();
                    (known * kept + latency * (1.0 - kept), now)
                }
                _ => (latency, now),
            });
        }
    }

    fn of(&mut self, id: EndpointId) -> &mut Seen {
        let found = self.seen.iter_mut().find(|seen| seen.member.id == id);
        found.expect("an endpoint that was never seen")
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|seen| seen.is_member)
    }

    pub(crate) fn eligible(&self) -> impl Iterator<Item = &Seen> {
        self.members().filter(|seen| seen.is_eligible())
    }

    fn resorts(&self) -> impl Iterator<Item = &Seen> {
        self.members().filter(|seen| seen.is_last_resort())
    }

    pub(crate) fn check_nobody_waits(&self) {
        self.waiting.check_nobody();
    }

    pub(crate) fn check_join(&mut self, joined: &Result<Ticket, Full>, ask: &Ask<'_>) {
        self.waiting.check_join(joined, ask);
    }

    pub(crate) fn check_called(&mut self, called: Option<Ticket>, now: Instant) {
        self.waiting.check_called(called, now);
    }

    pub(crate) fn check_missed(&mut self, ticket: Ticket, next: Option<Ticket>, now: Instant) {
        self.waiting.check_missed(ticket, next, now);
    }

    pub(crate) fn left(&mut self, ticket: Ticket) -> bool {
        self.waiting.left(ticket)
    }

    pub(crate) fn check_books(&self, selector: &Selector, queue: &Queue, now: Instant) {
        for seen in &self.seen {
            assert_eq!(
                selector.in_flight(seen.member.id),
                seen.in_flight,
                "{seen:?}"
            );
        }
        let total = self.seen.iter().map(|seen| seen.in_flight).sum::<u32>();
        assert_eq!(selector.total_in_flight(), total);
        assert_eq!(selector.eligible(), self.eligible().count());
        self.waiting.check_books(queue);
        self.waiting.check_somebody_comes(now, |tried| {
            let may_repeat = self.eligible().all(|seen| seen.is_among(tried));
            let mut open = self.members().filter(|seen| seen.is_open());
            open.any(|seen| may_repeat || !seen.is_among(tried))
        });
    }
}

impl Seen {
    /// As one that was never seen, but for its places.
    fn forget(&mut self, now: Instant) {
        self.standing = Standing::FULL;
        (self.begun, self.latency, self.has_been_in) = (Some(now), None, true);
    }

    pub(crate) fn is_eligible(&self) -> bool {
        self.member.weight > 0 && self.standing.share_percent() > 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.in_flight >= self.member.max_in_flight
    }

    fn is_open(&self) -> bool {
        self.is_eligible() && !self.is_full()
    }

    fn is_last_resort(&self) -> bool {
        let is_last_resort = Standing::Out {
            is_last_resort: true,
        };
        self.member.weight > 0 && self.standing == is_last_resort
    }

    fn serves_bound(&self) -> bool {
        !self.is_full() && !matches!(self.standing, Standing::Out { .. })
    }

    fn is_among(&self, ids: &[EndpointId]) -> bool {
        ids.contains(&self.member.id)
    }

    /// Whether it has all of its weight: neither degraded nor beginning.
    pub(crate) fn is_whole(&self, settings: &Settings, now: Instant) -> bool {
        let window = settings.select.slow_start.map(|slow| slow.window);
        let is_warm = match (self.begun, window) {
            // A little more, since weights grow in steps.
            (Some(begun), Some(window)) => now > begun + window + window / 45,
            _ => true,
        };
        is_warm && self.standing.share_percent() == 100
    }

    /// Peak EWMA of it now, in seconds.
    pub(crate) fn latency(&self, decay: Duration, now: Instant) -> Option<f64> {
        let (seconds, at) = self.latency?;
        Some(seconds * (-now.duration_since(at).as_secs_f64() / decay.as_secs_f64()).exp())
    }
}
