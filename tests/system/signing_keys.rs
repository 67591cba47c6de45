//! Signing keys of real instances: the operator's commands, rotation under load, and what a revoked key still opens.

mod rotation;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_testkit::postgres::Postgres;
use portcullis_testkit::redis::Redis;
use portcullis_testkit::{Endpoint, Process, client, wait_until};
use portcullis_token::Jwks;
use serde_json::{Value, json};

use crate::harness::Edge;
use crate::harness::auth::{Auth, with_token};
use crate::native::Setup;

/// How soon a revoked key opens nothing, anywhere.
const SOON: Duration = Duration::from_secs(1);
/// How long a key is published before it signs: max-age of the key set, a poll of 30 s and skew of 30 s.
const PUBLISHED_AHEAD_MS: i64 = 360_000;
const VERIFY: &str = "/api/v1/auth/verify";

/// Instances on a Redis and a PostgreSQL.
async fn on_servers(count: usize, more: &[(&'static str, String)]) -> (Auth, Redis, Postgres) {
    let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
    let mut variables = vec![("REDIS_URL", redis.url()), ("DATABASE_URL", postgres.url())];
    variables.extend_from_slice(more);
    (Auth::start_with(count, &variables).await, redis, postgres)
}

/// Whatever `next` key there is was made so long ago that every verifier has it.
fn age_next_key(postgres: &Postgres) {
    let moved = format!(
        "UPDATE signing_key SET created_at = created_at - {PUBLISHED_AHEAD_MS} WHERE state = 'next'"
    );
    postgres.query(&moved);
}

fn kid_of(token: &str) -> String {
    let head = token.split('.').next().unwrap();
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

/// The keys that a command printed as JSON.
fn printed(process: &Process) -> Vec<Value> {
    let lines = process.stdout();
    let parse = |line: &String| serde_json::from_str(line).unwrap();
    lines.iter().map(parse).collect()
}

fn kid_in(keys: &[Value], state: &str) -> String {
    let mut found = keys.iter().filter(|key| key["state"] == state);
    let (first, second) = (found.next(), found.next());
    assert!(second.is_none(), "one is {state}: {keys:?}");
    let first = first.unwrap_or_else(|| panic!("none is {state}: {keys:?}"));
    first["kid"].as_str().unwrap().to_owned()
}

/// A refusal is one line, tells nothing from inside, and nothing is on standard output.
fn assert_refused((code, process): &(i32, Process), says: &str) {
    assert_eq!(*code, 1, "{}", process.output());
    let lines = process.stderr();
    assert!(lines.len() == 1 && lines[0].contains(says), "{lines:#?}");
    assert!(process.stdout().is_empty(), "{}", process.output());
}

async fn published(address: SocketAddr) -> BTreeSet<String> {
    let answer = client::get(address, "/.well-known/jwks.json")
        .await
        .unwrap();
    let keys = Jwks::parse(&answer.body).unwrap();
    keys.keys().iter().map(|key| key.kid().to_owned()).collect()
}

/// Waits until a key is published ahead, as one is some seconds after the first start.
async fn next_key(address: SocketAddr) {
    wait_until("a key published ahead", async || {
        (published(address).await.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn keys_are_listed_and_revoked_by_command_on_a_file() {
    listed_and_revoked(&Auth::start(1).await).await;
}

#[tokio::test]
async fn keys_are_listed_and_revoked_by_command_on_postgresql_and_redis() {
    let (auth, _redis, _postgres) = on_servers(1, &[]).await;
    listed_and_revoked(&auth).await;
}

async fn listed_and_revoked(auth: &Auth) {
    let address = auth.instances[0].address();
    let token = auth.log_in(0).await;
    next_key(address).await;
    let (code, listed) = auth.run(&["keys", "list", "--json"]).await;
    assert_eq!(code, 0, "{}", listed.output());
    let keys = printed(&listed);
    let (active, next) = (kid_in(&keys, "active"), kid_in(&keys, "next"));
    assert_eq!(active, kid_of(&token));
    for key in &keys {
        assert_eq!(key["algorithm"], "RS256");
        let known = key["known_to_verifiers_at_ms"].as_i64().unwrap();
        assert_eq!(
            known - key["created_at_ms"].as_i64().unwrap(),
            PUBLISHED_AHEAD_MS
        );
    }
    assert_eq!(
        published(address).await,
        BTreeSet::from([active.clone(), next.clone()])
    );
    let (code, text) = auth.run(&["keys", "list"]).await;
    assert_eq!(code, 0, "{}", text.output());
    let lines = text.stdout();
    assert!(
        lines.len() == 2 && lines[0].starts_with(&active) && lines[0].contains("active since 20")
    );
    assert!(!listed.output().contains("PRIVATE") && !text.output().contains("PRIVATE"));

    // Too early: a verifier that fetched the keys a moment ago need not know the next one.
    let early = auth.run(&["keys", "rotate"]).await;
    assert_refused(&early, "takes over in");
    assert!(early.1.stderr()[0].contains(&next), "names the key");
    assert_refused(&auth.run(&["keys", "revoke", "nobody"]).await, "nobody");
    assert_eq!(
        with_token(address, "GET", VERIFY, &token).await.status,
        200,
        "nothing has happened"
    );

    let (code, revoked) = auth.run(&["keys", "revoke", "--json", &active]).await;
    assert_eq!(code, 0, "{}", revoked.output());
    let after = printed(&revoked);
    assert_eq!(
        kid_in(&after, "active"),
        next,
        "what was published ahead signs"
    );
    assert_eq!(kid_in(&after, "retired"), active);
    assert_eq!(with_token(address, "GET", VERIFY, &token).await.status, 401);
    let (code, again) = auth.run(&["keys", "revoke", &active]).await;
    assert_eq!(code, 0, "twice is no error: {}", again.output());
    let fresh = wait_until("another key to sign", async || {
        Some(auth.log_in(0).await).filter(|token| kid_of(token) == next)
    })
    .await;
    assert_eq!(with_token(address, "GET", VERIFY, &fresh).await.status, 200);
}

#[tokio::test]
async fn key_commands_that_cannot_be_meant_change_nothing() {
    let auth = Auth::start(0).await;
    for usage in [
        &["keys"][..],
        &["keys", "revoke"],
        &["keys", "lists"],
        &["keys", "list", "surplus"],
        &["keys", "rotate", "--yes"],
        &["keys", "revoke", "a", "b"],
    ] {
        let (code, process) = auth.run(usage).await;
        assert_eq!(code, 2, "{usage:?}: {}", process.output());
        assert!(process.stdout().is_empty(), "{usage:?}");
    }
    let nowhere = ["keys", "list", "--data-dir", "/nowhere/at-all"];
    assert_refused(&auth.run(&nowhere).await, "/nowhere/at-all");
    let nobody = "postgres://u:hunter2@127.0.0.1:1/x".to_owned();
    let gone = Auth::start_with(0, &[("DATABASE_URL", nobody)]).await;
    let (code, process) = gone.run(&["keys", "list"]).await;
    assert_eq!(code, 1, "{}", process.output());
    assert!(!process.output().contains("hunter2"), "a password is shown");
}

#[tokio::test]
async fn a_key_that_verifiers_know_takes_over_by_command() {
    let (auth, _redis, postgres) = on_servers(2, &[]).await;
    let old = auth.log_in(0).await;
    next_key(auth.instances[0].address()).await;
    age_next_key(&postgres);
    let (code, rotated) = auth.run(&["keys", "rotate", "--json"]).await;
    assert_eq!(code, 0, "{}", rotated.output());
    let keys = printed(&rotated);
    assert_eq!(kid_in(&keys, "retiring"), kid_of(&old));
    assert_eq!(keys.len(), 3, "and another is published: {keys:?}");
    for position in [0, 1] {
        let address = auth.instances[position].address();
        let fresh = wait_until("the new key to sign", async || {
            let token = auth.log_in(position).await;
            (kid_of(&token) == kid_in(&keys, "active")).then_some(token)
        })
        .await;
        for token in [&old, &fresh] {
            assert_eq!(with_token(address, "GET", VERIFY, token).await.status, 200);
        }
    }
}

/// An edge in front of `app` that asks for tokens of `auth` everywhere.
async fn edge(app: &Endpoint, auth: &Auth) -> Edge {
    let setup = Setup::new(&[app]).set("issuers.main", auth.issuer());
    setup.set("routes.0.auth", json!("main")).start().await
}

#[tokio::test]
async fn sec_c18_a_revoked_key_opens_nothing_within_a_second_on_files() {
    a_revoked_key_opens_nothing(Auth::start(3).await).await;
}

#[tokio::test]
async fn sec_c18_a_revoked_key_opens_nothing_within_a_second_on_postgresql_and_redis() {
    let (auth, _redis, _postgres) = on_servers(3, &[]).await;
    a_revoked_key_opens_nothing(auth).await;
}

async fn a_revoked_key_opens_nothing(auth: Auth) {
    let app = Endpoint::start("app").await;
    let edge = edge(&app, &auth).await;
    let mut places: Vec<_> = auth
        .instances
        .iter()
        .map(|one| (one.address(), VERIFY))
        .collect();
    places.push((edge.http(), "/"));
    let token = auth.log_in(0).await;
    for (address, path) in &places {
        assert_eq!(with_token(*address, "GET", path, &token).await.status, 200);
    }
    let (code, process) = auth.run(&["keys", "revoke", &kid_of(&token)]).await;
    assert_eq!(code, 0, "{}", process.output());
    let revoked = Instant::now();
    for (address, path) in &places {
        wait_until("a refusal", async || {
            let status = with_token(*address, "GET", path, &token).await.status;
            (status == 401).then_some(())
        })
        .await;
    }
    assert!(revoked.elapsed() < SOON, "{:?}", revoked.elapsed());
    // Whoever logs in again goes on, and what was revoked stays so.
    for position in 0..3 {
        let fresh = wait_until("another key to sign", async || {
            let fresh = auth.log_in(position).await;
            (kid_of(&fresh) != kid_of(&token)).then_some(fresh)
        })
        .await;
        for (address, path) in &places {
            let status = with_token(*address, "GET", path, &fresh).await.status;
            assert_eq!(status, 200, "a token of {position} at {address}");
            let status = with_token(*address, "GET", path, &token).await.status;
            assert_eq!(status, 401, "a token of the revoked key at {address}");
        }
    }
}
