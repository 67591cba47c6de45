//! Certificate files that change while the edge runs: good ones, bad ones, and links that move.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_testkit::certificates::Identity;
use portcullis_testkit::{Authority, Endpoint, client, wait_until};
use serde_json::{Value, json};

use super::{edge_with, visit};
use crate::harness::{Edge, open_tls};
use crate::native::Setup;

const RELOADS: &str = "portcullis_edge_tls_reloads_total";

fn put(identity: &Identity, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::copy(&identity.cert, directory.join("tls.crt")).unwrap();
    fs::copy(&identity.key, directory.join("tls.key")).unwrap();
}

async fn edge_on(endpoint: &Endpoint, directory: &Path) -> Edge {
    let (cert, key) = (directory.join("tls.crt"), directory.join("tls.key"));
    let keys = json!({ "tls": { "certificates": [{ "cert": cert, "key": key }] } });
    Setup::new(&[endpoint]).listener("tls", &keys).start().await
}

async fn leaf(edge: &Edge, authority: &Authority) -> Vec<u8> {
    let client = open_tls(edge.listener(1), "app.example", authority).await;
    client.tls().unwrap().leaf.clone()
}

async fn wait_for_leaf(edge: &Edge, authority: &Authority, expected: &Identity) {
    wait_until("the other certificate", async || {
        (leaf(edge, authority).await == expected.leaf).then_some(())
    })
    .await;
}

async fn status(edge: &Edge) -> Value {
    let told = client::get(edge.admin(), "/v1/status").await.unwrap();
    told.json()["certificates"][0].clone()
}

#[tokio::test]
async fn a_changed_certificate_comes_into_force_without_a_restart() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let old = authority.issue("old", &["app.example"]);
    let new = authority.issue_until("new", &["app.example"], 3_000_000_000);
    let live = authority.directory().join("live");
    put(&old, &live);
    let edge = edge_on(&a, &live).await;
    let mut early = open_tls(edge.listener(1), "app.example", &authority).await;
    assert_eq!(early.tls().unwrap().leaf, old.leaf);
    put(&new, &live);
    wait_for_leaf(&edge, &authority, &new).await;
    assert_eq!(
        early.get("/").await.unwrap().status,
        200,
        "what is open stays open"
    );
    edge.wait_for_metric(RELOADS, &[("result", "ok")], 1.0)
        .await;
    let until = "portcullis_edge_tls_certificate_not_after_seconds";
    edge.wait_for_metric(until, &[("listener", "tls")], 3_000_000_000.0)
        .await;
    let told = status(&edge).await;
    assert_eq!(told["not_after"], "2065-01-24T05:20:00Z");
    assert_eq!(told["names"], json!(["app.example"]));
    assert_eq!(told["problem"], json!(null));
}

#[tokio::test]
async fn a_certificate_behind_a_link_that_moves_is_followed() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let directory = authority.directory().join("secret");
    let versions = ["..1", "..2"].map(|version| directory.join(version));
    let identities = ["one", "two"].map(|stem| authority.issue(stem, &["app.example"]));
    for (identity, version) in identities.iter().zip(&versions) {
        put(identity, version);
    }
    // As Kubernetes lays out a secret.
    symlink("..1", directory.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), directory.join(name)).unwrap();
    }
    let edge = edge_on(&a, &directory).await;
    assert_eq!(leaf(&edge, &authority).await, identities[0].leaf);
    symlink("..2", directory.join("..new")).unwrap();
    fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
    wait_for_leaf(&edge, &authority, &identities[1]).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_is_told_of() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let good = authority.issue("good", &["app.example"]);
    let live = authority.directory().join("live");
    put(&good, &live);
    let edge = edge_on(&a, &live).await;
    let (cert, key) = (live.join("tls.crt"), live.join("tls.key"));
    let expired = authority.issue_expired("expired", &["app.example"]);
    let other = authority.issue("other", &["app.example"]);
    let failed = [("result", "failed")];
    let mut failures = 0.0;
    for (spoil, words) in [
        (
            Box::new(|| put(&expired, &live)) as Box<dyn Fn()>,
            "expired on",
        ),
        (
            Box::new(|| fs::write(&cert, "garbage").unwrap()),
            "holds no certificate",
        ),
        (
            Box::new(|| fs::remove_file(&cert).unwrap()),
            "there is no file",
        ),
        (
            Box::new(|| {
                put(&good, &live);
                fs::copy(&other.key, &key).unwrap();
            }),
            "does not belong to the first certificate",
        ),
    ] {
        spoil();
        failures += 1.0;
        edge.wait_for_metric(RELOADS, &failed, failures).await;
        assert_eq!(leaf(&edge, &authority).await, good.leaf, "{words}");
        let problem = status(&edge).await["problem"].to_string();
        assert!(problem.contains(words), "{problem}");
        wait_until("the log", async || {
            let said = edge.process.output();
            (said.contains(words) && said.contains("the old one stays")).then_some(())
        })
        .await;
    }
    put(&other, &live);
    wait_for_leaf(&edge, &authority, &other).await;
    assert_eq!(status(&edge).await["problem"], json!(null));
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_of() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let soon = authority.issue_until("soon", &["app.example"], now + 6 * 24 * 3600);
    let live = authority.directory().join("live");
    put(&soon, &live);
    let edge = edge_on(&a, &live).await;
    wait_until("the warning", async || {
        let said = edge.process.output();
        said.contains("expires in less than 7 days").then_some(())
    })
    .await;
}

#[tokio::test]
async fn changed_ticket_secrets_end_the_sessions_of_the_old_ones() {
    let (a, authority) = (Endpoint::start("a").await, Authority::new());
    let file = authority.directory().join("tickets");
    fs::write(&file, "a".repeat(32)).unwrap();
    let edge = edge_with(&a, &authority, &json!({ "ticket_key_file": file })).await;
    let before = authority.client();
    assert!(!visit(&edge, &before).await);
    fs::write(&file, "short").unwrap();
    edge.wait_for_metric(RELOADS, &[("result", "failed")], 1.0)
        .await;
    assert!(visit(&edge, &before).await, "the old secret stays");
    fs::write(&file, "b".repeat(32)).unwrap();
    edge.wait_for_metric(RELOADS, &[("result", "ok")], 1.0)
        .await;
    assert!(!visit(&edge, &before).await);
    assert!(visit(&edge, &before).await);
}
