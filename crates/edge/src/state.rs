//! What requests share: one [`Edge`] for the process, one [`Snapshot`] per generation of the configuration. Never does IO after it is built.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderName;
use ipnet::IpNet;
use portcullis_ops::Secret;
use portcullis_traffic::route::{
    Conditions, Conflict, Details, HostPattern, PathPattern, Pattern, Router, Rule, normalize_host,
};
use tokio::sync::watch;

use crate::access_log::{AccessLogWriter, OpenError, Privacy};
use crate::admin::Access;
use crate::affinity::KeyError;
use crate::audit::{self, Audit};
use crate::cluster::{Cluster, Keeper, OpaqueIds};
use crate::config::{
    self, Action, Auth, ClusterId, Config, Cors, Criticality, HeaderChanges, LogSample,
    Maintenance, Page, RateLimitId, Rewrite, SecurityHeaders,
};
use crate::gate::{Bans, Gate};
use crate::jwks::Issuer;
use crate::metrics::{GateMetrics, Metrics, RequestCounters};
use crate::pipeline::{IdSource, Trust};
use crate::rate_limit::Limiter;
use crate::revocation::Follower;
use crate::tls::Terminator;
use crate::tls::outward::Outward;
use crate::upgrade::Succession;

mod awaited;
mod before;
mod flags;
mod made;
mod names;
mod pages;
mod retired;
mod seats;
mod targets;

pub(crate) use flags::{Decided, Flags, Said, Standing};
pub(crate) use names::Names;
pub(crate) use seats::{Seat, Seated, Seats};

use before::Before;
use retired::Retired;
use targets::Parts;
pub(crate) use targets::{Choice, RoutePast};
pub use targets::{Share, SwitchError, Switched, Target, Targets, WEIGHT_MAX};

/// Everything requests share; built once by `server.rs`.
#[derive(Debug)]
pub struct Edge {
    /// The running configuration; a request loads it once and keeps it.
    pub snapshot: ArcSwap<Snapshot>,
    /// All metrics.
    pub metrics: Metrics,
    /// Where finished requests go.
    pub access_log: AccessLogWriter,
    /// Clients that the operator keeps out.
    pub bans: Bans,
    /// What they are counted by.
    pub(crate) ban_metrics: GateMetrics,
    /// Whether the edge is leaving: connections close politely after the exchange at hand.
    pub is_draining: AtomicBool,
    /// Whether the drain's deadline has passed: what breaks off from now on is our doing.
    pub is_cutting_off: AtomicBool,
    /// Names requests, traces and spans.
    pub ids: IdSource,
    /// Held while targets or the snapshot are replaced, so that no change is lost.
    switching: Mutex<()>,
    /// Generations before, until their last request has ended.
    retired: Retired<Snapshot>,
    /// What the names followed from whose series were looked through last.
    forgotten: Mutex<names::Roots>,
    /// What clusters keep over all generations.
    pub keeper: Keeper,
    /// Which listener has which number.
    seats: Seats,
    /// The generation in force.
    generation: watch::Sender<u64>,
    /// What was changed, by whom, and the number of the state that followed.
    pub audit: Audit,
    /// Who may ask the operator's listener for what.
    pub(crate) access: ArcSwap<Access>,
    /// Held by whoever changes what runs, so that a change that depends on a revision is made on it.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Which process comes after this one, and which was before.
    pub(crate) succession: Succession,
}

/// The edge cannot run this configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The access log cannot be opened.
    #[error(transparent)]
    AccessLog(#[from] OpenError),
    /// The audit cannot be written.
    #[error(transparent)]
    AuditLog(#[from] audit::OpenError),
    /// rustls refused the TLS settings.
    #[error("listener {listener}: TLS cannot be set up: {source}")]
    Tls {
        /// Name of the listener.
        listener: String,
        /// What rustls said.
        source: rustls::Error,
    },
    /// Two routes match the same requests.
    #[error("routes: {0}")]
    Routes(#[from] Conflict),
    /// No key for affinity cookies.
    #[error(transparent)]
    Affinity(#[from] KeyError),
    /// The system's random source fails.
    #[error("cannot draw keys: the system's random source fails: {0}")]
    Random(getrandom::Error),
}

impl Edge {
    /// Builds everything requests share. Opens the access log.
    pub fn build(config: &Config) -> Result<Self, BuildError> {
        Self::build_after(config, HashMap::new())
    }

    /// The same, with what the process before drew for affinity, by cluster.
    pub(crate) fn build_after(
        config: &Config,
        affinity: HashMap<String, Secret<[u8; 32]>>,
    ) -> Result<Self, BuildError> {
        let metrics = Metrics::new();
        let keeper = Keeper::new(OpaqueIds::new(&random::<32>()?)).with_affinity(affinity);
        let ids = IdSource::new(u128::from_ne_bytes(random()?));
        let seats = Seats::default();
        let snapshot = Snapshot::build(config, &metrics, &keeper, &seats, None)?;
        let access_log = AccessLogWriter::open(&config.access_log, metrics.log_dropped())?;
        let audit = Audit::open(&config.audit_log, metrics.control().audit_dropped.clone())?;
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            bans: Bans::default(),
            ban_metrics: metrics.gate("ban", ""),
            metrics,
            access_log,
            is_draining: AtomicBool::new(false),
            is_cutting_off: AtomicBool::new(false),
            ids,
            switching: Mutex::new(()),
            retired: Retired::default(),
            forgotten: Mutex::default(),
            keeper,
            seats,
            generation: watch::Sender::new(1),
            audit,
            access: ArcSwap::from_pointee(Access::new(config.admin.as_ref())),
            changing: tokio::sync::Mutex::default(),
            succession: Succession::default(),
        })
    }

    /// The next generation, not yet in force. Endpoints keep their state.
    pub fn next_snapshot(&self, config: &Config) -> Result<Snapshot, BuildError> {
        let previous = self.snapshot.load();
        let (metrics, keeper) = (&self.metrics, &self.keeper);
        Snapshot::build(config, metrics, keeper, &self.seats, Some(&previous))
    }

    /// Puts a generation into force. Requests under way keep theirs; health checks follow, and a
    /// switch that was made since it was built holds.
    pub fn install(&self, next: Snapshot) {
        let _one_at_a_time = targets::lock(&self.switching);
        let (generation, now) = (next.generation, Instant::now());
        for cluster in &next.clusters {
            cluster.put_in_force(now);
        }
        next.renew_targets(&self.metrics);
        next.flags.take_over(&self.snapshot.load().flags);
        self.retired.add(self.snapshot.swap(Arc::new(next)));
        self.keeper.ring();
        self.generation.send_replace(generation);
    }

    /// Frees generations that no request uses any more. May take milliseconds.
    pub(crate) fn sweep(&self) {
        self.retired.sweep();
    }

    /// The state in force is another one than before; its number.
    pub fn revise(&self) -> u64 {
        self.audit.revise()
    }

    /// Obeys other words on who may operate, and on where that is written.
    pub fn govern(&self, config: &Config) -> Result<(), audit::OpenError> {
        self.audit.aim(&config.audit_log)?;
        let access = Access::new(config.admin.as_ref());
        self.access.store(Arc::new(access));
        Ok(())
    }

    /// Resolves with every [`Edge::install`] from now on.
    pub fn snapshot_changes(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// The Prometheus text.
    pub fn render_metrics(&self, now: Instant) -> String {
        self.metrics.gates().show(self.bans.len());
        let revision = self.audit.revision();
        self.metrics.control().show_revision(revision);
        let predecessor = self.succession.predecessor();
        self.metrics
            .control()
            .show_predecessor(predecessor.is_some());
        self.metrics.render(&self.snapshot.load(), now)
    }

    /// A client as the logs may name it.
    pub(crate) fn shown(&self, client: SocketAddr) -> String {
        self.snapshot.load().privacy.shown(client)
    }

    /// Whether the edge is leaving.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

/// Position of a route in [`Snapshot::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(usize);

/// One generation of the configuration while it runs.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts up with every replacement.
    pub generation: u64,
    /// Routes in file order.
    pub routes: Vec<RouteState>,
    /// Clusters in file order: [`ClusterId`] indexes this list.
    pub clusters: Vec<Arc<Cluster>>,
    /// Whose tokens are believed: [`config::IssuerId`] indexes this list.
    pub issuers: Vec<Arc<Issuer>>,
    /// What is on for some of the clients.
    pub(crate) flags: Flags,
    /// What limits clients: [`RateLimitId`] indexes this list.
    limiters: Vec<Limiter>,
    /// By listener: what limits all its requests.
    listener_limits: Vec<Vec<RateLimitId>>,
    /// Header fields in which any route tells endpoints of claims.
    pub(crate) claim_fields: Vec<HeaderName>,
    /// What to say with answers of ours where the route has no words.
    pages: Vec<Page>,
    router: Router<RouteId>,
    /// Paths that health checks ask for.
    health_paths: HashSet<String>,
    /// Paths that stay out of the access log while they are served: health checks ask for them.
    quiet_paths: HashSet<String>,
    /// Which of the others the access log gets.
    log_sample: LogSample,
    /// Hosts that the configuration names.
    named_hosts: Router<()>,
    /// By their numbers: listeners, also those that are gone but for their last connections.
    listeners: Vec<Option<String>>,
    /// Those of the configuration, in its order.
    pub(crate) seats: Vec<Arc<Seat>>,
    /// By listener: which clients may come in.
    listener_gates: Vec<Option<Arc<Gate>>>,
    /// By listener: requests that no route matched.
    unrouted: Vec<Option<RequestCounters>>,
    /// What of persons the logs say.
    pub(crate) privacy: Arc<Privacy>,
    /// Networks whose forwarding headers are believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// In which fields, and in which endpoints are told.
    pub(crate) forwarded: config::Forwarded,
    /// What terminates TLS, one for each listener that does.
    pub(crate) terminators: Vec<Arc<Terminator>>,
    /// TLS towards endpoints that comes from files.
    pub(crate) outward: Vec<Arc<Outward>>,
    /// How the process leaves.
    pub(crate) shutdown: config::Shutdown,
    /// Whether the file is read again when it changes.
    pub(crate) watches_file: bool,
}

/// One route while it runs.
#[derive(Debug)]
pub struct RouteState {
    /// The `route` label.
    pub name: String,
    /// Which requests it takes.
    pub(crate) pattern: Pattern,
    /// What becomes of its requests.
    pub action: Action,
    /// What it asks of tokens.
    pub auth: Option<Auth>,
    /// Which pages of other origins may read answers.
    pub cors: Option<Cors>,
    /// Fields that make browsers careful.
    pub security_headers: Option<SecurityHeaders>,
    /// What limits its requests.
    pub rate_limits: Vec<RateLimitId>,
    /// How much it matters to limits.
    pub criticality: Criticality,
    /// Where they go, if they go to an endpoint.
    pub targets: Option<Targets>,
    /// What the endpoint is asked for instead.
    pub rewrite: Rewrite,
    /// Changes on the way to the endpoint.
    pub request_headers: HeaderChanges,
    /// Changes on the way to the client.
    pub response_headers: HeaderChanges,
    /// Whether an `Idempotency-Key` makes its requests repeatable.
    pub idempotency_key: bool,
    /// What to say with answers of ours.
    pub pages: Vec<Page>,
    /// Which clients may ask for it.
    pub gate: Option<Gate>,
    /// Whether it is closed for now.
    pub maintenance: Option<Maintenance>,
    /// Whether its requests are logged.
    pub is_logged: bool,
    /// By listener: requests that had no target.
    counters: Vec<Option<RequestCounters>>,
}

impl RouteState {
    /// `known` is the route of this name in the generation before.
    fn build(route: &config::Route, parts: &Parts<'_>, known: Option<&Self>) -> Self {
        let targets = known.and_then(|known| known.targets.as_ref());
        Self {
            name: route.name.clone(),
            pattern: route.pattern.clone(),
            action: route.action.clone(),
            auth: route.auth.clone(),
            cors: route.cors.clone(),
            security_headers: route.security_headers.clone(),
            rate_limits: route.rate_limits.clone(),
            criticality: route.criticality,
            targets: Targets::build(&route.name, &route.action, parts, targets),
            rewrite: route.rewrite.clone(),
            request_headers: route.request_headers.clone(),
            response_headers: route.response_headers.clone(),
            idempotency_key: route.idempotency_key,
            pages: route.pages.clone(),
            gate: made::gate(route.clients.as_ref(), "route", &route.name, parts.metrics),
            maintenance: route.maintenance.clone(),
            is_logged: route.access_log,
            counters: parts.counters(&route.name, ""),
        }
    }
}

impl Snapshot {
    /// What keeps revocations known, of every issuer that has a feed.
    pub(crate) fn followers(&self) -> Vec<Arc<Follower>> {
        let followers = self
            .issuers
            .iter()
            .filter_map(|issuer| issuer.revocations());
        followers.cloned().collect()
    }

    /// Builds a generation; endpoint state is carried over by cluster name and address.
    fn build(
        config: &Config,
        metrics: &Metrics,
        keeper: &Keeper,
        seats: &Seats,
        previous: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let before = Before::new(previous);
        let mut clusters = Vec::with_capacity(config.clusters.len());
        for cluster in &config.clusters {
            let known = before.cluster(&cluster.name);
            let zone = config.zone.as_deref();
            let cluster = Cluster::build(cluster, zone, metrics, keeper, known)?;
            clusters.push(Arc::new(cluster));
        }
        let names = config.listeners.iter().map(|one| one.name.as_str());
        let seated = seats.assign(names);
        let listeners = &seated.names;
        let parts = Parts {
            clusters: &clusters,
            listeners,
            metrics,
        };
        let route_state =
            |route: &config::Route| RouteState::build(route, &parts, before.route(&route.name));
        let rule = |(position, route): (usize, &config::Route)| Rule {
            pattern: route.pattern.clone(),
            target: RouteId(position),
        };
        let named = |host: HostPattern| Rule {
            pattern: Pattern {
                host,
                path: PathPattern::Exact(String::new()),
                conditions: Conditions::default(),
            },
            target: (),
        };
        Ok(Self {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            routes: config.routes.iter().map(route_state).collect(),
            issuers: made::issuers(config, metrics, previous),
            flags: Flags::build(config, metrics),
            limiters: made::limiters(config, metrics, previous),
            listener_limits: made::listener_limits(config, &seated, previous),
            claim_fields: made::claim_fields(config),
            router: Router::build(config.routes.iter().enumerate().map(rule))?,
            quiet_paths: match config.logs_health_checks {
                true => HashSet::new(),
                false => made::health_paths(config),
            },
            health_paths: made::health_paths(config),
            log_sample: config.log_sample,
            pages: config.pages.clone(),
            unrouted: parts.counters("", ""),
            named_hosts: Router::build(config.named_hosts().into_iter().map(named))?,
            listener_gates: made::listener_gates(config, &seated, metrics, previous),
            privacy: made::privacy(config, previous),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded: config.forwarded.clone(),
            terminators: made::terminators(config, metrics, previous)?,
            outward: Outward::all(&config.clusters, metrics),
            shutdown: config.shutdown.clone(),
            watches_file: config.reload.watches_file,
            clusters,
            seats: seated.configured,
            listeners: seated.names,
        })
    }

    /// The route of a request; `authority` as the client sent it.
    pub fn find(
        &self,
        authority: Option<&str>,
        path: &str,
        details: &impl Details,
    ) -> Option<RouteId> {
        self.router
            .find(authority.map(normalize_host), path, details)
            .copied()
    }

    /// Whether requests for this path stay out of the access log while they are served.
    pub(crate) fn is_quiet(&self, path: &str) -> bool {
        self.quiet_paths.contains(path)
    }

    /// Which clients may come in at a listener.
    pub(crate) fn listener_gate(&self, index: usize) -> Option<&Gate> {
        self.listener_gates.get(index)?.as_deref()
    }

    /// Who may speak for others, and how.
    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust {
            proxies: &self.trusted_proxies,
            is_rfc7239_believed: self.forwarded.is_rfc7239_believed,
        }
    }

    /// What terminates TLS at a listener.
    pub(crate) fn terminator(&self, listener: &str) -> Option<&Arc<Terminator>> {
        let mut terminators = self.terminators.iter();
        terminators.find(|terminator| terminator.listener() == listener)
    }

    /// All gates, with whose they are.
    pub(crate) fn gates(&self) -> impl Iterator<Item = (&'static str, &str, &Gate)> {
        let listeners = self.listeners.iter().zip(&self.listener_gates);
        let of_listeners = listeners
            .filter_map(|(name, gate)| Some(("listener", name.as_deref()?, gate.as_deref()?)));
        let of_routes = self
            .routes
            .iter()
            .filter_map(|route| Some(("route", route.name.as_str(), route.gate.as_ref()?)));
        of_listeners.chain(of_routes)
    }

    /// Whether a health check of this configuration asks for this path.
    pub(crate) fn is_health_path(&self, path: &str) -> bool {
        self.health_paths.contains(path)
    }

    /// A limit by its position.
    pub(crate) fn limiter(&self, position: usize) -> Option<&Limiter> {
        self.limiters.get(position)
    }

    /// What limits requests of a listener on a route, each limit once.
    pub(crate) fn rate_limits_of(
        &self,
        listener: usize,
        route: RouteId,
    ) -> impl Iterator<Item = RateLimitId> {
        let of_listener = self
            .listener_limits
            .get(listener)
            .map_or(&[][..], Vec::as_slice);
        let of_route = self.route(route).rate_limits.iter();
        let others = of_route.filter(|id| !of_listener.contains(id));
        of_listener.iter().chain(others).copied()
    }

    /// Which requests the access log gets.
    pub(crate) fn log_sample(&self) -> LogSample {
        self.log_sample
    }

    /// A route of this generation.
    pub fn route(&self, id: RouteId) -> &RouteState {
        &self.routes[id.0]
    }

    /// A route by its name.
    pub fn route_named(&self, name: &str) -> Option<&RouteState> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// The host of an authority without its port, if the configuration names it.
    pub(crate) fn named_host<'a>(&self, authority: &'a str) -> Option<&'a str> {
        let host = normalize_host(authority);
        let is_named = self.named_hosts.find(Some(host), "", &()).is_some();
        is_named.then_some(host)
    }

    fn parts<'a>(&'a self, metrics: &'a Metrics) -> Parts<'a> {
        Parts {
            clusters: &self.clusters,
            listeners: &self.listeners,
            metrics,
        }
    }

    /// A cluster of this generation.
    pub fn cluster(&self, id: ClusterId) -> &Arc<Cluster> {
        &self.clusters[id.0]
    }

    /// A cluster by its name.
    pub fn cluster_named(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| cluster.name() == name)
    }

    /// Request counters of a listener and a target, of a route without target, or of no route.
    /// `None` for a listener that this generation does not know.
    pub(crate) fn counters<'a>(
        &'a self,
        listener: usize,
        route: Option<RouteId>,
        target: Option<&'a Target>,
    ) -> Option<&'a RequestCounters> {
        let counters = match (target, route) {
            (Some(target), _) => &target.counters,
            (None, Some(route)) => &self.route(route).counters,
            (None, None) => &self.unrouted,
        };
        counters.get(listener)?.as_ref()
    }
}

fn random<const N: usize>() -> Result<[u8; N], BuildError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(BuildError::Random)?;
    Ok(bytes)
}
