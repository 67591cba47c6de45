//! What a user does with `portcullis up` and curl alone: register, log in, verify, refresh, log
//! out, through the edge and at each instance.

use portcullis_testkit::{Connection, Response};
use serde_json::json;

use crate::harness::up::{Place, Up, post, verify, with_token};

const PASSWORD: &str = "correct horse battery staple";

#[tokio::test]
async fn a_session_lives_and_ends_the_same_on_every_instance() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    let grant = up.log_in("ada@example.com", PASSWORD).await;
    let token = &grant["access_token"];
    for address in [&[up.http][..], &up.instances].concat() {
        let response = verify(address, token).await;
        assert_eq!(response.status, 200, "{address}: {}", response.text());
        assert_eq!(response.json()["active"], true);
    }

    let body = json!({ "refresh_token": grant["refresh_token"] });
    let refreshed = up.post("/api/v1/auth/refresh", &body).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let refreshed = refreshed.json();
    assert_ne!(
        refreshed["refresh_token"], grant["refresh_token"],
        "refresh tokens rotate"
    );
    let token = &refreshed["access_token"];
    assert_eq!(verify(up.http, token).await.status, 200);

    let mut connection = Connection::open(up.http).await.unwrap();
    let logout = with_token(&mut connection, "POST", "/api/v1/auth/logout", token)
        .await
        .unwrap();
    assert_eq!(logout.status, 204, "{}", logout.text());
    for address in [&[up.http][..], &up.instances].concat() {
        for token in [token, &grant["access_token"]] {
            let response = verify(address, token).await;
            assert_eq!(response.status, 401, "{address}: {}", response.text());
        }
    }
    let body = json!({ "refresh_token": refreshed["refresh_token"] });
    for &address in &up.instances {
        let response = post(address, "/api/v1/auth/refresh", &body).await;
        assert_eq!(
            response.status, 401,
            "a session's end reaches its refresh token"
        );
    }
}

#[tokio::test]
async fn the_edge_says_which_instance_answered() {
    let place = Place::new();
    let up = place.start().await;
    let mut pairs = std::collections::HashSet::new();
    let mut connection = Connection::open(up.http).await.unwrap();
    for _ in 0..12 {
        let response = connection.get("/health").await.unwrap();
        assert_eq!(response.status, 200);
        let served_by = response
            .field("x-served-by")
            .expect("X-Served-By")
            .to_owned();
        let instance = response
            .field("x-instance-id")
            .expect("X-Instance-Id")
            .to_owned();
        pairs.insert((served_by, instance));
    }
    assert_eq!(pairs.len(), 3, "{pairs:?}");
}

#[tokio::test]
async fn a_used_refresh_token_ends_the_whole_session() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    let first = up.log_in("ada@example.com", PASSWORD).await;
    let mut tokens = vec![first["refresh_token"].clone()];
    for round in 0..3 {
        let body = json!({ "refresh_token": tokens[round] });
        // Each rotation at another instance: none keeps families in memory.
        let response = post(up.instances[round], "/api/v1/auth/refresh", &body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        tokens.push(response.json()["refresh_token"].clone());
    }
    let stolen = json!({ "refresh_token": tokens[0] });
    assert_eq!(up.post("/api/v1/auth/refresh", &stolen).await.status, 401);
    let newest = json!({ "refresh_token": tokens[3] });
    assert_eq!(
        up.post("/api/v1/auth/refresh", &newest).await.status,
        401,
        "the family is revoked"
    );
    assert_eq!(verify(up.http, &first["access_token"]).await.status, 401);
}

#[tokio::test]
async fn unknown_disabled_and_wrong_look_the_same() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    up.register("eve@example.com", PASSWORD).await;
    disable(&place, "eve@example.com").await;
    let refused = async |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        up.post("/api/v1/auth/login", &body).await
    };
    let wrong = refused("ada@example.com", "not the password at all").await;
    assert_eq!(wrong.status, 401);
    for (email, password) in [
        ("nobody@example.com", PASSWORD),
        ("eve@example.com", PASSWORD),
        ("eve@example.com", "not the password at all"),
    ] {
        assert_eq!(
            shape(&refused(email, password).await),
            shape(&wrong),
            "{email}"
        );
    }
}

/// All that a stranger can compare; what differs between any two answers is reduced to its length.
fn shape(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let fields = response.fields.iter().map(|(name, value)| {
        let varies = [
            "date",
            "x-request-id",
            "x-response-time",
            "x-instance-id",
            "x-served-by",
            "ratelimit-remaining",
            "ratelimit-reset",
        ];
        match varies.contains(&name.to_lowercase().as_str()) {
            true => (name.clone(), value.len().to_string()),
            false => (name.clone(), value.clone()),
        }
    });
    (response.status, fields.collect(), response.body.clone())
}

async fn disable(place: &Place, email: &str) {
    let data = place.data();
    let arguments = [
        "auth",
        "account",
        "disable",
        email,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let mut process = portcullis_testkit::Process::start(crate::harness::PORTCULLIS, &arguments);
    assert_eq!(process.exit_code().await, 0, "{}", process.output());
}

#[tokio::test]
async fn disabling_an_account_ends_its_sessions_everywhere() {
    let place = Place::new();
    let up = place.start().await;
    up.register("eve@example.com", PASSWORD).await;
    let grant = up.log_in("eve@example.com", PASSWORD).await;
    disable(&place, "eve@example.com").await;
    for &address in &up.instances {
        assert_eq!(verify(address, &grant["access_token"]).await.status, 401);
    }
    let body = json!({ "refresh_token": grant["refresh_token"] });
    assert_eq!(up.post("/api/v1/auth/refresh", &body).await.status, 401);
}

#[tokio::test]
async fn a_second_start_keeps_accounts_sessions_and_keys() {
    let place = Place::new();
    let grant = {
        let mut up = place.start().await;
        up.register("ada@example.com", PASSWORD).await;
        let grant = up.log_in("ada@example.com", PASSWORD).await;
        stop(&mut up).await;
        grant
    };
    let up = place.start().await;
    assert_eq!(verify(up.http, &grant["access_token"]).await.status, 200);
    let body = json!({ "refresh_token": grant["refresh_token"] });
    assert_eq!(up.post("/api/v1/auth/refresh", &body).await.status, 200);
    up.log_in("ada@example.com", PASSWORD).await;
}

async fn stop(up: &mut Up) {
    up.process.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(up.process.exit_code().await, 0, "{}", up.process.output());
}

#[tokio::test]
async fn health_and_discovery_answer_through_the_edge() {
    let place = Place::new();
    let up = place.start().await;
    let mut connection = Connection::open(up.http).await.unwrap();
    for path in [
        "/health",
        "/health/detailed",
        "/health/ready",
        "/health/live",
        "/ready",
        "/alive",
    ] {
        let response = connection.get(path).await.unwrap();
        assert_eq!(response.status, 200, "{path}");
        assert!(response.json().is_object(), "{path}");
    }
    let jwks = connection
        .get("/.well-known/jwks.json")
        .await
        .unwrap()
        .json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
        assert!(
            keys.iter().all(|key| key.get(private).is_none()),
            "{private} is published"
        );
    }
    let discovery = connection
        .get("/.well-known/openid-configuration")
        .await
        .unwrap()
        .json();
    assert!(
        discovery["issuer"].is_string() && discovery["jwks_uri"].is_string(),
        "{discovery}"
    );
}

#[tokio::test]
async fn guessing_is_slowed_on_all_instances_and_the_owner_stays_in() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    up.log_in("ada@example.com", PASSWORD).await;
    // The edge tells instances who really asks, so the attacker is not the owner to them.
    let attempt = async |password: &str| {
        let attacker = "127.0.0.2".parse().unwrap();
        let mut connection = Connection::open_from(attacker, up.http).await.unwrap();
        let body = json!({ "email": "ada@example.com", "password": password });
        connection
            .post_json("/api/v1/auth/login", &body)
            .await
            .unwrap()
            .status
    };
    for guess in 0..12 {
        assert_eq!(attempt(&format!("not the password {guess}")).await, 401);
    }
    assert_eq!(
        attempt(PASSWORD).await,
        401,
        "locked out: even the right guess looks wrong"
    );
    up.log_in("ada@example.com", PASSWORD).await;
}
