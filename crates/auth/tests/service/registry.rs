//! The registry of instances and what administrators see of them under `/api/v1/load-balancer/`.

use serde_json::{Value, json};

use crate::harness::{Installation, Instance, PASSWORD, assert_problem};

const ROOT: &str = "root@example.com";
const SALT: &str = "pZ7vQ2mX9cL4bN8tR1wK6yH3jF5dS0gA-uE";

/// The access token of the first administrator.
async fn administrator(installation: &Installation, instance: &Instance) -> String {
    let body =
        json!({ "setup_token": installation.setup_token, "email": ROOT, "password": PASSWORD });
    assert_eq!(instance.post("/api/v1/auth/setup", body).await.status, 201);
    let login = instance.try_login(ROOT, PASSWORD).await.json();
    login["access_token"].as_str().unwrap().to_owned()
}

async fn listed(instance: &Instance, token: &str) -> Value {
    let path = "/api/v1/load-balancer/instances";
    instance.bearer("GET", path, token).await.json()
}

#[tokio::test]
async fn living_instances_are_listed_for_administrators_only() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let user = a.register_and_login().await;
    for (method, path) in [
        ("GET", "/api/v1/load-balancer/instances"),
        ("GET", "/api/v1/load-balancer/metrics"),
        ("GET", "/api/v1/load-balancer/config"),
        ("POST", "/api/v1/load-balancer/health-check"),
    ] {
        let mut stranger = a.connect().await;
        let response = stranger.request(method, path, &[], b"").await.unwrap();
        assert_problem(&response, 401, "missing_token");
        let response = a.bearer(method, path, &user.access).await;
        assert_problem(&response, 403, "forbidden");
    }
    let token = administrator(&installation, &a).await;
    let listed = listed(&b, &token).await;
    assert_eq!(
        (&listed["count"], &listed["answeredBy"]),
        (&json!(2), &json!("b"))
    );
    let first = &listed["instances"][0];
    assert_eq!(
        (&first["instanceId"], &first["state"], &first["differs"]),
        (&json!("a"), &json!("ready"), &json!([]))
    );
    assert_eq!(first["address"], a.addr.to_string());
    assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(first["fingerprint"], listed["instances"][1]["fingerprint"]);
}

#[tokio::test]
async fn another_salt_shows_in_the_fingerprint() {
    let installation = Installation::new().await;
    let _one = installation.start("a").await;
    let different = [("SECURITY_SALT", SALT), ("ACCESS_TOKEN_TTL", "60")];
    let other = installation.start_with("b", &different).await;
    let token = administrator(&installation, &other).await;
    let listed = listed(&other, &token).await;
    let [a, b] = [0, 1].map(|index: usize| &listed["instances"][index]);
    assert_eq!(
        a["differs"],
        json!(["SECURITY_SALT", "lifetimes"]),
        "{listed}"
    );
    assert_eq!(b["differs"], json!([]));
    assert_ne!(
        a["fingerprint"]["SECURITY_SALT"],
        b["fingerprint"]["SECURITY_SALT"]
    );
    assert_eq!(
        a["fingerprint"]["ISSUER_URL"],
        b["fingerprint"]["ISSUER_URL"]
    );
    assert!(!listed.to_string().contains(SALT));
}

#[tokio::test]
async fn an_instance_with_another_shared_state_or_database_is_found_through_the_other_one() {
    let installation = Installation::new().await;
    let here = |name: &str| format!("sqlite://{}", installation.path().join(name).display());
    let elsewhere = here("elsewhere.db");
    let _one = installation.start("a").await;
    let other = [("SHARED_STATE_URL", elsewhere.as_str())];
    let other = installation.start_with("b", &other).await;
    let token = administrator(&installation, &other).await;
    let seen = listed(&other, &token).await;
    let [a, b] = [0, 1].map(|index: usize| &seen["instances"][index]);
    assert_eq!(
        (&a["instanceId"], &a["differs"]),
        (&json!("a"), &json!(["REDIS_URL"])),
        "{seen}"
    );
    assert_eq!(b["differs"], json!([]));
    let path = "/api/v1/load-balancer/metrics";
    let figures = other.bearer("GET", path, &token).await.json();
    assert_eq!(figures["instances"]["differing"], 1);
    let metric = "portcullis_auth_differing_instances{setting=\"REDIS_URL\"}";
    assert_eq!(other.metric(metric).await, 1.0);

    let (database, shared) = (here("another.db"), here("shared.db"));
    let third = [
        ("DATABASE_URL", database.as_str()),
        ("SHARED_STATE_URL", shared.as_str()),
    ];
    let third = installation.start_with("c", &third).await;
    let metric = "portcullis_auth_differing_instances{setting=\"DATABASE_URL\"}";
    assert_eq!(third.metric(metric).await, 1.0, "it sees a, and a sees it");
}

#[tokio::test]
async fn the_settings_are_shown_without_their_secrets() {
    let installation = Installation::with(&[
        ("SECURITY_SALT", SALT),
        ("ACCESS_TOKEN_TTL", "61"),
        ("SESSION_COOKIE_NAME", "haven_session"),
        ("TRUST_PROXY", "10.0.0.0/8"),
    ])
    .await;
    let instance = installation.start("a").await;
    let token = administrator(&installation, &instance).await;
    let path = "/api/v1/load-balancer/config";
    let response = instance.bearer("GET", path, &token).await;
    assert_eq!(response.field("cache-control"), Some("no-store"));
    let config = response.json();
    assert_eq!(config["tokens"]["accessSeconds"], 61);
    assert_eq!(config["tokens"]["privateKey"], "not set");
    assert_eq!(config["sessions"]["cookieName"], "haven_session");
    assert_eq!(config["securitySalt"], "set");
    assert_eq!(config["trustedProxies"], json!(["10.0.0.0/8"]));
    assert!(!response.text().contains(SALT));
}

#[tokio::test]
async fn the_first_figures_are_shown_as_json() {
    let installation = Installation::new().await;
    let (a, b) = (installation.start("a").await, installation.start("b").await);
    let token = administrator(&installation, &a).await;
    let path = "/api/v1/load-balancer/metrics";
    let before = a.bearer("GET", path, &token).await.json();
    assert_eq!(
        before["instances"],
        json!({ "ready": 2, "draining": 0, "differing": 0 })
    );
    assert_eq!(before["requests"]["inFlight"], 1, "this one");
    assert!(before["passwordHashes"]["total"].as_u64().unwrap() >= 2);
    a.get("/health").await;
    b.stop().await;
    let after = a.bearer("GET", path, &token).await.json();
    let total = |json: &Value| json["requests"]["total"].as_u64().unwrap();
    assert_eq!(total(&after), total(&before) + 2);
    assert_eq!(after["instances"]["ready"], 1);
}

#[tokio::test]
async fn a_forced_check_asks_the_dependencies_now() {
    let installation = Installation::new().await;
    let instance = installation.start("a").await;
    let token = administrator(&installation, &instance).await;
    let path = "/api/v1/load-balancer/health-check";
    let response = instance.bearer("POST", path, &token).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let json = response.json();
    assert_eq!(
        (&json["status"], &json["ready"]),
        (&json!("healthy"), &json!(true))
    );
    assert_eq!(json["dependencies"]["database"], "healthy");
    assert_problem(&instance.get(path).await, 405, "method_not_allowed");
}
