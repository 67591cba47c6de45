//! Stories of failures and time, told to the pure part, and what the guard makes of calls. Never waits.

use super::*;

const OPEN_FOR: Duration = Duration::from_secs(60);

fn settings(mode: BreakerMode) -> BreakerSettings {
    BreakerSettings {
        failures: NonZeroU32::new(3).unwrap(),
        open_for: OPEN_FOR,
        mode,
    }
}

/// One step of a story: seconds since its beginning, how a call then ends, and the state after it.
/// `None` stands for a call that is rejected.
type Step = (u64, Option<Ending>, BreakerState);

fn play(mode: BreakerMode, story: &[Step]) {
    let start = Instant::now();
    let mut breaker = Breaker::new(settings(mode));
    for (turn, &(seconds, ending, state)) in story.iter().enumerate() {
        let now = start + Duration::from_secs(seconds);
        let admission = breaker.admit(now);
        match ending {
            None => assert_eq!(admission, Admission::Rejected, "turn {turn}"),
            Some(ending) => {
                assert_ne!(admission, Admission::Rejected, "turn {turn}");
                breaker.ended(admission, ending, now);
            }
        }
        assert_eq!(breaker.state(now), state, "turn {turn}");
    }
}

const OK: Option<Ending> = Some(Ending::Succeeded);
const FAILED: Option<Ending> = Some(Ending::Failed);
const ABANDONED: Option<Ending> = Some(Ending::Abandoned);
const REJECTED: Option<Ending> = None;
use BreakerState::{Closed, HalfOpen, Open};

#[test]
fn failures_in_a_row_open_it_and_a_probe_that_succeeds_closes_it() {
    play(
        BreakerMode::Enforce,
        &[
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (1, FAILED, Open),
            (1, REJECTED, Open),
            (60, REJECTED, Open),
            (61, OK, Closed),
            (61, FAILED, Closed),
            (61, FAILED, Closed),
            (61, FAILED, Open),
        ],
    );
}

#[test]
fn a_success_in_between_forgets_the_failures() {
    play(
        BreakerMode::Enforce,
        &[
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (0, OK, Closed),
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (0, FAILED, Open),
        ],
    );
}

#[test]
fn a_probe_that_fails_opens_it_for_as_long_again() {
    play(
        BreakerMode::Enforce,
        &[
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (0, FAILED, Open),
            (60, FAILED, Open),
            (119, REJECTED, Open),
            (120, OK, Closed),
        ],
    );
}

#[test]
fn an_answer_beside_it_lets_the_next_call_probe_at_once_and_decides_nothing() {
    let start = Instant::now();
    let mut breaker = Breaker::new(settings(BreakerMode::Enforce));
    breaker.answered(start);
    for _ in 0..3 {
        let admission = breaker.admit(start);
        breaker.ended(admission, Ending::Failed, start);
    }
    assert_eq!(breaker.admit(start), Admission::Rejected);
    breaker.answered(start);
    let probe = breaker.admit(start);
    assert_eq!(probe, Admission::Probe);
    // One probe at a time, however many answers there are beside it.
    breaker.answered(start);
    assert_eq!(breaker.admit(start), Admission::Rejected);
    assert_eq!(breaker.ended(probe, Ending::Failed, start), Some(Open));
    assert_eq!(breaker.admit(start), Admission::Rejected);
}

#[test]
fn a_call_nobody_waits_for_says_nothing() {
    play(
        BreakerMode::Enforce,
        &[
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (0, ABANDONED, Closed),
            (0, FAILED, Open),
            // A probe that is dropped leaves its turn to the next call.
            (60, ABANDONED, HalfOpen),
            (60, OK, Closed),
        ],
    );
}

#[test]
fn one_call_probes_and_the_others_are_rejected_meanwhile() {
    let start = Instant::now();
    let mut breaker = Breaker::new(settings(BreakerMode::Enforce));
    let early = breaker.admit(start);
    for _ in 0..3 {
        let admission = breaker.admit(start);
        breaker.ended(admission, Ending::Failed, start);
    }
    // It was under way before the breaker opened: no sign that the dependency is back.
    assert_eq!(breaker.ended(early, Ending::Succeeded, start), None);
    let later = start + OPEN_FOR;
    let probe = breaker.admit(later);
    assert_eq!(probe, Admission::Probe);
    assert_eq!(breaker.admit(later), Admission::Rejected);
    assert_eq!(breaker.state(later), HalfOpen);
    assert_eq!(breaker.ended(probe, Ending::Succeeded, later), Some(Closed));
    assert_eq!((breaker.opened_total, breaker.rejected_total), (1, 1));
}

#[test]
fn monitor_mode_counts_and_rejects_nothing() {
    let start = Instant::now();
    let mut breaker = Breaker::new(settings(BreakerMode::Monitor));
    for _ in 0..5 {
        let admission = breaker.admit(start);
        assert_ne!(admission, Admission::Rejected);
        breaker.ended(admission, Ending::Failed, start);
    }
    assert_eq!(breaker.state(start), Open);
    assert_eq!((breaker.opened_total, breaker.rejected_total), (1, 2));
    play(
        BreakerMode::Monitor,
        &[
            (0, FAILED, Closed),
            (0, FAILED, Closed),
            (0, FAILED, Open),
            (30, OK, Open),
            (60, OK, Closed),
        ],
    );
}

#[test]
fn switched_off_it_does_nothing() {
    play(BreakerMode::Off, &[(0, FAILED, Closed); 9]);
}

#[tokio::test]
async fn a_guard_asks_nobody_while_open_and_shows_it() {
    let guard = Guard::new("a test", settings(BreakerMode::Enforce));
    let is_failure = |error: &&str| *error != "an answer";
    for error in ["an answer", "down", "down", "down"] {
        let outcome = guard.call(is_failure, async { Err::<(), _>(error) }).await;
        assert_eq!(outcome, Ok(Err(error)));
    }
    let asked = guard.call(is_failure, async { panic!("asked") as Result<(), _> });
    assert_eq!(asked.await, Err(Rejected));
    let expected = BreakerView {
        dependency: "a test",
        state: Open,
        mode: BreakerMode::Enforce,
        failures: 3,
        opened_total: 1,
        rejected_total: 1,
    };
    assert_eq!(guard.view(), expected);
}

#[tokio::test]
async fn a_dropped_call_frees_the_probe() {
    let settings = BreakerSettings {
        open_for: Duration::ZERO,
        ..settings(BreakerMode::Enforce)
    };
    let guard = Guard::new("a test", settings);
    for _ in 0..3 {
        let _ = guard.call(|_| true, async { Err::<(), _>(()) }).await;
    }
    let never = guard.call(|(): &()| true, std::future::pending::<Result<(), ()>>());
    let dropped = tokio::time::timeout(Duration::from_millis(1), never).await;
    assert!(dropped.is_err());
    let next = guard.call(|(): &()| true, async { Ok(()) }).await;
    assert_eq!((next, guard.view().state), (Ok(Ok(())), Closed));
}
