//! What only shows when something inside breaks: dependencies that are down, and
//! handlers that panic or never end.

mod audit;
mod down;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// One instance that is called from inside, without a listener.
pub(crate) struct Inside {
    pub(crate) stores: Stores,
    instance: Instance,
}

/// A directory for the files, and an instance on them.
pub(crate) async fn inside() -> (tempfile::TempDir, Inside) {
    let directory = tempfile::tempdir().unwrap();
    let inside = inside_at(&directory).await;
    (directory, inside)
}

pub(crate) async fn inside_at(directory: &tempfile::TempDir) -> Inside {
    inside_with(directory, TTL).await
}

const TTL: Duration = Duration::from_secs(600);

fn config_with(directory: &tempfile::TempDir, ttl: Duration) -> Config {
    let ttl = ttl.as_secs().to_string();
    config_as(directory, &[("ACCESS_TOKEN_TTL", &ttl)])
}

/// Settings of a test before those that each of them has.
fn config_as(directory: &tempfile::TempDir, settings: &[(&str, &str)]) -> Config {
    let database = format!("sqlite://{}", directory.path().join("auth.db").display());
    let key = directory.path().join("auth.key").display().to_string();
    Config::from_env(|name| {
        let set = settings.iter().find(|(key, _)| *key == name);
        match (set, name) {
            (Some((_, value)), _) => Some((*value).to_owned()),
            (None, "DATABASE_URL") => Some(database.clone()),
            (None, "KEY_ENCRYPTION_KEY_FILE") => Some(key.clone()),
            (None, "HASH_WORKERS") => Some("1".to_owned()),
            (None, _) => None,
        }
    })
    .unwrap()
}

/// One whose access tokens live this long.
pub(crate) async fn inside_with(directory: &tempfile::TempDir, ttl: Duration) -> Inside {
    inside_of(&config_with(directory, ttl)).await
}

/// One with settings of a test.
pub(crate) async fn inside_as(directory: &tempfile::TempDir, settings: &[(&str, &str)]) -> Inside {
    inside_of(&config_as(directory, settings)).await
}

async fn inside_of(config: &Config) -> Inside {
    let stores = Stores::open(config).await.unwrap();
    let (_, phase) = Lifecycle::new();
    let address = ([127, 0, 0, 1], 8000).into();
    let instance = Instance::build(config, &stores, address, &phase, LogLevel::fixed())
        .await
        .unwrap();
    Inside { stores, instance }
}

impl Inside {
    pub(crate) fn app(&self) -> &App {
        &self.instance.service.app
    }

    /// From here on the shared state only fails.
    pub(crate) fn take_shared_state_away(&mut self) {
        let service = Arc::get_mut(&mut self.instance.service).expect("no request is under way");
        service.app.shared = Arc::new(down::Down { shows_life: false });
    }

    pub(crate) fn fall_back_on(&mut self, fallback: crate::config::RevocationFallback) {
        let service = Arc::get_mut(&mut self.instance.service).expect("no request is under way");
        service.app.policy.revocation_fallback = fallback;
    }

    pub(crate) fn service(&self) -> Arc<Service> {
        self.instance.service.clone()
    }

    async fn get(&self, path: &str) -> (Response<Body>, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        read(
            web::router(self.instance.service.clone())
                .oneshot(request)
                .await
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn metrics(&self) -> String {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = web::router(self.instance.service.clone()).oneshot(request);
        let text = response.await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(text.to_bytes().to_vec()).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (Response<Body>, Value) {
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        read(
            web::router(self.instance.service.clone())
                .oneshot(request)
                .await
                .unwrap(),
        )
        .await
    }
}

async fn read(response: Response<Body>) -> (Response<Body>, Value) {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let json = serde_json::from_slice(&bytes).unwrap_or_default();
    (Response::from_parts(head, Body::empty()), json)
}

fn cause(response: &Response<Body>) -> Option<&str> {
    response
        .headers()
        .get("x-health-cause")
        .and_then(|value| value.to_str().ok())
}

#[tokio::test]
async fn a_database_that_is_down_fails_readiness_and_detail_but_not_liveness() {
    let (_directory, inside) = inside().await;
    inside.stores.store.close().await;
    for path in [
        "/health/ready",
        "/health/detailed",
        "/api/v1/load-balancer/health",
    ] {
        let (response, _) = inside.get(path).await;
        assert_eq!(
            (response.status().as_u16(), cause(&response)),
            (503, Some("database")),
            "{path}"
        );
    }
    let (_, detailed) = inside.get("/health/detailed").await;
    assert_eq!(
        detailed["checks"],
        json!({ "database": "unhealthy", "shared_state": "healthy" })
    );
    assert_eq!(
        (&detailed["status"], &detailed["ok"]),
        (&json!("unhealthy"), &json!(false))
    );
    for path in [
        "/health",
        "/health/live",
        "/metrics",
        "/.well-known/jwks.json",
    ] {
        assert_eq!(inside.get(path).await.0.status().as_u16(), 200, "{path}");
    }
    let login = json!({ "email": "a@example.com", "password": "correct horse" });
    let (response, problem) = inside.post("/api/v1/auth/login", login).await;
    assert_eq!(
        (response.status().as_u16(), &problem["code"]),
        (503, &json!("store_unavailable"))
    );
    assert!(response.headers().contains_key("retry-after"));
    assert!(
        !problem.to_string().contains("sql"),
        "nothing from inside shows: {problem}"
    );
}

/// The answer to a token's verification: status and code.
async fn verify(inside: &Inside, token: &str) -> (u16, Value) {
    let request = Request::get("/api/v1/auth/verify");
    let request = request.header("authorization", format!("Bearer {token}"));
    let router = web::router(inside.instance.service.clone());
    let response = router.oneshot(request.body(Body::empty()).unwrap()).await;
    let (response, problem) = read(response.unwrap()).await;
    (response.status().as_u16(), problem["code"].clone())
}

#[tokio::test]
async fn sec_d06_without_shared_state_the_setting_says_who_knows_of_revocations() {
    use crate::config::RevocationFallback::{Allow, Deny, Store};
    let (_directory, mut inside) = inside().await;
    let login = json!({ "email": "a@example.com", "password": "correct horse" });
    inside.post("/api/v1/auth/register", login.clone()).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (_, grant) = inside.post("/api/v1/auth/login", login.clone()).await;
        tokens.push(grant["access_token"].as_str().unwrap().to_owned());
    }
    let (live, ended) = (&tokens[0], &tokens[1]);
    let client = [192, 0, 2, 1].into();
    let origin = crate::app::Origin {
        now: now(),
        client,
        request: None,
    };
    inside.app().log_out(ended, origin).await.unwrap();
    let unavailable = (503, json!("shared_state_unavailable"));
    let refused = (401, json!("invalid_token"));
    for (fallback, of_live, of_ended, readiness) in [
        (Store, (200, Value::Null), refused, 200),
        (Deny, unavailable.clone(), unavailable, 503),
        (Allow, (200, Value::Null), (200, Value::Null), 200),
    ] {
        let service = Arc::get_mut(&mut inside.instance.service).expect("no request is under way");
        service.app.shared = Arc::new(down::Down { shows_life: false });
        service.app.policy.revocation_fallback = fallback;
        service.dependencies = Checker::default();
        assert_eq!(verify(&inside, live).await, of_live, "{fallback:?}");
        assert_eq!(verify(&inside, ended).await, of_ended, "{fallback:?}");
        let (ready, body) = inside.get("/ready").await;
        assert_eq!(ready.status().as_u16(), readiness, "{fallback:?}");
        if readiness == 200 {
            assert_eq!(body["degraded"], json!(["shared_state"]));
        } else {
            assert_eq!(cause(&ready), Some("shared_state"));
        }
        let (detailed, _) = inside.get("/health/detailed").await;
        assert_eq!(
            detailed.status().as_u16(),
            503,
            "people see it: {fallback:?}"
        );
    }
    let line = "portcullis_auth_revocation_fallbacks_total 6";
    assert!(inside.metrics().await.contains(line));
}

#[tokio::test]
async fn sec_d06_with_neither_shared_state_nor_database_every_token_is_refused() {
    let (_directory, mut inside) = inside().await;
    let login = json!({ "email": "a@example.com", "password": "correct horse" });
    inside.post("/api/v1/auth/register", login.clone()).await;
    let (_, grant) = inside.post("/api/v1/auth/login", login).await;
    let token = grant["access_token"].as_str().unwrap();
    let service = Arc::get_mut(&mut inside.instance.service).expect("no request is under way");
    service.app.shared = Arc::new(down::Down { shows_life: false });
    service.dependencies = Checker::default();
    inside.stores.store.close().await;
    assert_eq!(verify(&inside, token).await.0, 503);
    let (ready, _) = inside.get("/ready").await;
    assert_eq!(
        (ready.status().as_u16(), cause(&ready)),
        (503, Some("database"))
    );
}

#[tokio::test]
async fn a_shared_state_that_only_fails_is_left_alone_and_the_breaker_shows() {
    let (_directory, mut inside) = inside().await;
    let service = Arc::get_mut(&mut inside.instance.service).expect("no request is under way");
    let guard = service.app.breakers.shared_state.clone();
    let down = Arc::new(down::Down { shows_life: false });
    service.app.shared = Arc::new(GuardedShared::new(down, guard));
    for _ in 0..7 {
        assert!(inside.app().shared.instances(now()).await.is_err());
    }
    let (_, detailed) = inside.get("/health/detailed").await;
    let breakers = &detailed["data"]["circuitBreakers"];
    let expected =
        json!({ "state": "OPEN", "failures": 5, "mode": "enforce", "opened": 1, "rejected": 2 });
    assert_eq!(breakers["shared_state"], expected);
    assert_eq!(breakers["database"]["state"], json!("CLOSED"));
    let text = inside.metrics().await;
    let line = "portcullis_auth_breaker_rejected_total{dependency=\"shared_state\"} 2";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_full_disk_shows_in_detail_but_takes_nobody_out() {
    let (_directory, mut inside) = inside().await;
    let (detailed, _) = inside.get("/health/detailed").await;
    assert_eq!(detailed.status().as_u16(), 200, "there is room");
    let service = Arc::get_mut(&mut inside.instance.service).expect("no request is under way");
    service.app.shared = Arc::new(down::Down { shows_life: true });
    service.dependencies = Checker::default();
    let (detailed, body) = inside.get("/health/detailed").await;
    assert_eq!(
        (detailed.status().as_u16(), cause(&detailed)),
        (503, Some("shared_state"))
    );
    assert_eq!(
        body["checks"],
        json!({ "database": "healthy", "shared_state": "unhealthy" })
    );
    // Tokens verify without a write, and on one disk every instance would leave at once.
    assert_eq!(inside.get("/ready").await.0.status().as_u16(), 200);
}

#[tokio::test]
async fn sec_h07_a_panic_is_a_bare_500_and_counted() {
    let (_directory, inside) = inside().await;
    let service = inside.instance.service.clone();
    let routes = Router::new().route(
        "/panic",
        get(async || {
            if true {
                panic!("a secret inside");
            }
        }),
    );
    let router = web::enveloped(routes, &service).with_state(service.clone());
    let request = Request::get("/panic").body(Body::empty()).unwrap();
    let (response, problem) = read(router.oneshot(request).await.unwrap()).await;
    assert_eq!(
        (response.status().as_u16(), &problem["code"]),
        (500, &json!("internal"))
    );
    assert!(response.headers().contains_key("x-instance-id"));
    assert!(!problem.to_string().contains("secret"));
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = web::router(service).oneshot(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("portcullis_auth_panics_total 1"));
}

#[tokio::test]
async fn a_fresh_registry_entry_warns_of_nothing_and_is_listed() {
    let (_directory, inside) = inside().await;
    let instances = inside.stores.shared.instances(now()).await.unwrap();
    assert_eq!(instances.len(), 1);
    assert!(instances[0].fingerprint.contains("ISSUER_URL="));
}

#[tokio::test]
async fn an_instance_without_an_audit_trail_writes_none_and_says_so() {
    use crate::domain::AuditEvent;
    const FLAG: &str = "FF_ENABLE_AUDIT_TRAIL";
    let directory = tempfile::tempdir().unwrap();
    let without = inside_as(&directory, &[(FLAG, "false")]).await;
    let login = json!({ "email": "a@example.com", "password": "correct horse" });
    let (registered, _) = without.post("/api/v1/auth/register", login.clone()).await;
    assert_eq!(registered.status(), 202);
    let entries = async |inside: &Inside| {
        let entries = inside
            .stores
            .store
            .recent_audit(crate::store::PageLimit::MAX);
        let entries = entries.await.unwrap().into_iter();
        entries.map(|entry| entry.event).collect::<Vec<_>>()
    };
    assert_eq!(entries(&without).await, []);
    let (_, detailed) = without.get("/health/detailed").await;
    let flags = &detailed["data"]["flags"];
    assert_eq!(
        (&flags[FLAG], &flags["FF_ENABLE_CIRCUIT_BREAKER"]),
        (&json!(false), &json!(true))
    );
    let with = inside_at(&directory).await;
    with.post("/api/v1/auth/login", login).await;
    assert_eq!(entries(&with).await, [AuditEvent::LoginSucceeded]);
}

#[tokio::test]
async fn what_must_be_provable_later_is_in_the_audit_log() {
    use crate::domain::AuditEvent;
    let (directory, inside) = inside().await;
    let (email, password) = ("a@example.com", "correct horse");
    let login = json!({ "email": email, "password": password });
    let wrong = json!({ "email": email, "password": "wrong" });
    inside.post("/api/v1/auth/register", login.clone()).await;
    inside.post("/api/v1/auth/login", wrong).await;
    let (_, grant) = inside.post("/api/v1/auth/login", login).await;
    let mut spent = grant["refresh_token"].clone();
    for _ in 0..2 {
        let body = json!({ "refresh_token": spent });
        let (_, next) = inside.post("/api/v1/auth/refresh", body).await;
        spent = next["refresh_token"].clone();
    }
    let reused = json!({ "refresh_token": grant["refresh_token"] });
    inside.post("/api/v1/auth/refresh", reused).await;
    let config = config_with(&directory, TTL);
    let roles = ["editor".to_owned()];
    crate::operator::set_roles(&config, email, &roles)
        .await
        .unwrap();
    crate::operator::disable(&config, email).await.unwrap();
    crate::operator::enable(&config, email).await.unwrap();

    let mut entries = inside
        .stores
        .store
        .recent_audit(crate::store::PageLimit::MAX)
        .await
        .unwrap();
    entries.reverse();
    let events: Vec<AuditEvent> = entries.iter().map(|entry| entry.event).collect();
    assert_eq!(
        events,
        [
            AuditEvent::Registered,
            AuditEvent::LoginFailed,
            AuditEvent::LoginSucceeded,
            AuditEvent::RefreshReused,
            AuditEvent::RolesChanged,
            AuditEvent::Disabled,
            AuditEvent::Enabled,
        ]
    );
    let whom = entries[0].account;
    assert!(whom.is_some() && entries.iter().all(|entry| entry.account == whom));
    assert!(entries.iter().all(|entry| entry.at.0 > 0));
}
