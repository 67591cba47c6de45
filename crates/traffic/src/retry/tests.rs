//! Every way a decision about a retry can go.

use super::*;

/// The decision without its wait.
fn verdict(input: &RetryInput) -> Result<(), Reason> {
    match decide(input, &Backoff::default(), 0) {
        Decision::Retry { .. } => Ok(()),
        Decision::GiveUp(reason) => Err(reason),
    }
}

const LOST_GET: RetryInput = RetryInput {
    failure: Failure::Reset,
    is_idempotent: true,
    has_idempotency_key: false,
    has_alternative: true,
    retry_after: None,
    body_replayable: true,
    response_started: false,
    attempts: 1,
    unconnected: 0,
    max_retries: 1,
};

const LOST_POST: RetryInput = RetryInput {
    is_idempotent: false,
    ..LOST_GET
};

const SENT: [Failure; 5] = [
    Failure::Reset,
    Failure::Timeout,
    Failure::BadResponse,
    Failure::Status(502),
    Failure::Status(503),
];

#[test]
fn an_idempotent_request_is_retried_after_every_transport_failure() {
    for failure in SENT {
        assert_eq!(
            verdict(&RetryInput {
                failure,
                ..LOST_GET
            }),
            Ok(()),
            "{failure:?}"
        );
    }
}

#[test]
fn a_request_that_may_have_had_its_effect_is_never_repeated() {
    for failure in SENT {
        let input = RetryInput {
            failure,
            max_retries: u32::MAX,
            ..LOST_POST
        };
        assert_eq!(verdict(&input), Err(Reason::NotIdempotent), "{failure:?}");
    }
}

#[test]
fn a_failure_to_connect_is_retried_for_every_request() {
    let refused = RetryInput {
        failure: Failure::Connect,
        ..LOST_POST
    };
    assert_eq!(verdict(&refused), Ok(()));
    assert_eq!(
        verdict(&RetryInput {
            body_replayable: false,
            ..refused
        }),
        Ok(())
    );
}

#[test]
fn a_body_that_is_gone_forbids_a_retry() {
    let input = RetryInput {
        body_replayable: false,
        ..LOST_GET
    };
    assert_eq!(verdict(&input), Err(Reason::BodyNotReplayable));
}

#[test]
fn nothing_is_retried_once_the_client_has_seen_a_byte() {
    for failure in SENT.into_iter().chain([Failure::Connect]) {
        let input = RetryInput {
            failure,
            response_started: true,
            ..LOST_GET
        };
        assert_eq!(verdict(&input), Err(Reason::ResponseStarted), "{failure:?}");
    }
}

#[test]
fn retries_stop_when_they_are_spent() {
    let decisions: Vec<bool> = (1..=4)
        .map(|attempts| RetryInput {
            attempts,
            max_retries: 2,
            ..LOST_GET
        })
        .map(|input| verdict(&input) == Ok(()))
        .collect();
    assert_eq!(decisions, [true, true, false, false]);
}

#[test]
fn zero_retries_means_one_attempt_even_when_nothing_was_sent() {
    let input = RetryInput {
        failure: Failure::Connect,
        unconnected: 1,
        max_retries: 0,
        ..LOST_GET
    };
    assert_eq!(verdict(&input), Err(Reason::RetriesSpent));
}

#[test]
fn endpoints_that_take_no_connection_are_passed_by_up_to_a_bound() {
    let refused = |attempts, has_alternative| RetryInput {
        failure: Failure::Connect,
        attempts,
        unconnected: attempts,
        has_alternative,
        ..LOST_POST
    };
    let goes_on: Vec<bool> = (1..=6)
        .map(|attempts| verdict(&refused(attempts, true)) == Ok(()))
        .collect();
    assert_eq!(goes_on, [true, true, true, true, false, false]);
    assert_eq!(verdict(&refused(1, false)), Ok(()));
    assert_eq!(verdict(&refused(2, false)), Err(Reason::RetriesSpent));
}

#[test]
fn endpoints_that_took_no_connection_leave_their_retry_to_one_that_does() {
    let reset_after = |unconnected, attempts| RetryInput {
        attempts,
        unconnected,
        ..LOST_GET
    };
    assert_eq!(verdict(&reset_after(1, 2)), Ok(()));
    assert_eq!(verdict(&reset_after(3, 4)), Ok(()));
    assert_eq!(verdict(&reset_after(3, 5)), Err(Reason::RetriesSpent));
    assert_eq!(verdict(&reset_after(4, 6)), Err(Reason::RetriesSpent));
}

#[test]
fn the_largest_counts_do_not_overflow() {
    let input = RetryInput {
        attempts: u32::MAX,
        max_retries: u32::MAX,
        ..LOST_GET
    };
    assert_eq!(verdict(&input), Ok(()));
}

#[test]
fn only_gateway_statuses_are_retried() {
    let retried: Vec<u16> = (0..=999)
        .filter(|status| {
            let input = RetryInput {
                failure: Failure::Status(*status),
                ..LOST_GET
            };
            verdict(&input) == Ok(())
        })
        .collect();
    assert_eq!(retried, [502, 503, 504]);
    let input = RetryInput {
        failure: Failure::Status(500),
        ..LOST_POST
    };
    assert_eq!(verdict(&input), Err(Reason::StatusIsFinal));
}

#[test]
fn only_methods_without_side_effects_are_repeatable() {
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        assert!(is_repeatable(&method), "{method}");
    }
    for name in [
        "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "BREW",
    ] {
        assert!(!is_repeatable(&name.parse().unwrap()), "{name}");
    }
}

#[test]
fn an_idempotency_key_makes_a_post_repeatable() {
    let keyed = RetryInput {
        has_idempotency_key: true,
        ..LOST_POST
    };
    for failure in SENT {
        assert_eq!(
            verdict(&RetryInput { failure, ..keyed }),
            Ok(()),
            "{failure:?}"
        );
    }
    let gone = RetryInput {
        body_replayable: false,
        ..keyed
    };
    assert_eq!(verdict(&gone), Err(Reason::BodyNotReplayable));
}

#[test]
fn an_answer_is_delivered_if_nobody_else_can_be_asked() {
    let alone = RetryInput {
        failure: Failure::Status(503),
        has_alternative: false,
        ..LOST_GET
    };
    assert_eq!(verdict(&alone), Err(Reason::NoAlternative));
    let reset = RetryInput {
        failure: Failure::Reset,
        ..alone
    };
    assert_eq!(
        verdict(&reset),
        Ok(()),
        "no answer is worse than asking again"
    );
}

#[test]
fn retry_after_is_waited_for_only_if_it_is_short_and_nobody_else_is_there() {
    let backoff = Backoff::default();
    let asked = |retry_after, has_alternative| {
        let input = RetryInput {
            failure: Failure::Status(503),
            retry_after: Some(retry_after),
            has_alternative,
            ..LOST_GET
        };
        decide(&input, &backoff, 0)
    };
    let long = Duration::from_secs(120);
    let wait = Duration::ZERO;
    assert_eq!(asked(long, true), Decision::Retry { wait });
    assert_eq!(
        asked(long, false),
        Decision::GiveUp(Reason::RetryAfterTooLong)
    );
    assert_eq!(
        asked(backoff.max, false),
        Decision::Retry { wait: backoff.max }
    );
}
