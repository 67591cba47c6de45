//! The key ring: one first key, one active key, moves that only go forward.

use super::{Instances, START, after, all_at_once};
use crate::domain::{KeyState, SigningKeyRecord};
use crate::store::{FirstKey, PageLimit};

fn key(kid: &str, state: KeyState) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        algorithm: "RS256".to_owned(),
        state,
        sealed_private_key: vec![0, 1, 2, 255],
        created_at: START,
        changed_at: START,
    }
}

pub(crate) async fn of_many_cold_starts_one_makes_the_first_key(instances: Instances) {
    let tasks = (0..12).map(|i| {
        let (store, key) = (instances.next(), key(&format!("k{i}"), KeyState::Active));
        async move {
            let created = store.create_first_signing_key(&key).await.unwrap();
            (created, store.signing_keys().await.unwrap())
        }
    });
    let results = all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(
        results
            .iter()
            .filter(|(created, _)| *created == FirstKey::Created)
            .count(),
        1
    );
    let ring = instances.next().signing_keys().await.unwrap();
    assert_eq!(ring.len(), 1);
    assert!(
        results.iter().all(|(_, seen)| *seen == ring),
        "whoever lost reads the winner's key"
    );
    assert_eq!(ring[0], key(&ring[0].kid.clone(), KeyState::Active));
}

pub(crate) async fn activation_retires_the_predecessor_in_the_same_moment(instances: Instances) {
    instances
        .next()
        .create_first_signing_key(&key("k0", KeyState::Active))
        .await
        .unwrap();
    for kid in ["k1", "k2"] {
        assert!(
            instances
                .next()
                .add_signing_key(&key(kid, KeyState::Next))
                .await
                .unwrap()
        );
    }
    let tasks = ["k1", "k2"].map(|kid| {
        let store = instances.next();
        async move { store.activate_signing_key(kid, after(1)).await.unwrap() }
    });
    assert_eq!(all_at_once(tasks).await, [true, true]);
    let states: Vec<_> = instances
        .next()
        .signing_keys()
        .await
        .unwrap()
        .into_iter()
        .map(|key| key.state)
        .collect();
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == KeyState::Active)
            .count(),
        1,
        "{states:?}"
    );
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == KeyState::Retiring)
            .count(),
        2,
        "{states:?}"
    );
    for kid in ["k0", "k1", "k2", "unknown"] {
        assert!(
            !instances
                .next()
                .activate_signing_key(kid, after(2))
                .await
                .unwrap(),
            "{kid} is not next"
        );
    }
}

pub(crate) async fn keys_move_forward_only_and_a_kid_is_taken_once(instances: Instances) {
    let store = instances.next();
    assert!(
        store
            .add_signing_key(&key("k0", KeyState::Next))
            .await
            .unwrap()
    );
    assert!(
        !store
            .add_signing_key(&key("k0", KeyState::Next))
            .await
            .unwrap()
    );
    assert!(
        !store
            .move_signing_key("k0", KeyState::Next, KeyState::Active, after(1))
            .await
            .unwrap(),
        "activation is separate"
    );
    assert!(
        !store
            .move_signing_key("k0", KeyState::Active, KeyState::Retired, after(1))
            .await
            .unwrap(),
        "it is not active"
    );
    assert!(
        store
            .move_signing_key("k0", KeyState::Next, KeyState::Retired, after(1))
            .await
            .unwrap()
    );
    assert!(
        !store
            .move_signing_key("k0", KeyState::Retired, KeyState::Next, after(1))
            .await
            .unwrap()
    );
    let ring = instances.next().signing_keys().await.unwrap();
    assert_eq!(
        (ring[0].state, ring[0].changed_at),
        (KeyState::Retired, after(1))
    );
}

pub(crate) async fn of_many_that_publish_ahead_one_does(instances: Instances) {
    let first = key("k0", KeyState::Active);
    instances
        .next()
        .create_first_signing_key(&first)
        .await
        .unwrap();
    let tasks = (1..12).map(|i| {
        let (store, key) = (instances.next(), key(&format!("k{i}"), KeyState::Next));
        async move { store.add_next_signing_key(&key).await.unwrap() }
    });
    let results = all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(results.iter().filter(|added| **added).count(), 1);
    let other = SigningKeyRecord {
        algorithm: "ES256".to_owned(),
        ..key("k12", KeyState::Next)
    };
    let store = instances.next();
    assert!(store.add_next_signing_key(&other).await.unwrap());
    assert!(!store.add_next_signing_key(&other).await.unwrap());
    assert_eq!(instances.next().signing_keys().await.unwrap().len(), 3);
}

pub(crate) async fn a_key_of_another_algorithm_takes_over_alone(instances: Instances) {
    let first = key("k0", KeyState::Active);
    let store = instances.next();
    store.create_first_signing_key(&first).await.unwrap();
    let other = SigningKeyRecord {
        algorithm: "ES256".to_owned(),
        ..key("k1", KeyState::Next)
    };
    assert!(store.add_next_signing_key(&other).await.unwrap());
    let activated = instances.next().activate_signing_key("k1", after(1)).await;
    assert!(activated.unwrap());
    let ring = instances.next().signing_keys().await.unwrap();
    let states: Vec<_> = ring
        .iter()
        .map(|key| (key.kid.as_str(), key.state))
        .collect();
    assert_eq!(
        states,
        [("k0", KeyState::Retiring), ("k1", KeyState::Active)]
    );
}

pub(crate) async fn a_ring_with_a_long_past_still_shows_its_newest_keys(instances: Instances) {
    let store = instances.next();
    for n in 0..=usize::from(PageLimit::MAX.rows()) {
        let retired = SigningKeyRecord {
            created_at: after(n as u64),
            ..key(&format!("k{n:04}"), KeyState::Retired)
        };
        assert!(store.add_signing_key(&retired).await.unwrap());
    }
    let ring = instances.next().signing_keys().await.unwrap();
    assert_eq!(ring.len(), usize::from(PageLimit::MAX.rows()));
    assert_eq!(
        (ring[0].kid.as_str(), ring[499].kid.as_str()),
        ("k0001", "k0500")
    );
}
