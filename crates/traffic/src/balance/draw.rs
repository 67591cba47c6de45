//! One of many by weight. Never looks at more than a logarithm of them.
//!
//! A Fenwick tree over the weights: the node at `n` (counted from one) holds the sum of the
//! `n & -n` weights that end with the `n`-th. So changing a weight, summing the first `n` and
//! finding where a sum is reached are all a walk of a few steps.

use std::ops::Range;

use super::chance;

/// Weights by position, to be drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    weights: Vec<u32>,
    tree: Vec<u32>,
}

impl Draw {
    /// Over so many endpoints, none of which may be drawn. All weights together must stay below
    /// 2^32.
    pub(crate) fn new(endpoints: usize) -> Self {
        Self {
            weights: vec![0; endpoints],
            tree: vec![0; endpoints],
        }
    }

    /// Another weight; zero is never drawn.
    pub(crate) fn set(&mut self, position: usize, weight: u32) {
        let before = std::mem::replace(&mut self.weights[position], weight);
        if before == weight {
            return;
        }
        let mut node = position + 1;
        while let Some(sum) = self.tree.get_mut(node - 1) {
            *sum = sum.wrapping_add(weight).wrapping_sub(before);
            node += node & node.wrapping_neg();
        }
    }

    /// One of a range by weight: bits that are spread evenly find each as often as its weight says.
    pub(crate) fn one(&self, range: Range<usize>, bits: u64) -> Option<usize> {
        let before = self.sum(range.start);
        let all = self.sum(range.end) - before;
        let number = u32::try_from(chance::below(bits, u64::from(all))).unwrap_or(0);
        (all > 0).then(|| self.find(before + number))
    }

    /// Two different ones of a range, each by weight; the second is missing if there is only one.
    pub(crate) fn two(&self, range: Range<usize>, bits: u64) -> Option<(usize, Option<usize>)> {
        let before = self.sum(range.start);
        let all = self.sum(range.end) - before;
        if all == 0 {
            return None;
        }
        let below = |bits, bound| {
            let number = chance::below(chance::mix(bits), u64::from(bound));
            u32::try_from(number).unwrap_or(0)
        };
        let first = self.find(before + below(bits, all));
        let of_first = self.weights[first];
        if of_first == all {
            return Some((first, None));
        }
        // From the others: as if the first were cut out of the row.
        let target = before + below(!bits, all - of_first);
        let is_beyond = target >= self.sum(first);
        let target = if is_beyond { target + of_first } else { target };
        Some((first, Some(self.find(target))))
    }

    /// Sum of the first `count` weights.
    fn sum(&self, count: usize) -> u32 {
        let (mut sum, mut node) = (0, count);
        while node > 0 {
            sum += self.tree[node - 1];
            node &= node - 1;
        }
        sum
    }

    /// The position at which the sum of all weights up to it exceeds `target`.
    fn find(&self, target: u32) -> usize {
        let (mut left, mut found) = (target, 0);
        let mut step = (self.tree.len() + 1).next_power_of_two() / 2;
        while step > 0 {
            if let Some(sum) = self.tree.get(found + step - 1)
                && *sum <= left
            {
                left -= sum;
                found += step;
            }
            step /= 2;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(weights: &[u32]) -> Draw {
        let mut draw = Draw::new(weights.len());
        for (position, weight) in weights.iter().enumerate() {
            draw.set(position, *weight);
        }
        draw
    }

    #[test]
    fn every_unit_of_weight_is_found_at_its_owner() {
        for weights in [&[3, 0, 1, 2][..], &[1], &[0, 0, 5], &[1, 1, 1, 1, 1, 1, 1]] {
            let draw = draw(weights);
            let owners = weights
                .iter()
                .enumerate()
                .flat_map(|(at, n)| (0..*n).map(move |_| at));
            for (unit, owner) in (0..).zip(owners) {
                assert_eq!(draw.find(unit), owner, "unit {unit} of {weights:?}");
            }
        }
    }

    #[test]
    fn two_are_different_and_by_weight() {
        let draw = draw(&[9, 1, 2, 0, 3, 9]);
        let (mut first, mut second) = ([0; 6], [0; 6]);
        for bits in 0..60_000 {
            let (one, other) = draw.two(1..5, bits * 7_919).unwrap();
            let other = other.unwrap();
            assert_ne!(one, other);
            first[one] += 1;
            second[other] += 1;
        }
        assert_eq!(
            [first[0], first[3], first[5], second[3]],
            [0; 4],
            "outside or weightless"
        );
        let is_about = |count: i32, expected: i32| (count - expected).abs() < expected / 20;
        assert!(is_about(first[1], 10_000), "{first:?}");
        assert!(is_about(first[2], 20_000), "{first:?}");
        assert!(is_about(first[4], 30_000), "{first:?}");
        // 1/6 * 2/5 + 1/2 * 2/3 of the draws.
        assert!(is_about(second[2], 24_000), "{second:?}");
    }

    #[test]
    fn one_alone_and_nobody() {
        assert_eq!(draw(&[0, 4, 0]).two(0..3, 5), Some((1, None)));
        assert_eq!(draw(&[0, 4, 0]).two(2..3, 5), None);
        assert_eq!(draw(&[]).two(0..0, 5), None);
        assert_eq!(draw(&[]).one(0..0, 5), None);
        assert_eq!(draw(&[0, 4, 0]).one(0..3, u64::MAX), Some(1));
        assert_eq!(draw(&[0, 4, 0]).one(2..3, 5), None);
        let mut emptied = draw(&[7, 7]);
        emptied.set(0, 0);
        assert_eq!(emptied.two(0..2, u64::MAX), Some((1, None)));
        emptied.set(1, 0);
        assert_eq!(emptied.two(0..2, 0), None);
    }

    #[test]
    fn large_weights_fit() {
        let draw = draw(&[u32::MAX - 1, 1]);
        for bits in [0, u64::MAX, 1 << 63] {
            assert!(draw.two(0..2, bits).unwrap().1.is_some());
        }
    }
}
