//! A request head and a connection without a socket, for tests of phases. Never compiled into the program.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::head::Head;
use crate::config::{self, ClientTimeouts, Limits};
use crate::connection::{Connection, ListenerContext};
use crate::metrics::Metrics;

pub(crate) struct FakeHead {
    method: Method,
    version: Version,
    path: String,
    query: Option<String>,
    target_authority: Option<String>,
    headers: HeaderMap,
}

impl FakeHead {
    /// `target` is a path, with or without a query.
    pub(crate) fn new(method: Method, target: &str) -> Self {
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com"));
        Self {
            method,
            version: Version::HTTP_11,
            path: path.to_owned(),
            query: query.map(str::to_owned),
            target_authority: None,
            headers,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    pub(crate) fn authority_is(mut self, authority: &str) -> Self {
        self.target_authority = Some(authority.to_owned());
        self
    }
}

impl Head for FakeHead {
    type Fields = HeaderMap;

    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn authority(&self) -> Option<&str> {
        let target = self.target_authority.as_deref();
        target.or_else(|| std::str::from_utf8(self.headers.get("host")?.as_bytes()).ok())
    }

    fn fields(&self) -> &HeaderMap {
        &self.headers
    }
}

pub(crate) fn listener(name: &str) -> config::Listener {
    config::Listener {
        name: name.to_owned(),
        address: SocketAddr::from(([0, 0, 0, 0], 8080)),
        tls: None,
        engine: config::Engine::Native,
        passthrough: Vec::new(),
        max_connections: 10,
        connections_per_address: None,
        clients: None,
        proxy_protocol: None,
        security_headers: None,
        redirect_to_https: None,
        paths: portcullis_traffic::route::PathRules::default(),
        rate_limits: Vec::new(),
        limits: Limits {
            header_bytes: 32 * 1024,
            header_count: 100,
            target_bytes: 8 * 1024,
            body_bytes: 1024 * 1024,
            body_rate: 240,
            requests_per_connection: NonZeroU32::new(3).unwrap(),
            connection_age: Duration::from_secs(3_600),
        },
        timeouts: ClientTimeouts {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            tunnel: Duration::from_secs(3_600),
        },
        http2: config::Http2 {
            max_streams: 100,
            stream_window: 65_536,
            connection_window: 1 << 20,
            cleartext: false,
            frames: config::FrameLimits {
                resets: 100,
                stream_errors: 100,
                pings: 100,
                settings: 50,
                continuations: 20,
                idle: 1_000,
            },
        },
    }
}

pub(crate) fn connection(peer: &str) -> Arc<Connection> {
    connection_over(peer, false)
}

pub(crate) fn tls_connection(peer: &str) -> Arc<Connection> {
    connection_over(peer, true)
}

fn connection_over(peer: &str, is_tls: bool) -> Arc<Connection> {
    let mut context = ListenerContext::new(&listener("web"), 0, 8080, &Metrics::new());
    context.is_tls = is_tls;
    let local = SocketAddr::from(([192, 0, 2, 1], 8080));
    let peer = peer.parse().unwrap();
    Arc::new(Connection::new(
        1,
        Arc::new(context),
        peer,
        local,
        None,
        Instant::now(),
    ))
}

/// A cluster named `auth` over these addresses with the defaults of the file, but for round robin:
/// ejection on, no health check, one retry.
pub(crate) fn cluster(endpoints: &[&str]) -> config::Cluster {
    cluster_with(endpoints, "")
}

/// The same with further keys.
fn cluster_with(endpoints: &[&str], keys: &str) -> config::Cluster {
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:8080' }}]\n\
         clusters: {{ auth: {{ balance: round_robin, endpoints: {endpoints:?}, {keys} }} }}\n\
         routes: [{{ cluster: auth }}]\n"
    );
    let parsed = config::parse("edge.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    parsed.config.clusters.into_iter().next().unwrap()
}

/// By a cookie called `_a`, under a key that is drawn.
pub(crate) fn affinity() -> config::Affinity {
    config::Affinity {
        by: config::AffinityBy::Cookie(config::AffinityCookie {
            name: "_a".to_owned(),
            accept: Vec::new(),
            path: "/".to_owned(),
            domain: None,
            same_site: config::SameSite::Lax,
            secure: config::Secure::Auto,
            is_partitioned: false,
        }),
        ttl: Duration::from_secs(3_600),
        max_age: Some(Duration::from_secs(24 * 3_600)),
        secret: None,
        previous_secrets: Vec::new(),
    }
}

/// A health check with the defaults of the file.
pub(crate) fn health_check() -> config::HealthCheck {
    health_check_with("")
}

/// The same with these keys.
pub(crate) fn health_check_with(keys: &str) -> config::HealthCheck {
    let cluster = cluster_with(&["127.0.0.1:9"], &format!("health: {{ {keys} }}"));
    cluster.health.into_iter().next().unwrap()
}

/// One listener, and one route for `/api` of every host to the cluster.
pub(crate) fn config(cluster: config::Cluster) -> config::Config {
    config::Config {
        listeners: vec![listener("web")],
        clusters: vec![cluster],
        issuers: Vec::new(),
        routes: vec![config::Route {
            name: "api".to_owned(),
            pattern: config::Pattern {
                host: config::HostPattern::Any,
                path: config::PathPattern::Prefix("/api".to_owned()),
                conditions: config::Conditions::default(),
            },
            action: config::Action::Cluster(config::ClusterId(0)),
            cors: None,
            security_headers: None,
            rate_limits: Vec::new(),
            criticality: config::Criticality::Normal,
            rewrite: config::Rewrite::default(),
            request_headers: config::HeaderChanges::default(),
            response_headers: config::HeaderChanges::default(),
            idempotency_key: false,
            pages: Vec::new(),
            auth: None,
            maintenance: None,
            clients: None,
            access_log: true,
        }],
        rate_limits: Vec::new(),
        flags: Vec::new(),
        zone: None,
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        forwarded: config::Forwarded::default(),
        admin: None,
        audit_log: config::AuditLog::Log,
        access_log: config::AccessLog::Off,
        pages: Vec::new(),
        logs_health_checks: false,
        log_privacy: config::LogPrivacy::default(),
        log_sample: log_sample(),
        shutdown: config::Shutdown {
            delay: Duration::ZERO,
            drain: Duration::from_secs(1),
            upgrade_drain: Duration::from_secs(1),
            upgrade_timeout: Duration::from_secs(1),
        },
        reload: config::Reload::default(),
        max_connections: 100,
        workers: None,
    }
}

/// Everything is written.
pub(crate) fn log_sample() -> config::LogSample {
    config::LogSample {
        percent: 100,
        slow: Duration::from_secs(1),
    }
}

/// The output of a future that has nothing to wait for.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
