//! An edge under traffic of every kind. Never sends a request: exchanges are all there is of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrand::Rng;
use http::{HeaderMap, StatusCode};
use portcullis_token::{Algorithm, Claims, Jwks, SigningKey, TokenType, sign};
use serde_json::json;

use super::super::*;
use crate::config::parse;
use crate::gate::NEVER;
use crate::outcome::Cause;
use crate::pipeline::{Answer, Attempt, End, HeaderEdit, ResponseStep};
use crate::state::Share;

const CONFIG: &str = r#"
listeners:
  - { name: web, address: "127.0.0.1:8080", rate_limits: [all] }
  - { name: inner, address: "127.0.0.1:8081", clients: { deny: [198.51.100.0/24] } }
  - { name: old, address: "127.0.0.1:8082" }
trusted_proxies: [10.0.0.0/8]
zone: here
access_log: off
issuers: { main: { issuer: "http://127.0.0.1:1", audience: api } }
rate_limits:
  all: { rate: 4/s, burst: 10, max_keys: 64 }
  tight: { key: ["header:x-user"], rate: 1/m, burst: 2, max_keys: 64 }
  few: { key: [all], concurrent: 1, max_keys: 64 }
  by_role: { key: ["claim:sub"], rate: 12/m, burst: 2, max_keys: 64 }
  watched: { rate: 1/s, dry_run: true, max_keys: 64 }
clusters:
  turns: { balance: round_robin, endpoints: [10.1.0.1:80, { address: 10.1.0.2:80, weight: 3 }, 10.1.0.3:80, 10.1.0.4:80] }
  least: { balance: least_conn, endpoints: [10.2.0.1:80, { address: 10.2.0.2:80, weight: 2 }, 10.2.0.3:80, { address: 10.2.0.4:80, priority: 1 }] }
  drawn: { balance: p2c, slow_start: 10s, endpoints: [10.3.0.1:80, { address: 10.3.0.2:80, weight: 5 }, 10.3.0.3:80, 10.3.0.4:80] }
  quick: { balance: peak_ewma, endpoints: [{ address: 10.4.0.1:80, zone: here }, { address: 10.4.0.2:80, zone: here }, { address: 10.4.0.3:80, zone: there }] }
  keyed: { balance: hash, hash: { key: "header:x-user" }, endpoints: [10.5.0.1:80, 10.5.0.2:80, { address: 10.5.0.3:80, weight: 2 }] }
  bound: { affinity: { by: cookie }, endpoints: [10.6.0.1:80, 10.6.0.2:80, 10.6.0.3:80] }
  known: { affinity: { by: "header:x-user" }, endpoints: [10.7.0.1:80, 10.7.0.2:80, 10.7.0.3:80] }
  small: { max_requests: 1, queue: { length: 2, timeout: 5s }, endpoints: [10.8.0.1:80, 10.8.0.2:80] }
  full: { max_requests: 1, queue: off, endpoints: [10.9.0.1:80] }
  h2: { protocol: h2c, endpoints: [10.10.0.1:80] }
flags: { new: { percent: 40, key: "header:x-user" } }
routes:
  - { name: root, path: /, cluster: turns }
  - { name: least, path: /least, cluster: least, request_headers: { set: { X-From: "{client_address}" } } }
  - { name: drawn, path: /drawn, cluster: drawn, rate_limits: [watched] }
  - { name: quick, path: /quick, cluster: quick, methods: [GET, POST] }
  - { name: keyed, path: /keyed, cluster: keyed, rewrite: { prefix: /new } }
  - { name: bound, path: /bound, cluster: bound }
  - { name: known, path: /known, cluster: known }
  - { name: small, path: /small, cluster: small }
  - { name: full, path: /full, cluster: full }
  - { name: h2, path: /h2, cluster: h2 }
  - { name: fresh, path: /least, flags: [new], headers: [{ name: X-User, value: u3 }], cluster: drawn }
  - { name: renewed, path: /drawn, flags: [new], cluster: least }
  - { name: green, path: /least, headers: [{ name: X-Version, value: green }], cluster: quick }
  - { name: tested, path: /least, headers: [{ name: X-Version }], query: [{ name: test, value: "7" }], cluster: drawn }
  - { name: split, path: /split, split: [{ cluster: turns, weight: 50 }, { cluster: least, weight: 50 }] }
  - { name: users, path: /users, split: [{ cluster: bound, weight: 1 }, { cluster: known, weight: 3 }], split_by: "header:x-user" }
  - { name: away, path: /away, redirect: { to: "https://example.com/" } }
  - { name: fixed, exact: /fixed, respond: { status: 418, body: tea } }
  - { name: closed, path: /closed, cluster: turns, maintenance: { on: true, allow: [192.0.2.0/24] } }
  - { name: inside, path: /inside, source: [192.0.2.0/24], cluster: turns }
  - { name: guests, path: /guests, cluster: turns, clients: { allow: [192.0.2.0/24, 127.0.0.1] } }
  - { name: page, path: /page, cluster: turns, cors: { origins: ["https://app.example"] } }
  - { name: tight, path: /tight, cluster: turns, rate_limits: [tight] }
  - { name: few, path: /few, cluster: least, rate_limits: [watched, few] }
  - { name: token, path: /token, cluster: turns, auth: main, rate_limits: [by_role] }
  - { name: admin, path: /token/admin, cluster: turns, auth: { issuer: main, roles: [admin] } }
  - { name: tenant, host: "*.example.com", path: /, cluster: keyed }
  - { name: exact, host: a.example.com, path: /, cluster: known }
  - { name: regex, regex: "/users/[0-9]+/.*", cluster: least }
"#;

const PATHS: &[&str] = &[
    "/",
    "/least",
    "/least/",
    "/drawn",
    "/quick/x",
    "/keyed/a?b=c",
    "/bound",
    "/known",
    "/small",
    "/small/2",
    "/small?3",
    "/full",
    "/full/2",
    "/full?3",
    "/h2",
    "/h2",
    "/h2",
    "/h2",
    "/split/1",
    "/users",
    "/users/12/x",
    "/away/x?y",
    "/fixed",
    "/fixed/",
    "/closed",
    "/inside",
    "/guests",
    "/page",
    "/page",
    "/page",
    "/tight",
    "/tight/2",
    "/tight?3",
    "/few",
    "/few/2",
    "/few/3",
    "/token",
    "/token/admin",
    "/token/admin",
    "/token/admin/x",
    "/least?test=7",
    "/a/../least",
    "//least",
    "/%2e%2e/x",
    "/drawn%2fx",
    "/a b",
    "*",
    "/\u{e9}",
];
const METHODS: &[&str] = &[
    "GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "OPTIONS", "OPTIONS", "TRACE",
    "get",
];
const HOSTS: &[&str] = &[
    "any.example",
    "any.example",
    "any.example",
    "any.example",
    "any.example",
    "other.example:80",
    "a.example.com",
    "b.example.com:8080",
    "A.EXAMPLE.com.",
    "a@b",
];
const CLIENTS: &[&str] = &[
    "192.0.2.1",
    "203.0.113.5",
    "203.0.113.6",
    "10.0.0.1",
    "198.51.100.9",
    "2001:db8::1",
];
const LISTENERS: &[&str] = &["web", "web", "web", "web", "web", "inner", "inner", "old"];

/// Waits in line, with what it will have come to.
type Waiting = Pin<Box<dyn Future<Output = (Exchange, Result<Attempt, Answer>)>>>;

/// An edge under traffic of every kind.
pub(super) struct Scene {
    pub(super) edge: Arc<Edge>,
    pub(super) listeners: Vec<Arc<ListenerContext>>,
    pub(super) rng: Rng,
    pub(super) seed: u64,
    pub(super) now: Instant,
    tokens: Vec<String>,
    cookies: Vec<String>,
    open: Vec<Exchange>,
    waiting: Vec<Waiting>,
    pub(super) ends: BTreeMap<String, usize>,
}

impl Scene {
    pub(super) fn new(seed: u64) -> Self {
        let config = parse("edge.yaml", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
        let config = config.config;
        let edge = Arc::new(Edge::build(&config).unwrap());
        let snapshot = edge.snapshot.load_full();
        let context = |(number, listener): (usize, &crate::config::Listener)| {
            let port = listener.address.port();
            let mut context = ListenerContext::new(listener, number, port, &edge.metrics);
            context.redirect_to_https = (listener.name == "old").then_some(8443);
            Arc::new(context)
        };
        let listeners = config.listeners.iter().enumerate().map(context).collect();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap().0;
        let jwks = Jwks::new(vec![key.public_jwk().clone()]).unwrap();
        snapshot.issuers[0].learn(&jwks.to_json(), None).unwrap();
        Self {
            listeners,
            rng: Rng::with_seed(seed),
            seed,
            now: Instant::now(),
            tokens: tokens(&key),
            cookies: vec!["theme=dark".to_owned()],
            open: Vec::new(),
            waiting: Vec::new(),
            ends: BTreeMap::new(),
            edge,
        }
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.rng.usize(..texts.len())]
    }

    /// Some request.
    pub(super) fn asked(&mut self) -> Asked {
        let path = self.one_of(PATHS);
        let headers = self.headers(path);
        let method = match path == "/page" && self.rng.bool() {
            true => "OPTIONS",
            false => self.one_of(METHODS),
        };
        let question = json!({
            "method": method,
            "target": path,
            "host": self.one_of(HOSTS),
            "headers": headers,
            "client": self.one_of(CLIENTS),
            "listener": self.one_of(LISTENERS),
        });
        Asked::read(question.as_object().unwrap()).unwrap()
    }

    fn headers(&mut self, path: &str) -> Vec<Value> {
        let mut headers = Vec::new();
        let mut add = |name: &str, value: &str| headers.push(json!([name, value]));
        if self.rng.u8(..3) > 0 {
            add("X-User", &format!("u{}", self.rng.u8(..12)));
        }
        if self.rng.u8(..4) == 0 {
            add("X-Version", ["green", "blue"][self.rng.usize(..2)]);
        }
        if self.rng.u8(..3) == 0 {
            add(
                "Cookie",
                &self.cookies[self.rng.usize(..self.cookies.len())],
            );
        }
        if self.rng.u8(..8) == 0 {
            add("X-Forwarded-For", "192.0.2.7");
        }
        if path.starts_with("/token") && self.rng.u8(..8) > 0 {
            add(
                "Authorization",
                &self.tokens[self.rng.usize(..self.tokens.len())],
            );
        }
        if path == "/page" && self.rng.bool() {
            add(
                "Origin",
                ["https://app.example", "https://evil.example"][self.rng.usize(..2)],
            );
            if self.rng.bool() {
                add("Access-Control-Request-Method", "GET");
            }
        }
        match self.rng.u8(..30) {
            0 => add("Content-Length", "99999999999"),
            1 => add("Content-Length", "x"),
            2 => add("X-Long", &"x".repeat(40_000)),
            3 | 4 => {
                add("Connection", "upgrade");
                add("Upgrade", "websocket");
            }
            _ => {}
        }
        headers
    }

    /// Something that an operator or an endpoint does.
    pub(super) fn disturb(&mut self) {
        let snapshot = self.edge.snapshot.load_full();
        let cluster = &snapshot.clusters[self.rng.usize(..snapshot.clusters.len())];
        let endpoints = cluster.endpoints();
        let endpoint = &endpoints[self.rng.usize(..endpoints.len())];
        let weights = [("turns", self.rng.u16(1..9)), ("least", self.rng.u16(1..9))];
        let shares = weights.map(|(cluster, weight)| Share {
            cluster: cluster.to_owned(),
            weight,
        });
        let banned = "203.0.113.6/32".parse().unwrap();
        match self.rng.u8(..8) {
            0 => cluster.drain(endpoint, true, self.now),
            1 | 2 => cluster.drain(endpoint, false, self.now),
            3 => cluster.set_weight(endpoint, self.rng.u16(..5), self.now),
            4 => cluster.announced_draining(endpoint, self.now),
            5 => drop(self.edge.set_split("split", &shares)),
            6 => drop(self.edge.bans.add(banned, NEVER)),
            _ => drop(self.edge.bans.remove(banned)),
        }
    }

    /// Some that run or wait are over.
    pub(super) fn finish_some(&mut self) {
        if !self.waiting.is_empty() && self.rng.u8(..4) == 0 {
            let leaves = self.rng.usize(..self.waiting.len());
            drop(self.waiting.swap_remove(leaves));
        }
        while self.open.len() > 30 || (!self.open.is_empty() && self.rng.u8(..4) == 0) {
            let mut exchange = self.open.swap_remove(self.rng.usize(..self.open.len()));
            let now = self.now + Duration::from_millis(self.rng.u64(1..80));
            if self.rng.u8(..6) == 0 {
                exchange.on_attempt_failed(Cause::EndpointReset, false, now);
                drop(exchange.on_failure(Cause::EndpointReset));
                continue;
            }
            let status = StatusCode::from_u16([200, 200, 200, 500][self.rng.usize(..4)]).unwrap();
            let step = exchange.on_response_head(status, &HeaderMap::new(), false, now);
            if let ResponseStep::Deliver(edits) = step {
                self.remember_cookies(edits);
            }
            let response_bytes = 5;
            let end = End {
                status: Some(status),
                response_bytes,
                failure: None,
            };
            exchange.on_end(end, now);
        }
    }

    fn remember_cookies(&mut self, edits: Vec<HeaderEdit>) {
        for edit in edits {
            if let HeaderEdit::Append(name, value) = edit
                && name == http::header::SET_COOKIE
            {
                let pair = value.to_str().unwrap().split(';').next().unwrap();
                self.cookies.push(pair.to_owned());
            }
        }
        let excess = self.cookies.len().saturating_sub(30);
        self.cookies.drain(..excess);
    }

    /// Everything that a request could notice.
    pub(super) fn state(&self) -> String {
        let snapshot = self.edge.snapshot.load_full();
        // A histogram that is read moves its sums from one of two places to the other.
        self.edge.render_metrics(self.now);
        let metrics = self.edge.render_metrics(self.now);
        let (ids, bans) = (&self.edge.ids, self.edge.bans.list());
        format!("{snapshot:?}\n{ids:?}\n{bans:?}\n{metrics}")
    }

    /// What happens to the request now.
    pub(super) fn real(&mut self, asked: &Asked) -> (String, Vec<HeaderEdit>) {
        let listener = listener(&self.listeners, asked.listener.as_deref()).unwrap();
        let connection = play::connection(listener, asked, self.now);
        let (index, client) = (listener.index, connection.client.ip());
        if crate::pipeline::refuses_connection(&self.edge, index, client) {
            return ("closed".to_owned(), Vec::new());
        }
        let bytes = asked.bytes();
        let parser = match play::read(&bytes, listener) {
            Ok(parser) => parser,
            Err(cause) => return (format!("unreadable {cause:?}"), Vec::new()),
        };
        let head = parser.head(&bytes);
        let mut exchange = Exchange::new(Arc::clone(&self.edge), connection, self.now);
        if let Err(answer) = exchange.on_request(&head) {
            return (answered(&exchange, &answer), Vec::new());
        }
        assert!(!exchange.waits_for_keys());
        if parser.wants_another_protocol() && exchange.is_http2_upstream() {
            let answer = exchange.on_failure(Cause::NoUpgrade);
            return (answered(&exchange, &answer), Vec::new());
        }
        let now = self.now;
        let mut attempt: Waiting = Box::pin(async move {
            let attempt = exchange.on_attempt(now).await;
            (exchange, attempt)
        });
        match attempt
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Pending => {
                self.waiting.push(attempt);
                ("waits".to_owned(), Vec::new())
            }
            Poll::Ready((exchange, Err(answer))) => (answered(&exchange, &answer), Vec::new()),
            Poll::Ready((mut exchange, Ok(attempt))) => {
                let edits = exchange.on_forward(&head);
                let reached = reached(&exchange, attempt.address);
                self.open.push(exchange);
                (reached, edits)
            }
        }
    }
}

fn tokens(key: &SigningKey) -> Vec<String> {
    let now = i64::try_from(crate::gate::unix_seconds()).unwrap();
    let token = |sub: &str, aud: &str, exp: i64, role: &str| {
        let claims = Claims {
            iss: "http://127.0.0.1:1".into(),
            sub: sub.into(),
            aud: vec![aud.into()],
            iat: exp - 660,
            exp,
            nbf: None,
            jti: "j".into(),
            client_id: "web".into(),
            sid: "s".into(),
            roles: vec![role.into()],
            scope: None,
            tier: None,
            authentication: portcullis_token::Authentication::default(),
        };
        let signed = sign(key, TokenType::AccessToken, &claims).unwrap();
        format!("Bearer {signed}")
    };
    vec![
        token("ann", "api", now + 600, "admin"),
        token("bob", "api", now + 600, "user"),
        token("eve", "other", now + 600, "admin"),
        token("old", "api", now - 3_600, "admin"),
        "Bearer nonsense".to_owned(),
        "Basic YTpi".to_owned(),
    ]
}

fn answered(exchange: &Exchange, answer: &Answer) -> String {
    let found = exchange.findings();
    let route = found.route.map(|route| route.name.as_str());
    let (status, headers, body) = (answer.status, &answer.headers, &answer.body);
    format!(
        "{route:?} {:?} {status} {headers:?} {body:?}",
        found.outcome
    )
}

fn reached(exchange: &Exchange, endpoint: SocketAddr) -> String {
    let found = exchange.findings();
    let route = found.route.map(|route| route.name.as_str());
    let cluster = found.target.map(|target| target.cluster.name());
    format!("{route:?} {cluster:?} {endpoint} {:?}", found.rewritten)
}

/// What an explanation says in the words of the test.
pub(super) fn said(explained: &Explained<'_>) -> (String, Vec<HeaderEdit>) {
    let exchange = || explained.exchange.as_ref().unwrap();
    let words = match explained.ended() {
        Ended::Refused => "closed".to_owned(),
        Ended::Unreadable(cause) => format!("unreadable {cause:?}"),
        Ended::Answered(answer) => answered(exchange(), answer),
        Ended::Waits { .. } => "waits".to_owned(),
        Ended::Reaches(endpoint, _) => reached(exchange(), endpoint.address()),
    };
    let edits = explained
        .decided
        .as_ref()
        .map(|decided| decided.edits.clone());
    (words, edits.unwrap_or_default())
}
