//! The attempts of one exchange: where the next one goes, and what a failed one leads to. Never
//! speaks to an endpoint.

use std::sync::Arc;
use std::time::Instant;

use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::retry::is_repeatable;

use super::retry::{self, Setback};
use super::{Answer, Attempt, Cause, Exchange};
use crate::cluster::{Ask, Cluster, Endpoint, Refusal};
use crate::state::Target;

/// A repeatable request that waits at an endpoint, seen from outside its exchange.
#[derive(Debug)]
pub struct Waiting {
    target: Arc<Target>,
    endpoint: Arc<Endpoint>,
    tried: Vec<EndpointId>,
}

impl Waiting {
    /// Whether the endpoint is out meanwhile and another is to be tried.
    pub fn is_in_vain(&self) -> bool {
        self.in_vain_for().is_some()
    }

    fn in_vain_for(&self) -> Option<EndpointId> {
        if !self.endpoint.is_out() {
            return None;
        }
        let id = self.endpoint.id();
        let mut tried = self.tried.clone();
        tried.push(id);
        self.target.cluster.has_untried(&tried).then_some(id)
    }
}

impl Exchange {
    /// Once per attempt: picks an endpoint, never one already tried while another is eligible, and
    /// takes a place in its in-flight count. `Err` is the answer to send now.
    ///
    /// May wait. The engine drops the future when the client leaves: whatever was taken is given
    /// back, and [`Exchange::on_failure`] and [`Exchange::on_end`] may follow as ever.
    pub async fn on_attempt(&mut self, mut now: Instant) -> Result<Attempt, Answer> {
        let Some(target) = &self.target else {
            return Err(self.on_failure(Cause::NoRoute));
        };
        // Given back before the next is taken: an attempt that is over no longer counts.
        self.slot = None;
        let cluster = &target.cluster;
        if let Some(retry) = self.retry.as_mut().filter(|retry| !retry.is_due()) {
            let take = || retry::allowance(cluster, 1).take();
            let turn = retry.turn(cluster.retries(), take, || self.edge.ids.draw_span());
            // Rare, so not a part of every request's future.
            if let Err(cause) = Box::pin(turn).await {
                cluster.metrics().retry_budget_spent.inc();
                return Err(self.on_failure(cause));
            }
            now = tokio::time::Instant::now().into_std();
        }
        let slot = match cluster.acquire(&self.ask(cluster, now)).await {
            Ok(slot) => slot,
            Err(refusal) => return Err(self.on_refusal(refusal)),
        };
        self.attempts += 1;
        if let Some(retry) = &self.retry {
            cluster.metrics().retries.of(retry.reason).inc();
        }
        self.attempt_started = slot.since();
        self.endpoint_time = None;
        self.endpoint_status = None;
        let (client, local) = (self.connection.client, self.connection.local);
        let (via, cluster_key) = cluster.via(slot.endpoint(), client, local);
        let attempt = Attempt {
            address: slot.endpoint().address(),
            timeouts: *cluster.timeouts(),
            cluster_key,
            via,
            number: self.attempts,
        };
        self.endpoint = Some(Arc::clone(slot.endpoint()));
        self.slot = Some(slot);
        Ok(attempt)
    }

    /// What the next attempt asks of its cluster.
    pub(super) fn ask(&self, cluster: &Cluster, now: Instant) -> Ask<'_> {
        Ask {
            bound: cluster.preferred(self.bond, &self.tried),
            key: self.balancing_key.as_deref(),
            tried: &self.tried,
            now,
            chance: self.ids().draw_span(),
        }
    }

    /// Whether endpoints are spoken to over HTTP/2.
    pub fn is_http2_upstream(&self) -> bool {
        self.cluster().is_some_and(|cluster| cluster.is_http2())
    }

    /// Whether endpoints are spoken to as every engine can: HTTP/1.1 over TCP and nothing else.
    pub fn is_plain(&self) -> bool {
        self.cluster().is_none_or(|cluster| cluster.is_plain())
    }

    /// The attempt has a connection: a pooled one, or one made for it.
    pub fn on_connection(&self, is_reused: bool) {
        if let Some(cluster) = self.cluster() {
            let connections = &cluster.metrics().connections;
            connections.of(is_reused).inc();
        }
    }

    /// The endpoint ended a pooled connection without a byte of an answer: it most likely had
    /// closed it before the request arrived, which is nobody's fault and is not held against it.
    /// `true`: send the same again, to the same endpoint on a new connection.
    pub fn on_stale_connection(&mut self, body_replayable: bool) -> bool {
        if let Some(cluster) = self.cluster() {
            cluster.metrics().connections.stale.inc();
        }
        let is_sent_again = self.is_repeatable() && body_replayable;
        if !is_sent_again {
            // Without a verdict.
            self.slot = None;
        }
        is_sent_again
    }

    /// Whether the request may be carried out twice.
    pub fn is_repeatable(&self) -> bool {
        let method = self.request.as_ref().map(|request| &request.method);
        self.is_keyed || method.is_some_and(is_repeatable)
    }

    /// Whether the request's body is worth keeping, so that it can be sent again.
    pub fn is_body_kept(&self) -> bool {
        self.is_keyed
    }

    /// A request that can be sent again has waited a while, and may ask this now and then: whether
    /// its endpoint is out meanwhile and another is to be tried. `true` means: go to
    /// [`Exchange::on_attempt`].
    pub fn gives_up_waiting(&mut self, now: Instant) -> bool {
        let Some(id) = self.waiting().and_then(|waiting| waiting.in_vain_for()) else {
            return false;
        };
        self.tried.push(id);
        let is_retried = self.plans_retry(Setback::EndpointOut, true);
        if !is_retried {
            self.tried.pop();
        } else if let Some(slot) = self.slot.take() {
            slot.abandon(now);
        }
        is_retried
    }

    /// What the attempt that runs waits for, if it may be given up for another.
    pub fn waiting(&self) -> Option<Waiting> {
        let (Some(target), Some(endpoint), Some(_)) = (&self.target, &self.endpoint, &self.slot)
        else {
            return None;
        };
        let is_last =
            self.attempts.saturating_sub(self.unconnected) > target.cluster.retries().count;
        (self.is_repeatable() && !is_last).then(|| Waiting {
            target: Arc::clone(target),
            endpoint: Arc::clone(endpoint),
            tried: self.tried.clone(),
        })
    }

    /// The attempt failed before a response head reached the client. `body_replayable`: all request
    /// body bytes that were sent can be sent again; when nothing was sent, so is everything. `true`
    /// means: go to [`Exchange::on_attempt`].
    pub fn on_attempt_failed(&mut self, cause: Cause, body_replayable: bool, now: Instant) -> bool {
        self.blame_endpoint(cause, now);
        self.unconnected += u32::from(cause.is_without_connection());
        self.plans_retry(Setback::Failed(cause), body_replayable)
    }

    /// There is no place for an attempt.
    pub(super) fn on_refusal(&mut self, refusal: Refusal) -> Answer {
        match refusal {
            Refusal::NoEndpoint => self.on_failure(Cause::NoEndpoint),
            Refusal::QueueFull {
                retry_after_seconds,
            } => self
                .on_failure(Cause::QueueFull)
                .retry_after(retry_after_seconds),
            Refusal::QueueTimeout {
                retry_after_seconds,
            } => self
                .on_failure(Cause::QueueTimeout)
                .retry_after(retry_after_seconds),
        }
    }
}
