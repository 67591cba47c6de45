//! Whether a failed attempt may be made again. Never picks where, and never waits.

use std::time::Duration;

use http::Method;

mod backoff;
mod budget;

pub use backoff::Backoff;
pub use budget::{Budget, BudgetPolicy, Permit};

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
    /// Whether it carries an `Idempotency-Key`, on a route whose endpoints are said to honour it:
    /// then it may be carried out twice whatever its method.
    pub has_idempotency_key: bool,
    /// Whether the request body can be sent again from its first byte; true when there is none.
    pub body_replayable: bool,
    /// Whether the client has been sent any byte of a response.
    pub response_started: bool,
    /// Attempts made so far, the failed one included.
    pub attempts: u32,
    /// Those among them that got no connection.
    pub unconnected: u32,
    /// Attempts allowed after the first.
    pub max_retries: u32,
    /// Whether an endpoint that has not been tried could be picked.
    pub has_alternative: bool,
    /// How long the answer asks to stay away (`Retry-After`).
    pub retry_after: Option<Duration>,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make another attempt, on another endpoint if there is one.
    Retry {
        /// How long to wait before.
        wait: Duration,
    },
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
    /// The endpoint answered, and there is no other to ask.
    NoAlternative,
    /// There is no other endpoint, and this one asks to stay away for longer than is worth waiting.
    RetryAfterTooLong,
    /// Too many retries run already. Told by [`Budget::take`], which comes last: only a retry that
    /// would be made may use it up.
    BudgetSpent,
}

impl Reason {
    /// A name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::ResponseStarted => "response_started",
            Self::RetriesSpent => "retries_spent",
            Self::StatusIsFinal => "status_is_final",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::NoAlternative => "no_alternative",
            Self::RetryAfterTooLong => "retry_after_too_long",
            Self::BudgetSpent => "budget_spent",
        }
    }
}

/// Decides about a further attempt. `chance` is random and spreads the waits.
///
/// A failure to connect is retried whatever the method, since nothing was sent. Everything else
/// may have had its effect, so RFC 9110 section 9.2.2 allows a proxy to repeat only what is
/// idempotent.
///
/// An endpoint that takes no connection has seen nothing of the request, so the next one is asked
/// beyond `max_retries`, up to [`UNCONNECTED_MAX`] times, unless retries are off.
///
/// `Retry-After` speaks for the endpoint that sent it: another one may be asked at once. If there
/// is no other, it is waited for where that takes no longer than the longest back-off.
///
/// ```
/// use portcullis_traffic::retry::{Backoff, Decision, Failure, Reason, RetryInput, decide};
///
/// let lost_post = RetryInput {
///     failure: Failure::Reset,
///     is_idempotent: false,
///     has_idempotency_key: false,
///     body_replayable: true,
///     response_started: false,
///     attempts: 1,
///     unconnected: 0,
///     max_retries: 1,
///     has_alternative: true,
///     retry_after: None,
/// };
/// let (backoff, chance) = (Backoff::default(), u64::MAX);
/// assert_eq!(decide(&lost_post, &backoff, chance), Decision::GiveUp(Reason::NotIdempotent));
/// let refused = RetryInput { failure: Failure::Connect, ..lost_post };
/// assert_eq!(decide(&refused, &backoff, chance), Decision::Retry { wait: backoff.base });
/// ```
pub fn decide(input: &RetryInput, backoff: &Backoff, chance: u64) -> Decision {
    if let Some(reason) = objection(input) {
        return Decision::GiveUp(reason);
    }
    let wait = backoff.wait(input.attempts, chance);
    match (input.failure, input.has_alternative, input.retry_after) {
        (Failure::Status(_), false, None) => Decision::GiveUp(Reason::NoAlternative),
        (Failure::Status(_), false, Some(asked)) if asked > backoff.max => {
            Decision::GiveUp(Reason::RetryAfterTooLong)
        }
        (Failure::Status(_), false, Some(asked)) => Decision::Retry {
            wait: wait.max(asked),
        },
        _ => Decision::Retry { wait },
    }
}

fn objection(input: &RetryInput) -> Option<Reason> {
    let something_was_sent = input.failure != Failure::Connect;
    let may_be_repeated = input.is_idempotent || input.has_idempotency_key;
    if input.response_started {
        Some(Reason::ResponseStarted)
    } else if are_spent(input) {
        Some(Reason::RetriesSpent)
    } else if matches!(input.failure, Failure::Status(status) if !is_retried_status(status)) {
        Some(Reason::StatusIsFinal)
    } else if something_was_sent && !may_be_repeated {
        Some(Reason::NotIdempotent)
    } else if something_was_sent && !input.body_replayable {
        Some(Reason::BodyNotReplayable)
    } else {
        None
    }
}

/// Attempts without a connection that do not count where there is somebody else to ask. Enough for
/// most clusters in which several endpoints die together, and an end to the time it can take.
pub const UNCONNECTED_MAX: u32 = 3;

fn are_spent(input: &RetryInput) -> bool {
    let is_refused_by_all = input.failure == Failure::Connect && !input.has_alternative;
    let free = if is_refused_by_all || input.max_retries == 0 {
        0
    } else {
        input.unconnected.min(UNCONNECTED_MAX)
    };
    input.attempts.saturating_sub(free) > input.max_retries
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
mod tests;
