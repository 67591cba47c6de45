//! Consistent hashing within a level: along the ring to the first that may and should take the
//! key. Never changes the ring for a standing that changes.

use super::Ask;
use super::members::Members;
use super::settings::Balance;
use crate::balance::chance;

/// Points to look at before giving up on the ring. Only where hardly anybody of many is eligible
/// does it come to that.
pub(super) const MAX_STEPS: usize = 256;

/// So many times a key is sent on by endpoints that are to have only a part of theirs; then there is
/// probably nobody else, and the first of them takes it after all.
const MAX_DECLINED: u32 = 32;

impl Members {
    /// The endpoint of a key, `None` if all of the level are closed; `Err` if there is no key or
    /// no ring to go by.
    ///
    /// Whoever is closed is passed over, and so is who has more than its share in flight (the
    /// bounded load) and, for a part of the keys, who is to have only a part of its weight: always
    /// the same part, which grows as its share grows. Where even the whole walk finds nobody, each
    /// key has an order of its own among the open ones (highest random weight).
    pub(super) fn pick_by_key(&self, level: usize, ask: &Ask<'_>) -> Result<Option<usize>, NoKey> {
        let (ring, key) = self.board.ring(level, ask).ok_or(NoKey)?;
        let range = self.levels.range(level);
        let bound = self.bound_of(level);
        let bits = chance::of_key(key);
        let (mut first_declined, mut declined) = (None, 0);
        for node in ring.walk(key).take(MAX_STEPS) {
            let position = range.start + node;
            if self.board.turns.weight(position) == 0 || !bound.admits(self, position) {
                continue;
            }
            if self.has_key(position, bits) {
                return Ok(Some(position));
            }
            first_declined = first_declined.or(Some(position));
            declined += 1;
            if declined == MAX_DECLINED {
                break;
            }
        }
        if first_declined.is_some() {
            return Ok(first_declined);
        }
        std::hint::cold_path();
        let open = range.filter(|at| self.board.turns.weight(*at) > 0);
        Ok(open.max_by_key(|at| {
            let order = chance::mix(bits ^ u64::from(self.slots[*at].id.0));
            (bound.admits(self, *at), order)
        }))
    }

    /// Whether these bits of a key fall into the part of its weight that the endpoint has.
    fn has_key(&self, position: usize, bits: u64) -> bool {
        let slot = &self.slots[position];
        let part = slot.part();
        part == WHOLE_PART || {
            let bits = chance::mix(bits ^ !u64::from(slot.id.0));
            chance::below(bits, WHOLE_PART.into()) < part.into()
        }
    }

    pub(super) fn bound_of(&self, level: usize) -> Bound {
        let Balance::Hash {
            bounded_load_percent: Some(percent),
        } = self.settings.balance
        else {
            return Bound { busy: 0, weight: 0 };
        };
        Bound {
            busy: (u128::from(self.levels.busy(level)) + 1) * u128::from(percent.max(100)),
            weight: u128::from(self.levels.eligible_weight(level)) * 100,
        }
    }
}

/// There is no key, or no ring.
pub(super) struct NoKey;

/// The whole of a [`Slot::part`](super::slot::Slot::part).
pub(super) const WHOLE_PART: u32 = 10_000;

/// The most that endpoints may have in flight, per weight: `busy / weight`.
pub(super) struct Bound {
    busy: u128,
    weight: u128,
}

impl Bound {
    /// Whether one more leaves the endpoint within its bound, rounded up: so that one request is
    /// always allowed, and somebody is always below.
    pub(super) fn admits(&self, members: &Members, position: usize) -> bool {
        let slot = &members.slots[position];
        let counted = u128::from(slot.counts().eligible);
        self.weight == 0 || u128::from(slot.in_flight) * self.weight < self.busy * counted
    }
}
