//! Phase 8: what a failed attempt means for the next one. Never picks an endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use portcullis_traffic::retry::{
    Budget, Decision, Failure, Permit, Reason, RetryInput, decide, is_repeatable,
};
use tokio::time::Instant;

use super::Exchange;
use crate::cluster::Cluster;
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
    /// Those that got no connection.
    pub(super) unconnected: u32,
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

/// A further attempt until its answer begins. Keeps its place in the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) reason: RetryReason,
    pub(super) wait: Duration,
    leave: Leave,
}

/// How a further attempt stands with the budget.
#[derive(Debug)]
enum Leave {
    /// None is needed for what reached no endpoint.
    NotNeeded,
    /// Given. Whoever repeats a repetition keeps what it has.
    Given(Permit),
    /// Too many run just now: it waits until one of them has ended, or the client gets the failure
    /// that it follows from.
    Awaited(Cause),
}

impl Retry {
    /// Whether there is anything to wait for.
    pub(super) fn is_due(&self) -> bool {
        self.wait.is_zero() && !matches!(self.leave, Leave::Awaited(_))
    }

    /// Waits until the attempt may be made. One endpoint that dies fails all its requests at once,
    /// more than the budget allows to be repeated at once: the others have their turn after those.
    /// Not for long, because in a greater outage nobody would get further by waiting. `Err` is the
    /// failure that stands.
    pub(super) async fn turn(
        &mut self,
        rules: &Retries,
        mut take: impl FnMut() -> Option<Permit>,
        mut chance: impl FnMut() -> u64,
    ) -> Result<(), Cause> {
        let until = Instant::now() + self.wait + TURN_TIMEOUT;
        let mut wait = self.wait;
        for tries in 1.. {
            tokio::time::sleep(wait).await;
            let Leave::Awaited(cause) = self.leave else {
                break;
            };
            if let Some(permit) = take() {
                self.leave = Leave::Given(permit);
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(cause);
            }
            let jittered = rules.backoff.wait(tries, chance());
            wait = jittered
                .clamp(TURN_INTERVAL_MIN, TURN_INTERVAL_MAX)
                .min(left);
        }
        Ok(())
    }

    /// Takes what it was allowed by, for the attempt after it.
    fn take_permit(&mut self) -> Option<Permit> {
        match std::mem::replace(&mut self.leave, Leave::NotNeeded) {
            Leave::Given(permit) => Some(permit),
            Leave::NotNeeded | Leave::Awaited(_) => None,
        }
    }
}

/// As long as a person hardly notices beside the failure.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a request looks whether it has its turn, whatever back-off is configured.
const TURN_INTERVAL_MIN: Duration = Duration::from_millis(2);
const TURN_INTERVAL_MAX: Duration = Duration::from_millis(100);

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
/// What allowed the attempt `before` allows the next one, too.
pub(super) fn plan(
    setback: Setback,
    tried: Tried<'_>,
    allowance: Allowance<'_>,
    before: Option<&mut Retry>,
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
        unconnected: tried.unconnected,
        max_retries: allowance.rules.count,
        has_alternative: tried.has_alternative,
        retry_after,
    };
    let mut wait = match decide(&input, &allowance.rules.backoff, chance) {
        Decision::Retry { wait } => wait,
        Decision::GiveUp(reason) => return Err(reason),
    };
    // What leaves an endpoint that is out gives up as much as it takes.
    let moves = reason == RetryReason::EndpointOut && tried.has_alternative;
    let is_free = reason == RetryReason::Connect || moves;
    if is_free && tried.has_alternative {
        wait = Duration::ZERO;
    }
    let leave = if is_free {
        Leave::NotNeeded
    } else {
        let held = before.and_then(Retry::take_permit);
        match (held.or_else(|| allowance.take()), setback) {
            (Some(permit), _) => Leave::Given(permit),
            // An answer, or hope for one, is better than waiting without either.
            (None, Setback::Failed(cause)) if allowance.is_ever_given() => Leave::Awaited(cause),
            (None, _) => return Err(Reason::BudgetSpent),
        }
    };
    Ok(Retry {
        reason,
        wait,
        leave,
    })
}

impl Allowance<'_> {
    /// Leave for one more repetition.
    pub(super) fn take(&self) -> Option<Permit> {
        self.budget.take(&self.rules.budget, self.active)
    }

    /// Whether those that run now may leave room for another.
    fn is_ever_given(&self) -> bool {
        self.rules.budget.allowed(self.active) > 0
    }
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
        Cause::ConnectRefused
        | Cause::ConnectTimeout
        | Cause::ConnectFailed
        | Cause::TlsUntrusted
        | Cause::TlsName
        | Cause::TlsExpired
        | Cause::TlsPlain
        | Cause::TlsFailed
        | Cause::NoHttp2
        | Cause::EndpointRefused => Some((Failure::Connect, RetryReason::Connect)),
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
        | Cause::PlainHttp
        | Cause::Handshake
        | Cause::HandshakeTimeout
        | Cause::UnknownName
        | Cause::ClientCertificate
        | Cause::Misdirected
        | Cause::ClientGone
        | Cause::NoRoute
        | Cause::Maintenance
        | Cause::NoToken
        | Cause::BadToken
        | Cause::Forbidden
        | Cause::NoUpgrade
        | Cause::OriginRefused
        | Cause::RateLimited
        | Cause::ConcurrencyLimited
        | Cause::NoKeys
        | Cause::NoRevocations
        | Cause::NoEndpoint
        | Cause::QueueFull
        | Cause::QueueTimeout
        | Cause::EndpointTruncated
        | Cause::TooManyConnections
        | Cause::ClientRefused
        | Cause::TooManyOfAddress
        | Cause::ProxyHeader
        | Cause::Http2Abuse
        | Cause::Draining
        | Cause::Internal => None,
    }
}

impl Exchange {
    /// Whether another attempt is made after this. The endpoint that failed is among those tried.
    pub(super) fn plans_retry(&mut self, setback: Setback, body_replayable: bool) -> bool {
        let mut before = self.retry.take();
        let (Some(target), Some(request), None) = (&self.target, &self.request, self.failed) else {
            return false;
        };
        let cluster = &target.cluster;
        let tried = Tried {
            method: &request.method,
            is_keyed: self.is_keyed,
            body_replayable,
            attempts: self.attempts,
            unconnected: self.unconnected,
            has_alternative: cluster.has_untried(&self.tried),
        };
        let allowance = allowance(cluster, u32::from(self.slot.is_none()));
        let chance = self.edge.ids.draw_span();
        match plan(setback, tried, allowance, before.as_mut(), chance) {
            Ok(retry) => {
                self.retry = Some(retry);
                true
            }
            // The attempt goes on, and may ask again.
            Err(_) if matches!(setback, Setback::EndpointOut) => {
                self.retry = before;
                false
            }
            Err(Reason::BudgetSpent) => {
                cluster.metrics().retry_budget_spent.inc();
                false
            }
            Err(_) => false,
        }
    }
}

/// What repetitions may take of this cluster. `outside`: how many of those that ask hold no place.
pub(super) fn allowance(cluster: &Cluster, outside: u32) -> Allowance<'_> {
    Allowance {
        rules: cluster.retries(),
        budget: cluster.retry_budget(),
        active: cluster.in_flight().saturating_add(outside),
    }
}

#[cfg(test)]
mod tests;
