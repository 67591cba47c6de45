//! Roles, permission sets, clients and API keys. Never tests a database by its own means.

use super::{Instances, START, account, after, all_at_once, entry, roles};
use crate::domain::{
    Account, AccountStatus, Actor, ApiKey, ApiKeyId, ApiKeyName, ApiKeySecret, AuditEntry,
    AuditEvent, Client, ClientName, PermissionGrant, PermissionSet, Revocation, Role,
    RoleDefinition, SubjectId, Tier, TokenFacts,
};
use crate::random;
use crate::store::{ApiKeyCreation, Definition, PageLimit, RUN, RoleRemoval};
use std::sync::atomic::Ordering;

fn line(event: AuditEvent) -> AuditEntry {
    AuditEntry::by(Actor::Operator, START, event)
}

fn role(name: &str) -> Role {
    Role::parse(name).unwrap()
}

fn granting(name: &str, permissions: &[&str]) -> RoleDefinition {
    RoleDefinition {
        role: role(name),
        permissions: PermissionSet::parse(permissions.iter().copied()).unwrap(),
    }
}

fn client(name: &str, held: &[&str]) -> Client {
    Client {
        name: ClientName::parse(name).unwrap(),
        is_active: true,
        tier: Tier::Pro,
        roles: roles(held),
        created_at: START,
    }
}

fn key_of(owner: SubjectId) -> (ApiKey, ApiKeySecret) {
    let secret = ApiKeySecret::from_random(random::bytes());
    let key = ApiKey {
        id: ApiKeyId::from_random(random::bytes()),
        owner,
        name: ApiKeyName::parse("a key").unwrap(),
        prefix: secret.prefix().to_owned(),
        permissions: PermissionSet::parse(["orders:read", "users:*"]).unwrap(),
        created_at: START,
        expires_at: Some(after(600)),
        revoked_at: None,
        last_used_at: None,
    };
    (key, secret)
}

impl Instances {
    async fn define(&self, name: &str, permissions: &[&str]) {
        let definition = granting(name, permissions);
        let audit = line(AuditEvent::RoleDefined);
        let defined = self.next().define_role(&definition, &audit).await.unwrap();
        assert_eq!(defined, Definition::Stored);
    }

    async fn grants(&self, id: &SubjectId) -> Vec<String> {
        let subject = self.next().subject(id).await.unwrap().unwrap();
        let names = subject.permissions.iter();
        names.map(|grant| grant.as_str().to_owned()).collect()
    }

    async fn create_key(&self, key: &ApiKey, secret: &ApiKeySecret) -> ApiKeyCreation {
        let audit = line(AuditEvent::ApiKeyCreated);
        let (store, hash) = (self.next(), secret.hash());
        store.create_api_key(key, &hash, &audit).await.unwrap()
    }
}

fn of(account: &Account) -> SubjectId {
    SubjectId::Account(account.id)
}

pub(crate) async fn a_permission_set_is_what_the_roles_grant_in_one_statement(
    instances: Instances,
) {
    instances
        .define("clerk", &["orders:read", "orders:write"])
        .await;
    instances
        .define("auditor", &["orders:read", "audit:*"])
        .await;
    instances.define("nobody", &["secrets:read"]).await;
    let mut ada = account("ada@example.com");
    ada.roles = roles(&["clerk", "auditor", "undefined"]);
    ada.tier = Tier::Enterprise;
    let registered = entry(AuditEvent::Registered, &ada);
    let store = instances.next();
    store.create_account(&ada, &registered).await.unwrap();
    let before = RUN.load(Ordering::Relaxed);
    let subject = store.subject(&of(&ada)).await.unwrap().unwrap();
    assert_eq!(RUN.load(Ordering::Relaxed) - before, 1, "N+1");
    let names: Vec<&str> = subject
        .permissions
        .iter()
        .map(PermissionGrant::as_str)
        .collect();
    assert_eq!(names, ["audit:*", "orders:read", "orders:write"]);
    assert_eq!(
        (&subject.roles, subject.tier),
        (&ada.roles, Tier::Enterprise)
    );
    assert!(subject.is_active);
    assert_eq!(subject.version, store.permission_version().await.unwrap());

    let without = instances.register("bob@example.com").await;
    let subject = instances
        .next()
        .subject(&of(&without))
        .await
        .unwrap()
        .unwrap();
    assert!(subject.permissions.is_empty() && subject.roles.is_empty());
    assert_eq!(subject.tier, Tier::Free);
    let nobody = SubjectId::parse("client:nobody").unwrap();
    assert_eq!(instances.next().subject(&nobody).await.unwrap(), None);
}

pub(crate) async fn every_change_of_who_may_do_what_raises_the_version(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let mut last = instances.next().permission_version().await.unwrap();
    let mut raised = async |what: &str| {
        let version = instances.next().permission_version().await.unwrap();
        assert!(version > last, "{what}");
        last = version;
    };
    instances.define("clerk", &["orders:read"]).await;
    raised("a definition").await;
    let store = instances.next();
    let changed = entry(AuditEvent::RolesChanged, &ada);
    store
        .set_roles(ada.id, &roles(&["clerk"]), &changed)
        .await
        .unwrap();
    raised("roles").await;
    assert_eq!(instances.grants(&of(&ada)).await, ["orders:read"]);
    instances.define("clerk", &["orders:write"]).await;
    raised("another definition").await;
    assert_eq!(instances.grants(&of(&ada)).await, ["orders:write"]);
    let changed = entry(AuditEvent::TierChanged, &ada);
    assert!(store.set_tier(ada.id, Tier::Pro, &changed).await.unwrap());
    raised("a tier").await;
    let shut = entry(AuditEvent::Disabled, &ada);
    store
        .set_status(ada.id, AccountStatus::Disabled, after(600), &shut)
        .await
        .unwrap();
    raised("a status").await;
    let subject = store.subject(&of(&ada)).await.unwrap().unwrap();
    assert_eq!((subject.is_active, subject.tier), (false, Tier::Pro));
    let worker = client("worker", &["clerk"]);
    store
        .put_client(&worker, &line(AuditEvent::ClientChanged))
        .await
        .unwrap();
    raised("a client").await;
    let audit = line(AuditEvent::ClientRemoved);
    assert!(store.remove_client(&worker.name, &audit).await.unwrap());
    raised("a client that is gone").await;
    let nobody = account("nobody@example.com").id;
    let audit = line(AuditEvent::TierChanged);
    assert!(!store.set_tier(nobody, Tier::Pro, &audit).await.unwrap());
    assert!(!store.remove_client(&worker.name, &audit).await.unwrap());
}

pub(crate) async fn a_set_and_its_version_are_of_one_moment(instances: Instances) {
    let mut ada = account("ada@example.com");
    ada.roles = roles(&["clerk"]);
    let registered = entry(AuditEvent::Registered, &ada);
    instances
        .next()
        .create_account(&ada, &registered)
        .await
        .unwrap();
    instances.define("clerk", &["n:0"]).await;
    let begun = instances.next().permission_version().await.unwrap().0;
    let writer = instances.next();
    let writing = tokio::spawn(async move {
        for n in 1..=20 {
            let definition = granting("clerk", &[&format!("n:{n}")]);
            let audit = line(AuditEvent::RoleDefined);
            writer.define_role(&definition, &audit).await.unwrap();
        }
    });
    loop {
        let is_over = writing.is_finished();
        let subject = instances.next().subject(&of(&ada)).await.unwrap().unwrap();
        let expected = format!("n:{}", subject.version.0 - begun);
        let found: Vec<&str> = subject
            .permissions
            .iter()
            .map(PermissionGrant::as_str)
            .collect();
        assert_eq!(found, [expected.as_str()]);
        if is_over {
            break;
        }
    }
    writing.await.unwrap();
}

pub(crate) async fn roles_are_listed_replaced_and_removed_unless_held(instances: Instances) {
    for name in ["clerk", "auditor", "editor"] {
        instances.define(name, &["orders:read"]).await;
    }
    instances.define("clerk", &[]).await;
    let first = instances
        .next()
        .role_definitions(None, PageLimit::new(2))
        .await
        .unwrap();
    assert_eq!(
        first,
        [
            granting("auditor", &["orders:read"]),
            granting("clerk", &[])
        ]
    );
    let rest = instances
        .next()
        .role_definitions(Some(&role("clerk")), PageLimit::MAX)
        .await;
    assert_eq!(rest.unwrap(), [granting("editor", &["orders:read"])]);

    let ada = instances.register("ada@example.com").await;
    let store = instances.next();
    let changed = entry(AuditEvent::RolesChanged, &ada);
    store
        .set_roles(ada.id, &roles(&["clerk"]), &changed)
        .await
        .unwrap();
    let worker = client("worker", &["auditor"]);
    store
        .put_client(&worker, &line(AuditEvent::ClientChanged))
        .await
        .unwrap();
    let audit = line(AuditEvent::RoleRemoved);
    for (name, expected) in [
        ("clerk", RoleRemoval::Held),
        ("auditor", RoleRemoval::Held),
        ("editor", RoleRemoval::Removed),
        ("editor", RoleRemoval::Unknown),
    ] {
        let removed = instances
            .next()
            .remove_role(&role(name), &audit)
            .await
            .unwrap();
        assert_eq!(removed, expected, "{name}");
    }
    let events = instances.next().recent_audit(PageLimit::MAX).await.unwrap();
    let removals = events
        .iter()
        .filter(|line| line.event == AuditEvent::RoleRemoved);
    assert_eq!(removals.count(), 1);
}

pub(crate) async fn clients_are_put_listed_and_removed_with_their_keys(instances: Instances) {
    instances.define("clerk", &["orders:read"]).await;
    let mut worker = client("worker", &["clerk"]);
    let audit = line(AuditEvent::ClientChanged);
    for name in ["backup", "worker"] {
        let one = client(name, &["clerk"]);
        assert_eq!(
            instances.next().put_client(&one, &audit).await.unwrap(),
            Definition::Stored
        );
    }
    let id = SubjectId::Client(worker.name.clone());
    assert_eq!(instances.grants(&id).await, ["orders:read"]);
    worker.roles.clear();
    worker.is_active = false;
    worker.tier = Tier::Internal;
    let mut later = worker.clone();
    later.created_at = after(60);
    instances.next().put_client(&later, &audit).await.unwrap();
    let listed = instances
        .next()
        .clients(None, PageLimit::MAX)
        .await
        .unwrap();
    assert_eq!(listed, [client("backup", &["clerk"]), worker.clone()]);
    let behind = instances
        .next()
        .clients(Some(&listed[0].name), PageLimit::MAX)
        .await;
    assert_eq!(behind.unwrap().len(), 1);
    let subject = instances.next().subject(&id).await.unwrap().unwrap();
    assert_eq!((subject.is_active, subject.tier), (false, Tier::Internal));
    let (key, secret) = key_of(id.clone());
    let created = instances.create_key(&key, &secret).await;
    assert_eq!(created, ApiKeyCreation::OwnerNotActive);
    worker.is_active = true;
    instances.next().put_client(&worker, &audit).await.unwrap();
    assert_eq!(
        instances.create_key(&key, &secret).await,
        ApiKeyCreation::Created
    );
    assert!(
        instances
            .next()
            .remove_client(&worker.name, &audit)
            .await
            .unwrap()
    );
    let found = instances
        .next()
        .api_key_by_hash(&secret.hash())
        .await
        .unwrap();
    assert_eq!(found, None, "its keys went with it");
}

pub(crate) async fn sec_b10_an_api_key_is_found_by_its_hash_and_by_nothing_else(
    instances: Instances,
) {
    let ada = instances.register("ada@example.com").await;
    let bob = instances.register("bob@example.com").await;
    let (key, secret) = key_of(of(&ada));
    assert_eq!(
        instances.create_key(&key, &secret).await,
        ApiKeyCreation::Created
    );
    let store = instances.next();
    let found = store.api_key_by_hash(&secret.hash()).await.unwrap();
    assert_eq!(found.as_ref(), Some(&key));
    assert_eq!(
        store.api_key_by_id(key.id).await.unwrap().as_ref(),
        Some(&key)
    );
    let (_, other) = key_of(of(&ada));
    assert_eq!(store.api_key_by_hash(&other.hash()).await.unwrap(), None);
    assert_eq!(
        store.api_keys(&of(&ada), PageLimit::MAX).await.unwrap(),
        std::slice::from_ref(&key)
    );
    assert!(
        store
            .api_keys(&of(&bob), PageLimit::MAX)
            .await
            .unwrap()
            .is_empty()
    );

    for (now, since, noted) in [
        (after(10), after(0), after(10)),
        (after(20), after(0), after(10)),
        (after(4000), after(400), after(4000)),
    ] {
        store.note_api_key_use(key.id, now, since).await.unwrap();
        let found = instances
            .next()
            .api_key_by_id(key.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            found.last_used_at,
            Some(noted),
            "at most one write in an hour"
        );
    }
}

pub(crate) async fn a_revoked_key_is_marked_and_revoked_like_a_token(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let (key, secret) = key_of(of(&ada));
    instances.create_key(&key, &secret).await;
    let facts = TokenFacts {
        jti: &key.id.to_string(),
        sid: None,
        sub: &ada.id.to_string(),
        kid: "",
        issued_at: after(0),
    };
    let standing = instances.next().standing(&facts, after(1)).await.unwrap();
    assert!(!standing.is_revoked);
    let version = instances.next().permission_version().await.unwrap();
    assert_eq!(standing.permissions, Some(version));
    let audit = entry(AuditEvent::ApiKeyRevoked, &ada);
    let tasks = (0..8).map(|_| {
        let (store, audit) = (instances.next(), audit.clone());
        let id = key.id;
        async move { store.revoke_api_key(id, after(600), &audit).await.unwrap() }
    });
    let revoked = all_at_once(tasks.collect::<Vec<_>>()).await;
    let revocation = Revocation::Token {
        jti: key.id.to_string(),
        until: after(600),
    };
    let revoked: Vec<_> = revoked.into_iter().flatten().collect();
    assert_eq!(revoked, [revocation], "once");
    assert!(
        instances
            .next()
            .standing(&facts, after(1))
            .await
            .unwrap()
            .is_revoked
    );
    assert!(
        !instances
            .next()
            .standing(&facts, after(601))
            .await
            .unwrap()
            .is_revoked
    );
    let found = instances
        .next()
        .api_key_by_hash(&secret.hash())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.revoked_at, Some(START));
    assert!(!found.is_good(after(1)));
}

pub(crate) async fn an_owner_has_a_bounded_number_of_keys(instances: Instances) {
    let ada = instances.register("ada@example.com").await;
    let mut ids = Vec::new();
    for _ in 0..99 {
        let (key, secret) = key_of(of(&ada));
        assert_eq!(
            instances.create_key(&key, &secret).await,
            ApiKeyCreation::Created
        );
        ids.push(key.id);
    }
    let tasks = (0..4).map(|_| {
        let (key, secret) = key_of(of(&ada));
        let store = instances.next();
        let audit = line(AuditEvent::ApiKeyCreated);
        async move {
            store
                .create_api_key(&key, &secret.hash(), &audit)
                .await
                .unwrap()
        }
    });
    let results = all_at_once(tasks.collect::<Vec<_>>()).await;
    let created = results
        .iter()
        .filter(|result| **result == ApiKeyCreation::Created);
    assert_eq!(created.count(), 1, "{results:?}");
    let audit = entry(AuditEvent::ApiKeyRevoked, &ada);
    instances
        .next()
        .revoke_api_key(ids[0], after(600), &audit)
        .await
        .unwrap();
    let (key, secret) = key_of(of(&ada));
    assert_eq!(
        instances.create_key(&key, &secret).await,
        ApiKeyCreation::Created
    );
}
