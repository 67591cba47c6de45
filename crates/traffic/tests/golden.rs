//! Sequences and shares that are known beforehand. Never draws chance.

use portcullis_traffic::balance::{Balancer, Candidate};

fn idle(weights: &[u32]) -> Vec<Candidate> {
    let idle = |weight| Candidate {
        weight,
        in_flight: 0,
        is_eligible: true,
    };
    weights.iter().copied().map(idle).collect()
}

/// Picks as letters: `a` is the first candidate.
fn letters(mut balancer: Balancer, candidates: &[Candidate], picks: usize) -> String {
    let letter = |position: usize| char::from(b"abcdefgh"[position]);
    (0..picks)
        .map(|_| balancer.pick(candidates).map_or('-', letter))
        .collect()
}

#[test]
fn smooth_weighted_round_robin_interleaves() {
    for (weights, round) in [
        (&[5, 1, 1][..], "aabacaa"),
        (&[1, 1, 1], "abc"),
        (&[4, 2, 1], "abacaba"),
        (&[2, 1], "aba"),
        (&[1, 0, 2], "cac"),
        (&[3, 3], "ababab"),
        (&[7], "a"),
    ] {
        let two_rounds = letters(
            Balancer::round_robin(weights.len()),
            &idle(weights),
            2 * round.len(),
        );
        assert_eq!(two_rounds, round.repeat(2), "weights {weights:?}");
    }
}

#[test]
fn idle_endpoints_take_the_same_turns_under_least_conn() {
    for weights in [&[5, 1, 1][..], &[1, 1, 1], &[4, 2, 1]] {
        let candidates = idle(weights);
        assert_eq!(
            letters(Balancer::least_conn(weights.len()), &candidates, 70),
            letters(Balancer::round_robin(weights.len()), &candidates, 70),
        );
    }
}

#[test]
fn ten_thousand_requests_over_three_equal_endpoints_differ_by_at_most_one() {
    let (mut balancer, candidates) = (Balancer::round_robin(3), idle(&[1, 1, 1]));
    let mut counts = [0; 3];
    for _ in 0..10_000 {
        counts[balancer.pick(&candidates).unwrap()] += 1;
    }
    assert_eq!(counts, [3_334, 3_333, 3_333]);
}

#[test]
fn every_round_gives_each_endpoint_exactly_its_weight() {
    let weights = [13, 1, 7, 40, 3];
    let (mut balancer, candidates) = (Balancer::round_robin(5), idle(&weights));
    for _ in 0..10 {
        let mut counts = [0; 5];
        for _ in 0..weights.iter().sum() {
            counts[balancer.pick(&candidates).unwrap()] += 1;
        }
        assert_eq!(counts, weights);
    }
}
