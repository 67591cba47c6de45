//! The internal listener: what edges follow, and who may not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::{Connection, Response, client, free_port, wait_until};
use portcullis_token::Skew;
use portcullis_token::feed::{Answer, Page};
use portcullis_token::revocation::Record;

use crate::harness::{Installation, Instance, assert_problem};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const PATH: &str = "/internal/v1/revocations";

/// An instance with an internal listener at the address returned.
async fn start(installation: &Installation, name: &str) -> (Instance, SocketAddr) {
    let port = free_port();
    let address = port.address();
    drop(port);
    let text = address.to_string();
    let more = [("INTERNAL_ADDRESS", text.as_str())];
    (installation.start_with(name, &more).await, address)
}

fn page(response: &Response) -> Page {
    assert_eq!(response.status, 200, "{}", response.text());
    match Answer::decode(&response.text()) {
        Ok(Answer::Page(page)) => page,
        other => panic!("{other:?} in {}", response.text()),
    }
}

#[tokio::test]
async fn a_logout_at_any_instance_reaches_a_follower_that_waits_at_another() {
    let installation = Installation::new().await;
    let (followed, internal) = start(&installation, "a").await;
    let other = installation.start("b").await;
    let start = page(&client::get(internal, PATH).await.unwrap());
    assert!(start.records.is_empty() && start.is_last);
    let mut position = start.position;
    let mut connection = Connection::open(internal).await.unwrap();
    other.register_and_login().await;
    for instance in [&followed, &other] {
        let tokens = instance.login().await;
        let path = format!("{PATH}?after={position}&wait_ms=20000");
        let waiting = connection.get(&path);
        let asked = Instant::now();
        let (answer, logout) = tokio::join!(waiting, instance.logout(&tokens.access));
        assert_eq!(logout.status, 204);
        assert!(
            asked.elapsed() < Duration::from_secs(10),
            "woken, not timed out"
        );
        let page = page(&answer.unwrap());
        assert!(
            matches!(page.records.as_slice(), [Record::Session { .. }]),
            "{page:?}"
        );
        position = page.position;
    }
}

#[tokio::test]
async fn a_heartbeat_comes_in_time_and_tells_when_the_log_was_read() {
    let installation = Installation::new().await;
    let (_instance, internal) = start(&installation, "a").await;
    let position = page(&client::get(internal, PATH).await.unwrap()).position;
    let path = format!("{PATH}?after={position}&wait_ms=400");
    // A log that a busy machine could not read in time is told as one read before the question.
    wait_until("a log read while somebody waited", async || {
        let asked = Instant::now();
        let heartbeat = page(&client::get(internal, &path).await.unwrap());
        let took = asked.elapsed().as_millis() as i64;
        assert!(took >= 400 && heartbeat.records.is_empty() && heartbeat.is_last);
        assert_eq!(heartbeat.position, position);
        assert!(
            heartbeat.read_ms <= took,
            "{} of {took} ms",
            heartbeat.read_ms
        );
        (heartbeat.read_ms >= 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_revocation_is_told_for_as_long_as_the_most_tolerant_edge_could_accept_the_token() {
    let installation = Installation::new().await;
    let (instance, internal) = start(&installation, "a").await;
    instance.register_and_login().await;
    let tokens = instance.login().await;
    let claims = tokens.access.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let end = claims["exp"].as_i64().unwrap() + i64::from(Skew::MAX_SECONDS);
    instance.logout(&tokens.access).await;
    let told = wait_until("the logout to be told", async || {
        let records = page(&client::get(internal, PATH).await.unwrap()).records;
        records.into_iter().next()
    })
    .await;
    assert!(told.until() > end, "{told:?} of {claims}");
}

#[tokio::test]
async fn followers_and_what_they_are_told_are_counted() {
    let installation = Installation::new().await;
    let (_instance, internal) = start(&installation, "a").await;
    let metric = async |name: &str| {
        let text = client::get(internal, "/metrics").await.unwrap().text();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0.0, |value| value.trim().parse::<f64>().unwrap())
    };
    let page_answers = "portcullis_auth_feed_answers_total{kind=\"page\"}";
    let position = page(&client::get(internal, PATH).await.unwrap()).position;
    assert_eq!(metric(page_answers).await, 1.0);
    let strange = format!("{PATH}?after=another.1");
    client::get(internal, &strange).await.unwrap();
    let gap_answers = "portcullis_auth_feed_answers_total{kind=\"gap\"}";
    assert_eq!(metric(gap_answers).await, 1.0);
    let mut connection = Connection::open(internal).await.unwrap();
    let path = format!("{PATH}?after={position}&wait_ms=20000");
    let waiting = connection.get(&path);
    let seen = wait_until("a follower to be seen", async || {
        let followers = metric("portcullis_auth_feed_followers ").await;
        (followers == 1.0).then_some(())
    });
    tokio::select! {
        answer = waiting => panic!("there was nothing to tell: {answer:?}"),
        () = seen => {}
    }
    drop(connection);
    wait_until("a follower that left to be forgotten", async || {
        let followers = metric("portcullis_auth_feed_followers ").await;
        (followers == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bad_questions_are_problems_and_a_strange_position_is_a_gap() {
    let installation = Installation::new().await;
    let (_instance, internal) = start(&installation, "a").await;
    for bad in [
        "after=7",
        "wait_ms=25001",
        "wait_ms=x",
        "wait_ms=1&wait_ms=1",
        "limit=1",
    ] {
        let response = client::get(internal, &format!("{PATH}?{bad}"))
            .await
            .unwrap();
        assert_problem(&response, 400, "invalid_query");
    }
    let strange = format!("{PATH}?after=another.1");
    let response = client::get(internal, &strange).await.unwrap();
    assert_eq!(Answer::decode(&response.text()), Ok(Answer::Gap));
    let login = client::get(internal, "/api/v1/auth/verify").await.unwrap();
    assert_problem(&login, 404, "not_found");
    assert_eq!(
        client::get(internal, "/health/live").await.unwrap().status,
        200
    );
}

#[tokio::test]
async fn the_public_listener_tells_no_revocations_and_leaves_metrics_to_the_internal_one() {
    let installation = Installation::new().await;
    let (instance, internal) = start(&installation, "a").await;
    for path in [PATH, "/metrics"] {
        assert_problem(&instance.get(path).await, 404, "not_found");
    }
    let metrics = client::get(internal, "/metrics").await.unwrap();
    assert!(metrics.text().contains("portcullis_auth_ready 1"));
    let alone = installation.start("b").await;
    assert_eq!(alone.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn where_there_is_a_token_nothing_is_answered_without_it() {
    let installation = Installation::new().await;
    let port = free_port();
    let (internal, file) = (port.address(), installation.path().join("token"));
    drop(port);
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let (address, file) = (internal.to_string(), file.display().to_string());
    let more = [
        ("INTERNAL_ADDRESS", address.as_str()),
        ("INTERNAL_TOKEN_FILE", file.as_str()),
    ];
    let _instance = installation.start_with("a", &more).await;
    let ask = async |path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let fields = [("Authorization", authorization.as_str())];
        let mut connection = Connection::open(internal).await.unwrap();
        connection.request("GET", path, &fields, b"").await.unwrap()
    };
    for path in [PATH, "/metrics", "/nowhere"] {
        let response = client::get(internal, path).await.unwrap();
        assert_problem(&response, 401, "internal_token");
        assert!(
            response
                .field("www-authenticate")
                .is_some_and(|field| field.starts_with("Bearer"))
        );
        for wrong in ["", &TOKEN[1..], &format!("{TOKEN}0")] {
            assert_eq!(ask(path, wrong).await.status, 401, "{path}");
        }
    }
    page(&ask(PATH, TOKEN).await);
}
