//! Whether a failed attempt may be made again. Never picks where, and never waits.

use http::Method;

/// How an attempt failed, as far as the decision depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection was made, so no byte of the request was sent.
    Connect,
    /// The connection broke before a response head.
    Reset,
    /// No response head in time.
    Timeout,
    /// The answer was not HTTP.
    BadResponse,
    /// A response head with this status.
    Status(u16),
}

/// What is known after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryInput {
    /// How it failed.
    pub failure: Failure,
    /// Whether the request may be carried out twice ([`is_repeatable`]).
    pub is_idempotent: bool,
    /// Whether the request body can be sent again from its first byte; true when there is none.
    pub body_replayable: bool,
    /// Whether the client has been sent any byte of a response.
    pub response_started: bool,
    /// Attempts made so far, the failed one included.
    pub attempts: u32,
    /// Attempts allowed after the first.
    pub max_retries: u32,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make another attempt, on another endpoint if there is one.
    Retry,
    /// Answer the client with what happened.
    GiveUp(Reason),
}

/// Why no further attempt is made. The first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client already holds a part of a response.
    ResponseStarted,
    /// All allowed attempts are made.
    RetriesSpent,
    /// The status is the endpoint's answer, not a sign that another would do better.
    StatusIsFinal,
    /// The request may have had its effect, and must not have it twice.
    NotIdempotent,
    /// Part of the request body is gone.
    BodyNotReplayable,
}

/// Decides about a further attempt.
///
/// A failure to connect is retried whatever the method, since nothing was sent. Everything else
/// may have had its effect, so RFC 9110 section 9.2.2 allows a proxy to repeat only what is
/// idempotent.
///
/// ```
/// use portcullis_traffic::retry::{Decision, Failure, Reason, RetryInput, decide};
///
/// let lost_post = RetryInput {
///     failure: Failure::Reset,
///     is_idempotent: false,
///     body_replayable: true,
///     response_started: false,
///     attempts: 1,
///     max_retries: 1,
/// };
/// assert_eq!(decide(&lost_post), Decision::GiveUp(Reason::NotIdempotent));
/// let refused = RetryInput { failure: Failure::Connect, ..lost_post };
/// assert_eq!(decide(&refused), Decision::Retry);
/// ```
pub fn decide(input: &RetryInput) -> Decision {
    match objection(input) {
        Some(reason) => Decision::GiveUp(reason),
        None => Decision::Retry,
    }
}

fn objection(input: &RetryInput) -> Option<Reason> {
    let something_was_sent = input.failure != Failure::Connect;
    if input.response_started {
        Some(Reason::ResponseStarted)
    } else if input.attempts > input.max_retries {
        Some(Reason::RetriesSpent)
    } else if matches!(input.failure, Failure::Status(status) if !is_retried_status(status)) {
        Some(Reason::StatusIsFinal)
    } else if something_was_sent && !input.is_idempotent {
        Some(Reason::NotIdempotent)
    } else if something_was_sent && !input.body_replayable {
        Some(Reason::BodyNotReplayable)
    } else {
        None
    }
}

/// Statuses by which an endpoint says that it, or what stands behind it, cannot serve just now:
/// 502, 503 and 504 (RFC 9110 sections 15.6.3 to 15.6.5). A 500 or 429 would likely be the same
/// elsewhere and is the client's to see.
pub fn is_retried_status(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// Methods whose requests are repeated after something was sent: GET, HEAD and OPTIONS.
///
/// Fewer than RFC 9110 section 9.2.2 calls idempotent. PUT and DELETE are so by definition, yet
/// applications hang side effects on them (mails, counters, a 404 at the second DELETE) that the
/// edge cannot see. TRACE is refused before it gets here.
pub fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST_GET: RetryInput = RetryInput {
        failure: Failure::Reset,
        is_idempotent: true,
        body_replayable: true,
        response_started: false,
        attempts: 1,
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
                decide(&RetryInput {
                    failure,
                    ..LOST_GET
                }),
                Decision::Retry,
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
            assert_eq!(
                decide(&input),
                Decision::GiveUp(Reason::NotIdempotent),
                "{failure:?}"
            );
        }
    }

    #[test]
    fn a_failure_to_connect_is_retried_for_every_request() {
        let refused = RetryInput {
            failure: Failure::Connect,
            ..LOST_POST
        };
        assert_eq!(decide(&refused), Decision::Retry);
        assert_eq!(
            decide(&RetryInput {
                body_replayable: false,
                ..refused
            }),
            Decision::Retry
        );
    }

    #[test]
    fn a_body_that_is_gone_forbids_a_retry() {
        let input = RetryInput {
            body_replayable: false,
            ..LOST_GET
        };
        assert_eq!(decide(&input), Decision::GiveUp(Reason::BodyNotReplayable));
    }

    #[test]
    fn nothing_is_retried_once_the_client_has_seen_a_byte() {
        for failure in SENT.into_iter().chain([Failure::Connect]) {
            let input = RetryInput {
                failure,
                response_started: true,
                ..LOST_GET
            };
            assert_eq!(
                decide(&input),
                Decision::GiveUp(Reason::ResponseStarted),
                "{failure:?}"
            );
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
            .map(|input| decide(&input) == Decision::Retry)
            .collect();
        assert_eq!(decisions, [true, true, false, false]);
    }

    #[test]
    fn zero_retries_means_one_attempt_even_when_nothing_was_sent() {
        let input = RetryInput {
            failure: Failure::Connect,
            max_retries: 0,
            ..LOST_GET
        };
        assert_eq!(decide(&input), Decision::GiveUp(Reason::RetriesSpent));
    }

    #[test]
    fn the_largest_counts_do_not_overflow() {
        let input = RetryInput {
            attempts: u32::MAX,
            max_retries: u32::MAX,
            ..LOST_GET
        };
        assert_eq!(decide(&input), Decision::Retry);
    }

    #[test]
    fn only_gateway_statuses_are_retried() {
        let retried: Vec<u16> = (0..=999)
            .filter(|status| {
                let input = RetryInput {
                    failure: Failure::Status(*status),
                    ..LOST_GET
                };
                decide(&input) == Decision::Retry
            })
            .collect();
        assert_eq!(retried, [502, 503, 504]);
        let input = RetryInput {
            failure: Failure::Status(500),
            ..LOST_POST
        };
        assert_eq!(decide(&input), Decision::GiveUp(Reason::StatusIsFinal));
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
}
