//! Roles, clients and API keys from the command line, beside the instances of `portcullis up`, through the edge.

use portcullis_testkit::{Connection, Process, Response};
use serde_json::{Value, json};

use crate::harness::PORTCULLIS;
use crate::harness::up::{Place, Up};

/// Runs a command of `portcullis auth`: its code, and its answers.
async fn auth(place: &Place, arguments: &[&str]) -> (i32, Vec<Value>) {
    let data = place.data();
    let ours = ["--json", "--data-dir", data.to_str().unwrap()];
    let all = [&["auth"], arguments, &ours].concat();
    let mut process = Process::start(PORTCULLIS, &all);
    let code = process.exit_code().await;
    let lines = process.stdout();
    let answers = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    (code, answers.collect())
}

async fn done(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let (code, answers) = auth(place, arguments).await;
    assert_eq!(code, 0, "{arguments:?}");
    answers
}

async fn check(up: &Up, key: &str, permission: &str) -> Response {
    let body = json!({ "permission": permission }).to_string();
    let fields = [("X-API-Key", key), ("Content-Type", "application/json")];
    let mut connection = Connection::open(up.http).await.unwrap();
    let path = "/api/v1/permissions/check";
    connection
        .request("POST", path, &fields, body.as_bytes())
        .await
        .unwrap()
}

async fn may(up: &Up, key: &str, permission: &str) -> bool {
    // Whichever instance the edge takes.
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = check(up, key, permission).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answers.push(answer.json()["allowed"].as_bool().unwrap());
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    answers[0]
}

#[tokio::test]
async fn an_operator_gives_a_machine_what_it_may_do_and_takes_it_back() {
    let place = Place::new();
    let up = place.start().await;
    done(&place, &["role", "set", "clerk", "orders:read", "users:*"]).await;
    let client = done(
        &place,
        &["client", "set", "billing", "clerk", "--tier", "internal"],
    )
    .await;
    assert_eq!(client[0]["tier"], json!("internal"));
    let create = [
        "api-key",
        "create",
        "client:billing",
        "nightly run",
        "orders:*",
        "users:read",
        "--days",
        "7",
    ];
    let made = done(&place, &create).await;
    let key = made[0]["key"].as_str().unwrap();
    assert!(may(&up, key, "orders:read").await);
    assert!(!may(&up, key, "orders:write").await, "beyond its client");
    assert!(may(&up, key, "users:read").await);
    assert!(!may(&up, key, "users:write").await, "beyond itself");

    done(&place, &["role", "set", "clerk", "orders:write"]).await;
    assert!(
        !may(&up, key, "orders:read").await,
        "on the next request of every instance"
    );
    assert!(may(&up, key, "orders:write").await);
    let roles = done(&place, &["role", "list"]).await;
    assert_eq!(
        roles,
        [json!({ "name": "clerk", "permissions": ["orders:write"] })]
    );
    assert_eq!(
        auth(&place, &["role", "remove", "clerk"]).await.0,
        1,
        "held"
    );

    let listed = done(&place, &["api-key", "list", "client:billing"]).await;
    assert_eq!(
        (listed.len(), &listed[0]["key"]),
        (1, &Value::Null),
        "shown once"
    );
    let id = listed[0]["id"].as_str().unwrap();
    done(&place, &["api-key", "revoke", id]).await;
    for _ in 0..3 {
        assert_eq!(check(&up, key, "orders:write").await.status, 401);
    }
    done(&place, &["client", "remove", "billing"]).await;
    done(&place, &["role", "remove", "clerk"]).await;
    assert!(done(&place, &["client", "list"]).await.is_empty());
    for refused in [
        &["role", "set", "Clerk"][..],
        &["role", "set", "clerk", "orders"],
        &["role", "remove", "clerk"],
        &["client", "set", "billing", "--tier", "gold"],
        &["client", "remove", "billing"],
        &["api-key", "create", "client:billing", "k"],
        &["api-key", "create", "nonsense", "k"],
        &["api-key", "revoke", "1"],
        &["account", "set-tier", "nobody@example.com", "pro"],
    ] {
        assert_eq!(auth(&place, refused).await.0, 1, "{refused:?}");
    }
}
