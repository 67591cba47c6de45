//! Phase 8: what a failed attempt means for the next one. Never picks an endpoint, and never waits.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use portcullis_traffic::retry::{
    Budget, Decision, Failure, Permit, Reason, RetryInput, decide, is_repeatable,
};

use crate::config::Retries;
use crate::outcome::{Cause, RetryReason};

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
    /// Whether an endpoint is eligible that was not tried.
    pub(super) has_alternative: bool,
}

/// Why an attempt is not the last.
#[derive(Clone, Copy, Debug)]
pub(super) enum Setback {
    /// It failed.
    Failed(Cause),
    /// This is its answer, which may ask to stay away for a while.
    Answered(StatusCode, Option<Duration>),
    /// Its endpoint went out.
    EndpointOut,
}

/// A further attempt in the making. Keeps its place in the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) reason: RetryReason,
    pub(super) wait: Duration,
    /// None is needed for what reached no endpoint.
    _permit: Option<Permit>,
}

/// The retries of a cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance<'a> {
    pub(super) rules: &'a Retries,
    pub(super) budget: &'a Arc<Budget>,
    /// Requests under way in the cluster, this one included.
    pub(super) active: u32,
}

/// Another attempt, or why there is none. `chance` is random and spreads the waits.
///
/// A connection that was not made cost no endpoint anything: the request goes to another one at
/// once and takes nothing from the budget, which is there to keep failures from multiplying load.
pub(super) fn plan(
    setback: Setback,
    tried: Tried<'_>,
    allowance: Allowance<'_>,
    chance: u64,
) -> Result<Retry, Reason> {
    let (failure, reason) = failure_of(setback).ok_or(Reason::StatusIsFinal)?;
    let retry_after = match setback {
        Setback::Answered(_, retry_after) => retry_after,
        _ => None,
    };
    let input = RetryInput {
        failure,
        is_idempotent: is_repeatable(tried.method),
        has_idempotency_key: tried.is_keyed,
        body_replayable: tried.body_replayable,
        response_started: false,
        attempts: tried.attempts,
        max_retries: allowance.rules.count,
        has_alternative: tried.has_alternative,
        retry_after,
    };
    let mut wait = match decide(&input, &allowance.rules.backoff, chance) {
        Decision::Retry { wait } => wait,
        Decision::GiveUp(reason) => return Err(reason),
    };
    let is_free = reason == RetryReason::Connect;
    if tried.has_alternative && (is_free || reason == RetryReason::EndpointOut) {
        wait = Duration::ZERO;
    }
    let permit = if is_free {
        None
    } else {
        let permit = allowance
            .budget
            .take(&allowance.rules.budget, allowance.active);
        Some(permit.ok_or(Reason::BudgetSpent)?)
    };
    Ok(Retry {
        reason,
        wait,
        _permit: permit,
    })
}

/// Only what the endpoint did wrong before its response head may go better elsewhere.
fn failure_of(setback: Setback) -> Option<(Failure, RetryReason)> {
    let cause = match setback {
        Setback::Failed(cause) => cause,
        Setback::Answered(status, _) => {
            return Some((Failure::Status(status.as_u16()), RetryReason::Status));
        }
        Setback::EndpointOut => return Some((Failure::Timeout, RetryReason::EndpointOut)),
    };
    match cause {
        Cause::ConnectRefused | Cause::ConnectTimeout | Cause::ConnectFailed => {
            Some((Failure::Connect, RetryReason::Connect))
        }
        Cause::EndpointReset => Some((Failure::Reset, RetryReason::Reset)),
        Cause::EndpointTimeout => Some((Failure::Timeout, RetryReason::Timeout)),
        Cause::EndpointMalformed => Some((Failure::BadResponse, RetryReason::Malformed)),
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
        | Cause::Maintenance
        | Cause::NoEndpoint
        | Cause::QueueFull
        | Cause::QueueTimeout
        | Cause::EndpointTruncated
        | Cause::TooManyConnections
        | Cause::Http2Abuse
        | Cause::Draining
        | Cause::Internal => None,
    }
}

#[cfg(test)]
mod tests;
