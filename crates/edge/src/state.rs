//! What requests share: one [`Edge`] for the process, one [`Snapshot`] per generation of the configuration. Never does IO after it is built.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderName;
use ipnet::IpNet;
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
    self, Action, Auth, ClientLists, ClusterId, Config, Cors, Criticality, HeaderChanges,
    LogSample, Maintenance, Page, RateLimitId, Rewrite, SecurityHeaders, Words,
};
use crate::gate::{Bans, Gate};
use crate::jwks::Issuer;
use crate::metrics::{GateMetrics, Metrics, RequestCounters};
use crate::pipeline::{IdSource, Trust};
use crate::rate_limit::Limiter;
use crate::revocation::Follower;
use crate::tls::Terminator;

mod targets;

pub(crate) use targets::Choice;
use targets::Parts;
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
    /// What of persons they say.
    pub privacy: Privacy,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Clients that the operator keeps out.
    pub bans: Bans,
    /// What they are counted by.
    pub(crate) ban_metrics: GateMetrics,
    /// In which fields, and in which endpoints are told.
    pub forwarded: config::Forwarded,
    /// Whether the edge is leaving: connections close politely after the exchange at hand.
    pub is_draining: AtomicBool,
    /// Whether the drain's deadline has passed: what breaks off from now on is our doing.
    pub is_cutting_off: AtomicBool,
    /// Names requests, traces and spans.
    pub ids: IdSource,
    /// Held while targets or the snapshot are replaced, so that no change is lost.
    switching: Mutex<()>,
    /// What clusters keep over all generations.
    pub keeper: Keeper,
    /// What terminates TLS, by listener.
    pub(crate) terminators: Vec<Option<Arc<Terminator>>>,
    /// The generation in force.
    generation: watch::Sender<u64>,
    /// What was changed, by whom, and the number of the state that followed.
    pub audit: Audit,
    /// Who may ask the operator's listener for what.
    pub(crate) access: ArcSwap<Access>,
    /// Held by whoever changes what runs, so that a change that depends on a revision is made on it.
    pub(crate) changing: tokio::sync::Mutex<()>,
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
        let metrics = Metrics::new();
        let keeper = Keeper::new(OpaqueIds::new(&random::<32>()?));
        let ids = IdSource::new(u128::from_ne_bytes(random()?));
        let snapshot = Snapshot::build(config, &metrics, &keeper, None)?;
        let terminators = terminators(config, &metrics)?;
        let access_log = AccessLogWriter::open(&config.access_log, metrics.log_dropped())?;
        let audit = Audit::open(&config.audit_log, metrics.control().audit_dropped.clone())?;
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            bans: Bans::default(),
            ban_metrics: metrics.gate("ban", ""),
            metrics,
            access_log,
            privacy: Privacy::new(&config.log_privacy),
            trusted_proxies: config.trusted_proxies.clone(),
            forwarded: config.forwarded.clone(),
            is_draining: AtomicBool::new(false),
            is_cutting_off: AtomicBool::new(false),
            ids,
            switching: Mutex::new(()),
            keeper,
            terminators,
            generation: watch::Sender::new(1),
            audit,
            access: ArcSwap::from_pointee(Access::new(config.admin.as_ref())),
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// The next generation, not yet in force. Endpoints keep their state.
    pub fn next_snapshot(&self, config: &Config) -> Result<Snapshot, BuildError> {
        let previous = self.snapshot.load();
        Snapshot::build(config, &self.metrics, &self.keeper, Some(&previous))
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
        self.snapshot.store(Arc::new(next));
        self.keeper.ring();
        self.generation.send_replace(generation);
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
        self.metrics.render(&self.snapshot.load(), now)
    }

    /// Who may speak for others, and how.
    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust {
            proxies: &self.trusted_proxies,
            is_rfc7239_believed: self.forwarded.is_rfc7239_believed,
        }
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
    /// Names of the listeners.
    listeners: Vec<String>,
    /// By listener: which clients may come in.
    listener_gates: Vec<Option<Gate>>,
    /// By listener: requests that no route matched.
    unrouted: Vec<RequestCounters>,
}

/// One route while it runs.
#[derive(Debug)]
pub struct RouteState {
    /// The `route` label.
    pub name: String,
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
    counters: Vec<RequestCounters>,
}

impl RouteState {
    /// `known` is the route of this name in the generation before.
    fn build(route: &config::Route, parts: &Parts<'_>, known: Option<&Self>) -> Self {
        let targets = known.and_then(|known| known.targets.as_ref());
        Self {
            name: route.name.clone(),
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
            gate: gate(route.clients.as_ref(), "route", &route.name, parts.metrics),
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
    pub fn build(
        config: &Config,
        metrics: &Metrics,
        keeper: &Keeper,
        previous: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let mut clusters = Vec::with_capacity(config.clusters.len());
        for cluster in &config.clusters {
            let known = previous.and_then(|snapshot| snapshot.cluster_named(&cluster.name));
            let cluster = Cluster::build(
                cluster,
                config.zone.as_deref(),
                metrics,
                keeper,
                known.map(Arc::as_ref),
            )?;
            clusters.push(Arc::new(cluster));
        }
        let listeners: Vec<String> = config
            .listeners
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let parts = Parts {
            clusters: &clusters,
            listeners: &listeners,
            metrics,
        };
        let route_state = |route: &config::Route| {
            let known = previous.and_then(|snapshot| snapshot.route_named(&route.name));
            RouteState::build(route, &parts, known)
        };
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
            issuers: issuers(config, metrics, previous),
            limiters: limiters(config, metrics, previous),
            listener_limits: config
                .listeners
                .iter()
                .map(|one| one.rate_limits.clone())
                .collect(),
            claim_fields: claim_fields(config),
            router: Router::build(config.routes.iter().enumerate().map(rule))?,
            quiet_paths: match config.logs_health_checks {
                true => HashSet::new(),
                false => health_paths(config),
            },
            health_paths: health_paths(config),
            log_sample: config.log_sample,
            pages: config.pages.clone(),
            unrouted: parts.counters("", ""),
            named_hosts: Router::build(config.named_hosts().into_iter().map(named))?,
            listener_gates: listener_gates(config, metrics),
            clusters,
            listeners,
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
        self.listener_gates.get(index)?.as_ref()
    }

    /// All gates, with whose they are.
    pub(crate) fn gates(&self) -> impl Iterator<Item = (&'static str, &str, &Gate)> {
        let listeners = self.listeners.iter().zip(&self.listener_gates);
        let of_listeners =
            listeners.filter_map(|(name, gate)| Some(("listener", name.as_str(), gate.as_ref()?)));
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

    /// The operator's words for an answer of ours.
    pub(crate) fn words(&self, route: Option<RouteId>, status: u16) -> Option<&Words> {
        let page = self
            .pages_of(route)
            .find(|page| page.statuses.contains(&status))?;
        Some(&page.words)
    }

    /// The operator's words in place of an endpoint's.
    pub(crate) fn words_instead(&self, route: Option<RouteId>, status: u16) -> Option<&Words> {
        let mut pages = self.pages_of(route);
        let page =
            pages.find(|page| page.also_from_endpoints && page.statuses.contains(&status))?;
        Some(&page.words)
    }

    fn pages_of(&self, route: Option<RouteId>) -> impl Iterator<Item = &Page> {
        let of_route = route.map_or(&[][..], |route| &self.route(route).pages);
        of_route.iter().chain(&self.pages)
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
        counters.get(listener)
    }
}

fn listener_gates(config: &Config, metrics: &Metrics) -> Vec<Option<Gate>> {
    let listeners = config.listeners.iter();
    listeners
        .map(|one| gate(one.clients.as_ref(), "listener", &one.name, metrics))
        .collect()
}

fn gate(lists: Option<&ClientLists>, by: &str, name: &str, metrics: &Metrics) -> Option<Gate> {
    lists.map(|lists| Gate::build(lists, metrics.gate(by, name)))
}

fn terminators(
    config: &Config,
    metrics: &Metrics,
) -> Result<Vec<Option<Arc<Terminator>>>, BuildError> {
    let build = |listener: &config::Listener| {
        let Some(tls) = &listener.tls else {
            return Ok(None);
        };
        let built = Terminator::new(&listener.name, tls, metrics.tls(&listener.name));
        let built = built.map_err(|source| BuildError::Tls {
            listener: listener.name.clone(),
            source,
        })?;
        Ok(Some(Arc::new(built)))
    };
    config.listeners.iter().map(build).collect()
}

/// Keys that are known already stay in use.
fn issuers(config: &Config, metrics: &Metrics, previous: Option<&Snapshot>) -> Vec<Arc<Issuer>> {
    let build = |issuer: &config::Issuer| {
        let known = previous.and_then(|snapshot| {
            let mut issuers = snapshot.issuers.iter();
            issuers.find(|known| known.name() == issuer.name)
        });
        let known = known.map(Arc::as_ref);
        Arc::new(Issuer::build(issuer, metrics, known, previous.is_none()))
    };
    config.issuers.iter().map(build).collect()
}

/// What clients have used up stays used up.
fn limiters(config: &Config, metrics: &Metrics, previous: Option<&Snapshot>) -> Vec<Limiter> {
    let build = |limit: &config::RateLimit| {
        let mut known = previous.iter().flat_map(|snapshot| &snapshot.limiters);
        let known = known.find(|known| known.name() == limit.name);
        Limiter::build(limit, metrics, known)
    };
    config.rate_limits.iter().map(build).collect()
}

fn claim_fields(config: &Config) -> Vec<HeaderName> {
    let auths = config.routes.iter().filter_map(|route| route.auth.as_ref());
    let claims = auths.flat_map(|auth| &auth.claims);
    let mut names: Vec<_> = claims.map(|(name, _)| name.clone()).collect();
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    names
}

/// Without queries: neither does the access log know any.
fn health_paths(config: &Config) -> HashSet<String> {
    let checks = config.clusters.iter().flat_map(|cluster| &cluster.health);
    let paths = checks.filter_map(|check| match &check.question {
        config::Question::Http(question) => question.path.split('?').next(),
        config::Question::Connect | config::Question::Grpc(_) => None,
    });
    paths.map(str::to_owned).collect()
}

fn random<const N: usize>() -> Result<[u8; N], BuildError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(BuildError::Random)?;
    Ok(bytes)
}
