//! Rotation while thousands of requests come, judged by a verifier elsewhere that keeps the key set as long as it may.
//! Never waits for the six minutes that a key is published before it signs: the database says that they are over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_testkit::{Connection, client, wait_until};
use portcullis_token::{Jwks, KeySet, Skew, TokenType, Verifier};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{VERIFY, age_next_key, assert_refused, kid_of, on_servers, published};
use crate::harness::auth::ISSUER;
use crate::harness::issuer::now;

/// What verifies elsewhere, by a key set that is as old as it may be.
struct Outside {
    keys: Mutex<Arc<KeySet>>,
    verifier: Verifier,
}

impl Outside {
    async fn new(address: SocketAddr) -> Self {
        let verifier = Verifier {
            issuer: ISSUER.into(),
            audience: ISSUER.into(),
            token_type: TokenType::AccessToken,
            skew: Skew::DEFAULT,
        };
        let keys = Mutex::new(fetched(address).await);
        Self { keys, verifier }
    }

    async fn renew(&self, address: SocketAddr) {
        let keys = fetched(address).await;
        *self.keys.lock().unwrap() = keys;
    }

    fn accepts(&self, token: &str) {
        let keys = Arc::clone(&self.keys.lock().unwrap());
        let verified = self.verifier.verify(token, &keys, now());
        assert!(verified.is_ok(), "{verified:?} of {}", kid_of(token));
    }
}

/// The key set, which may be kept for as long as this test keeps it.
async fn fetched(address: SocketAddr) -> Arc<KeySet> {
    let answer = client::get(address, "/.well-known/jwks.json")
        .await
        .unwrap();
    let lifetime = answer.field("cache-control");
    assert_eq!(lifetime, Some("public, max-age=300"));
    Arc::new(KeySet::from_jwks(&Jwks::parse(&answer.body).unwrap()))
}

/// What all clients of the load share.
struct Traffic {
    outside: Outside,
    /// Answered requests.
    count: AtomicUsize,
    is_over: AtomicBool,
    /// Keys in the order in which tokens of them came.
    kids: Mutex<Vec<String>>,
}

impl Traffic {
    fn saw(&self, kid: String) {
        let mut kids = self.kids.lock().unwrap();
        if !kids.contains(&kid) {
            kids.push(kid);
        }
    }
}

const REQUESTS: usize = 10_000;

/// Refreshes at one instance, and asks both about this token and the one before, again and again.
async fn keep_asking(traffic: Arc<Traffic>, addresses: [SocketAddr; 2], login: Value, seed: usize) {
    let mut connections = Vec::new();
    for address in addresses {
        connections.push(Connection::open(address).await.unwrap());
    }
    let (mut token, mut refresh) = (
        login["access_token"].clone(),
        login["refresh_token"].clone(),
    );
    for turn in seed.. {
        let spent = json!({ "refresh_token": refresh });
        let answer = connections[turn % 2]
            .post_json("/api/v1/auth/refresh", &spent)
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let before = std::mem::replace(&mut token, answer.json()["access_token"].clone());
        refresh = answer.json()["refresh_token"].clone();
        let fresh = token.as_str().unwrap();
        traffic.outside.accepts(fresh);
        traffic.saw(kid_of(fresh));
        for (asked, connection) in connections.iter_mut().enumerate() {
            for token in [&token, &before, &token] {
                let bearer = format!("Bearer {}", token.as_str().unwrap());
                let fields = [("Authorization", bearer.as_str())];
                let answer = connection.request("GET", VERIFY, &fields, b"").await;
                let answer = answer.unwrap();
                assert_eq!(answer.status, 200, "at {asked}: {}", answer.text());
            }
        }
        traffic.count.fetch_add(7, Ordering::Relaxed);
        if traffic.is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn wait_for_requests(traffic: &Traffic, share: usize) {
    wait_until("requests", async || {
        (traffic.count.load(Ordering::Relaxed) >= REQUESTS * share / 4).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_c17_ten_thousand_requests_at_two_processes_verify_through_three_rotations() {
    let (auth, _redis, postgres) = on_servers(2, &[]).await;
    let addresses = [auth.instances[0].address(), auth.instances[1].address()];
    auth.log_in(0).await;
    let traffic = Arc::new(Traffic {
        outside: Outside::new(addresses[0]).await,
        count: AtomicUsize::default(),
        is_over: false.into(),
        kids: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    for seed in 0..4 {
        let login = auth.log_in_for(seed % 2).await;
        clients.spawn(keep_asking(traffic.clone(), addresses, login, seed));
    }
    for round in 1..=3 {
        wait_for_requests(&traffic, round).await;
        // Published a moment ago: whoever fetched the keys before does not know it.
        if round > 1 {
            assert_refused(&auth.run(&["keys", "rotate"]).await, "takes over in");
        }
        // Six minutes pass: the time in which everybody asks again, wherever.
        wait_until("the next key to be published", async || {
            let sets = [published(addresses[0]).await, published(addresses[1]).await];
            sets.iter().all(|set| set.len() == round + 1).then_some(())
        })
        .await;
        traffic.outside.renew(addresses[round % 2]).await;
        age_next_key(&postgres);
        let (code, process) = auth.run(&["keys", "rotate"]).await;
        assert_eq!(code, 0, "{}", process.output());
        wait_until("tokens of the new key", async || {
            (traffic.kids.lock().unwrap().len() == round + 1).then_some(())
        })
        .await;
    }
    wait_for_requests(&traffic, 4).await;
    traffic.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(traffic.kids.lock().unwrap().len(), 4);
}
