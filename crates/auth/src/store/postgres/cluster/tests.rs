//! Several servers of one database, killed, stopped and promoted under writes. Never a mock of one.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use portcullis_testkit::{Postgres, wait_until};

use super::super::{PostgresAddress, PostgresOptions, PostgresServers, open};
use crate::breaker::{BreakerMode, BreakerSettings, Guard};
use crate::domain::{Account, AccountId, Actor, AuditEntry, AuditEvent, SubjectId, Tier};
use crate::store::contract;
use crate::store::readers::{Positions, Unknown};
use crate::store::topology::Role;
use crate::store::topology::WalPosition;
use crate::store::{
    AccountFilter, AuditFilter, AuditStore, AuthorizationStore, DirectoryStore, PageLimit,
    Rotation, SqlStore, Store, StoreError,
};

/// How soon after a promotion writes must be taken again.
const RESUMED: Duration = Duration::from_secs(5);

fn hosts(servers: &[&Postgres]) -> PostgresServers {
    let each = servers.iter().map(|server| server.address().to_string());
    let url = servers[0].url();
    let first = servers[0].address().to_string();
    let url = url.replace(&first, &Vec::from_iter(each).join(","));
    PostgresServers {
        hosts: PostgresAddress::parse_each(&url).unwrap(),
        replicas: Vec::new(),
        direct: Vec::new(),
    }
}

/// With the breaker that instances have: it must not hold up what goes on elsewhere.
fn options(servers: PostgresServers) -> PostgresOptions {
    let breaker = BreakerSettings {
        failures: NonZeroU32::new(5).unwrap(),
        open_for: Duration::from_secs(60),
        mode: BreakerMode::Enforce,
    };
    PostgresOptions {
        servers,
        pool_size: 2,
        max_overflow: 4,
        acquire_timeout: Duration::from_secs(30),
        recycle_after: Duration::from_secs(3600),
        lag_max: Duration::from_secs(10),
        positions: None,
        guard: Arc::new(Guard::new("database", breaker)),
    }
}

/// A primary whose commits wait for its replica.
async fn pair() -> (Postgres, Postgres) {
    let primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    primary.wait_for_standby("one");
    (primary, standby)
}

fn roles(store: &SqlStore) -> Vec<Role> {
    let endpoints = store.topology().endpoints.into_iter();
    endpoints.map(|endpoint| endpoint.role).collect()
}

async fn until_roles(store: &SqlStore, expected: &[Role]) {
    wait_until(&format!("{expected:?}"), async || {
        (roles(store) == expected).then_some(())
    })
    .await;
}

async fn write(store: &SqlStore, name: &str) -> Result<Account, StoreError> {
    let account = contract::account(name);
    let line = contract::entry(AuditEvent::Registered, &account);
    store.create_account(&account, &line).await?;
    Ok(account)
}

/// What instances tell each other, on one machine.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<AccountId, WalPosition>>);

#[async_trait]
impl Positions for Memory {
    async fn note(&self, accounts: &[AccountId], position: WalPosition) {
        let mut known = self.0.lock().unwrap();
        known.extend(accounts.iter().map(|account| (*account, position)));
    }

    async fn needed(&self, account: AccountId) -> Result<Option<WalPosition>, Unknown> {
        Ok(self.0.lock().unwrap().get(&account).copied())
    }
}

/// Two instances that share a memory of who wrote.
async fn two_instances(options: PostgresOptions) -> (SqlStore, SqlStore, Arc<Memory>) {
    let memory = Arc::new(Memory::default());
    let options = PostgresOptions {
        positions: Some(memory.clone()),
        ..options
    };
    let (one, other) = (open(&options).await.unwrap(), open(&options).await.unwrap());
    (one, other, memory)
}

fn nobody() -> AccountId {
    AccountId::from_random(crate::random::bytes())
}

/// Writes one account after another until it is told to stop; the addresses of those that were acknowledged.
async fn write_on(
    store: Arc<SqlStore>,
    name: &'static str,
    is_over: Arc<AtomicBool>,
) -> Vec<String> {
    let mut kept = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let address = format!("{name}-{number}@example.com");
        match write(&store, &address).await {
            Ok(_) => kept.push(address),
            // Refused at once while the breaker is open or nobody leads.
            Err(_) => tokio::task::yield_now().await,
        }
    }
    kept
}

async fn first_write_after(store: &SqlStore, began: Instant) -> Duration {
    wait_until("a write", async || {
        write(
            store,
            &format!("after-{:?}@example.com", began.elapsed().as_nanos()),
        )
        .await
        .ok()
    })
    .await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_takes_the_writes_and_holds_all_that_was_acknowledged() {
    let (mut primary, standby) = pair().await;
    let store = Arc::new(open(&options(hosts(&[&primary, &standby]))).await.unwrap());
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let writers =
        ["a", "b", "c"].map(|name| tokio::spawn(write_on(store.clone(), name, is_over.clone())));
    let count = |server: &Postgres| -> u64 {
        server
            .query("SELECT count(*) FROM account")
            .parse()
            .unwrap()
    };
    wait_until("writes", async || (count(&standby) > 20).then_some(())).await;
    primary.kill().await;
    assert!(
        write(&store, "refused@example.com").await.is_err(),
        "nobody leads"
    );
    standby.promote();
    let took = first_write_after(&store, Instant::now()).await;
    assert!(took < RESUMED, "{took:?}");
    let before = count(&standby);
    wait_until("more writes", async || {
        (count(&standby) > before + 20).then_some(())
    })
    .await;
    is_over.store(true, Ordering::Relaxed);
    let mut kept = Vec::new();
    for writer in writers {
        kept.extend(writer.await.unwrap());
    }
    let rows = standby.query("SELECT email FROM account");
    let rows: BTreeSet<&str> = rows.lines().collect();
    for address in &kept {
        assert!(
            rows.contains(address.as_str()),
            "{address} was acknowledged"
        );
    }
    assert_eq!(
        store.topology().failovers,
        2,
        "the first one to lead counts, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_comes_back_gets_no_write() {
    let (mut primary, standby) = pair().await;
    let options = options(hosts(&[&primary, &standby]));
    let store = open(&options).await.unwrap();
    write(&store, "ada@example.com").await.unwrap();
    primary.kill().await;
    standby.promote();
    first_write_after(&store, Instant::now()).await;
    primary.restart().await;
    until_roles(&store, &[Role::Fenced, Role::Primary]).await;
    // One that starts now knows it, too, whoever answers first.
    let late = open(&options).await.unwrap();
    for number in 0..20 {
        let store = if number % 2 == 0 { &store } else { &late };
        write(store, &format!("{number}@example.com"))
            .await
            .unwrap();
    }
    let old = "SELECT count(*) FROM account WHERE email NOT LIKE 'ada%'";
    assert_eq!(primary.query(old), "0");
    assert_eq!(
        standby.query("SELECT count(*) FROM account WHERE email ~ '^[0-9]'"),
        "20"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_fell_silent_gives_way_to_the_promoted_one_and_is_fenced_when_it_wakes() {
    let (primary, standby) = pair().await;
    let store = open(&options(hosts(&[&primary, &standby]))).await.unwrap();
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    primary.pause();
    until_roles(&store, &[Role::Away, Role::Replica]).await;
    standby.promote();
    let took = first_write_after(&store, Instant::now()).await;
    assert!(took < RESUMED, "{took:?}");
    primary.resume();
    until_roles(&store, &[Role::Fenced, Role::Primary]).await;
    write(&store, "bob@example.com").await.unwrap();
    assert_eq!(primary.query("SELECT count(*) FROM account"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_the_primary_wherever_it_is_listed_and_beside_servers_that_are_gone() {
    let (primary, standby) = pair().await;
    let gone = gone().await;
    let store = open(&options(hosts(&[&gone, &standby, &primary])))
        .await
        .unwrap();
    write(&store, "ada@example.com").await.unwrap();
    until_roles(&store, &[Role::Away, Role::Replica, Role::Primary]).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_a_primary_is_refused() {
    let (primary, standby) = pair().await;
    let refused = open(&options(hosts(&[&standby, &gone().await]))).await;
    drop(primary);
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
}

async fn gone() -> Postgres {
    let mut gone = Postgres::start().await;
    gone.kill().await;
    gone
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_in_the_list_is_never_asked_for_anything() {
    let (primary, strange) = (Postgres::start_followed(&[]).await, Postgres::start().await);
    let store = open(&options(PostgresServers {
        replicas: hosts(&[&strange]).hosts,
        ..hosts(&[&primary])
    }))
    .await;
    assert!(
        matches!(store, Err(StoreError::Unavailable { .. })),
        "nobody knows which is meant"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_is_can_be_asked_without_any_right() {
    let (primary, standby) = pair().await;
    open(&options(hosts(&[&primary]))).await.unwrap();
    primary.query(
        "CREATE ROLE app LOGIN PASSWORD 'app-pw';
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app",
    );
    let servers = hosts(&[&primary, &standby]);
    let url = format!(
        "postgres://app:app-pw@{},{}/postgres",
        primary.address(),
        standby.address()
    );
    let servers = PostgresServers {
        hosts: PostgresAddress::parse_each(&url).unwrap(),
        ..servers
    };
    let store = open(&options(servers)).await.unwrap();
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    write(&store, "ada@example.com").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_by_the_direct_way_to_the_server_that_takes_writes() {
    let (primary, standby) = pair().await;
    let servers = PostgresServers {
        direct: hosts(&[&standby, &primary]).hosts,
        ..hosts(&[&primary])
    };
    let store = open(&options(servers)).await.unwrap();
    write(&store, "ada@example.com").await.unwrap();
    let nowhere = PostgresServers {
        direct: hosts(&[&gone().await]).hosts,
        ..hosts(&[&primary])
    };
    let refused = open(&options(nowhere)).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_answers_everybody_but_those_who_wrote() {
    let primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    let (one, other, _) = two_instances(options(hosts(&[&primary, &standby]))).await;
    // The replica must have the tables before it stops.
    wait_until("the schema", async || {
        (standby.query("SELECT to_regclass('audit') IS NOT NULL") == "t").then_some(())
    })
    .await;
    for store in [&one, &other] {
        until_roles(store, &[Role::Primary, Role::Replica]).await;
    }
    standby.stop_applying();
    let ada = write(&one, "ada@example.com").await.unwrap();
    for store in [&one, &other] {
        assert_eq!(
            store.accounts_seen_by(ada.id).await.unwrap(),
            1,
            "she wrote"
        );
        assert_eq!(
            store.accounts_seen_by(nobody()).await.unwrap(),
            0,
            "the replica lags"
        );
        let told = store.topology();
        assert_eq!((told.primary_reads, told.replica_reads), (1, 1));
    }
    standby.go_on_applying();
    wait_until("the replica for her, too", async || {
        assert_eq!(one.accounts_seen_by(ada.id).await.unwrap(), 1);
        (one.topology().replica_reads > 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_go_on_without_the_primary_and_without_the_replica() {
    let (mut primary, mut standby) = pair().await;
    let (store, _, _) = two_instances(options(hosts(&[&primary, &standby]))).await;
    write(&store, "ada@example.com").await.unwrap();
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    let seen = async || store.accounts_seen_by(nobody()).await.unwrap();
    primary.kill().await;
    for _ in 0..50 {
        assert_eq!(seen().await, 1);
    }
    standby.promote();
    for _ in 0..50 {
        assert_eq!(seen().await, 1);
    }
    primary.restart().await;
    until_roles(&store, &[Role::Fenced, Role::Primary]).await;
    assert_eq!(seen().await, 1);
    // A silent replica is not waited for longer than a moment.
    let other = standby.standby("two", &[]).await;
    let (store, _, _) = two_instances(options(hosts(&[&standby, &other]))).await;
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    other.pause();
    let began = Instant::now();
    assert_eq!(store.accounts_seen_by(nobody()).await.unwrap(), 1);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    until_roles(&store, &[Role::Primary, Role::Away]).await;
    other.resume();
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    standby.kill().await;
    assert_eq!(store.accounts_seen_by(nobody()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lags_too_far_or_of_which_nothing_is_remembered_is_not_read() {
    let primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    let narrow = PostgresOptions {
        lag_max: Duration::from_millis(1500),
        ..options(hosts(&[&primary, &standby]))
    };
    let (store, _, _) = two_instances(narrow.clone()).await;
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    standby.stop_applying();
    write(&store, "ada@example.com").await.unwrap();
    until_roles(&store, &[Role::Primary, Role::Lagging]).await;
    assert_eq!(store.accounts_seen_by(nobody()).await.unwrap(), 1);
    standby.go_on_applying();
    until_roles(&store, &[Role::Primary, Role::Replica]).await;
    let forgetful = open(&narrow).await.unwrap();
    until_roles(&forgetful, &[Role::Primary, Role::Replica]).await;
    forgetful.accounts_seen_by(nobody()).await.unwrap();
    let told = forgetful.topology();
    assert_eq!((told.primary_reads, told.replica_reads), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_concerns_an_account_is_noted_up_to_its_commit() {
    let primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    let (store, _, memory) = two_instances(options(hosts(&[&primary, &standby]))).await;
    let account = write(&store, "ada@example.com").await.unwrap();
    let mut before = memory.needed(account.id).await.unwrap().unwrap();
    assert_eq!(before.timeline, 1);
    let mut grew = async |what: &str| {
        let after = memory.needed(account.id).await.unwrap().unwrap();
        assert!(after > before, "{what}: {after:?}");
        before = after;
    };
    let (family, first, next) = (
        contract::family(&account),
        contract::token(),
        contract::token(),
    );
    let line = contract::entry(AuditEvent::LoginSucceeded, &account);
    let until = contract::after(600);
    let created = store
        .create_family(&family, &first.hash(), until, &line)
        .await;
    created.unwrap();
    grew("a login").await;
    let rotation = Rotation::new(&first, &next, "web", contract::after(1), until, until);
    store.rotate(&rotation).await.unwrap();
    grew("a refresh").await;
    store
        .revoke_session(family.session, until, &line)
        .await
        .unwrap();
    grew("a logout").await;
    wait_until("the replica", async || {
        let applied = "SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn";
        let applied: i64 = standby.query(applied).parse().unwrap();
        (applied >= before.position).then_some(())
    })
    .await;
    assert_eq!(
        standby.query("SELECT count(*) FROM refresh_family WHERE revoked_at IS NOT NULL"),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_permission_sets_come_from_a_replica_that_is_new_enough_for_who_asks() {
    let primary = Postgres::start_followed(&[]).await;
    let standby = primary.standby("one", &[]).await;
    let (one, other, _) = two_instances(options(hosts(&[&primary, &standby]))).await;
    let root = write(&one, "root@example.com").await.unwrap();
    wait_until("her account", async || {
        let has_table = standby.query("SELECT to_regclass('account') IS NOT NULL") == "t";
        let has_row = || standby.query("SELECT count(*) FROM account") == "1";
        (has_table && has_row()).then_some(())
    })
    .await;
    for store in [&one, &other] {
        until_roles(store, &[Role::Primary, Role::Replica]).await;
    }
    let before = one.permission_version().await.unwrap();
    standby.stop_applying();
    let ada = contract::account("ada@example.com");
    let by_root = |event| AuditEntry {
        account: Some(ada.id),
        ..AuditEntry::by(Actor::Account(root.id), contract::START, event)
    };
    let line = by_root(AuditEvent::AccountAdded);
    one.create_account(&ada, &line).await.unwrap();
    let line = by_root(AuditEvent::TierChanged);
    assert!(one.set_tier(root.id, Tier::Pro, &line).await.unwrap());
    let now = one.permission_version().await.unwrap();
    assert!(now > before);
    let page = PageLimit::MAX;
    for store in [&one, &other] {
        let everybody = AccountFilter::default();
        for (reader, seen) in [(root.id, 2), (nobody(), 1)] {
            let found = store.find_accounts(&everybody, None, page, reader).await;
            assert_eq!(found.unwrap().len(), seen, "accounts");
        }
        let all = AuditFilter::default();
        for (reader, seen) in [(Some(root.id), 3), (Some(nobody()), 1), (None, 3)] {
            let found = store.audit_page(&all, None, page, reader).await;
            assert_eq!(found.unwrap().len(), seen, "lines");
        }
        let tier = async |id: AccountId, version| {
            let found = store.subject_of(&SubjectId::Account(id), version).await;
            found.unwrap().map(|subject| subject.tier)
        };
        let counted = || store.topology().replica_reads;
        let so_far = counted();
        assert_eq!(tier(root.id, before).await, Some(Tier::Free), "old enough");
        assert_eq!(tier(root.id, now).await, Some(Tier::Pro), "new enough");
        assert_eq!(tier(ada.id, before).await, Some(Tier::Free), "unheard of");
        assert_eq!(tier(nobody(), now).await, None);
        assert_eq!(counted() - so_far, 4, "the replica was asked first");
    }
    standby.go_on_applying();
    wait_until("the replica for her, too", async || {
        let so_far = one.topology().primary_reads;
        let all = AuditFilter::default();
        let found = one.audit_page(&all, None, page, Some(root.id)).await;
        assert_eq!(found.unwrap().len(), 3);
        (one.topology().primary_reads == so_far).then_some(())
    })
    .await;
}
