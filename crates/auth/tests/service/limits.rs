//! Limits that all instances share, on either shared state, as a requester sees them. Never waits for one to refill.

use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Response, wait_until};
use serde_json::{Map, Value, json};

use crate::harness::{EMAIL, Installation, PASSWORD, assert_problem};

fn left(response: &Response) -> u32 {
    let left = response
        .field("ratelimit-remaining")
        .expect("a limit is shown");
    left.parse().expect("it is a number")
}

async fn each_instance_takes_from_the_same(redis: Option<&Redis>) {
    let installation = Installation::new().await;
    let url = redis.map(Redis::url);
    let mut settings = vec![
        ("AUTH_RATE_LIMIT_LOGIN", "3"),
        ("AUTH_RATE_LIMIT_REGISTER", "2"),
    ];
    settings.extend(url.as_deref().map(|url| ("REDIS_URL", url)));
    let (a, b) = (
        installation.start_with("a", &settings).await,
        installation.start_with("b", &settings).await,
    );
    assert_eq!(left(&a.register(EMAIL, PASSWORD).await), 1);
    assert_eq!(left(&b.register("bob@example.com", PASSWORD).await), 0);
    let hashes = a.hashes().await;
    let refused = a.register("cyd@example.com", PASSWORD).await;
    assert_problem(&refused, 429, "rate_limited");
    assert_eq!(
        a.hashes().await,
        hashes,
        "sec_j01: limits come before hashes"
    );
    for (instance, remaining) in [(&a, 2), (&b, 1), (&a, 0)] {
        let answer = instance.try_login(EMAIL, PASSWORD).await;
        assert_eq!((answer.status, left(&answer)), (200, remaining));
        assert_eq!(answer.field("ratelimit-limit"), Some("3"));
    }
    let refused = b.try_login(EMAIL, PASSWORD).await;
    assert_problem(&refused, 429, "rate_limited");
    let seconds = |name: &str| refused.field(name).unwrap().parse::<u64>().unwrap();
    assert!((1..=20).contains(&seconds("retry-after")));
    assert!((40..=60).contains(&seconds("ratelimit-reset")));
    let metric = "portcullis_auth_rate_limited_total{use_case=\"login\"}";
    assert_eq!(b.metric(metric).await, 1.0);
    for _ in 0..20 {
        let healthy = b.get("/health").await;
        assert_eq!(
            (healthy.status, healthy.field("ratelimit-limit")),
            (200, None)
        );
    }
}

#[tokio::test]
async fn sec_j01_limits_hold_over_all_instances_on_a_file() {
    each_instance_takes_from_the_same(None).await;
}

#[tokio::test]
async fn sec_j01_limits_hold_over_all_instances_on_redis() {
    let redis = Redis::start().await;
    each_instance_takes_from_the_same(Some(&redis)).await;
}

#[tokio::test]
async fn sec_j04_without_redis_each_instance_gives_out_its_part() {
    let redis = Redis::start().await;
    let installation = Installation::new().await;
    let url = redis.url();
    let settings = [("AUTH_RATE_LIMIT_LOGIN", "6"), ("REDIS_URL", url.as_str())];
    let a = installation.start_with("a", &settings).await;
    a.register(EMAIL, PASSWORD).await;
    // The second to start sees the first, so its part is a half.
    let b = installation.start_with("b", &settings).await;
    redis.pause();
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(b.try_login(EMAIL, PASSWORD).await.status);
    }
    assert_eq!(answers, [200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn sec_j05_registrations_of_all_networks_together_are_bounded() {
    let installation = Installation::new().await;
    let settings = [("AUTH_RATE_LIMIT_REGISTER", "1"), ("TRUST_PROXY", "true")];
    let instance = installation.start_with("a", &settings).await;
    let register = async |n: u32| {
        let network = format!("198.51.100.{n}");
        let fields = [
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", network.as_str()),
        ];
        let body = format!(r#"{{"email":"user{n}@example.com","password":"{PASSWORD}"}}"#);
        let mut connection = instance.connect().await;
        let path = "/api/v1/auth/register";
        let answer = connection.request("POST", path, &fields, body.as_bytes());
        answer.await.unwrap().status
    };
    for n in 0..10 {
        assert_eq!(register(n).await, 202);
    }
    // On a slow machine one more may have come back meanwhile.
    let mut refused = false;
    for n in 10..20 {
        refused |= register(n).await == 429;
    }
    assert!(refused);
}

#[tokio::test]
async fn sec_j02_when_too_much_is_under_way_registrations_go_before_logins_and_health_never() {
    let installation = Installation::new().await;
    let room = [("MAX_REQUESTS_IN_FLIGHT", "8")];
    let instance = installation.start_with("a", &room).await;
    let tokens = instance.register_and_login().await;
    // Five logins whose bodies never come.
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut connection = instance.connect().await;
        connection.send(head.as_bytes()).await.unwrap();
        waiting.push(connection);
    }
    let under_way = "portcullis_auth_requests_in_flight";
    wait_until("five under way", async || {
        (instance.metric(under_way).await >= 6.0).then_some(())
    })
    .await;
    let shed = instance.register("bob@example.com", PASSWORD).await;
    assert_problem(&shed, 503, "busy");
    assert_eq!(shed.field("retry-after"), Some("1"));
    assert_eq!(instance.try_login(EMAIL, PASSWORD).await.status, 200);
    for _ in 0..4 {
        let mut connection = instance.connect().await;
        connection.send(head.as_bytes()).await.unwrap();
        waiting.push(connection);
    }
    wait_until("no login to be let in", async || {
        (instance.try_login(EMAIL, PASSWORD).await.status == 503).then_some(())
    })
    .await;
    assert_eq!(instance.verify(&tokens.access).await.status, 200);
    assert_eq!(instance.get("/health").await.status, 200);
    assert!(instance.metric("portcullis_auth_requests_shed_total").await >= 2.0);
}

#[tokio::test]
async fn the_size_of_redis_is_in_the_metrics() {
    let redis = Redis::start().await;
    let installation = Installation::new().await;
    let instance = installation
        .start_with("a", &[("REDIS_URL", &redis.url())])
        .await;
    assert!(instance.metric("portcullis_auth_shared_state_bytes").await > 100_000.0);
    // The marker, the registry's entry and its index.
    assert!(
        instance
            .metric("portcullis_auth_shared_state_entries")
            .await
            >= 3.0
    );
}

/// Out of the document, so that a route which takes a secret and slows nobody down cannot be added unseen.
#[tokio::test]
async fn sec_a11_every_route_that_takes_a_secret_slows_guesses_down() {
    // Its codes are not looked at after five failures, which the answer does not tell: see sec_g01.
    const SILENT: &str = "/api/v1/auth/mfa/totp/confirm";
    let few = [
        ("AUTH_RATE_LIMIT_LOGIN", "3"),
        ("AUTH_RATE_LIMIT_REGISTER", "3"),
        ("AUTH_RATE_LIMIT_REFRESH", "3"),
        ("AUTH_RATE_LIMIT_MAIL", "3"),
    ];
    let installation = Installation::with(&few).await;
    let instance = installation.start("a").await;
    let tokens = instance.register_and_login().await;
    let bearer = format!("Bearer {}", tokens.access);
    let fields = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let document = instance.get("/api/v1/openapi.json").await.json();
    let mut guessed = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let Some(members) = schema["properties"].as_object() else {
                continue;
            };
            let is_secret = |member: &Value| member["format"] == "password";
            if path == SILENT || !members.values().any(is_secret) {
                continue;
            }
            let mut statuses = Vec::new();
            for n in 0..8 {
                // Another account each time: what is slowed down is the network.
                let member = |(name, _): (&String, &Value)| match name.as_str() {
                    "email" => (name.clone(), json!(format!("guess{n}@example.com"))),
                    _ => (name.clone(), json!(format!("another guess {n}"))),
                };
                let body: Map<String, Value> = members.iter().map(member).collect();
                let body = Value::Object(body).to_string();
                let hashes = instance.hashes().await;
                let mut connection = instance.connect().await;
                let method = method.to_ascii_uppercase();
                let answer = connection.request(&method, path, &fields, body.as_bytes());
                let answer = answer.await.unwrap();
                if answer.status == 429 {
                    assert!(answer.field("retry-after").is_some(), "{path}");
                    assert_eq!(instance.hashes().await, hashes, "{path}: hashed nothing");
                }
                statuses.push(answer.status);
            }
            assert!(statuses[3..].contains(&429), "{path}: {statuses:?}");
            assert!(statuses.iter().all(|status| *status < 500), "{path}");
            guessed.push(path.clone());
        }
    }
    assert!(guessed.len() >= 9, "{guessed:?}");
}
