//! The turns of smooth weighted round robin, as nginx spreads them. Never knows why an endpoint takes part.
//!
//! Every endpoint holds a credit. At each pick, those that take part earn their weight; the
//! richest is picked and pays what all of them earned together. So credits always even out, each
//! is picked in proportion to its weight, and an endpoint of weight 5 among two of weight 1 gets
//! `a a b a c a a` instead of `a a a a a b c`.

use std::hint::cold_path;

/// Credits of the endpoints, by position.
#[derive(Clone, Debug)]
pub(super) struct Smooth {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    credit: i64,
    /// What it earned at the last pick among all; zero if it took no part.
    weight: u32,
}

impl Smooth {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            slots: vec![Slot::default(); endpoints],
        }
    }

    /// One pick among all endpoints; a weight of zero takes no part. As long as the same ones take
    /// part, picks of equal ones differ by at most one.
    pub(super) fn take(&mut self, weights: impl ExactSizeIterator<Item = u32>) -> Option<usize> {
        self.grow(weights.len());
        let mut turn = Turn::default();
        let mut is_new_set = false;
        for (position, (slot, weight)) in self.slots.iter_mut().zip(weights).enumerate() {
            if slot.weight != weight {
                cold_path();
                slot.weight = weight;
                is_new_set = true;
            }
            turn.earn(position, slot, weight);
        }
        if is_new_set && turn.richest.is_some() {
            self.level(&mut turn);
        }
        self.pay(turn)
    }

    /// One pick among those of positive weight. Who takes part may change at every pick: credits
    /// stay as they are, so turns even out over many picks rather than few.
    pub(super) fn take_among(
        &mut self,
        weights: impl ExactSizeIterator<Item = u32>,
    ) -> Option<usize> {
        self.grow(weights.len());
        let mut turn = Turn::default();
        for (position, (slot, weight)) in self.slots.iter_mut().zip(weights).enumerate() {
            turn.earn(position, slot, weight);
        }
        self.pay(turn)
    }

    /// The same for few among many, by position.
    pub(super) fn take_among_few(
        &mut self,
        few: impl Iterator<Item = (usize, u32)>,
    ) -> Option<usize> {
        let mut turn = Turn::default();
        for (position, weight) in few {
            self.grow(position + 1);
            if let Some(slot) = self.slots.get_mut(position) {
                turn.earn(position, slot, weight);
            }
        }
        self.pay(turn)
    }

    fn grow(&mut self, endpoints: usize) {
        if endpoints > self.slots.len() {
            cold_path();
            self.slots.resize(endpoints, Slot::default());
        }
    }

    /// Lets nobody be poorer than one round behind the richest, and starts counting from there.
    ///
    /// While the same endpoints take part this holds by itself. When some leave or return, what
    /// the rest owe or hold came from rounds of another length: without this, one of ten that was
    /// just picked would, when eight leave, watch the other be picked five times in a row.
    /// Strictly less than a round, so that equal endpoints differ by at most one pick.
    fn level(&mut self, turn: &mut Turn) {
        for slot in &mut self.slots {
            slot.credit = (slot.credit - turn.credit).max(1 - turn.earned);
        }
        turn.credit = 0;
    }

    fn pay(&mut self, turn: Turn) -> Option<usize> {
        let position = turn.richest?;
        self.slots.get_mut(position)?.credit = turn.credit - turn.earned;
        Some(position)
    }
}

/// One pick in the making.
struct Turn {
    /// The first of the richest so far.
    richest: Option<usize>,
    credit: i64,
    /// What all that took part earned together.
    earned: i64,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            richest: None,
            credit: i64::MIN,
            earned: 0,
        }
    }
}

impl Turn {
    fn earn(&mut self, position: usize, slot: &mut Slot, weight: u32) {
        slot.credit += i64::from(weight);
        self.earned += i64::from(weight);
        if slot.credit > self.credit && weight > 0 {
            // Rare, and a branch lets the next slot begin before this comparison is through.
            cold_path();
            self.richest = Some(position);
            self.credit = slot.credit;
        }
    }
}
