//! Which failures ask for ejection, and how long one lasts.

use super::*;

fn policy(failures: u32) -> Policy {
    Policy {
        failures: NonZeroU32::new(failures).unwrap(),
        ..Policy::default()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What resets at these seconds ask for.
fn reset_at(ejection: &mut Ejection, start: Instant, at: &[u64], policy: &Policy) -> Vec<Ask> {
    at.iter()
        .map(|s| ejection.failed(&Trouble::Reset, policy, start + seconds(*s)))
        .collect()
}

fn new(policy: &Policy) -> (Ejection, Instant) {
    let start = Instant::now();
    (Ejection::new(Some(policy), start), start)
}

#[test]
fn asks_at_the_configured_number_of_failures() {
    let (mut ejection, start) = new(&policy(3));
    let asks = reset_at(&mut ejection, start, &[0, 1, 2, 3], &policy(3));
    assert_eq!(asks, [Ask::Nothing, Ask::Nothing, Ask::ForRow, Ask::ForRow]);
    assert_eq!(
        ejection.unanswered.len(),
        3,
        "never keeps more than can matter"
    );
}

#[test]
fn a_success_between_failures_breaks_the_row() {
    let (mut ejection, start) = new(&policy(3));
    reset_at(&mut ejection, start, &[0, 1], &policy(3));
    ejection.succeeded(start);
    let asks = reset_at(&mut ejection, start, &[2, 3], &policy(3));
    assert_eq!(asks, [Ask::Nothing, Ask::Nothing]);
}

#[test]
fn failures_further_apart_than_the_window_do_not_count_together() {
    let (mut ejection, start) = new(&policy(3));
    let asks = reset_at(&mut ejection, start, &[0, 20, 40, 60], &policy(3));
    assert!(asks.iter().all(|ask| *ask == Ask::Nothing), "{asks:?}");
}

#[test]
fn a_run_of_gateway_errors_asks_and_other_answers_end_it() {
    let (mut ejection, start) = new(&policy(3));
    let run = [503, 502, 504, 503, 500, 503, 503, 503, 503, 502];
    let asks: Vec<Ask> = run
        .into_iter()
        .map(|status| ejection.failed(&Trouble::Status(status), &policy(3), start))
        .collect();
    // The tenth result also exceeds the share: a row is the better reason.
    assert!(asks[..9].iter().all(|ask| *ask == Ask::Nothing), "{asks:?}");
    assert_eq!(asks[9], Ask::ForRow);
}

#[test]
fn a_share_of_failures_asks_though_never_many_in_a_row() {
    let (mut ejection, start) = new(&policy(3));
    let mut asks = Vec::new();
    for _ in 0..5 {
        ejection.succeeded(start);
        asks.push(ejection.failed(&Trouble::Status(500), &policy(3), start));
    }
    assert_eq!(asks[3..], [Ask::Nothing, Ask::ForShare]);
}

#[test]
fn each_ejection_is_longer_up_to_the_limit() {
    let (mut ejection, mut now) = new(&policy(3));
    let lengths: Vec<u64> = (0..12)
        .map(|_| {
            let until = ejection.eject(Trouble::Reset, &policy(3), now).until;
            let length = until.saturating_duration_since(now).as_secs();
            now = until;
            ejection.end(now);
            length
        })
        .collect();
    assert_eq!(lengths[..4], [30, 60, 90, 120]);
    assert_eq!(lengths[9..], [300, 300, 300]);
}

#[test]
fn growth_is_forgotten_after_a_quiet_time() {
    let (mut ejection, now) = new(&policy(3));
    ejection.eject(Trouble::Reset, &policy(3), now);
    ejection.end(now + seconds(30));
    let soon = now + seconds(30 + 299);
    assert_eq!(ejection.eject(Trouble::Reset, &policy(3), soon).times, 2);
    ejection.end(soon + seconds(60));
    let late = soon + seconds(60 + 300);
    assert_eq!(ejection.eject(Trouble::Reset, &policy(3), late).times, 1);
    assert_eq!(ejection.total(), 3);
}

#[test]
fn late_results_of_older_attempts_do_not_lengthen_an_ejection() {
    let (mut ejection, start) = new(&policy(1));
    ejection.eject(Trouble::Reset, &policy(1), start);
    let asks = reset_at(&mut ejection, start, &[1, 2, 3], &policy(1));
    assert_eq!(asks, [Ask::Nothing; 3]);
}

#[test]
fn an_endless_duration_is_cut_instead_of_overflowing() {
    let endless = Policy {
        duration: Duration::MAX,
        max_duration: Duration::MAX,
        ..policy(1)
    };
    let (mut ejection, start) = new(&endless);
    let out = ejection.eject(Trouble::Reset, &endless, start);
    assert_eq!(out.until, start + A_DAY);
}

#[test]
fn half_of_a_cluster_may_be_out_but_no_more() {
    let allowed: Vec<usize> = (1..=6_usize)
        .map(|n| {
            (0..n)
                .take_while(|out| policy(1).allows(n, n - 1 - out))
                .count()
        })
        .collect();
    assert_eq!(allowed, [0, 1, 1, 2, 2, 3]);
}

#[test]
fn the_last_endpoint_is_never_ejected_and_a_cap_of_zero_ejects_nobody() {
    let capped = |max_percent| Policy {
        max_percent,
        ..policy(1)
    };
    assert!(!capped(100).allows(1, 0) && capped(100).allows(3, 1));
    assert!(!capped(255).allows(3, 0));
    assert!(!capped(0).allows(1_000, 999));
    assert!(!capped(255).allows(0, 0));
}
