//! Least connections by weight. Never looks further than what is in flight now.

use std::hint::cold_path;

use super::Candidate;
use super::smooth::Smooth;

/// State of [`Balancer::LeastConn`](super::Balancer::LeastConn): the turns of those that are
/// equally busy.
///
/// The load of an endpoint is what it would be after the pick, `(in_flight + 1) / weight`: so of
/// two with one request each, the one of weight 3 is preferred to the one of weight 2. Idle
/// endpoints go before all others and take turns by weight, as HAProxy has it; by the formula
/// alone, light traffic would only ever see the heaviest.
#[derive(Clone, Debug)]
pub struct LeastConn {
    turns: Smooth,
    /// Positions of the least busy; kept between picks only for its memory.
    ties: Vec<usize>,
}

impl LeastConn {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            turns: Smooth::new(endpoints),
            ties: Vec::with_capacity(endpoints),
        }
    }

    pub(super) fn pick(&mut self, candidates: &[Candidate]) -> Option<usize> {
        self.ties.clear();
        let mut least = Load::MOST;
        for (position, candidate) in candidates.iter().enumerate() {
            let load = Load::of(candidate);
            // First the question that most candidates of a large cluster fail.
            if load.is_more_than(least) {
                continue;
            }
            cold_path();
            if candidate.effective_weight() == 0 {
                continue;
            }
            if load.is_idle() {
                return self.pick_idle(candidates);
            }
            if least.is_more_than(load) {
                least = load;
                self.ties.clear();
            }
            self.ties.push(position);
        }
        let tied = self
            .ties
            .iter()
            .filter_map(|at| Some((*at, candidates.get(*at)?.weight)));
        self.turns.take_among_few(tied)
    }

    fn pick_idle(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let weight_if_idle = |candidate: &Candidate| match candidate.in_flight {
            0 => candidate.effective_weight(),
            _ => 0,
        };
        self.turns.take_among(candidates.iter().map(weight_if_idle))
    }
}

/// Requests per weight as a fraction, since division would cost more and lose what matters.
#[derive(Clone, Copy)]
struct Load {
    requests: u64,
    weight: u64,
}

impl Load {
    /// More than every load of a candidate.
    const MOST: Self = Self {
        requests: 1,
        weight: 0,
    };

    fn of(candidate: &Candidate) -> Self {
        let busy = u64::from(candidate.in_flight);
        Self {
            requests: busy + u64::from(busy > 0),
            weight: u64::from(candidate.weight),
        }
    }

    fn is_idle(self) -> bool {
        self.requests == 0
    }

    /// Cross-multiplied: at most 2^32 times 2^32 - 1, which fits.
    fn is_more_than(self, other: Self) -> bool {
        self.requests * other.weight > other.requests * self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eligible candidates from (weight, in flight).
    fn candidates(of: &[(u32, u32)]) -> Vec<Candidate> {
        let candidate = |&(weight, in_flight)| Candidate {
            weight,
            in_flight,
            is_eligible: true,
        };
        of.iter().map(candidate).collect()
    }

    fn pick(of: &[(u32, u32)]) -> Option<usize> {
        LeastConn::new(of.len()).pick(&candidates(of))
    }

    fn picks(of: &[(u32, u32)], count: usize) -> Vec<usize> {
        let mut balancer = LeastConn::new(of.len());
        (0..count)
            .map(|_| balancer.pick(&candidates(of)).unwrap())
            .collect()
    }

    #[test]
    fn the_least_busy_is_picked() {
        assert_eq!(pick(&[(1, 3), (1, 1), (1, 2)]), Some(1));
        assert_eq!(pick(&[(1, 1), (1, 0)]), Some(1));
    }

    #[test]
    fn load_is_relative_to_weight() {
        assert_eq!(pick(&[(1, 2), (4, 7)]), Some(1), "8/4 is less than 3/1");
        assert_eq!(pick(&[(2, 1), (3, 1)]), Some(1), "2/3 is less than 2/2");
    }

    #[test]
    fn an_idle_endpoint_goes_before_a_busy_one_of_any_weight() {
        assert_eq!(pick(&[(100, 1), (1, 0)]), Some(1));
        assert_eq!(pick(&[(1, 0), (100, 1)]), Some(0));
    }

    #[test]
    fn equally_busy_endpoints_take_turns() {
        assert_eq!(picks(&[(1, 0), (1, 0), (1, 0)], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(picks(&[(1, 4), (1, 9), (1, 4)], 4), [0, 2, 0, 2]);
    }

    #[test]
    fn idle_endpoints_take_turns_by_weight() {
        assert_eq!(picks(&[(5, 0), (1, 0), (1, 0)], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nothing_is_picked_when_nothing_may_be() {
        assert_eq!(pick(&[]), None);
        assert_eq!(pick(&[(0, 0), (0, 5)]), None);
        let mut out = candidates(&[(1, 0)]);
        out[0].is_eligible = false;
        assert_eq!(LeastConn::new(1).pick(&out), None);
    }

    #[test]
    fn load_at_a_weight_of_zero_hides_nobody() {
        assert_eq!(pick(&[(0, 0), (0, 9), (1, 9)]), Some(2));
        assert_eq!(pick(&[(1, 9), (0, 1)]), Some(0));
    }

    #[test]
    fn an_idle_endpoint_that_is_not_eligible_is_passed_over() {
        let mut all = candidates(&[(1, 9), (1, 0), (0, 0)]);
        all[1].is_eligible = false;
        assert_eq!(LeastConn::new(3).pick(&all), Some(0));
    }

    #[test]
    fn extremes_neither_overflow_nor_mislead() {
        const MAX: u32 = u32::MAX;
        assert_eq!(pick(&[(1, MAX), (MAX, MAX)]), Some(1));
        assert_eq!(pick(&[(MAX, MAX), (1, MAX)]), Some(0));
        assert_eq!(pick(&[(MAX, MAX - 1), (MAX, MAX)]), Some(0));
        assert_eq!(picks(&[(MAX, MAX), (MAX, MAX)], 4), [0, 1, 0, 1]);
    }

    #[test]
    fn more_candidates_than_announced_are_welcome() {
        let mut balancer = LeastConn::new(0);
        let all = candidates(&[(1, 0), (1, 0)]);
        assert_eq!(
            [balancer.pick(&all), balancer.pick(&all)],
            [Some(0), Some(1)]
        );
    }
}
