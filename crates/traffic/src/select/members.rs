//! The members of a cluster by position, with the places taken at each. Never chooses a level.
//!
//! `slots` says all about a member; `board` is what the algorithms see of it and `levels` what it
//! adds to its level. Whoever changes a slot brings the two in line.

use std::time::{Duration, Instant};

use super::Ask;
use super::algorithm::Board;
use super::keyed::NoKey;
use super::levels::{Levels, Weight};
use super::settings::{Balance, Member, Settings};
use super::slot::Slot;
use crate::balance::chance;
use crate::balance::turns::MAX_TOTAL_WEIGHT;
use crate::endpoint::{EndpointId, Standing};

/// More members than this are passed over.
const MAX_MEMBERS: usize = 65_535;

/// Members sorted by level, within a level as configured.
#[derive(Clone, Debug)]
pub(super) struct Members {
    pub(super) settings: Settings,
    pub(super) slots: Vec<Slot>,
    /// Positions, sorted by id.
    by_id: Vec<(EndpointId, usize)>,
    /// Removed while they worked, with the places still taken.
    gone: Vec<(EndpointId, u32)>,
    pub(super) board: Board,
    pub(super) levels: Levels,
    /// What a weight of 1 counts on the board: fine enough for percentages of it.
    unit: i32,
    total_in_flight: u32,
    eligible: usize,
    /// When slow start lets somebody have more.
    next_step: Option<Instant>,
}

impl Members {
    pub(super) fn new(settings: Settings, members: &[Member]) -> Self {
        let slots = arrange(&settings, members, Slot::present_at_start);
        let mut made = Self::from_slots(settings, slots, |_| 0);
        made.settle();
        made
    }

    /// The same for other members or settings.
    pub(super) fn reshape(&mut self, settings: Settings, members: &[Member], now: Instant) {
        let begins = settings.slow_start.map(|_| now);
        let slots = arrange(&settings, members, |member| match self.slot(member.id) {
            Some(known) => known.with(member),
            None => Slot::added(member, begins),
        });
        let credit = |id| {
            self.position(id)
                .map_or(0, |at| self.board.turns.credit(at))
        };
        let mut next = Self::from_slots(settings, slots, credit);
        // Places do not come and go with membership.
        let left = self.slots.iter().filter(|slot| slot.in_flight > 0);
        let left = left.map(|slot| (slot.id, slot.in_flight));
        for (id, in_flight) in self.gone.drain(..).chain(left) {
            match next.position(id) {
                Some(position) => next.slots[position].in_flight = in_flight,
                None => next.gone.push((id, in_flight)),
            }
        }
        next.total_in_flight = self.total_in_flight;
        let mut before = std::mem::replace(self, next);
        let board = std::mem::replace(&mut before.board, Board::new(Balance::RoundRobin, vec![]));
        let moved = self
            .by_id
            .iter()
            .filter_map(|(id, here)| Some((before.position(*id)?, *here)));
        self.board.inherit(board, moved);
        self.settle();
        self.step(now);
    }

    fn from_slots(
        settings: Settings,
        slots: Vec<Slot>,
        credit: impl Fn(EndpointId) -> i32,
    ) -> Self {
        let mut by_id: Vec<_> = slots
            .iter()
            .enumerate()
            .map(|(at, slot)| (slot.id, at))
            .collect();
        by_id.sort_unstable();
        let places: Vec<_> = slots.iter().map(|slot| slot.place).collect();
        let credits = slots.iter().map(|slot| credit(slot.id)).collect();
        Self {
            board: Board::new(settings.balance, credits),
            levels: Levels::new(&settings, &places),
            settings,
            slots,
            by_id,
            gone: Vec::new(),
            unit: 1,
            total_in_flight: 0,
            eligible: 0,
            next_step: None,
        }
    }

    /// Derives from new slots all that follows from them.
    fn settle(&mut self) {
        for (position, slot) in self.slots.iter_mut().enumerate() {
            slot.level = self.levels.of(position);
            self.eligible += usize::from(slot.is_eligible());
            self.levels
                .change(slot.level, Weight::default(), slot.counts());
            if slot.is_eligible() {
                self.levels.occupy(slot.level, slot.in_flight);
            }
        }
        self.levels.divide();
        self.weigh();
    }

    /// After a change of configured weights: the unit follows from their sum, the ring from each.
    fn weigh(&mut self) {
        let total: i64 = self.slots.iter().map(|slot| i64::from(slot.weight)).sum();
        let unit = i64::from(MAX_TOTAL_WEIGHT) / total.max(1);
        self.unit = i32::try_from(unit.clamp(1, 100)).unwrap_or(1);
        self.show_all();
        self.level_all();
        let ranges = (0..self.levels.len()).map(|level| self.levels.range(level));
        self.board
            .make_rings(ranges.map(|range| &self.slots[range]));
    }

    fn show_all(&mut self) {
        (0..self.slots.len()).for_each(|position| self.show(position));
    }

    fn level_all(&mut self) {
        for level in 0..self.levels.len() {
            self.board.turns.level(self.levels.range(level));
        }
    }

    pub(super) fn set_weight(&mut self, id: EndpointId, weight: u16) {
        self.change(id, |slot| slot.set_weight(weight));
        self.weigh();
    }

    pub(super) fn set_standing(&mut self, id: EndpointId, standing: Standing, now: Instant) {
        if self.slot(id).is_none_or(|slot| slot.is_known_as(standing)) {
            return;
        }
        let slow_start = self.settings.slow_start;
        let begins = slow_start.map(|_| now);
        self.change(id, |slot| slot.set_standing(standing, begins));
        // The others step when their time comes: one return costs no look at all of them.
        if let Some(slow_start) = slow_start
            && self.slot(id).is_some_and(Slot::is_beginning)
        {
            let step = now + slow_start.step();
            self.next_step = Some(self.next_step.map_or(step, |known| known.min(step)));
        }
    }

    /// Changes what a slot counts, and all that follows from it.
    fn change(&mut self, id: EndpointId, change: impl FnOnce(&mut Slot)) {
        let Some(position) = self.position(id) else {
            return;
        };
        let slot = &mut self.slots[position];
        let (before, was_eligible, level) = (slot.counts(), slot.is_eligible(), slot.level);
        change(slot);
        let (after, is_eligible) = (slot.counts(), slot.is_eligible());
        let busy = slot.in_flight;
        self.eligible = self.eligible + usize::from(is_eligible) - usize::from(was_eligible);
        match (was_eligible, is_eligible) {
            (true, false) => self.levels.vacate(level, busy),
            (false, true) => self.levels.occupy(level, busy),
            _ => {}
        }
        self.show(position);
        if before != after {
            self.levels.change(level, before, after);
            self.levels.divide();
            self.board.settle(self.levels.range(level));
        }
    }

    /// Lets those that begin slowly have what is due to them, if it is time.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.next_step.is_some_and(|step| step <= now) {
            std::hint::cold_path();
            self.step(now);
        }
    }

    fn step(&mut self, now: Instant) {
        self.next_step = None;
        let Some(slow_start) = self.settings.slow_start else {
            return;
        };
        for position in 0..self.slots.len() {
            let slot = &mut self.slots[position];
            if !slot.is_beginning() {
                continue;
            }
            slot.step(&slow_start, now);
            if slot.is_beginning() {
                self.next_step = Some(now + slow_start.step());
            }
            self.show(position);
        }
        self.level_all();
    }

    /// One of a level that may be picked now.
    pub(super) fn pick_within(&mut self, level: usize, ask: &Ask<'_>) -> Option<usize> {
        match self.pick_by_key(level, ask) {
            Ok(found) => found,
            Err(NoKey) => self.board.pick(self.levels.range(level), ask),
        }
    }

    /// Of those that accept connections though they are out, the least busy for its weight that is
    /// not full; one that was tried only if there is no other.
    pub(super) fn last_resort(&self, ask: &Ask<'_>) -> Option<usize> {
        let count = self.slots.len();
        let bits = chance::mix(ask.chance);
        let start = usize::try_from(chance::below(bits, count as u64)).unwrap_or(0);
        let places = (start..count).chain(0..start);
        let open =
            places.filter(|at| self.slots[*at].is_last_resort() && !self.slots[*at].is_full());
        open.min_by(|a, b| {
            let (a, b) = (&self.slots[*a], &self.slots[*b]);
            let is_tried = |slot: &Slot| ask.tried.contains(&slot.id);
            is_tried(a)
                .cmp(&is_tried(b))
                .then_with(|| a.compare_load(b))
        })
    }

    pub(super) fn has_last_resort(&self) -> bool {
        self.slots.iter().any(Slot::is_last_resort)
    }

    /// Whether a client that is bound to it may go there.
    pub(super) fn bound(&self, id: EndpointId) -> Option<usize> {
        self.position(id)
            .filter(|at| self.slots[*at].serves_bound())
    }

    pub(super) fn take(&mut self, position: usize) -> EndpointId {
        let slot = &mut self.slots[position];
        slot.in_flight = slot.in_flight.saturating_add(1);
        slot.has_served = true;
        let (id, level) = (slot.id, slot.level);
        if slot.is_eligible() {
            self.levels.occupy(level, 1);
        }
        self.total_in_flight = self.total_in_flight.saturating_add(1);
        self.show(position);
        id
    }

    pub(super) fn release(&mut self, id: EndpointId, latency: Option<Duration>, now: Instant) {
        let Some(position) = self.position(id) else {
            return self.release_gone(id);
        };
        let slot = &mut self.slots[position];
        if slot.in_flight == 0 {
            return;
        }
        slot.in_flight -= 1;
        if slot.is_eligible() {
            self.levels.vacate(slot.level, 1);
        }
        self.total_in_flight = self.total_in_flight.saturating_sub(1);
        let changes_others = latency.is_some_and(|time| self.board.observe(position, time, now));
        if changes_others {
            std::hint::cold_path();
            self.show_all();
        } else {
            self.show(position);
        }
    }

    fn release_gone(&mut self, id: EndpointId) {
        let Some(at) = self.gone.iter().position(|(gone, _)| *gone == id) else {
            return;
        };
        self.gone[at].1 -= 1;
        self.total_in_flight = self.total_in_flight.saturating_sub(1);
        if self.gone[at].1 == 0 {
            self.gone.swap_remove(at);
        }
    }

    /// Not to be picked until [`Members::reopen`].
    pub(super) fn close(&mut self, id: EndpointId) {
        if let Some(position) = self.position(id) {
            self.board.close(position);
        }
    }

    pub(super) fn reopen(&mut self, id: EndpointId) {
        if let Some(position) = self.position(id) {
            self.show(position);
        }
    }

    pub(super) fn in_flight(&self, id: EndpointId) -> u32 {
        match self.slot(id) {
            Some(slot) => slot.in_flight,
            None => self
                .gone
                .iter()
                .find(|(gone, _)| *gone == id)
                .map_or(0, |(_, taken)| *taken),
        }
    }

    pub(super) fn total_in_flight(&self) -> u32 {
        self.total_in_flight
    }

    pub(super) fn eligible(&self) -> usize {
        self.eligible
    }

    pub(super) fn has_eligible_but(&self, ids: &[EndpointId]) -> bool {
        // Each id once, though it may be there twice.
        let is_first = |at: usize, id| !ids.iter().take(at).any(|earlier| earlier == id);
        let firsts = ids.iter().enumerate().filter(|(at, id)| is_first(*at, *id));
        let eligible = firsts.filter(|(_, id)| self.slot(**id).is_some_and(Slot::is_eligible));
        self.eligible > eligible.count()
    }

    pub(super) fn has_room_but(&self, ids: &[EndpointId]) -> bool {
        let has_room = |slot: &Slot| slot.is_eligible() && !slot.is_full();
        let mut slots = self.slots.iter();
        slots.any(|slot| has_room(slot) && !ids.contains(&slot.id))
    }

    pub(super) fn slot(&self, id: EndpointId) -> Option<&Slot> {
        self.position(id).map(|at| &self.slots[at])
    }

    /// What the algorithm goes by at a position: the least first, and among equals the most.
    pub(super) fn stands(&self, position: usize) -> (Option<f64>, Option<f64>) {
        self.board.stands(position, self.unit)
    }

    pub(super) fn latency_seconds(&self, id: EndpointId, now: Instant) -> Option<f64> {
        self.board.latency_seconds(self.position(id)?, now)
    }

    fn position(&self, id: EndpointId) -> Option<usize> {
        let found = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.by_id[found].1)
    }

    /// Brings what the algorithms see in line with the slot.
    fn show(&mut self, position: usize) {
        let slot = &self.slots[position];
        self.board.show(position, slot, self.unit);
    }
}

/// Slots in the order of their levels, each id once.
fn arrange(settings: &Settings, members: &[Member], slot: impl Fn(&Member) -> Slot) -> Vec<Slot> {
    let mut ids: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(at, one)| (one.id, at))
        .collect();
    ids.sort_unstable();
    ids.dedup_by_key(|(id, _)| *id);
    let mut slots: Vec<_> = ids
        .into_iter()
        .map(|(_, at)| {
            let member = &members[at];
            let is_elsewhere = settings.zone.is_some() && member.zone != settings.zone;
            let mut slot = slot(member);
            slot.place = (member.priority, is_elsewhere);
            (slot.place, at, slot)
        })
        .collect();
    slots.sort_by_key(|(place, at, _)| (*place, *at));
    slots.truncate(MAX_MEMBERS);
    slots.into_iter().map(|(_, _, slot)| slot).collect()
}
