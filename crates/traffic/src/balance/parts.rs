//! A turn now and then for those that are to have only a part of their weight. Never a large one:
//! no more turns than that part, and none while they are busier than the others.
//!
//! By its load for so little weight, an endpoint that begins slowly or is degraded comes after every
//! idle one: light traffic would never reach it, and a breaker that is half-open would stay so. So
//! before each pick one is drawn by weight. If it is one of those, it is compared as if it had all
//! of its weight, which the draw has accounted for already. Draws follow the golden ratio instead of
//! chance: a part of a hundredth is drawn once in about a hundred picks, not twice or never.

use std::ops::Range;

use super::draw::Draw;
use super::turns::CLOSED;

/// 2^64 divided by the golden ratio: steps of this size around a circle leave no part of it out.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Weights and scores by position.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    draw: Draw,
    /// Scores as if each had all of its weight; [`CLOSED`] if it may not be picked.
    whole: Vec<i32>,
    is_part: Vec<bool>,
    /// How many are open with a part of their weight.
    count: usize,
    drawn: u64,
}

impl Parts {
    /// Over so many endpoints, all closed.
    pub(crate) fn new(endpoints: usize) -> Self {
        Self {
            draw: Draw::new(endpoints),
            whole: vec![CLOSED; endpoints],
            is_part: vec![false; endpoints],
            count: 0,
            drawn: 0,
        }
    }

    /// The weights.
    pub(crate) fn draw(&self) -> &Draw {
        &self.draw
    }

    /// Lets an endpoint be drawn by its present weight, and be compared by this score.
    pub(crate) fn open(&mut self, position: usize, weight: u32, is_part: bool, whole: i32) {
        self.draw.set(position, weight);
        self.whole[position] = whole;
        let was_part = std::mem::replace(&mut self.is_part[position], is_part);
        self.count = self.count + usize::from(is_part) - usize::from(was_part);
    }

    /// Lets it be drawn no more.
    pub(crate) fn close(&mut self, position: usize) {
        self.open(position, 0, false, CLOSED);
    }

    /// One of a range that has a part of its weight, if it is its turn: its score exceeds the least
    /// of the range by no more than `tolerance`.
    pub(crate) fn take(&mut self, range: Range<usize>, tolerance: i32) -> Option<usize> {
        if self.count == 0 {
            return None;
        }
        self.drawn = self.drawn.wrapping_add(STEP);
        let position = self.draw.one(range.clone(), self.drawn)?;
        if !self.is_part[position] {
            return None;
        }
        let least = self.whole[range].iter().copied().min()?;
        (self.whole[position] <= least.saturating_add(tolerance)).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(parts: &mut Parts, range: &Range<usize>, count: usize) -> Vec<usize> {
        (0..count)
            .filter_map(|_| parts.take(range.clone(), 0))
            .collect()
    }

    #[test]
    fn a_part_is_taken_as_often_as_its_weight_says() {
        let mut parts = Parts::new(3);
        parts.open(0, 90, false, 0);
        parts.open(1, 9, true, 0);
        parts.open(2, 1, true, 0);
        let taken = taken(&mut parts, &(0..3), 1_000);
        let of_last = taken.iter().filter(|at| **at == 2).count();
        assert!((98..=102).contains(&taken.len()), "{}", taken.len());
        assert!((9..=11).contains(&of_last), "{of_last}");
    }

    #[test]
    fn whoever_is_busier_than_the_least_busy_waits() {
        let mut parts = Parts::new(2);
        parts.open(0, 1, false, 5);
        parts.open(1, 1, true, 6);
        assert!(taken(&mut parts, &(0..2), 100).is_empty());
        assert!((0..9).any(|_| parts.take(0..2, 1).is_some()), "tolerated");
        parts.open(1, 1, true, 5);
        assert!(!taken(&mut parts, &(0..2), 100).is_empty());
    }

    #[test]
    fn the_whole_and_the_closed_are_left_to_others() {
        let mut parts = Parts::new(4);
        assert_eq!(parts.take(0..4, 0), None);
        parts.open(0, 7, false, 0);
        parts.open(1, 7, true, 0);
        parts.close(1);
        assert!(taken(&mut parts, &(0..4), 50).is_empty());
        parts.open(3, 7, true, 0);
        assert!(taken(&mut parts, &(0..3), 50).is_empty(), "out of range");
        assert_eq!(taken(&mut parts, &(2..4), 5), [3; 5]);
    }
}
