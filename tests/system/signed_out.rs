//! `portcullis up` follows its own revocations: a logout counts at its edge with no further setting.
//! Never looks into a process: only at what it answers, prints and leaves in its directory.

use std::os::unix::fs::PermissionsExt;

use portcullis_testkit::{Connection, Process, Response, client, wait_until};
use serde_json::Value;

use crate::harness::PORTCULLIS;
use crate::harness::up::{Place, Up, verify, with_token};

const PASSWORD: &str = "correct horse battery staple";
/// The edge asks for a token here, and so does the instance behind it, for an administrator's.
const GUARDED: &str = "/api/v1/load-balancer/config";

async fn ask(up: &Up, path: &str, token: &Value) -> Response {
    let mut connection = Connection::open(up.http).await.unwrap();
    let answer = with_token(&mut connection, "GET", path, token).await;
    answer.unwrap()
}

/// How many tokens the edge itself found revoked.
async fn revoked(up: &Up) -> f64 {
    let text = client::get(up.admin, "/metrics").await.unwrap().text();
    let line = text
        .lines()
        .find(|line| line.starts_with("portcullis_edge_tokens_total") && line.contains("revoked"));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn a_logout_at_any_instance_is_refused_by_the_edge_of_up() {
    let place = Place::new();
    let up = place.start().await;
    up.register("ada@example.com", PASSWORD).await;
    for &instance in &up.instances {
        let token = up.log_in("ada@example.com", PASSWORD).await["access_token"].clone();
        let let_through = ask(&up, GUARDED, &token).await;
        assert_eq!(let_through.status, 403, "a good token, no administrator's");
        assert!(let_through.field("x-instance-id").is_some());
        let before = revoked(&up).await;
        let mut connection = Connection::open(instance).await.unwrap();
        let logout = with_token(&mut connection, "POST", "/api/v1/auth/logout", &token).await;
        assert_eq!(logout.unwrap().status, 204);
        wait_until("the edge itself to refuse the token", async || {
            let answer = ask(&up, GUARDED, &token).await;
            assert_eq!(answer.status, 401, "whoever refuses it");
            (answer.field("x-instance-id").is_none() && revoked(&up).await > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_needs_no_token_in_up_is_not_looked_at_by_its_edge() {
    let place = Place::new();
    let up = place.start().await;
    let refused = client::get(up.http, GUARDED).await.unwrap();
    assert_eq!(refused.status, 401);
    assert!(refused.field("x-instance-id").is_none(), "by the edge");
    let health = client::get(up.http, "/api/v1/load-balancer/health").await;
    assert_eq!(health.unwrap().status, 200);
    let judged = verify(up.http, &Value::from("no.token.atall")).await;
    assert_eq!(judged.status, 401);
    assert!(
        judged.field("x-instance-id").is_some(),
        "an instance says why"
    );
}

#[tokio::test]
async fn the_token_of_internal_listeners_is_the_owners_alone_and_never_printed() {
    let place = Place::new();
    let up = place.start().await;
    let file = place.data().join("internal.token");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    let edge_file = place.data().join("edge.yaml");
    let yaml = std::fs::read_to_string(&edge_file).unwrap();
    assert!(!yaml.contains(&token) && !up.process.output().contains(&token));
    let mut check = Process::start(PORTCULLIS, &["check", edge_file.to_str().unwrap()]);
    assert_eq!(check.exit_code().await, 0, "{}", check.output());
    for (public, internal) in up.instances.iter().zip(&up.internal) {
        let elsewhere = client::get(*public, "/metrics").await.unwrap();
        assert_eq!(elsewhere.status, 404);
        let strange = client::get(*internal, "/metrics").await.unwrap();
        assert_eq!(strange.status, 401);
        let mut connection = Connection::open(*internal).await.unwrap();
        let token = Value::from(token.as_str());
        let metrics = with_token(&mut connection, "GET", "/metrics", &token).await;
        assert!(metrics.unwrap().text().contains("portcullis_auth_ready 1"));
    }
}
