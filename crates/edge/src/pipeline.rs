//! The driver of one exchange: owns guards and order, engines only call it. Never reads or writes a socket.
//!
//! An engine calls, in this order:
//!
//! 1. [`Exchange::new`], [`Exchange::on_request`]
//! 2. per attempt [`Exchange::on_attempt`], [`Exchange::on_forward`], then either
//!    [`Exchange::on_attempt_failed`] or [`Exchange::on_response_head`]; both may ask for another
//! 3. [`Exchange::on_request_body`] as body bytes pass, [`Exchange::on_request_body_wait`] whenever
//!    it begins to wait for more of them, [`Exchange::on_failure`] when there is nothing left to try
//! 4. [`Exchange::on_end`], always
//!
//! The phases behind these calls are functions from a [`Head`] and what is known of the request to
//! a decision; each has a file of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use portcullis_traffic::containment::{DependencyName, Trouble};
use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::retry::{is_repeatable, is_retried_status};

use crate::affinity::Bond;
use crate::cluster::{Cluster, Endpoint, Refusal, Slot};
use crate::config::{ClientTimeouts, Limits};
use crate::connection::Connection;
pub use crate::outcome::{Cause, Outcome};
use crate::state::{Edge, RouteId, Snapshot, Target};

mod admit;
mod aim;
mod body;
mod changes;
mod client_address;
mod excerpt;
mod fail;
#[cfg(test)]
pub(crate) mod fake;
mod finish;
mod forward;
mod head;
mod identify;
mod redirect;
mod respond;
mod retry;
mod retry_after;
mod rewrite;
mod route;
mod select;
mod split;
mod step;
#[cfg(test)]
mod tests;
mod trace;
mod unparsed;

use admit::Request;
use body::Body;
pub use head::{Fields, Head, HeaderEdit, Said};
pub use identify::IdSource;
pub(crate) use identify::hex;
pub(crate) use respond::{announces_draining, cause};
use retry::Setback;
pub(crate) use select::octets;
pub use step::{Answer, Attempt, End, ResponseStep};
pub use unparsed::{answer_unparsed, report_unparsed};

/// How often a request that waits for the head of its answer asks whether it should go on waiting.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// One request on its way. Dropped without [`Exchange::on_end`] it is still counted and logged.
pub struct Exchange {
    edge: Arc<Edge>,
    connection: Arc<Connection>,
    snapshot: Arc<Snapshot>,
    started: Instant,
    request: Option<Request>,
    route: Option<RouteId>,
    /// Where the request goes, if it goes to an endpoint.
    target: Option<Arc<Target>>,
    /// Path and query for the endpoint, if they are not the client's.
    rewritten: Option<String>,
    /// What our cookie for splits must say from now on.
    split_key: Option<u64>,
    bond: Bond,
    /// Whether it carries an `Idempotency-Key` on a route that honours them.
    is_keyed: bool,
    /// Endpoints that failed this request.
    tried: Vec<EndpointId>,
    /// The place of the attempt that runs.
    slot: Option<Slot>,
    /// The last endpoint tried; outlives its slot, for the log.
    endpoint: Option<Arc<Endpoint>>,
    attempts: u32,
    /// Those that got no connection.
    unconnected: u32,
    /// What made the attempt that runs, or is to be made, more than the first.
    retry: Option<retry::Retry>,
    attempt_started: Instant,
    endpoint_time: Option<Duration>,
    endpoint_status: Option<StatusCode>,
    body: Body,
    /// Set once: the first failure is the reason, later ones follow from it.
    failed: Option<Outcome>,
    /// What the route's own answer counts as.
    answered: Option<Outcome>,
    has_ended: bool,
}

impl Exchange {
    /// A request whose head has just arrived. It keeps the snapshot of this moment.
    pub fn new(edge: Arc<Edge>, connection: Arc<Connection>, now: Instant) -> Self {
        connection.requests.fetch_add(1, Ordering::Relaxed);
        let snapshot = edge.snapshot.load_full();
        Self {
            edge,
            connection,
            snapshot,
            started: now,
            request: None,
            route: None,
            target: None,
            rewritten: None,
            split_key: None,
            bond: Bond::None,
            is_keyed: false,
            tried: Vec::new(),
            slot: None,
            endpoint: None,
            attempts: 0,
            unconnected: 0,
            retry: None,
            attempt_started: now,
            endpoint_time: None,
            endpoint_status: None,
            body: Body::default(),
            failed: None,
            answered: None,
            has_ended: false,
        }
    }

    /// Admits and routes. `Err` is the answer to send now.
    pub fn on_request(&mut self, head: &impl Head) -> Result<(), Answer> {
        let decided = admit::check(head, self.limits()).and_then(|()| {
            let trusted = &self.edge.trusted_proxies;
            route::find(&self.snapshot, head, &self.connection, trusted)
        });
        self.route = decided.ok();
        self.request = Some(admit::identify(
            head,
            &self.connection,
            &self.edge.trusted_proxies,
            &self.edge.ids,
            finish::is_logged(&self.edge, &self.snapshot, self.route),
        ));
        let route = decided.map_err(|cause| self.on_failure(cause))?;
        if self.snapshot.route(route).maintenance.is_some()
            && let Some(answer) = self.refuses_for_maintenance(route)
        {
            return Err(answer);
        }
        self.aim(route, head)
    }

    /// Once per attempt: picks an endpoint, never one already tried while another is eligible, and
    /// takes a place in its in-flight count. `Err` is the answer to send now.
    ///
    /// May wait. The engine drops the future when the client leaves: whatever was taken is given
    /// back, and [`Exchange::on_failure`] and [`Exchange::on_end`] may follow as ever.
    pub async fn on_attempt(
        &mut self,
        head: &(impl Head + Sync),
        mut now: Instant,
    ) -> Result<Attempt, Answer> {
        let Some(target) = self.target.clone() else {
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
        let wish = select::Wish {
            bound: cluster.preferred(self.bond, &self.tried),
            client: self.request.as_ref().map(|request| request.client),
            tried: &self.tried,
            chance: self.edge.ids.draw_span(),
        };
        let slot = match select::select(cluster, head, wish, now).await {
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
        let attempt = Attempt {
            address: slot.endpoint().address(),
            timeouts: *cluster.timeouts(),
            cluster_key: cluster.key(),
            number: self.attempts,
        };
        self.endpoint = Some(Arc::clone(slot.endpoint()));
        self.slot = Some(slot);
        Ok(attempt)
    }

    /// Edits of the request head for this attempt. The engine removes hop-by-hop fields from the
    /// client's head first and applies these after, so that `Connection` cannot name ours.
    pub fn on_forward(&mut self, head: &impl Head) -> Vec<HeaderEdit> {
        let span = self.edge.ids.draw_span();
        let Some(request) = &self.request else {
            return Vec::new();
        };
        let mut edits = forward::edits(request, head, &self.connection, span);
        let affinity = self.cluster().and_then(|cluster| cluster.affinity());
        edits.extend(affinity.and_then(|affinity| affinity.hide(head.fields())));
        self.route_request_edits(request, head.fields(), &mut edits);
        edits
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
        let (Some(cluster), Some(endpoint), Some(_)) = (self.cluster(), &self.endpoint, &self.slot)
        else {
            return false;
        };
        if !endpoint.is_out() {
            return false;
        }
        let id = endpoint.id();
        if !cluster.has_untried(&[id]) {
            return false;
        }
        self.tried.push(id);
        let is_retried = self.plans_retry(Setback::EndpointOut, true);
        if !is_retried {
            self.tried.pop();
        } else if let Some(slot) = self.slot.take() {
            slot.abandon(now);
        }
        is_retried
    }

    /// The attempt failed before a response head reached the client. `body_replayable`: all request
    /// body bytes that were sent can be sent again; when nothing was sent, so is everything. `true`
    /// means: go to [`Exchange::on_attempt`].
    pub fn on_attempt_failed(&mut self, cause: Cause, body_replayable: bool, now: Instant) -> bool {
        self.blame_endpoint(cause, now);
        self.unconnected += u32::from(cause.is_without_connection());
        self.plans_retry(Setback::Failed(cause), body_replayable)
    }

    /// A response head from the endpoint, interim ones included.
    pub fn on_response_head(
        &mut self,
        status: StatusCode,
        fields: &impl Fields,
        body_replayable: bool,
        now: Instant,
    ) -> ResponseStep {
        let is_interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        let (Some(target), Some(endpoint), false) = (&self.target, &self.endpoint, is_interim)
        else {
            return ResponseStep::Deliver(Vec::new());
        };
        let cluster = &target.cluster;
        let latency = now.saturating_duration_since(self.attempt_started);
        self.endpoint_time = Some(latency);
        if announces_draining(fields) {
            cluster.announced_draining(endpoint, now);
        }
        if let Some(slot) = &mut self.slot {
            slot.answered(latency);
            if status.is_server_error() {
                slot.judge(Err(trouble_of(status, fields)), now);
            }
        }
        if is_retried_status(status.as_u16()) && self.slot.is_some() {
            self.tried.push(endpoint.id());
            let retry_after = retry_after::read(fields);
            // Without another endpoint this answer is the best there is.
            if self.plans_retry(Setback::Answered(status, retry_after), body_replayable) {
                self.slot = None;
                return ResponseStep::Retry;
            }
        }
        self.endpoint_status = Some(status);
        let (Some(cluster), Some(endpoint)) = (self.cluster(), &self.endpoint) else {
            return ResponseStep::Deliver(Vec::new());
        };
        ResponseStep::Deliver(self.response_edits(cluster, endpoint, fields))
    }

    /// Request body bytes arrived. `Err` when they are too many or came too slowly: stop reading,
    /// call [`Exchange::on_failure`] with it.
    pub fn on_request_body(&mut self, bytes: usize, now: Instant) -> Result<(), Cause> {
        let listener = &self.connection.listener;
        self.body
            .receive(bytes, &listener.limits, &listener.timeouts, now)
    }

    /// The engine could take request body bytes and there are none. If none arrive until the
    /// instant returned, call [`Exchange::on_failure`] with [`Cause::BodyTimeout`]. The client is
    /// charged for the time from here to the next [`Exchange::on_request_body`] and no other, so an
    /// endpoint that takes the body slowly is not its fault. Calling it again changes nothing.
    pub fn on_request_body_wait(&mut self, now: Instant) -> Instant {
        let listener = &self.connection.listener;
        self.body.wait(&listener.limits, &listener.timeouts, now)
    }

    /// The exchange failed for good. The answer is to be sent if nothing has been sent yet.
    pub fn on_failure(&mut self, cause: Cause) -> Answer {
        let cause = self.whose_doing(cause);
        let failure = fail::failure(cause);
        self.blame_endpoint(cause, Instant::now());
        self.failed.get_or_insert(failure.outcome);
        let id = self.request.as_ref().map(|request| &request.excerpt.id);
        let answer = failure.answer(id);
        match self.snapshot.words(self.route, answer.status.as_u16()) {
            Some(words) => answer.in_words(words),
            None => answer,
        }
    }

    /// The route is closed, unless the client may look.
    fn refuses_for_maintenance(&mut self, route: RouteId) -> Option<Answer> {
        let snapshot = Arc::clone(&self.snapshot);
        let maintenance = snapshot.route(route).maintenance.as_ref()?;
        let client = self.request.as_ref()?.client;
        if maintenance.lets_in(client) {
            return None;
        }
        let answer = self.on_failure(Cause::Maintenance);
        let answer = answer.retry_after(maintenance.retry_after.as_secs());
        Some(match &maintenance.words {
            Some(words) => answer.in_words(words),
            None => answer,
        })
    }

    /// Always the last call: releases guards, feeds metrics and access log. Later calls do nothing.
    pub fn on_end(&mut self, end: End, now: Instant) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let gone = (end.failure.is_none() && end.status.is_none()).then_some(Cause::ClientGone);
        if let Some(cause) = end.failure.or(gone) {
            let cause = self.whose_doing(cause);
            self.failed.get_or_insert(fail::failure(cause).outcome);
            self.blame_endpoint(cause, now);
        }
        self.credit_endpoint(now);
        let outcome = self.failed.or(self.answered).unwrap_or(match end.status {
            Some(status) if status.is_server_error() => Outcome::EndpointError,
            _ => Outcome::Served,
        });
        let ended = finish::Ended {
            connection: &self.connection,
            snapshot: &self.snapshot,
            request: self.request.as_ref(),
            route: self.route,
            target: self.target.as_deref(),
            endpoint: self.endpoint.as_deref(),
            attempts: self.attempts,
            outcome,
            status: end.status,
            duration: now.saturating_duration_since(self.started),
            endpoint_time: self.endpoint_time,
            request_bytes: self.body.bytes(),
            response_bytes: end.response_bytes,
        };
        finish::finish(&self.edge, &ended);
    }

    /// Sizes and counts that bound this request.
    pub fn limits(&self) -> &Limits {
        &self.connection.listener.limits
    }

    /// Deadlines towards the client.
    pub fn timeouts(&self) -> &ClientTimeouts {
        &self.connection.listener.timeouts
    }

    /// Empty until [`Exchange::on_request`].
    pub fn request_id(&self) -> &str {
        let id = self
            .request
            .as_ref()
            .and_then(|request| request.excerpt.id.to_str().ok());
        id.unwrap_or_default()
    }

    /// Whether the connection must be closed politely after this exchange.
    pub fn must_close(&self, now: Instant) -> bool {
        let limits = self.limits();
        self.edge.is_draining()
            || self.connection.requests.load(Ordering::Relaxed)
                >= u64::from(limits.requests_per_connection.get())
            || now.saturating_duration_since(self.connection.opened) >= limits.connection_age
    }

    /// A connection that the edge itself cut off looks to its engine like a client that left.
    fn whose_doing(&self, cause: Cause) -> Cause {
        let is_ours = self.edge.is_cutting_off.load(Ordering::Relaxed);
        if is_ours && cause == Cause::ClientGone {
            Cause::Draining
        } else {
            cause
        }
    }

    fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.target.as_ref().map(|target| &target.cluster)
    }

    /// Ends the running attempt, against its endpoint if the fault was there. Without a running
    /// attempt it was counted before; so was an answer by which the endpoint failed.
    fn blame_endpoint(&mut self, cause: Cause, now: Instant) {
        let Some(slot) = self.slot.take() else { return };
        match cause.trouble() {
            Some(trouble) => {
                self.tried.push(slot.endpoint().id());
                slot.finish(Err(trouble), now);
            }
            None => self.give_back(slot, now),
        }
    }

    /// Ends the running attempt in its endpoint's favour, if it answered.
    fn credit_endpoint(&mut self, now: Instant) {
        if let Some(slot) = self.slot.take() {
            self.give_back(slot, now);
        }
    }

    /// Whatever cut the answer short was not its endpoint's doing, which a stream of hours shows as
    /// well as a short answer does.
    fn give_back(&self, slot: Slot, now: Instant) {
        match self.endpoint_status {
            Some(_) => slot.finish(Ok(()), now),
            None => slot.abandon(now),
        }
    }

    /// There is no place for an attempt.
    fn on_refusal(&mut self, refusal: Refusal) -> Answer {
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

    fn response_edits(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        fields: &impl Fields,
    ) -> Vec<HeaderEdit> {
        let Some(request) = &self.request else {
            return Vec::new();
        };
        let is_local = respond::is_local(self.connection.client.ip(), request.client);
        let cookie = cluster.affinity().and_then(|affinity| {
            let id = endpoint.affinity_id();
            affinity.settle(self.bond, id, unix_seconds(), request.is_https)
        });
        let id = &request.excerpt.id;
        let mut edits = respond::edits(endpoint, is_local, id, cookie, fields);
        self.route_response_edits(request, &mut edits);
        edits
    }
}

impl Drop for Exchange {
    /// An engine that drops the exchange without [`Exchange::on_end`] was itself dropped: its
    /// client left, or it panicked.
    fn drop(&mut self) {
        let failure = if std::thread::panicking() {
            Cause::Internal
        } else {
            Cause::ClientGone
        };
        let end = End {
            status: self.endpoint_status,
            response_bytes: 0,
            failure: Some(failure),
        };
        self.on_end(end, Instant::now());
    }
}

/// What an answer of 500 and above says of its endpoint: the dependency it names, else the status.
fn trouble_of(status: StatusCode, fields: &impl Fields) -> Trouble {
    let named = cause(fields).and_then(DependencyName::new);
    named.map_or(Trouble::Status(status.as_u16()), Trouble::Dependency)
}

/// Affinity outlives the process, so it counts by the calendar's clock.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
