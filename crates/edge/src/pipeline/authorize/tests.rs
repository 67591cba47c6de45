//! Which field is a token, and what a route asks of it.

use std::time::Duration;

use portcullis_token::{Algorithm, Claims, Jwks, SigningKey, TokenType, sign};

use super::super::fake::{FakeHead, at_once, connection};
use super::*;
use crate::config::parse;
use crate::state::Edge;

/// An edge whose routes ask for tokens, and the key that signs them.
struct Site {
    edge: Arc<Edge>,
    key: SigningKey,
}

impl Site {
    fn new(auth: &str) -> Self {
        let text = format!(
            "listeners: [{{ address: 127.0.0.1:8080 }}]\n\
             clusters: {{ a: {{ endpoints: [127.0.0.1:1] }} }}\n\
             issuers: {{ main: {{ issuer: \"http://127.0.0.1:1\", audience: api }} }}\n\
             access_log: off\n\
             routes: [{{ cluster: a, auth: {auth} }}, {{ path: /open, cluster: a }}]\n"
        );
        let config = parse("edge.yaml", &text).unwrap().config;
        let site = Self {
            edge: Arc::new(Edge::build(&config).unwrap()),
            key: SigningKey::generate(Algorithm::EdDsa).unwrap().0,
        };
        site.publish(&[&site.key]);
        site
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys = keys.iter().map(|key| key.public_jwk().clone());
        let document = Jwks::new(keys.collect()).unwrap().to_json();
        self.issuer().learn(&document, None).unwrap();
    }

    fn issuer(&self) -> Arc<Issuer> {
        Arc::clone(&self.edge.snapshot.load().issuers[0])
    }

    fn token(&self, key: &SigningKey) -> String {
        let claims = Claims {
            iss: "http://127.0.0.1:1".into(),
            sub: "ann".into(),
            aud: vec!["api".into()],
            iat: now(),
            exp: now() + 600,
            nbf: None,
            jti: "j".into(),
            client_id: "web".into(),
            sid: "s".into(),
            roles: vec!["admin".into()],
            scope: Some("read write".into()),
            tier: None,
            authentication: portcullis_token::Authentication::default(),
        };
        format!(
            "Bearer {}",
            sign(key, TokenType::AccessToken, &claims).unwrap()
        )
    }

    fn exchange(&self) -> Exchange {
        let connection = connection("203.0.113.9:5000");
        Exchange::new(Arc::clone(&self.edge), connection, Instant::now())
    }

    fn asked(&self, authorization: &str) -> Result<(), u16> {
        let head = FakeHead::get("/").with("authorization", authorization);
        let answered = self.exchange().on_request(&head);
        answered.map_err(|answer| answer.status.as_u16())
    }

    fn count(&self, result: TokenResult) -> u64 {
        self.issuer().metrics().of(result).get()
    }
}

#[test]
fn one_bearer_field_is_a_token_and_other_schemes_are_none() {
    let read = |value: &str| {
        let head = FakeHead::get("/").with("authorization", value);
        bearer(head.fields()).map(|token| token.map(str::to_owned))
    };
    for value in ["Bearer a.b", "bearer a.b", "BEARER   a.b"] {
        assert_eq!(read(value), Ok(Some("a.b".to_owned())), "{value}");
    }
    for value in ["Basic a", "Bearera", "Bear", "", "Digest x", "Token a.b"] {
        assert_eq!(read(value), Ok(None), "{value}");
    }
    for value in ["Bearer", "Bearer ", "Bearer \u{e4}\u{ff}"] {
        let read = read(value);
        assert!(
            matches!(read, Err(TokenResult::Malformed)) || value.len() > 7,
            "{value}: {read:?}"
        );
    }
    let twice = FakeHead::get("/")
        .with("authorization", "Bearer a")
        .with("authorization", "Bearer a");
    assert_eq!(bearer(twice.fields()), Err(TokenResult::Malformed));
    assert_eq!(bearer(FakeHead::get("/").fields()), Ok(None));
}

#[test]
fn every_refusal_counts_as_what_it_is() {
    let site = Site::new("{ issuer: main, roles: [clerk] }");
    let good = site.token(&site.key);
    let stranger = SigningKey::generate(Algorithm::EdDsa).unwrap().0;
    assert_eq!(site.asked(&good), Err(403));
    assert_eq!(site.asked("Basic x"), Err(401));
    assert_eq!(site.asked("Bearer x"), Err(401));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    assert_eq!(site.asked(&forged), Err(401));
    for (result, count) in [
        (TokenResult::MissingRole, 1),
        (TokenResult::Missing, 1),
        (TokenResult::Malformed, 1),
        (TokenResult::BadSignature, 1),
        (TokenResult::Verified, 0),
    ] {
        assert_eq!(site.count(result), count, "{result:?}");
    }
    // It waits: nobody has been asked for this key yet.
    assert_eq!(site.asked(&site.token(&stranger)), Ok(()));
    assert_eq!(site.count(TokenResult::UnknownKey), 0);
}

#[test]
fn an_api_key_is_no_token_and_passes_only_where_none_is_asked_for() {
    let key = "pck_Q2h1bmt5AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let asked = |auth: &str, name: &str, value: &str| {
        let answered = Site::new(auth)
            .exchange()
            .on_request(&FakeHead::get("/").with(name, value));
        answered.map_err(|answer| answer.status.as_u16())
    };
    let bearer = format!("Bearer {key}");
    let optional = "{ issuer: main, optional: true }";
    assert_eq!(asked("main", "authorization", &bearer), Err(401));
    assert_eq!(asked("main", "x-api-key", key), Err(401));
    assert_eq!(asked(optional, "authorization", &bearer), Err(401));
    assert_eq!(asked(optional, "x-api-key", key), Ok(()));
}

#[test]
fn scopes_are_asked_for_whole_and_all() {
    for (auth, expected) in [
        ("{ issuer: main, scopes: [write, read] }", Ok(())),
        ("{ issuer: main, scopes: [rea] }", Err(403)),
        ("{ issuer: main, scopes: [read, delete] }", Err(403)),
        ("{ issuer: main, audience: other }", Err(401)),
        ("{ issuer: main, roles: [clerk, admin] }", Ok(())),
    ] {
        let site = Site::new(auth);
        assert_eq!(site.asked(&site.token(&site.key)), expected, "{auth}");
    }
}

#[test]
fn a_request_that_waits_for_keys_goes_nowhere_before_they_came() {
    let site = Site::new("main");
    let fresh = SigningKey::generate(Algorithm::EdDsa).unwrap().0;
    let token = site.token(&fresh);
    let head = FakeHead::get("/").with("authorization", &token);
    let mut exchange = site.exchange();
    exchange.on_request(&head).unwrap();
    assert!(exchange.target.is_none() && exchange.wish.is_some());
    let edits = exchange.on_forward(&head);
    let is_told =
        |edit: &HeaderEdit| matches!(edit, HeaderEdit::Set(name, _) if *name == X_AUTH_SUBJECT);
    assert!(!edits.iter().any(is_told));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_goes_on_with_the_new_keys_or_is_refused() {
    let site = Site::new("main");
    let fresh = SigningKey::generate(Algorithm::EdDsa).unwrap().0;
    let token = site.token(&fresh);
    let head = FakeHead::get("/").with("authorization", &token);
    for is_published in [false, true] {
        let mut exchange = site.exchange();
        exchange.on_request(&head).unwrap();
        if is_published {
            site.publish(&[&site.key, &fresh]);
        }
        let began = tokio::time::Instant::now();
        let attempt = match exchange.on_keys(&head).await {
            Ok(()) => exchange.on_attempt(Instant::now()).await,
            Err(answer) => Err(answer),
        };
        assert!(began.elapsed() <= Duration::from_secs(3));
        match attempt {
            Ok(_) => assert!(is_published),
            Err(answer) => assert_eq!((answer.status.as_u16(), is_published), (401, false)),
        }
    }
    assert_eq!(site.count(TokenResult::UnknownKey), 1);
    assert_eq!(site.count(TokenResult::Verified), 1);
}

#[test]
fn an_open_route_asks_for_nothing_and_says_nothing() {
    let site = Site::new("{ issuer: main, claims: { X-Tenant: tenant } }");
    let head = FakeHead::get("/open")
        .with("authorization", "Bearer x")
        .with("x_tenant", "red")
        .with("x-tenant", "red");
    let mut exchange = site.exchange();
    exchange.on_request(&head).unwrap();
    at_once(exchange.on_attempt(Instant::now())).unwrap();
    let mut headers = head.fields().clone();
    for edit in exchange.on_forward(&head) {
        edit.apply(&mut headers);
    }
    assert!(headers.get("x-tenant").is_none() && headers.get("x_tenant").is_none());
    assert_eq!(headers["authorization"], "Bearer x");
}
