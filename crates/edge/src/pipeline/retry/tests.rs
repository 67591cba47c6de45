//! The matrix of setbacks, and what a retry costs.

use super::*;
use crate::config::{Backoff, BudgetPolicy};

const RULES: Retries = Retries {
    count: 1,
    backoff: Backoff {
        base: Duration::from_millis(25),
        max: Duration::from_millis(250),
    },
    budget: BudgetPolicy {
        percent: 20,
        min: 3,
    },
};

fn tried(method: &Method, body_replayable: bool) -> Tried<'_> {
    Tried {
        method,
        is_keyed: false,
        body_replayable,
        attempts: 1,
        unconnected: 0,
        has_alternative: true,
    }
}

fn plan_with(rules: &Retries, setback: Setback, tried: Tried<'_>) -> Result<Retry, Reason> {
    let budget = Arc::default();
    let allowance = Allowance {
        rules,
        budget: &budget,
        active: 1,
    };
    plan(setback, tried, allowance, None, u64::MAX)
}

fn after_failure(cause: Cause, tried: Tried<'_>) -> bool {
    plan_with(&RULES, Setback::Failed(cause), tried).is_ok()
}

fn after_status(status: StatusCode, tried: Tried<'_>) -> bool {
    plan_with(&RULES, Setback::Answered(status, None), tried).is_ok()
}

#[test]
fn retry_matrix_of_cause_method_and_body() {
    let methods = [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::PUT, false),
        (Method::DELETE, false),
        (Method::POST, false),
        (Method::PATCH, false),
    ];
    for cause in Cause::ALL {
        let is_connect = cause.is_without_connection();
        let may_be_repeated = matches!(
            cause,
            Cause::EndpointReset | Cause::EndpointTimeout | Cause::EndpointMalformed
        );
        for (method, is_safe) in &methods {
            for body_replayable in [true, false] {
                let expected = is_connect || (may_be_repeated && *is_safe && body_replayable);
                assert_eq!(
                    after_failure(cause, tried(method, body_replayable)),
                    expected,
                    "{cause:?} {method} replayable={body_replayable}"
                );
            }
        }
    }
}

#[test]
fn key_makes_any_method_repeatable_if_its_body_is() {
    for body_replayable in [true, false] {
        let tried = Tried {
            is_keyed: true,
            ..tried(&Method::POST, body_replayable)
        };
        assert_eq!(after_failure(Cause::EndpointReset, tried), body_replayable);
    }
}

#[test]
fn only_gateway_statuses_are_retried() {
    for code in [200, 301, 400, 401, 404, 429, 500, 501, 502, 503, 504, 505] {
        let status = StatusCode::from_u16(code).unwrap();
        let expected = matches!(code, 502..=504);
        assert_eq!(
            after_status(status, tried(&Method::GET, true)),
            expected,
            "GET {code}"
        );
        assert!(
            !after_status(status, tried(&Method::POST, true)),
            "POST {code}"
        );
        assert!(
            !after_status(status, tried(&Method::GET, false)),
            "body gone, {code}"
        );
    }
}

#[test]
fn retries_are_counted() {
    let allowed = |attempts, count| {
        let tried = Tried {
            attempts,
            ..tried(&Method::GET, true)
        };
        let rules = Retries { count, ..RULES };
        plan_with(&rules, Setback::Failed(Cause::ConnectRefused), tried).is_ok()
    };
    assert!(!allowed(1, 0));
    assert!(allowed(1, 1));
    assert!(!allowed(2, 1));
    assert!(allowed(2, 2));
}

#[test]
fn what_reached_no_endpoint_goes_on_at_once_and_the_rest_backs_off() {
    let refused = Setback::Failed(Cause::ConnectRefused);
    let wait = |setback, has_alternative| {
        let tried = Tried {
            has_alternative,
            ..tried(&Method::GET, true)
        };
        plan_with(&RULES, setback, tried).unwrap().wait
    };
    assert_eq!(wait(refused, true), Duration::ZERO);
    assert_eq!(wait(refused, false), RULES.backoff.base);
    assert_eq!(wait(Setback::EndpointOut, true), Duration::ZERO);
    for cause in [Cause::EndpointReset, Cause::EndpointMalformed] {
        assert_eq!(wait(Setback::Failed(cause), true), RULES.backoff.base);
    }
}

#[test]
fn endpoint_that_asks_to_stay_away_is_waited_for_only_if_it_is_the_only_one_and_asks_little() {
    let plan = |seconds: Option<u64>, has_alternative| {
        let asked = seconds.map(Duration::from_secs);
        let tried = Tried {
            has_alternative,
            ..tried(&Method::GET, true)
        };
        let rules = Retries {
            backoff: Backoff {
                max: Duration::from_secs(2),
                ..RULES.backoff
            },
            ..RULES
        };
        let setback = Setback::Answered(StatusCode::SERVICE_UNAVAILABLE, asked);
        plan_with(&rules, setback, tried).map(|retry| retry.wait)
    };
    assert_eq!(plan(Some(60), true), Ok(RULES.backoff.base), "another one");
    assert_eq!(plan(Some(2), false), Ok(Duration::from_secs(2)));
    assert_eq!(plan(Some(3), false), Err(Reason::RetryAfterTooLong));
    assert_eq!(plan(None, false), Err(Reason::NoAlternative));
}

#[test]
fn budget_bounds_what_reached_an_endpoint_and_nothing_else() {
    let budget = Arc::default();
    let rules = &Retries {
        budget: BudgetPolicy {
            percent: 20,
            min: 1,
        },
        ..RULES
    };
    let allowance = Allowance {
        rules,
        budget: &budget,
        active: 10,
    };
    let plan = |cause| {
        let method = Method::GET;
        let setback = Setback::Failed(cause);
        plan(setback, tried(&method, true), allowance, None, 0)
    };
    let running: Vec<Retry> = (0..2)
        .map(|_| plan(Cause::EndpointReset).unwrap())
        .collect();
    assert!(running.iter().all(Retry::is_due));
    let waits = plan(Cause::EndpointReset).unwrap();
    assert!(!waits.is_due(), "it has its turn later");
    assert!(
        plan(Cause::ConnectRefused).unwrap().is_due(),
        "it costs nothing"
    );
    drop(running);
    assert!(plan(Cause::EndpointReset).unwrap().is_due());
    assert_eq!(budget.running(), 0);
}

#[test]
fn answer_is_delivered_where_the_budget_is_spent_and_whoever_leaves_an_endpoint_needs_none() {
    let budget = Arc::default();
    let allowance = Allowance {
        rules: &RULES,
        budget: &budget,
        active: 10,
    };
    let method = Method::GET;
    let plan = |setback, before: Option<&mut Retry>| {
        plan(setback, tried(&method, true), allowance, before, 0)
    };
    let reset = Setback::Failed(Cause::EndpointReset);
    let mut running: Vec<Retry> = (0..3).map(|_| plan(reset, None).unwrap()).collect();
    let answer = Setback::Answered(StatusCode::SERVICE_UNAVAILABLE, None);
    let refused = plan(answer, None).map(|_| ());
    assert_eq!(refused, Err(Reason::BudgetSpent));
    let goes_on = plan(answer, running.first_mut()).unwrap();
    assert!(goes_on.is_due(), "by the permit it had");
    running[0] = goes_on;
    // It leaves as much as it takes.
    assert!(plan(Setback::EndpointOut, None).unwrap().is_due());
    assert_eq!(budget.running(), 3);
}

#[tokio::test(start_paused = true)]
async fn turn_comes_as_soon_as_the_budget_has_room_and_not_at_all_after_a_while() {
    let budget: Arc<Budget> = Arc::default();
    let policy = BudgetPolicy { percent: 0, min: 1 };
    let rules = &Retries {
        budget: policy,
        ..RULES
    };
    let allowance = Allowance {
        rules,
        budget: &budget,
        active: 10,
    };
    let method = Method::GET;
    let plan = || {
        let reset = Setback::Failed(Cause::EndpointReset);
        plan(reset, tried(&method, true), allowance, None, 0).unwrap()
    };
    let first = plan();
    let mut second = plan();
    let begun = Instant::now();
    let turn = second.turn(rules, || allowance.take(), || u64::MAX);
    assert_eq!(turn.await, Err(Cause::EndpointReset));
    assert_eq!(begun.elapsed(), TURN_TIMEOUT);

    let mut third = plan();
    let begun = Instant::now();
    let end_of_first = async {
        tokio::time::sleep_until(begun + Duration::from_millis(300)).await;
        drop(first);
    };
    let turn = third.turn(rules, || allowance.take(), || u64::MAX);
    assert_eq!(tokio::join!(turn, end_of_first).0, Ok(()));
    assert!(begun.elapsed() <= Duration::from_millis(300) + TURN_INTERVAL_MAX);
    assert_eq!(budget.running(), 1);
    drop(third);
    assert_eq!(budget.running(), 0);
}
