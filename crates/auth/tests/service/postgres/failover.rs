//! Three instances on a primary and its replica: the primary is killed under requests, the replica promoted, the old
//! primary comes back. Never a mock, and never a look at anything but answers and, at the end, at what was kept.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use portcullis_testkit::{Postgres, wait_until};
use serde_json::Value;

use crate::harness::{EMAIL, Installation, Instance, PASSWORD, Tokens};

/// How soon after a promotion writes must be taken again.
const RESUMED: Duration = Duration::from_secs(5);

/// A primary whose commits wait for its replica, and what instances are told of the two.
async fn pair() -> (Postgres, Postgres, String) {
    let primary = Postgres::start_followed(&[("max_connections", "200")]).await;
    let standby = primary.standby("one", &[("max_connections", "200")]).await;
    primary.wait_for_standby("one");
    let both = format!("{},{}", primary.address(), standby.address());
    let url = primary.url().replace(&primary.address().to_string(), &both);
    (primary, standby, url)
}

async fn roles(instance: &Instance) -> Vec<String> {
    let detailed = instance.get("/health/detailed").await.json();
    let endpoints = &detailed["data"]["services"]["postgresql"]["endpoints"];
    let endpoints = endpoints.as_array().unwrap().iter();
    endpoints
        .map(|endpoint: &Value| endpoint["role"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_roles(instance: &Instance, expected: [&str; 2]) {
    wait_until(&format!("{expected:?}"), async || {
        (roles(instance).await == expected).then_some(())
    })
    .await;
}

/// Registers one address after another until it is over; those that were accepted.
async fn register_until(instance: &Instance, name: &str, is_over: &Cell<bool>) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0.. {
        if is_over.get() {
            break;
        }
        let email = format!("{name}-{number}@example.com");
        let answer = instance.register(&email, PASSWORD).await;
        match answer.status {
            202 => accepted.push(email),
            503 => assert!(answer.field("retry-after").is_some()),
            status => panic!("{status}: {}", answer.text()),
        }
    }
    accepted
}

fn count(server: &Postgres) -> u64 {
    let rows = server.query("SELECT count(*) FROM account");
    rows.parse().unwrap()
}

async fn more(server: &Postgres) {
    let before = count(server);
    wait_until("registrations", async || {
        (count(server) > before + 3).then_some(())
    })
    .await;
}

/// Refreshes one chain; an answer that got lost is asked for again with the same token.
async fn refresh_until(instance: &Instance, first: Tokens, is_over: &Cell<bool>) -> Tokens {
    let mut current = first;
    while !is_over.get() {
        let answer = instance.refresh(&current.refresh).await;
        match answer.status {
            200 => current = Tokens::of(&answer),
            503 => {}
            status => panic!("a chain ended with {status}: {}", answer.text()),
        }
    }
    current
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_d06_a_failover_loses_nothing_acknowledged_and_writes_resume_within_seconds() {
    let (mut primary, standby, url) = pair().await;
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_POOL_SIZE", "2"),
        ("AUTH_RATE_LIMIT_ENABLED", "false"),
    ];
    let installation = Installation::with(&settings).await;
    let start = |name| installation.start(name);
    let (a, b, c) = tokio::join!(start("a"), start("b"), start("c"));
    let first = a.register_and_login().await;
    let ended = b.login().await;
    let verified = c.login().await;
    assert_eq!(b.logout(&ended.access).await.status, 204);
    until_roles(&a, ["primary", "replica"]).await;
    let is_over = Cell::new(false);
    let trouble = async {
        more(&standby).await;
        primary.kill().await;
        for _ in 0..20 {
            assert_eq!(c.verify(&verified.access).await.status, 200);
            assert_eq!(c.verify(&ended.access).await.status, 401);
        }
        standby.promote();
        let promoted = Instant::now();
        for (name, instance) in [("late-a", &a), ("late-b", &b), ("late-c", &c)] {
            wait_until("a write", async || {
                let email = format!("{name}-{}@example.com", promoted.elapsed().as_nanos());
                (instance.register(&email, PASSWORD).await.status == 202).then_some(())
            })
            .await;
        }
        let took = promoted.elapsed();
        assert!(took < RESUMED, "{took:?}");
        more(&standby).await;
        primary.restart().await;
        until_roles(&a, ["fenced", "primary"]).await;
        more(&standby).await;
        is_over.set(true);
    };
    let (ones, others, chain, ()) = tokio::join!(
        register_until(&a, "a", &is_over),
        register_until(&b, "b", &is_over),
        refresh_until(&c, first, &is_over),
        trouble,
    );
    let kept = standby.query("SELECT email FROM account");
    let kept: BTreeSet<&str> = kept.lines().collect();
    for email in ones.iter().chain(&others) {
        assert!(kept.contains(email.as_str()), "{email} was acknowledged");
    }
    assert!(ones.len() > 5 && others.len() > 5);
    assert_eq!(a.verify(&chain.access).await.status, 200);
    assert_eq!(a.verify(&ended.access).await.status, 401);
    assert_eq!(a.try_login(EMAIL, PASSWORD).await.status, 200);
    assert_eq!(
        a.metric("portcullis_auth_database_failovers_total").await,
        2.0
    );
    assert_eq!(
        a.metric("portcullis_auth_database_endpoints{role=\"fenced\"}")
            .await,
        1.0
    );
}
