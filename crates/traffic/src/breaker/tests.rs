//! Every move of a breaker, and those it must not make.

use super::*;

fn policy() -> Policy {
    Policy {
        successes: NonZeroU32::new(2).unwrap(),
        ..Policy::default()
    }
}

/// A breaker that is half-open, and when.
fn half_open() -> (Breaker, Instant) {
    let (policy, start) = (policy(), Instant::now());
    let mut breaker = Breaker::new(&policy, start);
    breaker.open(&policy, start);
    let later = start + policy.duration;
    assert!(breaker.tick(&policy, later));
    (breaker, later)
}

#[test]
fn it_opens_after_failures_in_a_row() {
    let (policy, now) = (policy(), Instant::now());
    let mut breaker = Breaker::new(&policy, now);
    let asks: Vec<Ask> = (0..5).map(|_| breaker.failed(&policy, now)).collect();
    assert_eq!(asks[3..], [Ask::Nothing, Ask::ForRow]);
    breaker.open(&policy, now);
    assert_eq!((breaker.state(), breaker.openings()), (State::Open, 1));
}

#[test]
fn it_opens_for_a_share_of_failures_though_never_many_in_a_row() {
    let (policy, now) = (policy(), Instant::now());
    let mut breaker = Breaker::new(&policy, now);
    let mut asks = Vec::new();
    for _ in 0..5 {
        breaker.succeeded(&policy, now);
        asks.push(breaker.failed(&policy, now));
    }
    assert_eq!(asks[3..], [Ask::Nothing, Ask::ForShare]);
}

#[test]
fn a_success_breaks_the_row() {
    let (policy, now) = (policy(), Instant::now());
    let mut breaker = Breaker::new(&policy, now);
    for _ in 0..4 {
        breaker.failed(&policy, now);
    }
    breaker.succeeded(&policy, now);
    assert_eq!(breaker.failed(&policy, now), Ask::Nothing);
}

#[test]
fn open_it_rejects_until_its_time_is_over_whatever_ends_meanwhile() {
    let (policy, start) = (policy(), Instant::now());
    let mut breaker = Breaker::new(&policy, start);
    breaker.open(&policy, start);
    for _ in 0..9 {
        assert!(!breaker.succeeded(&policy, start));
        assert_eq!(breaker.failed(&policy, start), Ask::Nothing);
    }
    let end = start + policy.duration;
    assert_eq!(breaker.next_change(&policy), Some(end));
    assert!(!breaker.tick(&policy, end - Duration::from_nanos(1)));
    assert!(!breaker.admits(&policy));
    assert!(breaker.tick(&policy, end) && breaker.admits(&policy));
}

#[test]
fn half_open_it_admits_so_many_trials_at_once() {
    let (mut breaker, now) = half_open();
    breaker.began(&policy(), now);
    assert!(breaker.admits(&policy()));
    breaker.began(&policy(), now);
    assert!(!breaker.admits(&policy()));
    breaker.began(&policy(), now);
    assert_eq!(breaker.would_have_rejected(), 1);
    breaker.abandoned();
    assert!(breaker.admits(&policy()));
}

#[test]
fn half_open_it_closes_after_enough_successes() {
    let (mut breaker, now) = half_open();
    assert!(!breaker.succeeded(&policy(), now));
    assert!(breaker.succeeded(&policy(), now));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn half_open_one_failure_opens_it_again() {
    let (mut breaker, now) = half_open();
    breaker.succeeded(&policy(), now);
    assert_eq!(breaker.failed(&policy(), now), Ask::ForRow);
    breaker.open(&policy(), now);
    assert_eq!((breaker.state(), breaker.openings()), (State::Open, 2));
}

#[test]
fn trials_that_never_end_give_their_places_to_others() {
    let (mut breaker, now) = half_open();
    assert_eq!(breaker.next_change(&policy()), None);
    breaker.began(&policy(), now);
    breaker.began(&policy(), now);
    let renewal = breaker.next_change(&policy()).unwrap();
    assert!(breaker.tick(&policy(), renewal.max(now)) && breaker.admits(&policy()));
}

#[test]
fn an_endless_duration_is_cut_instead_of_overflowing() {
    let endless = Policy {
        duration: Duration::MAX,
        ..policy()
    };
    let now = Instant::now();
    let mut breaker = Breaker::new(&endless, now);
    breaker.open(&endless, now);
    assert!(breaker.next_change(&endless).is_some());
}
