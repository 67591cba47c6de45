//! The one-time set-up token: the first administrator, once.

use super::{Instances, START, account, after, all_at_once, entry, roles};
use crate::domain::{Account, AuditEntry, AuditEvent, SETUP_TOKEN_TTL, SetupToken};
use crate::random;
use crate::store::{PageLimit, SetupCreation, SetupOutcome};

fn administrator(address: &str) -> Account {
    Account {
        roles: roles(&["admin"]),
        ..account(address)
    }
}

fn setup_token() -> SetupToken {
    SetupToken::from_random(random::bytes())
}

async fn put_in_force(instances: &Instances) -> SetupToken {
    let token = setup_token();
    let created = instances
        .next()
        .create_setup_token(&token.hash(), START.plus(SETUP_TOKEN_TTL), START)
        .await
        .unwrap();
    assert_eq!(created, SetupCreation::Created);
    token
}

pub(crate) async fn sec_a10_of_many_uses_one_makes_the_administrator(instances: Instances) {
    let token = put_in_force(&instances).await;
    let tasks = (0..16).map(|i| {
        let (store, hash, admin) = (
            instances.next(),
            token.hash(),
            administrator(&format!("admin{i}@example.com")),
        );
        async move {
            store
                .consume_setup_token(&hash, &admin, &entry(AuditEvent::SetUp, &admin))
                .await
                .unwrap()
        }
    });
    let results = all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(
        results
            .iter()
            .filter(|r| **r == SetupOutcome::Created)
            .count(),
        1
    );
    assert_eq!(
        results
            .iter()
            .filter(|r| **r == SetupOutcome::InvalidToken)
            .count(),
        15
    );
    let accounts = instances
        .next()
        .accounts(None, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(accounts.len(), 1);
    assert!(accounts[0].has_role("admin"));
    let again = instances
        .next()
        .create_setup_token(&setup_token().hash(), after(600), START)
        .await
        .unwrap();
    assert_eq!(again, SetupCreation::AdministratorExists);
}

pub(crate) async fn sec_a10_an_expired_replaced_or_wrong_token_is_refused(instances: Instances) {
    let (replaced, token) = (
        put_in_force(&instances).await,
        put_in_force(&instances).await,
    );
    let admin = administrator("admin@example.com");
    let late = AuditEntry {
        at: START.plus(SETUP_TOKEN_TTL),
        ..entry(AuditEvent::SetUp, &admin)
    };
    let in_time = entry(AuditEvent::SetUp, &admin);
    for (token, line) in [
        (&token, &late),
        (&replaced, &in_time),
        (&setup_token(), &in_time),
    ] {
        let outcome = instances
            .next()
            .consume_setup_token(&token.hash(), &admin, line)
            .await
            .unwrap();
        assert_eq!(outcome, SetupOutcome::InvalidToken);
    }
    assert!(
        instances
            .next()
            .accounts(None, PageLimit::MAX)
            .await
            .unwrap()
            .is_empty()
    );
    let outcome = instances
        .next()
        .consume_setup_token(&token.hash(), &admin, &in_time)
        .await
        .unwrap();
    assert_eq!(outcome, SetupOutcome::Created);
}

pub(crate) async fn a_taken_address_gives_the_token_back(instances: Instances) {
    instances.register("admin@example.com").await;
    let token = put_in_force(&instances).await;
    for (address, expected) in [
        ("admin@example.com", SetupOutcome::EmailTaken),
        ("root@example.com", SetupOutcome::Created),
    ] {
        let admin = administrator(address);
        let outcome = instances
            .next()
            .consume_setup_token(&token.hash(), &admin, &entry(AuditEvent::SetUp, &admin))
            .await
            .unwrap();
        assert_eq!(outcome, expected);
    }
}
