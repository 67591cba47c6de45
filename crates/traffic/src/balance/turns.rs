//! The least of a range, and turns among equals. Never knows what makes an endpoint the least.
//!
//! Round robin, least connections and peak EWMA differ only in the score they give an endpoint
//! (none at all, its load, its cost): the least score is picked, and equals take the turns of
//! nginx's smooth weighted round robin. Every endpoint holds a credit. At each pick, those that
//! take part earn their weight; the richest is picked and pays what all of them earned together. So
//! credits even out, each is picked in proportion to its weight, and an endpoint of weight 5 among
//! two of weight 1 gets `a a b a c a a` instead of `a a a a a b c`.
//!
//! Everything is plain passes over arrays of 32-bit numbers, which the compiler turns into vector
//! instructions; and of every block of them the least score is kept, so that most blocks need not
//! be looked at. That is what makes a thousand endpoints cost less than a microsecond.

use std::ops::Range;

/// The score of an endpoint that may not be picked.
pub(crate) const CLOSED: i32 = i32::MAX;

/// Most that all weights of a range may be together: credits stay within a small multiple of it.
pub(crate) const MAX_TOTAL_WEIGHT: i32 = 1 << 26;

/// Credits are brought back together before they come near the end of their type.
const MAX_CREDIT: i32 = 1 << 29;

/// Positions of which the least score is kept: enough for vectors, few enough to look through.
const BLOCK: usize = 64;

/// Scores, weights and credits by position.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    scores: Vec<i32>,
    /// The least score of each block.
    least: Vec<i32>,
    weights: Vec<i32>,
    credits: Vec<i32>,
}

impl Turns {
    /// Over as many endpoints as there are credits, all closed.
    pub(crate) fn new(credits: Vec<i32>) -> Self {
        Self {
            scores: vec![CLOSED; credits.len()],
            least: vec![CLOSED; credits.len().div_ceil(BLOCK)],
            weights: vec![0; credits.len()],
            credits,
        }
    }

    /// Lets an endpoint take part: a positive weight, a score of zero or more.
    pub(crate) fn open(&mut self, position: usize, weight: i32, score: i32) {
        self.weights[position] = weight;
        let before = std::mem::replace(&mut self.scores[position], score);
        let least = &mut self.least[position / BLOCK];
        if score <= *least {
            *least = score;
        } else if before == *least {
            let start = position / BLOCK * BLOCK;
            let end = (start + BLOCK).min(self.scores.len());
            *least = least_of(&self.scores[start..end]);
        }
    }

    /// Lets it take no part; its credit stays.
    pub(crate) fn close(&mut self, position: usize) {
        self.open(position, 0, CLOSED);
    }

    /// The weight an endpoint takes part with; zero if it takes none.
    pub(crate) fn weight(&self, position: usize) -> i32 {
        self.weights[position]
    }

    pub(crate) fn score(&self, position: usize) -> i32 {
        self.scores[position]
    }

    pub(crate) fn credit(&self, position: usize) -> i32 {
        self.credits[position]
    }

    /// The least of a range. While the same ones take part with the same scores, picks of equal
    /// ones differ by at most one, if [`Turns::level`] was called when that began.
    pub(crate) fn take_least(&mut self, range: Range<usize>) -> Option<usize> {
        let least = pieces(range.clone())
            .map(|piece| self.least_in(piece))
            .min()?;
        if least == CLOSED {
            return None;
        }
        let mut turn = Turn::default();
        for piece in pieces(range.clone()) {
            if self.least_in(piece.clone()) == least {
                turn.earn_least(self, piece, least);
            }
        }
        self.pay(range, &turn, |turns, at| turns.scores[at] == least)
    }

    /// The turn of all of a range, whatever their scores.
    pub(crate) fn take_any(&mut self, range: Range<usize>) -> Option<usize> {
        let mut turn = Turn::default();
        for piece in pieces(range.clone()) {
            turn.earn(self, piece);
        }
        self.pay(range, &turn, |turns, at| turns.weights[at] > 0)
    }

    fn least_in(&self, piece: Range<usize>) -> i32 {
        let is_whole = piece.len() == BLOCK;
        if is_whole {
            self.least[piece.start / BLOCK]
        } else {
            least_of(&self.scores[piece])
        }
    }

    /// The first of the richest that take part pays for all.
    fn pay(
        &mut self,
        range: Range<usize>,
        turn: &Turn,
        takes_part: impl Fn(&Self, usize) -> bool,
    ) -> Option<usize> {
        let is_richest = |at: &usize| self.credits[*at] == turn.richest && takes_part(self, *at);
        let position = turn.piece.clone().find(is_richest)?;
        let credit = &mut self.credits[position];
        *credit = credit.wrapping_sub(turn.earned);
        if credit.unsigned_abs() > MAX_CREDIT.unsigned_abs() {
            std::hint::cold_path();
            self.level(range);
        }
        Some(position)
    }

    /// Lets nobody be a round or more behind the richest, and starts counting from there.
    ///
    /// While the same endpoints take part this holds by itself. When some leave or return, or
    /// weights change, what the rest owe or hold came from rounds of another length: without this,
    /// one of ten that was just picked would, when eight leave, watch the other be picked five
    /// times in a row. Strictly less than a round, so that equal endpoints differ by at most one
    /// pick.
    pub(crate) fn level(&mut self, range: Range<usize>) {
        let weights = &self.weights[range.clone()];
        let credits = &mut self.credits[range];
        let (mut earned, mut richest) = (0, i32::MIN);
        for (weight, credit) in weights.iter().zip(credits.iter()) {
            earned += weight;
            richest = richest.max(if *weight > 0 { *credit } else { i32::MIN });
        }
        if earned == 0 {
            return;
        }
        for credit in credits {
            *credit = credit.wrapping_sub(richest).clamp(1 - earned, 0);
        }
    }
}

/// A range cut at the borders of blocks.
fn pieces(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
    blocks.map(move |block| {
        let start = block * BLOCK;
        start.max(range.start)..(start + BLOCK).min(range.end)
    })
}

fn least_of(scores: &[i32]) -> i32 {
    scores.iter().copied().min().unwrap_or(CLOSED)
}

/// One pick in the making.
struct Turn {
    /// What all that took part earned together.
    earned: i32,
    richest: i32,
    /// Where the first of the richest is.
    piece: Range<usize>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            earned: 0,
            richest: i32::MIN,
            piece: 0..0,
        }
    }
}

impl Turn {
    /// Those of the least score earn their weight.
    fn earn_least(&mut self, turns: &mut Turns, piece: Range<usize>, least: i32) {
        let scores = &turns.scores[piece.clone()];
        let weights = &turns.weights[piece.clone()];
        let credits = &mut turns.credits[piece.clone()];
        let (mut earned, mut richest) = (0_i32, i32::MIN);
        for ((score, weight), credit) in scores.iter().zip(weights).zip(credits) {
            // All ones or all zeros: two thirds of the instructions that a choice compiles to.
            let mask = -i32::from(*score == least);
            let weight = *weight & mask;
            *credit = credit.wrapping_add(weight);
            earned = earned.wrapping_add(weight);
            richest = richest.max((*credit & mask) | (i32::MIN & !mask));
        }
        self.compare(earned, richest, piece);
    }

    /// Those that are open earn their weight.
    fn earn(&mut self, turns: &mut Turns, piece: Range<usize>) {
        let weights = &turns.weights[piece.clone()];
        let credits = &mut turns.credits[piece.clone()];
        let (mut earned, mut richest) = (0_i32, i32::MIN);
        for (weight, credit) in weights.iter().zip(credits) {
            *credit = credit.wrapping_add(*weight);
            earned = earned.wrapping_add(*weight);
            richest = richest.max(if *weight > 0 { *credit } else { i32::MIN });
        }
        self.compare(earned, richest, piece);
    }

    fn compare(&mut self, earned: i32, richest: i32, piece: Range<usize>) {
        self.earned = self.earned.wrapping_add(earned);
        if richest > self.richest {
            self.richest = richest;
            self.piece = piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[i32]) -> Turns {
        let mut turns = Turns::new(vec![0; weights.len()]);
        for (position, weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0) {
            turns.open(position, *weight, 0);
        }
        turns
    }

    fn picks(turns: &mut Turns, count: usize) -> Vec<usize> {
        let all = 0..turns.credits.len();
        (0..count)
            .map(|_| turns.take_least(all.clone()).unwrap())
            .collect()
    }

    #[test]
    fn turns_are_spread_in_proportion_to_weights() {
        let mut turns = turns(&[5, 1, 1]);
        assert_eq!(picks(&mut turns, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(&mut turns, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn the_least_score_goes_first_and_equals_take_turns() {
        let mut turns = turns(&[1, 1, 1]);
        turns.open(1, 1, 9);
        assert_eq!(picks(&mut turns, 4), [0, 2, 0, 2]);
        turns.close(0);
        turns.close(2);
        assert_eq!(picks(&mut turns, 2), [1, 1]);
        assert_eq!(turns.take_any(0..3), Some(1));
    }

    #[test]
    fn nobody_is_picked_when_nobody_is_open() {
        assert_eq!(turns(&[]).take_least(0..0), None);
        assert_eq!(turns(&[]).take_any(0..0), None);
        let mut closed = turns(&[0, 0]);
        assert_eq!(closed.take_least(0..2), None);
        assert_eq!(closed.take_any(0..2), None);
        closed.level(0..2);
        assert_eq!(closed.credits, [0, 0]);
    }

    #[test]
    fn those_that_stay_are_not_made_to_pay_for_a_longer_round() {
        let mut turns = turns(&[1; 10]);
        assert_eq!(turns.take_any(0..10), Some(0));
        (2..10).for_each(|position| turns.close(position));
        turns.level(0..10);
        let of_one = picks(&mut turns, 10).iter().sum::<usize>();
        assert_eq!(of_one, 5, "half of the picks are endpoint 1");
    }

    #[test]
    fn one_that_returns_is_not_flooded() {
        let mut turns = turns(&[1; 3]);
        turns.close(1);
        turns.level(0..3);
        picks(&mut turns, 1_001);
        turns.open(1, 1, 0);
        turns.level(0..3);
        let first = picks(&mut turns, 6);
        let most = (0..3)
            .map(|e| first.iter().filter(|p| **p == e).count())
            .max();
        assert_eq!(most, Some(2));
    }

    #[test]
    fn leaving_one_out_at_times_lets_turns_even_out() {
        let mut turns = turns(&[1; 4]);
        let mut counts = [0_u32; 4];
        for _ in 0..3_000 {
            let mut picked = turns.take_any(0..4).unwrap();
            if picked == 0 {
                turns.close(0);
                picked = turns.take_any(0..4).unwrap();
                turns.open(0, 1, 0);
            }
            counts[picked] += 1;
        }
        let served = &counts[1..];
        let spread = served.iter().max().unwrap() - served.iter().min().unwrap();
        assert!(spread <= 30, "{counts:?}");
    }

    #[test]
    fn credits_never_run_away() {
        let half = MAX_TOTAL_WEIGHT / 2;
        let mut turns = turns(&[half, half, 1]);
        // Whoever is picked is left out next: no order could be more unfair to the third.
        for round in 0..100_000 {
            let left_out = round % 2;
            turns.close(left_out);
            turns.take_any(0..3).unwrap();
            turns.open(left_out, half, 0);
        }
        assert!(
            turns.credits.iter().all(|c| c.abs() <= MAX_CREDIT),
            "{turns:?}"
        );
        turns.credits = vec![i32::MIN / 4, i32::MAX / 4, 0];
        picks(&mut turns, 3);
        assert!(
            turns.credits.iter().all(|c| c.abs() <= MAX_CREDIT),
            "{turns:?}"
        );
    }

    #[test]
    fn only_the_range_is_looked_at() {
        let mut turns = turns(&[9, 1, 1, 9]);
        let picked: Vec<_> = (0..4).map(|_| turns.take_least(1..3).unwrap()).collect();
        assert_eq!(picked, [1, 2, 1, 2]);
    }

    #[test]
    fn blocks_and_their_borders_hide_nobody() {
        let mut rng = fastrand::Rng::with_seed(7);
        let count = 3 * BLOCK + 17;
        let mut turns = Turns::new(vec![0; count]);
        for _ in 0..5_000 {
            let at = rng.usize(..count);
            match rng.bool() {
                true => turns.open(at, 1, rng.i32(0..9)),
                false => turns.close(at),
            }
            let start = rng.usize(..count);
            let range = start..rng.usize(start..=count);
            let least = least_of(&turns.scores[range.clone()]);
            let picked = turns.take_least(range.clone());
            assert_eq!(picked.is_none(), least == CLOSED);
            assert!(picked.is_none_or(|at| range.contains(&at) && turns.scores[at] == least));
        }
    }
}
