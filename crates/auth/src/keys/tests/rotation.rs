//! The ring moving on: through several instances, by plan, with a key of the operator. Time is an argument.

use super::*;
use crate::domain::PUBLISHED_AHEAD;

fn at(seconds: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(seconds))
}

/// The claims of a token issued then.
fn issued(now: UnixMillis) -> Claims {
    Claims {
        iat: now.seconds(),
        exp: now.seconds() + 600,
        ..claims()
    }
}

fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// What a verifier believes that fetched the key set then and keeps it as long as it may.
struct Cached {
    keys: Arc<KeySet>,
    since: UnixMillis,
}

impl Cached {
    fn renew(&mut self, ring: &KeyRing, now: UnixMillis) {
        if now.since(self.since) >= Duration::from_secs(300) {
            (self.keys, self.since) = (ring.key_set(), now);
        }
    }
}

#[tokio::test]
async fn sec_c17_ten_thousand_requests_across_three_rotations_all_verify() {
    let database = Database::new();
    let (a_store, a) = database.ring().await;
    let b_store = database.open().await;
    let b = KeyRing::open(database.keeper(&b_store), NOW).await.unwrap();
    let rings = [&a, &b];
    // A verifier elsewhere, which takes max-age at its word.
    let mut edge = Cached {
        keys: a.key_set(),
        since: NOW,
    };
    let (mut kids, mut last) = (Vec::new(), Vec::new());
    // 28 seconds between requests: three days and a bit.
    for request in 0..10_000_u64 {
        let now = at(request * 28);
        let (here, there) = (
            rings[request as usize % 2],
            rings[(request as usize + 1) % 2],
        );
        here.turn(now).await.unwrap();
        if request % 8 == 0 {
            there.refresh().await.unwrap();
        }
        edge.renew(there, now);
        // Signing with RS256 each time would take the test half a minute of CPU in debug mode.
        if request % 16 != 0 {
            continue;
        }
        let token = here.sign(&issued(now)).unwrap();
        there.verify(&verifier(), &token, now).await.unwrap();
        verifier()
            .verify(&token, &edge.keys, now.seconds())
            .expect("known since max-age and skew");
        last.push((token.clone(), now));
        // Tokens of before stay good to their end, whatever has turned since.
        for (old, since) in last
            .iter()
            .filter(|(_, since)| now.since(*since).as_secs() < 600)
        {
            let verdict = verifier().verify(old, &edge.keys, now.seconds());
            assert!(verdict.is_ok(), "{since}: {verdict:?}");
        }
        last.retain(|(_, since)| now.since(*since).as_secs() < 600);
        let kid = kid(&token);
        if !kids.contains(&kid) {
            let records = a_store.signing_keys().await.unwrap();
            let record = records.iter().find(|record| record.kid == kid).unwrap();
            let is_first = kids.is_empty();
            assert!(is_first || record.changed_at.since(record.created_at) >= PUBLISHED_AHEAD);
            kids.push(kid);
        }
    }
    assert_eq!(kids.len(), 4, "the first key and three rotations");
    assert!(a.key_set().find(&kids[0]).is_none(), "and it is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_instances_that_turn_at_once_one_makes_each_change() {
    let database = Arc::new(Database::new());
    let (store, _) = database.ring().await;
    for (now, states) in [
        (at(0), [0, 1, 1]),
        (at(DAY), [1, 1, 1]),
        (at(DAY + 3660), [0, 1, 1]),
    ] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let database = Arc::clone(&database);
            tasks.spawn(async move {
                let store = database.open().await;
                database.keeper(&store).turn(now).await.unwrap().len()
            });
        }
        let made: usize = tasks.join_all().await.into_iter().sum();
        let ring = store.signing_keys().await.unwrap();
        let count = |state| ring.iter().filter(|key| key.state == state).count();
        let seen = [KeyState::Retiring, KeyState::Active, KeyState::Next].map(count);
        assert_eq!(seen, states, "at {now}");
        assert_eq!(made, if now == at(DAY) { 2 } else { 1 });
    }
}

/// The keeper of an instance whose operator gave it this key under this name.
fn given(database: &Database, store: &Arc<dyn Store>, kid: &str) -> Keeper {
    let (key, pkcs8) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let key = key.with_kid(kid).unwrap();
    with_given(database, store, Parsed { key, pkcs8 })
}

fn with_given(database: &Database, store: &Arc<dyn Store>, parsed: Parsed) -> Keeper {
    let keeper = database.keeper(store);
    Keeper {
        algorithm: Algorithm::EdDsa,
        plan: KeyPlan {
            algorithm: "EdDSA".into(),
            interval: None,
            given: Some(parsed.key.kid().to_owned()),
            ..keeper.plan
        },
        given: Some(parsed),
        ..keeper
    }
}

#[tokio::test]
async fn a_given_key_is_the_first_of_a_fresh_database() {
    let database = Database::new();
    let store = database.open().await;
    let ring = KeyRing::open(given(&database, &store, "ours"), NOW)
        .await
        .unwrap();
    assert_eq!(kid(&ring.sign(&claims()).unwrap()), "ours");
    ring.turn(NOW).await.unwrap();
    let records = store.signing_keys().await.unwrap();
    assert_eq!(records.len(), 2, "one is published for emergencies");
    ring.turn(at(1000 * DAY)).await.unwrap();
    assert_eq!(kid(&ring.sign(&claims()).unwrap()), "ours");
}

#[tokio::test]
async fn sec_c17_a_given_key_takes_over_from_ours_once_it_is_known() {
    let database = Database::new();
    let (store, old) = database.ring().await;
    let token = old.sign(&claims()).unwrap();
    let ring = KeyRing::open(given(&database, &store, "ours"), NOW)
        .await
        .unwrap();
    ring.turn(at(359)).await.unwrap();
    assert_eq!(kid(&ring.sign(&claims()).unwrap()), kid(&token));
    ring.turn(at(360)).await.unwrap();
    assert_eq!(kid(&ring.sign(&claims()).unwrap()), "ours");
    ring.verify(&verifier(), &token, at(360)).await.unwrap();
}

#[tokio::test]
async fn a_given_key_that_was_retired_does_not_come_back() {
    let database = Database::new();
    let store = database.open().await;
    let keeper = given(&database, &store, "ours");
    keeper.prepare(NOW).await.unwrap();
    keeper.turn(NOW).await.unwrap();
    let records = store.signing_keys().await.unwrap();
    let next = records.iter().find(|key| key.state == KeyState::Next);
    let next = next.unwrap().kid.clone();
    assert!(store.activate_signing_key(&next, at(1)).await.unwrap());
    keeper.prepare(at(2)).await.unwrap();
    keeper.turn(at(1000)).await.unwrap();
    let ring = KeyRing::load(keeper).await.unwrap();
    assert_eq!(kid(&ring.sign(&claims()).unwrap()), next);
}

#[tokio::test]
async fn another_key_under_a_taken_name_is_left_aside() {
    let database = Database::new();
    let store = database.open().await;
    let first = KeyRing::open(given(&database, &store, "ours"), NOW)
        .await
        .unwrap();
    let second = KeyRing::open(given(&database, &store, "ours"), NOW)
        .await
        .unwrap();
    let token = second.sign(&claims()).unwrap();
    first.verify(&verifier(), &token, NOW).await.unwrap();
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}
