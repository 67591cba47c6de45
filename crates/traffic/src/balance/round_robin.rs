//! Smooth weighted round robin. Never looks at how busy an endpoint is.

use super::Candidate;
use super::smooth::Smooth;

/// State of [`Balancer::RoundRobin`](super::Balancer::RoundRobin).
///
/// As long as the same endpoints are eligible, picks of equal ones differ by at most one, from
/// whatever moment one starts counting.
#[derive(Clone, Debug)]
pub struct RoundRobin {
    turns: Smooth,
}

impl RoundRobin {
    pub(super) fn new(endpoints: usize) -> Self {
        Self {
            turns: Smooth::new(endpoints),
        }
    }

    pub(super) fn pick(&mut self, candidates: &[Candidate]) -> Option<usize> {
        self.turns
            .take(candidates.iter().map(Candidate::effective_weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let with_weight = |weight| Candidate {
            weight,
            in_flight: 0,
            is_eligible: true,
        };
        weights.iter().copied().map(with_weight).collect()
    }

    fn picks(balancer: &mut RoundRobin, candidates: &[Candidate], count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| balancer.pick(candidates).unwrap())
            .collect()
    }

    #[test]
    fn turns_are_spread_in_proportion_to_weights() {
        let (mut balancer, candidates) = (RoundRobin::new(3), candidates(&[5, 1, 1]));
        assert_eq!(picks(&mut balancer, &candidates, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(picks(&mut balancer, &candidates, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn equal_endpoints_take_turns() {
        let (mut balancer, candidates) = (RoundRobin::new(3), candidates(&[7, 7, 7]));
        assert_eq!(picks(&mut balancer, &candidates, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn nothing_is_picked_when_nothing_may_be() {
        let mut balancer = RoundRobin::new(2);
        assert_eq!(balancer.pick(&candidates(&[1, 1])), Some(0));
        assert_eq!(balancer.pick(&[]), None);
        assert_eq!(balancer.pick(&candidates(&[0, 0])), None);
        let mut all_out = candidates(&[1, 1]);
        all_out.iter_mut().for_each(|c| c.is_eligible = false);
        assert_eq!(balancer.pick(&all_out), None);
        assert_eq!(
            picks(&mut balancer, &candidates(&[1, 1]), 2),
            [1, 0],
            "turns go on"
        );
    }

    #[test]
    fn a_weight_of_zero_takes_no_traffic() {
        let mut balancer = RoundRobin::new(2);
        assert_eq!(picks(&mut balancer, &candidates(&[0, 1]), 3), [1, 1, 1]);
    }

    #[test]
    fn the_largest_weights_are_shared_like_any_others() {
        let (mut balancer, candidates) = (RoundRobin::new(2), candidates(&[u32::MAX, u32::MAX]));
        assert_eq!(picks(&mut balancer, &candidates, 4), [0, 1, 0, 1]);
        let lopsided = [
            candidates[0],
            Candidate {
                weight: 1,
                ..candidates[0]
            },
        ];
        assert_eq!(
            picks(&mut balancer, &lopsided, 1_000).iter().sum::<usize>(),
            0
        );
    }

    #[test]
    fn those_that_stay_are_not_made_to_pay_for_a_longer_round() {
        let (mut balancer, mut all) = (RoundRobin::new(10), candidates(&[1; 10]));
        assert_eq!(balancer.pick(&all), Some(0));
        all.iter_mut().skip(2).for_each(|c| c.is_eligible = false);
        let counts = picks(&mut balancer, &all, 10).iter().sum::<usize>();
        assert_eq!(counts, 5, "half of the picks are endpoint 1");
    }

    #[test]
    fn one_that_returns_is_not_flooded() {
        let (mut balancer, mut all) = (RoundRobin::new(3), candidates(&[1; 3]));
        all[1].is_eligible = false;
        picks(&mut balancer, &all, 1_001);
        all[1].is_eligible = true;
        let first = picks(&mut balancer, &all, 6);
        assert_eq!(
            (0..3)
                .map(|e| first.iter().filter(|p| **p == e).count())
                .max(),
            Some(2)
        );
    }

    #[test]
    fn retries_that_leave_out_the_failed_one_are_shared_evenly() {
        let (mut balancer, all) = (RoundRobin::new(4), candidates(&[1; 4]));
        let mut without_first = all.clone();
        without_first[0].is_eligible = false;
        let mut counts = [0_u32; 4];
        for _ in 0..3_000 {
            let mut picked = balancer.pick(&all).unwrap();
            if picked == 0 {
                picked = balancer.pick(&without_first).unwrap();
            }
            counts[picked] += 1;
        }
        let served = &counts[1..];
        assert!(
            served.iter().max().unwrap() - served.iter().min().unwrap() <= 30,
            "{counts:?}"
        );
    }

    #[test]
    fn more_candidates_than_announced_are_welcome() {
        let mut balancer = RoundRobin::new(0);
        assert_eq!(picks(&mut balancer, &candidates(&[1, 1, 1]), 3), [0, 1, 2]);
        assert_eq!(picks(&mut balancer, &candidates(&[1]), 2), [0, 0]);
    }
}
