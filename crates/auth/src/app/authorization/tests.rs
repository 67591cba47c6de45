//! Where permission sets come from, and that none is older than it may be.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::*;
use crate::app::authorization::administration::definition;
use crate::app::{Administrator, Origin, Owner};
use crate::domain::{AccountId, Actor, AuditEntry, AuditEvent, Role, SessionId};
use crate::server::tests::{Inside, inside, inside_as, inside_at};
use crate::store::RUN;
use crate::store::contract::all_at_once;

const READ: &str = "orders:read";
const PASSWORD: &str = "correct horse battery";

fn at(seconds: i64) -> Origin {
    Origin {
        now: UnixMillis::from_seconds(1_800_000_000 + seconds),
        client: [192, 0, 2, 1].into(),
        request: None,
    }
}

fn line(event: AuditEvent) -> AuditEntry {
    AuditEntry::by(Actor::Operator, at(0).now, event)
}

/// An account with the role, logged in at the beginning of time.
async fn token_of(inside: &Inside, email: &str) -> (AccountId, String) {
    let app = inside.app();
    app.register(email, PASSWORD, at(0)).await.unwrap();
    let email = crate::domain::Email::parse(email).unwrap();
    let account = app.store.account_by_email(&email).await.unwrap().unwrap();
    let roles = BTreeSet::from([Role::parse("clerk").unwrap()]);
    let audit = line(AuditEvent::RolesChanged);
    app.store
        .set_roles(account.id, &roles, &audit)
        .await
        .unwrap();
    app.publish_permissions().await.unwrap();
    let grant = app.log_in(email.as_str(), PASSWORD, at(0)).await.unwrap();
    (account.id, grant.access_token.expose().clone())
}

async fn define(app: &App, permissions: &[&str]) {
    let permissions: Vec<String> = permissions.iter().map(|name| (*name).to_owned()).collect();
    let by = Administrator {
        owner: Owner {
            account: AccountId::from_random([1; 16]),
            session: SessionId::from_random([1; 16]),
            expires_at: at(0).now,
        },
    };
    app.define_role("clerk", &permissions, by, at(0))
        .await
        .unwrap();
}

async fn may(app: &App, token: &str, origin: Origin) -> bool {
    let caller = app.caller(Credential::Token(token), origin).await.unwrap();
    let asked = [Permission::parse(READ).unwrap()];
    app.check(&caller, &asked, None, origin.now).await.unwrap()[0]
}

async fn reads(inside: &Inside) -> u64 {
    let text = inside.metrics().await;
    let name = "portcullis_auth_permission_set_reads_total ";
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn checks_read_the_database_in_one_of_a_hundred_cases() {
    let (directory, a) = inside().await;
    let b = inside_at(&directory).await;
    define(a.app(), &[READ]).await;
    let mut tokens = Vec::new();
    for n in 0..4 {
        tokens.push(token_of(&a, &format!("user{n}@example.com")).await.1);
    }
    let before = RUN.load(Ordering::Relaxed);
    let mut checks = 0;
    for round in 0..100 {
        // Half a second apart: the process forgets on the way, the shared state does not.
        let origin = at(1 + round / 2);
        for token in &tokens {
            for inside in [&a, &b] {
                assert!(may(inside.app(), token, origin).await);
                checks += 1;
            }
        }
    }
    let statements = RUN.load(Ordering::Relaxed) - before;
    let (of_a, of_b) = (reads(&a).await, reads(&b).await);
    assert_eq!(
        (of_a, of_b),
        (4, 0),
        "the other instance found them in the shared state"
    );
    assert_eq!(statements, 4, "nothing else is asked of the database");
    assert!(statements * 100 <= checks, "{statements} of {checks}");
    let text = b.metrics().await;
    for line in [
        "portcullis_auth_permission_set_lookups_total{layer=\"process\",result=\"hit\"} 392",
        "portcullis_auth_permission_set_lookups_total{layer=\"process\",result=\"miss\"} 8",
        "portcullis_auth_permission_set_lookups_total{layer=\"shared\",result=\"hit\"} 8",
        "portcullis_auth_permission_set_lookups_total{layer=\"shared\",result=\"miss\"} 0",
        "portcullis_auth_permission_checks_total{result=\"allowed\"} 400",
        "portcullis_auth_permission_checks_total{result=\"denied\"} 0",
    ] {
        assert!(text.contains(line), "{line} is missing from\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_miss_at_once_one_reads() {
    let (_directory, inside) = inside().await;
    define(inside.app(), &[READ]).await;
    let (id, _) = token_of(&inside, "ada@example.com").await;
    let version = inside.app().store.permission_version().await.unwrap();
    let inside = Arc::new(inside);
    let tasks = (0..32).map(|_| {
        let inside = inside.clone();
        async move {
            let id = SubjectId::Account(id);
            let found = inside.app().subject(&id, version, at(1).now).await.unwrap();
            found.unwrap().permissions.len()
        }
    });
    let found = all_at_once(tasks.collect::<Vec<_>>()).await;
    assert_eq!(found, [1; 32]);
    assert!(
        reads(&inside).await <= 2,
        "the second only if one came when the first was done"
    );
    assert!(inside.app().subjects.is_at_rest());
}

#[tokio::test]
async fn while_the_shared_state_is_away_the_store_is_asked_for_the_version() {
    let (_directory, mut inside) = inside().await;
    define(inside.app(), &[READ]).await;
    let (_, token) = token_of(&inside, "ada@example.com").await;
    assert!(may(inside.app(), &token, at(1)).await);
    inside.take_shared_state_away();
    let app = inside.app();
    let before = RUN.load(Ordering::Relaxed);
    for _ in 0..10 {
        assert!(may(app, &token, at(2)).await);
    }
    assert_eq!(
        RUN.load(Ordering::Relaxed) - before,
        10,
        "one point read for each"
    );
    let nothing = definition("clerk", &[]).unwrap();
    let audit = line(AuditEvent::RoleDefined);
    app.store.define_role(&nothing, &audit).await.unwrap();
    assert!(
        !may(app, &token, at(2)).await,
        "a change in the store counts at once"
    );
}

#[tokio::test]
async fn with_neither_shared_state_nor_database_no_check_is_answered() {
    let (_directory, mut inside) = inside().await;
    define(inside.app(), &[READ]).await;
    let (_, token) = token_of(&inside, "ada@example.com").await;
    assert!(may(inside.app(), &token, at(1)).await);
    inside.take_shared_state_away();
    inside.stores.store.close().await;
    for fallback in [
        RevocationFallback::Store,
        RevocationFallback::Deny,
        RevocationFallback::Allow,
    ] {
        inside.fall_back_on(fallback);
        let refused = inside.app().caller(Credential::Token(&token), at(1)).await;
        let refusal = refused.unwrap_err();
        let is_ours = matches!(
            refusal,
            Refusal::SharedUnavailable(_) | Refusal::StoreUnavailable(_)
        );
        assert!(is_ours, "{fallback:?}: {refusal:?}");
    }
}

#[tokio::test]
async fn a_change_whose_instance_died_counts_after_the_next_look_through_the_store() {
    let (directory, a) = inside().await;
    let b = inside_at(&directory).await;
    define(a.app(), &[READ]).await;
    let (_, token) = token_of(&a, "ada@example.com").await;
    assert!(may(b.app(), &token, at(1)).await);
    // Committed, and told to nobody.
    let nothing = definition("clerk", &[]).unwrap();
    let audit = line(AuditEvent::RoleDefined);
    a.app().store.define_role(&nothing, &audit).await.unwrap();
    let replay = crate::jobs::Replay::new(b.app().store.clone(), b.app().shared.clone());
    replay.run(at(1).now).await.unwrap();
    assert!(!may(b.app(), &token, at(1)).await);
    assert!(!may(a.app(), &token, at(1)).await);
}

#[tokio::test]
async fn a_set_is_read_again_when_its_time_is_over_though_nothing_changed() {
    let (_directory, inside) = inside().await;
    define(inside.app(), &[READ]).await;
    let (_, token) = token_of(&inside, "ada@example.com").await;
    for (seconds, read) in [(1, 1), (30, 1), (31, 1), (200, 1), (302, 2), (331, 2)] {
        assert!(may(inside.app(), &token, at(seconds)).await);
        assert_eq!(reads(&inside).await, read, "after {seconds} s");
    }
}

#[tokio::test]
async fn without_memory_every_check_reads_the_set_and_nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let inside = inside_as(&directory, &[("SEEN_SUBJECTS", "0")]).await;
    define(inside.app(), &[READ]).await;
    let (id, token) = token_of(&inside, "ada@example.com").await;
    for read in 1..=5 {
        assert!(may(inside.app(), &token, at(1)).await);
        assert_eq!(reads(&inside).await, read);
    }
    let key = format!("perm:{id}");
    assert_eq!(
        inside
            .app()
            .shared
            .remembered(&key, at(1).now)
            .await
            .unwrap(),
        None
    );
}
