//! Cost of an access token at the edge: seen before, and never seen, per algorithm; alone, and as a part
//! of all decisions about a request. Never opens a socket.

use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use portcullis_edge::config;
use portcullis_edge::connection::{Connection, ListenerContext};
use portcullis_edge::jwks::Issuer;
use portcullis_edge::pipeline::{End, Exchange, Head};
use portcullis_edge::state::Edge;
use portcullis_token::{Algorithm, Claims, Jwks, SigningKey, TokenType, sign};

const ISSUER: &str = "http://127.0.0.1:1";

struct Get(HeaderMap);

impl Head for Get {
    type Fields = HeaderMap;

    fn method(&self) -> &Method {
        &Method::GET
    }

    fn version(&self) -> Version {
        Version::HTTP_11
    }

    fn path(&self) -> &str {
        "/api/v1/users/4711"
    }

    fn query(&self) -> Option<&str> {
        None
    }

    fn authority(&self) -> Option<&str> {
        Some("api.example.com")
    }

    fn fields(&self) -> &HeaderMap {
        &self.0
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the year 2262")
}

/// What auth puts into an access token.
fn token(key: &SigningKey) -> String {
    let claims = Claims {
        iss: ISSUER.into(),
        sub: "0190f5a2-6d5e-7c3b-9f7e-2d6b8a1c4e5f".into(),
        aud: vec!["portcullis".into()],
        iat: unix_now(),
        exp: unix_now() + 3600,
        nbf: None,
        jti: portcullis_token::id([7; 16]),
        client_id: "web".into(),
        sid: portcullis_token::id([8; 16]),
        roles: vec!["user".into(), "administrator".into()],
        scope: Some("orders:read orders:write".into()),
    };
    sign(key, TokenType::AccessToken, &claims).expect("valid claims")
}

fn document(keys: &[&SigningKey]) -> Vec<u8> {
    let keys = keys.iter().map(|key| key.public_jwk().clone());
    Jwks::new(keys.collect()).expect("distinct keys").to_json()
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).expect("key generation").0
}

fn edge(auth: &str) -> (Arc<Edge>, Arc<Connection>) {
    let file = format!(
        "listeners: [{{ address: '127.0.0.1:8080' }}]\n\
         access_log: off\n\
         clusters: {{ app: {{ endpoints: ['127.0.0.1:4001'] }} }}\n\
         issuers: {{ main: {{ issuer: '{ISSUER}', audience: portcullis }} }}\n\
         routes: [{{ cluster: app{auth} }}]\n"
    );
    let config = config::parse("edge.yaml", &file)
        .expect("a sound file")
        .config;
    let edge = Edge::build(&config).expect("nothing here can fail");
    let listener = ListenerContext::new(&config.listeners[0], 0, 8080, &edge.metrics);
    let client: SocketAddr = ([203, 0, 113, 9], 5000).into();
    let local = config.listeners[0].address;
    let connection = Connection::new(1, Arc::new(listener), client, local, None, Instant::now());
    (Arc::new(edge), Arc::new(connection))
}

fn issuer(edge: &Edge) -> Arc<Issuer> {
    Arc::clone(&edge.snapshot.load().issuers[0])
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for (name, algorithm) in [
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ] {
        let (edge, _) = edge(", auth: main");
        let issuer = issuer(&edge);
        let (key, other) = (key(algorithm), key(Algorithm::EdDsa));
        let documents = [document(&[&key]), document(&[&key, &other])];
        let (token, now, at) = (token(&key), unix_now(), Instant::now());
        issuer.learn(&documents[0], None).expect("a key set");
        group.bench_function(format!("seen_before/{name}"), |bencher| {
            bencher.iter(|| black_box(issuer.read(black_box(&token), now, at)).is_ok());
        });
        group.bench_function(format!("never_seen/{name}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for round in 0..rounds {
                    // Another key set voids what is known.
                    let document = &documents[usize::from(round % 2 == 0)];
                    issuer.learn(document, None).expect("a key set");
                    let began = Instant::now();
                    let read = black_box(issuer.read(black_box(&token), now, at));
                    spent += began.elapsed();
                    assert!(read.is_ok());
                }
                spent
            });
        });
    }
    group.finish();
}

/// All decisions about a request, with and without a token to look at.
fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let key = key(Algorithm::Rs256);
    let bearer = format!("Bearer {}", token(&key));
    let mut fields = HeaderMap::new();
    fields.insert(AUTHORIZATION, HeaderValue::try_from(bearer).expect("plain"));
    let head = Get(fields);
    for (name, auth) in [
        ("open", ""),
        ("token", ", auth: main"),
        (
            "token_and_rules",
            ", auth: { issuer: main, roles: [administrator], scopes: ['orders:read'], claims: { X-Session: sid } }",
        ),
    ] {
        let (edge, connection) = edge(auth);
        issuer(&edge)
            .learn(&document(&[&key]), None)
            .expect("a key set");
        group.bench_function(name, |bencher| {
            bencher.iter(|| serve(&edge, &connection, black_box(&head)));
        });
    }
    group.finish();
}

fn serve(edge: &Arc<Edge>, connection: &Arc<Connection>, head: &Get) {
    let now = Instant::now();
    let mut exchange = Exchange::new(Arc::clone(edge), Arc::clone(connection), now);
    exchange.on_request(head).expect("a valid token");
    {
        let attempt = pin!(exchange.on_attempt(now));
        match attempt.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(attempt) => black_box(attempt.expect("an endpoint")),
            Poll::Pending => panic!("an endpoint is free"),
        };
    }
    black_box(exchange.on_forward(head));
    exchange.on_response_head(StatusCode::OK, &HeaderMap::new(), true, now);
    let end = End {
        status: Some(StatusCode::OK),
        response_bytes: 27,
        failure: None,
    };
    exchange.on_end(end, now);
}

criterion_group!(benches, reading, exchange);
criterion_main!(benches);
