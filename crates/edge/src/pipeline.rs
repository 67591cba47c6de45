//! The driver of one exchange: owns guards and order, engines only call it. Never reads or writes a socket.
//!
//! An engine calls, in this order:
//!
//! 1. [`Exchange::new`], [`Exchange::on_request`]; then [`Exchange::on_keys`], if it
//!    [waits for keys](Exchange::waits_for_keys)
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

use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_traffic::containment::{DependencyName, Trouble};
use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::retry::is_retried_status;

use crate::affinity::Bond;
use crate::cluster::{Cluster, Endpoint, Slot};
use crate::config::{ClientTimeouts, Limits};
use crate::connection::Connection;
use crate::jwks::Wish;
pub use crate::outcome::{Cause, Outcome};
use crate::state::{Decided, Edge, RouteId, Snapshot, Target};

mod admit;
mod aim;
mod attempts;
mod authorize;
mod body;
mod changes;
mod client_address;
mod client_certificate;
mod cors;
mod date;
mod endings;
mod excerpt;
mod fail;
#[cfg(test)]
pub(crate) mod fake;
mod finish;
mod flag;
mod forward;
mod forwarded;
mod grpc;
mod head;
mod idempotency;
mod identify;
mod instead;
mod lease;
mod let_in;
mod limit;
mod misdirected;
mod passed;
mod path;
mod redirect;
mod rehearsal;
mod respond;
mod retry;
mod retry_after;
mod rewrite;
mod route;
mod secure;
mod select;
mod split;
mod step;
#[cfg(test)]
mod tests;
mod trace;
mod unparsed;

use admit::Request;
pub(crate) use admit::X_REQUEST_ID;
pub use attempts::Waiting;
use authorize::Principal;
use body::Body;
pub(crate) use client_address::{Trust, is_trusted};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use forwarded::holds as forwarded_holds;
pub(crate) use forwarded::is_obfuscated;
pub use head::{Fields, Head, HeaderEdit, Said};
pub use identify::IdSource;
pub(crate) use identify::hex;
pub use lease::{LEASE_LOOK, Lease, LeaseEnd, lease_over};
pub(crate) use let_in::refuses_connection;
use limit::Stage;
pub(crate) use passed::{Passed, report_passed};
pub(crate) use rehearsal::{AskedLimit, Findings, told, would_refuse_connection};
pub(crate) use respond::{announces_draining, cause};
use retry::Setback;
pub(crate) use route::{Missed, asked_for};
pub(crate) use select::octets;
pub use step::{Answer, Attempt, End, ResponseStep};
pub(crate) use trace::TRACEPARENT;
pub use unparsed::{Told, answer_unparsed, report_handshake, report_unparsed};

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
    principal: Principal,
    /// The path to go by, where it is not the one that was sent.
    path: Option<String>,
    /// The origin whose page may read the answer.
    reader: Option<HeaderValue>,
    /// What limits said of it.
    limited: limit::Limited,
    /// Newer keys that the token has to wait for.
    wish: Option<Wish>,
    /// Where the request goes, if it goes to an endpoint.
    target: Option<Arc<Target>>,
    /// Path and query for the endpoint, if they are not the client's.
    rewritten: Option<String>,
    /// What our cookie for splits must say from now on.
    split_key: Option<u64>,
    bond: Bond,
    /// What its endpoint is chosen by, where the cluster hashes.
    balancing_key: Option<Vec<u8>>,
    /// Whether it carries an `Idempotency-Key` on a route that honours them.
    is_keyed: bool,
    /// Whether its client reads a status of gRPC.
    is_grpc: bool,
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
    /// Nothing takes effect then.
    rehearsal: Option<Box<rehearsal::Rehearsal>>,
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
        Self::begin(edge, connection, snapshot, now)
    }

    fn begin(
        edge: Arc<Edge>,
        connection: Arc<Connection>,
        snapshot: Arc<Snapshot>,
        now: Instant,
    ) -> Self {
        Self {
            edge,
            connection,
            snapshot,
            started: now,
            request: None,
            route: None,
            principal: Principal::Nobody,
            path: None,
            reader: None,
            limited: limit::Limited::default(),
            wish: None,
            target: None,
            rewritten: None,
            split_key: None,
            bond: Bond::None,
            balancing_key: None,
            is_keyed: false,
            is_grpc: false,
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
            rehearsal: None,
            failed: None,
            answered: None,
            has_ended: false,
        }
    }

    /// Admits, routes and authorises. `Err` is the answer to send now.
    pub fn on_request(&mut self, head: &impl Head) -> Result<(), Answer> {
        self.is_grpc = grpc::is_asked_by(head);
        let rules = self.connection.listener.paths;
        let changed = path::changed(head.path(), &rules);
        let (changed, path) =
            changed.map_or_else(|cause| (None, Err(cause)), |path| (path, Ok(())));
        let normal = &path::Normal {
            path: changed.as_deref().unwrap_or(head.path()),
            head,
        };
        let checked = self
            .lets_in(head)
            .and_then(|()| admit::check(head, self.limits()));
        let checked = checked.and_then(|()| misdirected::check(head, &self.connection));
        let flags = Decided::default();
        let decided = checked.and(path).and_then(|()| {
            route::find(
                &self.snapshot,
                normal,
                &self.connection,
                self.snapshot.trust(),
                &flags,
            )
        });
        if !self.is_rehearsed() {
            self.snapshot.flags.count(&flags);
        }
        self.route = decided.ok();
        self.request = Some(admit::identify(
            head,
            &self.connection,
            self.snapshot.trust(),
            self.ids(),
            finish::is_logged(&self.edge, &self.snapshot, self.route),
        ));
        if matches!(decided, Ok(_) | Err(Cause::NoRoute))
            && let Some(answer) = self.send_to_https(head, normal.path)
        {
            return Err(answer);
        }
        let route = decided.map_err(|cause| self.on_failure(cause))?;
        if let Some(answer) = self.refuses_client(route) {
            return Err(answer);
        }
        self.enter(route, normal)?;
        self.path = changed;
        match self.wish {
            // It goes nowhere before its token has been read.
            Some(_) => Ok(()),
            None => self.with_path(head, |exchange, head| exchange.go_on(route, head)),
        }
    }

    /// Whether the route lets the request in. `Err` is the answer to send now.
    fn enter(&mut self, route: RouteId, head: &impl Head) -> Result<(), Answer> {
        let (answer, is_preflight) = self.cross_origin(route, head);
        if let Some(answer) = answer {
            return Err(answer);
        }
        if self.snapshot.route(route).maintenance.is_some()
            && let Some(answer) = self.refuses_for_maintenance(route)
        {
            return Err(answer);
        }
        self.limit(route, head, Stage::BeforeToken)?;
        match self.snapshot.route(route).auth.is_some() && !is_preflight {
            true => self.authorize(route, head),
            false => Ok(()),
        }
    }

    /// Calls with the head as it is routed by.
    fn with_path<H: Head>(
        &mut self,
        head: &H,
        call: impl FnOnce(&mut Self, &path::Normal<'_, H>) -> Result<(), Answer>,
    ) -> Result<(), Answer> {
        let path = self.path.clone();
        let path = path.as_deref().unwrap_or(head.path());
        call(self, &path::Normal { head, path })
    }

    /// Whatever follows when it is known who asks. `Err` is the answer to send now.
    fn go_on(&mut self, route: RouteId, head: &impl Head) -> Result<(), Answer> {
        self.limit(route, head, Stage::AfterToken)?;
        self.aim(route, head)
    }

    /// Edits of the request head for this attempt. The engine removes hop-by-hop fields from the
    /// client's head first and applies these after, so that `Connection` cannot name ours.
    pub fn on_forward(&mut self, head: &impl Head) -> Vec<HeaderEdit> {
        let span = self.ids().draw_span();
        let Some(request) = &self.request else {
            return Vec::new();
        };
        let told = forward::Told {
            how: &self.snapshot.forwarded,
            trust: self.snapshot.trust(),
        };
        let mut edits = forward::edits(request, head, &self.connection, told, span);
        edits.extend(self.hide_own_cookies(head.fields()));
        self.identity_edits(head.fields(), &mut edits);
        self.route_request_edits(request, head.fields(), &mut edits);
        edits
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
        // However long the answer is, the repetition has succeeded: others may have its turn.
        self.retry = None;
        let (Some(cluster), Some(endpoint)) = (self.cluster(), &self.endpoint) else {
            return ResponseStep::Deliver(Vec::new());
        };
        let words = (status.as_u16() >= 400)
            .then(|| self.snapshot.words_instead(self.route, status.as_u16()))
            .flatten();
        // What the endpoint says is not sent then, so it stands for nothing either.
        let is_said = |name: &HeaderName| words.is_none() && fields.has(name);
        let edits = self.response_edits(cluster, endpoint, fields, &is_said);
        if let Some(words) = words {
            let answer = instead::answer(status, fields, edits, words);
            return ResponseStep::Instead(Box::new(answer));
        }
        ResponseStep::Deliver(edits)
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
            || self.connection.listener.is_closing()
            || self.connection.requests.load(Ordering::Relaxed)
                >= u64::from(limits.requests_per_connection.get())
            || now.saturating_duration_since(self.connection.opened) >= limits.connection_age
    }

    fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.target.as_ref().map(|target| &target.cluster)
    }

    fn response_edits(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        fields: &impl Fields,
        is_said: &dyn Fn(&HeaderName) -> bool,
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
        self.policy_edits(is_said, &mut edits);
        self.route_response_edits(request, &mut edits);
        edits
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
