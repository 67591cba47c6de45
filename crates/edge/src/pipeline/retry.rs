//! Phase 8: what a failed attempt means for the next one. Never picks an endpoint.

use http::{Method, StatusCode};
use portcullis_traffic::retry::{Backoff, Decision, Failure, RetryInput, decide, is_repeatable};

use crate::outcome::Cause;

/// What is known of the request when an attempt has failed. Nothing of a response has been sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried<'a> {
    pub(super) method: &'a Method,
    /// Whether its route lets the key that it carries speak for it.
    pub(super) is_keyed: bool,
    /// Whether all request body bytes sent so far can be sent again.
    pub(super) body_replayable: bool,
    /// Attempts so far, the failed one included.
    pub(super) attempts: u32,
    pub(super) max_retries: u32,
}

/// Whether to try again after a failure.
pub(super) fn after_failure(cause: Cause, tried: Tried<'_>) -> bool {
    failure_of(cause).is_some_and(|failure| is_retried(failure, tried))
}

/// Whether to throw this answer away and try again.
pub(super) fn after_status(status: StatusCode, tried: Tried<'_>) -> bool {
    is_retried(Failure::Status(status.as_u16()), tried)
}

fn is_retried(failure: Failure, tried: Tried<'_>) -> bool {
    let input = RetryInput {
        failure,
        is_idempotent: is_repeatable(tried.method),
        has_idempotency_key: tried.is_keyed,
        body_replayable: tried.body_replayable,
        response_started: false,
        attempts: tried.attempts,
        max_retries: tried.max_retries,
        has_alternative: true,
        retry_after: None,
    };
    matches!(
        decide(&input, &Backoff::default(), 0),
        Decision::Retry { .. }
    )
}

/// Only what the endpoint did wrong before its response head may go better elsewhere.
fn failure_of(cause: Cause) -> Option<Failure> {
    match cause {
        Cause::ConnectRefused | Cause::ConnectTimeout | Cause::ConnectFailed => {
            Some(Failure::Connect)
        }
        Cause::EndpointReset => Some(Failure::Reset),
        Cause::EndpointTimeout => Some(Failure::Timeout),
        Cause::EndpointMalformed => Some(Failure::BadResponse),
        Cause::HeadMalformed
        | Cause::HeadTooLarge
        | Cause::TargetTooLong
        | Cause::HeadTimeout
        | Cause::MethodNotAllowed
        | Cause::BodyTooLarge
        | Cause::BodyTimeout
        | Cause::BodyMalformed
        | Cause::ClientGone
        | Cause::NoRoute
        | Cause::NoEndpoint
        | Cause::EndpointTruncated
        | Cause::TooManyConnections
        | Cause::Http2Abuse
        | Cause::Draining
        | Cause::Internal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(method: &Method, body_replayable: bool) -> Tried<'_> {
        Tried {
            method,
            is_keyed: false,
            body_replayable,
            attempts: 1,
            max_retries: 1,
        }
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
            let is_connect = matches!(
                cause,
                Cause::ConnectRefused | Cause::ConnectTimeout | Cause::ConnectFailed
            );
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
        let allowed = |attempts, max_retries| {
            let method = Method::GET;
            let tried = Tried {
                attempts,
                max_retries,
                ..tried(&method, true)
            };
            after_failure(Cause::ConnectRefused, tried)
        };
        assert!(!allowed(1, 0));
        assert!(allowed(1, 1));
        assert!(!allowed(2, 1));
        assert!(allowed(2, 2));
    }
}
