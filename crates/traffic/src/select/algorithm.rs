//! What each algorithm keeps from one pick to the next, and how it picks within a level. Never
//! changes who may be picked.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Ask;
use super::keyed::WHOLE_PART;
use super::settings::Balance;
use super::slot::Slot;
use crate::balance::latency::Latencies;
use crate::balance::parts::Parts;
use crate::balance::ring::Ring;
use crate::balance::turns::Turns;

/// Endpoints as the algorithms see them: by position, open or closed.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) turns: Turns,
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
enum Algorithm {
    RoundRobin,
    LeastConn(Parts),
    P2c(Parts),
    PeakEwma(Latencies, Parts),
    Hash(Vec<Arc<Ring>>),
}

impl Board {
    /// A board with all endpoints closed.
    pub(super) fn new(balance: Balance, credits: Vec<i32>) -> Self {
        let count = credits.len();
        Self {
            turns: Turns::new(credits),
            algorithm: match balance {
                Balance::RoundRobin => Algorithm::RoundRobin,
                Balance::LeastConn => Algorithm::LeastConn(Parts::new(count)),
                Balance::P2c => Algorithm::P2c(Parts::new(count)),
                Balance::PeakEwma { decay } => {
                    Algorithm::PeakEwma(Latencies::new(decay, count), Parts::new(count))
                }
                Balance::Hash { .. } => Algorithm::Hash(Vec::new()),
            },
        }
    }

    /// Takes over what the algorithm knew of endpoints, from their positions there to those here.
    pub(super) fn inherit(&mut self, from: Self, positions: impl Iterator<Item = (usize, usize)>) {
        match (&mut self.algorithm, from.algorithm) {
            (Algorithm::PeakEwma(here, _), Algorithm::PeakEwma(there, _)) => {
                here.inherit(&there, positions);
            }
            (Algorithm::Hash(here), Algorithm::Hash(there)) => *here = there,
            _ => {}
        }
    }

    /// Makes the rings of these levels, where they are not as they should be already.
    pub(super) fn make_rings<'a>(&mut self, levels: impl Iterator<Item = &'a [Slot]>) {
        let Algorithm::Hash(rings) = &mut self.algorithm else {
            return;
        };
        let old = std::mem::take(rings);
        rings.extend(levels.map(|slots| {
            let nodes: Vec<_> = slots
                .iter()
                .map(|slot| (slot.address, slot.weight))
                .collect();
            match old.iter().find(|ring| ring.is_of(&nodes)) {
                Some(ring) => Arc::clone(ring),
                None => Arc::new(Ring::new(&nodes)),
            }
        }));
    }

    /// Brings an endpoint in line with what it is doing; one that may not be picked is closed.
    /// A weight of 1 counts `unit`.
    pub(super) fn show(&mut self, position: usize, slot: &Slot, unit: i32) {
        let weight = slot.open_weight(unit);
        if weight == 0 {
            return self.close(position);
        }
        let is_part = slot.part() != WHOLE_PART;
        let (score, whole, parts) = match &mut self.algorithm {
            Algorithm::RoundRobin | Algorithm::Hash(_) => {
                return self.turns.open(position, weight, 0);
            }
            Algorithm::LeastConn(parts) | Algorithm::P2c(parts) => {
                let whole = slot.load_if_whole(unit);
                let score = if is_part { slot.load(weight) } else { whole };
                (score, whole, parts)
            }
            Algorithm::PeakEwma(latencies, parts) => {
                let cost = |weight| coarse(latencies.cost(position, slot.in_flight, weight));
                (cost(weight), cost(1), parts)
            }
        };
        self.turns.open(position, weight, score);
        parts.open(position, weight.unsigned_abs(), is_part, whole);
    }

    /// Not to be picked until it is shown again.
    pub(super) fn close(&mut self, position: usize) {
        self.turns.close(position);
        match &mut self.algorithm {
            Algorithm::RoundRobin | Algorithm::Hash(_) => {}
            Algorithm::LeastConn(parts) | Algorithm::P2c(parts) | Algorithm::PeakEwma(_, parts) => {
                parts.close(position)
            }
        }
    }

    /// Others may be picked within a range from now on. Where all that are open take turns, nobody
    /// may carry over more than a round; among those that happen to be equal at a moment, turns
    /// even out in the long run.
    pub(super) fn settle(&mut self, range: Range<usize>) {
        if matches!(self.algorithm, Algorithm::RoundRobin | Algorithm::Hash(_)) {
            self.turns.level(range);
        }
    }

    /// Takes a latency into account. Whether others than that endpoint have to be shown again.
    pub(super) fn observe(&mut self, position: usize, latency: Duration, now: Instant) -> bool {
        match &mut self.algorithm {
            Algorithm::PeakEwma(latencies, _) => latencies.observe(position, latency, now),
            _ => false,
        }
    }

    pub(super) fn latency_seconds(&self, position: usize, now: Instant) -> Option<f64> {
        match &self.algorithm {
            Algorithm::PeakEwma(latencies, _) => latencies.seconds(position, now),
            _ => None,
        }
    }

    /// The ring of a level and the key to go by, if there is one.
    pub(super) fn ring<'a>(&self, level: usize, ask: &Ask<'a>) -> Option<(&Ring, &'a [u8])> {
        match &self.algorithm {
            Algorithm::Hash(rings) => Some((rings.get(level)?, ask.key?)),
            _ => None,
        }
    }

    /// What is compared at a position, per weight of 1: the least score first, and among equals the
    /// most that a turn is worth.
    pub(super) fn stands(&self, position: usize, unit: i32) -> (Option<f64>, Option<f64>) {
        let score = f32::from_bits(self.turns.score(position).cast_unsigned());
        let score = f64::from(score) * f64::from(unit);
        let turn = self
            .turns
            .credit(position)
            .wrapping_add(self.turns.weight(position));
        let turn = f64::from(turn) / f64::from(unit);
        match &self.algorithm {
            Algorithm::RoundRobin | Algorithm::Hash(_) => (None, Some(turn)),
            Algorithm::LeastConn(_) | Algorithm::PeakEwma(..) => (Some(score), Some(turn)),
            Algorithm::P2c(_) => (Some(score), None),
        }
    }

    /// The two of a range that chance puts up, where it does.
    pub(super) fn drawn(
        &self,
        range: Range<usize>,
        ask: &Ask<'_>,
    ) -> Option<(usize, Option<usize>)> {
        match &self.algorithm {
            Algorithm::P2c(parts) => parts.draw().two(range, ask.chance),
            _ => None,
        }
    }

    /// One of a range, by any algorithm that needs no key.
    pub(super) fn pick(&mut self, range: Range<usize>, ask: &Ask<'_>) -> Option<usize> {
        match &mut self.algorithm {
            Algorithm::RoundRobin | Algorithm::Hash(_) => self.turns.take_any(range),
            Algorithm::LeastConn(parts) => {
                let part = parts.take(range.clone(), 0);
                part.or_else(|| self.turns.take_least(range))
            }
            Algorithm::PeakEwma(_, parts) => {
                let part = parts.take(range.clone(), TWICE);
                part.or_else(|| self.turns.take_least(range))
            }
            Algorithm::P2c(parts) => {
                let part = parts.take(range.clone(), 0);
                part.or_else(|| {
                    let (first, second) = parts.draw().two(range, ask.chance)?;
                    let is_less =
                        |other: &usize| self.turns.score(*other) < self.turns.score(first);
                    Some(second.filter(is_less).unwrap_or(first))
                })
            }
        }
    }
}

/// What a score grows by when the cost doubles. A latency that was never more than that is no
/// reason to keep an endpoint from its part: the first answers after a return are slower.
const TWICE: i32 = 1 << 23;

/// A number that is not negative as a whole number of the same order.
pub(super) fn in_order(number: f64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "to the next number it can hold, which keeps the order"
    )]
    let number = number.clamp(0.0, f64::from(f32::MAX)) as f32;
    number.to_bits().cast_signed()
}

/// The same in steps of about 3 %: costs that differ by less are equal and take turns, so that
/// chance in the latencies of a quiet cluster does not make one endpoint the best of all.
fn coarse(number: f64) -> i32 {
    const DROPPED_BITS: u32 = 18;
    in_order(number) >> DROPPED_BITS << DROPPED_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_from_nothing_to_everything() {
        let numbers = [0.0, 1e-30, 0.5, 1.0, 1.0001, 3.0, 4e9, 1e38, f64::INFINITY];
        assert!(numbers.is_sorted_by(|a, b| in_order(*a) <= in_order(*b)));
        assert!(
            numbers
                .iter()
                .all(|number| (0..i32::MAX).contains(&in_order(*number)))
        );
        assert!(numbers.is_sorted_by(|a, b| coarse(*a) <= coarse(*b)));
        assert_eq!(coarse(1.0), coarse(1.03));
        assert_eq!(coarse(0.07) + TWICE, coarse(0.14));
        assert!(coarse(1.0) < coarse(1.04));
    }
}
