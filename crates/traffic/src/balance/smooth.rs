//! The turns of smooth weighted round robin, as nginx spreads them. Never knows why an endpoint takes part.
//!
//! Every endpoint holds a credit. At each pick, those that take part earn their weight; the
//! richest is picked and pays what all of them earned together. So credits always even out, each
//! is picked in proportion to its weight, and an endpoint of weight 5 among two of weight 1 gets
//! `a a b a c a a` instead of `a a a a a b c`.

/// Credits of the endpoints, by position.
#[derive(Clone, Debug)]
pub(super) struct Smooth {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    credit: i64,
    /// What it earned at the last pick; zero if it took no part.
    weight: u32,
}

/// Whose turn it is, not yet paid for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) index: usize,
    credit: i64,
    /// What all that took part earned together.
    earned: i64,
    /// Whether others took part, or with other weights, than last time.
    pub(super) is_new_set: bool,
}

impl Smooth {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            slots: vec![Slot::default(); endpoints],
        }
    }

    /// Pays out weights and finds the richest, the first of them on a tie. A weight of zero takes
    /// no part. The turn must be handed to [`Smooth::pay`].
    pub(super) fn earn(&mut self, weights: impl ExactSizeIterator<Item = u32>) -> Option<Turn> {
        if weights.len() > self.slots.len() {
            self.slots.resize(weights.len(), Slot::default());
        }
        let mut richest = None;
        let mut richest_credit = i64::MIN;
        let mut earned = 0;
        let mut is_new_set = false;
        for (index, (slot, weight)) in self.slots.iter_mut().zip(weights).enumerate() {
            is_new_set |= slot.weight != weight;
            slot.weight = weight;
            slot.credit += i64::from(weight);
            earned += i64::from(weight);
            if weight > 0 && slot.credit > richest_credit {
                richest = Some(index);
                richest_credit = slot.credit;
            }
        }
        richest.map(|index| Turn {
            index,
            credit: richest_credit,
            earned,
            is_new_set,
        })
    }

    /// Lets nobody be poorer than one round behind the richest, and starts counting from there.
    ///
    /// While the same endpoints take part this holds by itself. When some leave or return, what
    /// the rest owe or hold came from rounds of another length: without this, one of ten that was
    /// just picked would, when eight leave, watch the other be picked five times in a row.
    /// Strictly less than a round, so that equal endpoints differ by at most one pick.
    pub(super) fn level(&mut self, turn: &mut Turn) {
        for slot in &mut self.slots {
            slot.credit = (slot.credit - turn.credit).max(1 - turn.earned);
        }
        turn.credit = 0;
    }

    /// The picked endpoint pays.
    pub(super) fn pay(&mut self, turn: Turn) {
        if let Some(slot) = self.slots.get_mut(turn.index) {
            slot.credit = turn.credit - turn.earned;
        }
    }
}
