//! What each algorithm promises, checked pick by pick. Never knows how it is kept.

use std::time::{Duration, Instant};

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::select::{Ask, Balance};

use crate::witness::{Seen, Witness};

/// Checks a pick among `peers`, who are of one level and might all have been picked. Counts are
/// those before it.
pub(crate) fn check(witness: &Witness, chosen: &Seen, peers: &[Seen], ask: &Ask<'_>) {
    let settings = &witness.settings;
    let are_whole = peers.iter().all(|seen| seen.is_whole(settings, ask.now));
    match settings.select.balance {
        Balance::RoundRobin => check_turns(witness, chosen),
        Balance::LeastConn if are_whole => check_least_busy(chosen, peers),
        Balance::P2c if are_whole => check_not_the_busiest(chosen, peers),
        Balance::PeakEwma { decay } if are_whole => check_cost(decay, chosen, peers, ask.now),
        Balance::Hash {
            bounded_load_percent,
        } if are_whole => check_owner(witness, bounded_load_percent, chosen, peers, ask),
        _ => {}
    }
}

/// Since the last change, nobody is more than two picks from its share; equals differ by one.
fn check_turns(witness: &Witness, chosen: &Seen) {
    let place = witness.place(chosen);
    if !witness.is_undisturbed(place) {
        return;
    }
    let peers: Vec<_> = witness
        .eligible()
        .filter(|seen| witness.place(seen) == place)
        .map(|seen| {
            let share = u64::from(seen.standing.share_percent());
            (u64::from(seen.member.weight) * share, u64::from(seen.picks))
        })
        .collect();
    let weights: u64 = peers.iter().map(|(weight, _)| weight).sum();
    let picks: u64 = peers.iter().map(|(_, picks)| picks).sum();
    for (weight, of_it) in &peers {
        let off = (of_it * weights).abs_diff(picks * weight);
        assert!(
            off <= 2 * weights,
            "{of_it} of {picks} at {weight}: {peers:?}"
        );
    }
    let counts = || peers.iter().map(|(_, picks)| *picks);
    if peers.iter().all(|(weight, _)| *weight == peers[0].0) {
        let spread = counts().max().unwrap_or(0) - counts().min().unwrap_or(0);
        assert!(spread <= 1, "uneven turns {peers:?}");
    }
}

fn load(seen: &Seen) -> f64 {
    match seen.in_flight {
        0 => 0.0,
        busy => (f64::from(busy) + 1.0) / f64::from(seen.member.weight),
    }
}

fn check_least_busy(chosen: &Seen, peers: &[Seen]) {
    let least = peers.iter().map(load).fold(f64::MAX, f64::min);
    assert!(load(chosen) <= least * 1.000_001, "{chosen:?} of {peers:?}");
}

/// Of two different ones the less busy is taken, so never the one that all others are below.
fn check_not_the_busiest(chosen: &Seen, peers: &[Seen]) {
    let is_other = |seen: &&Seen| seen.member.id != chosen.member.id;
    let mut others = peers.iter().filter(is_other).peekable();
    let is_alone = others.peek().is_none();
    let somebody = others.any(|other| load(other) * 1.000_001 >= load(chosen));
    assert!(is_alone || somebody, "{chosen:?} of {peers:?}");
}

/// Costs within 3 % of each other are equal.
fn check_cost(decay: Duration, chosen: &Seen, peers: &[Seen], now: Instant) {
    let cost = |seen: &Seen| {
        let requests = f64::from(seen.in_flight) + 1.0;
        Some(seen.latency(decay, now)? * requests / f64::from(seen.member.weight))
    };
    let costs: Option<Vec<_>> = peers.iter().map(cost).collect();
    let (Some(costs), Some(of_chosen)) = (costs, cost(chosen)) else {
        return;
    };
    let least = costs.iter().copied().fold(f64::MAX, f64::min);
    assert!(of_chosen <= least * 1.04, "{of_chosen} of {costs:?}");
}

/// The first on the ring that is open and within its bound.
fn check_owner(
    witness: &Witness,
    bounded_load_percent: Option<u16>,
    chosen: &Seen,
    peers: &[Seen],
    ask: &Ask<'_>,
) {
    let Some(key) = ask.key else { return };
    let place = witness.place(chosen);
    let of_level = || {
        witness
            .eligible()
            .filter(|seen| witness.place(seen) == place)
    };
    let counted =
        |seen: &Seen| u64::from(seen.member.weight) * u64::from(seen.standing.share_percent());
    let busy: u64 = of_level().map(|seen| u64::from(seen.in_flight)).sum();
    let weights: u64 = of_level().map(counted).sum();
    let is_within = |seen: &Seen| {
        let percent = u64::from(bounded_load_percent.unwrap_or(u16::MAX));
        let most = (percent * (busy + 1) * counted(seen)).div_ceil(100 * weights);
        bounded_load_percent.is_none() || u64::from(seen.in_flight) < most
    };
    let takes = |id: &EndpointId| {
        let peer = peers.iter().find(|seen| seen.member.id == *id);
        peer.is_some_and(is_within)
    };
    let owner = witness.ring.walk(key).find(takes);
    if let Some(owner) = owner {
        assert_eq!(chosen.member.id, owner, "{peers:?}");
    }
}
