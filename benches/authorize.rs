//! Cost of an access token at the edge: seen before, and never seen, per algorithm; alone, and as a part
//! of all decisions about a request. Never opens a socket.
//!
//! `token/…` is time on a processor, whatever else the machine does: one key set, loaded once, and tokens
//! that are all different. `verified_alone` is the same without the table of tokens and what endpoints are
//! told, `signature_alone` the library's part of it.

use std::hint::black_box;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use nix::time::{ClockId, clock_gettime};
use portcullis_edge::config;
use portcullis_edge::connection::{Connection, ListenerContext};
use portcullis_edge::jwks::Issuer;
use portcullis_edge::pipeline::{End, Exchange, Head};
use portcullis_edge::state::Edge;
use portcullis_token::{
    AccessVerifier, Algorithm, Claims, Jwks, KeySet, Profile, SigningKey, Skew, TokenType, sign,
};

const ISSUER: &str = "http://127.0.0.1:1";
/// Different tokens; fewer than an edge remembers, more than fit beside their keys in a processor's cache.
const TOKENS: usize = 2048;

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
fn token(key: &SigningKey, number: usize) -> String {
    let claims = Claims {
        iss: ISSUER.into(),
        sub: "0190f5a2-6d5e-7c3b-9f7e-2d6b8a1c4e5f".into(),
        aud: vec!["portcullis".into()],
        iat: unix_now(),
        exp: unix_now() + 3600,
        nbf: None,
        jti: portcullis_token::id(number.to_le_bytes().repeat(2).try_into().expect("16 bytes")),
        client_id: "web".into(),
        sid: portcullis_token::id([8; 16]),
        roles: vec!["user".into(), "administrator".into()],
        scope: Some("orders:read orders:write".into()),
        tier: None,
        authentication: portcullis_token::Authentication::default(),
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

fn verifier() -> AccessVerifier {
    AccessVerifier {
        issuer: ISSUER.into(),
        profile: Profile::Portcullis,
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        skew: Skew::DEFAULT,
        roles_claim: "roles".into(),
        others: Vec::new(),
    }
}

fn issuer(edge: &Edge) -> Arc<Issuer> {
    Arc::clone(&edge.snapshot.load().issuers[0])
}

/// Tokens that one key signed, no two alike.
fn tokens(key: &SigningKey) -> Vec<String> {
    let token = |number: usize| token(key, number);
    (0..TOKENS).map(token).collect()
}

/// Time on a processor that `rounds` of `work` took this thread, however busy the machine is. Each stretch
/// of [`TOKENS`] rounds is preceded by `prepare`, which does not count.
fn processor_time<T>(
    rounds: u64,
    mut prepare: impl FnMut() -> T,
    mut work: impl FnMut(&T, usize),
) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = usize::try_from(rounds).unwrap_or(usize::MAX);
    while left > 0 {
        let stretch = left.min(TOKENS);
        let prepared = prepare();
        let began = thread_time();
        for turn in 0..stretch {
            work(&prepared, turn);
        }
        spent += thread_time() - began;
        left -= stretch;
    }
    spent
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has a clock");
    Duration::from(time)
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for (name, algorithm) in [
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ] {
        let key = key(algorithm);
        let (document, tokens) = (document(&[&key]), tokens(&key));
        let (now, at) = (unix_now(), Instant::now());
        // An edge that has just got its keys and has read nothing.
        let fresh = || {
            let issuer = issuer(&edge(", auth: main").0);
            issuer.learn(&document, None).expect("a key set");
            issuer
        };
        let read = |issuer: &Arc<Issuer>, turn: usize| {
            let read = issuer.read(black_box(&tokens[turn]), now, at);
            assert!(black_box(read).is_ok());
        };
        let seen = fresh();
        read(&seen, 0);
        group.bench_function(format!("seen_before/{name}"), |bencher| {
            bencher.iter_custom(|rounds| processor_time(rounds, || (), |(), _| read(&seen, 0)));
        });
        group.bench_function(format!("never_seen/{name}"), |bencher| {
            bencher.iter_custom(|rounds| processor_time(rounds, &fresh, read));
        });
        let jwks = Jwks::parse(&document).expect("a key set");
        let keys = KeySet::from_jwks(&jwks);
        let verifier = verifier();
        group.bench_function(format!("verified_alone/{name}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let verify = |(): &(), turn: usize| {
                    let verified = verifier.verify(black_box(&tokens[turn]), &keys, now);
                    assert!(black_box(verified).is_ok());
                };
                processor_time(rounds, || (), verify)
            });
        });
    }
    bare(&mut group);
    group.finish();
}

/// What the library alone takes for one signature: no token can cost less.
fn bare(group: &mut BenchmarkGroup<'_, WallTime>) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("key generation");
    let message = [b'x'; 500];
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)
        .expect("a signature");
    let public = pair.public_key().as_ref();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).expect("its own key");
    group.bench_function("signature_alone/RS256", |bencher| {
        bencher.iter_custom(|rounds| {
            let verify = |(): &(), _| {
                let verified = key.verify_sig(black_box(&message), &signature);
                assert!(verified.is_ok());
            };
            processor_time(rounds, || (), verify)
        });
    });
}

/// All decisions about a request, with and without a token to look at.
fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    let key = key(Algorithm::Rs256);
    let bearer = format!("Bearer {}", token(&key, 0));
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

fn brief() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = brief(); targets = reading, exchange }
criterion_main!(benches);
