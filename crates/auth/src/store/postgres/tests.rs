//! The contract on PostgreSQL, and what only a server can get wrong. Never uses another server than its own.

mod releases;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::{Authority, Postgres, wait_until};
use tokio::sync::oneshot;

use super::pool::{Pool, Urgency};
use super::{PostgresAddress, PostgresOptions, PostgresServers, migrate, open};
use crate::breaker::{BreakerMode, BreakerSettings, BreakerState, Guard};
use crate::domain::Revocation;
use crate::store::contract::{self, Instances};
use crate::store::{PageLimit, RevocationPosition, SqlStore, Store, StoreError};

fn options(server: &Postgres) -> PostgresOptions {
    PostgresOptions {
        servers: to(&server.url()),
        pool_size: 1,
        max_overflow: 9,
        acquire_timeout: Duration::from_secs(30),
        recycle_after: Duration::from_secs(3600),
        lag_max: Duration::from_secs(10),
        positions: None,
        guard: Arc::new(Guard::new("database", breaker(BreakerMode::Off))),
    }
}

fn to(url: &str) -> PostgresServers {
    PostgresServers::one(PostgresAddress::parse(url).unwrap())
}

async fn pool(options: &PostgresOptions) -> Pool {
    Pool::open(options, &options.servers.hosts[0])
        .await
        .unwrap()
}

fn breaker(mode: BreakerMode) -> BreakerSettings {
    BreakerSettings {
        failures: NonZeroU32::new(2).unwrap(),
        open_for: Duration::from_secs(3600),
        mode,
    }
}

async fn opened(server: &Postgres) -> SqlStore {
    let store = open(&options(server)).await.unwrap();
    store.audited(contract::audit::trail())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

contract::every_case!(on_postgres);

/// Runs a case of the contract with three instances, each with a pool of its own, on one server.
fn on_postgres<F: Future<Output = ()>>(case: impl FnOnce(Instances) -> F) {
    block_on(async {
        let server = Postgres::start().await;
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..3 {
            stores.push(Arc::new(opened(&server).await));
        }
        let closing = stores.clone();
        case(Instances::new(stores)).await;
        for store in closing {
            store.close().await;
        }
    });
}

async fn assert_kept(store: &SqlStore, account: &crate::domain::Account) {
    let found = store.account_by_id(account.id).await.unwrap().unwrap();
    assert_eq!(found.email, account.email);
}

fn account_and_line() -> (crate::domain::Account, crate::domain::AuditEntry) {
    let account = contract::account("ada@example.com");
    let line = contract::entry(crate::domain::AuditEvent::Registered, &account);
    (account, line)
}

#[test]
fn three_cold_starts_at_once_all_succeed() {
    block_on(async {
        let server = Postgres::start().await;
        let address = options(&server);
        let starts: Vec<_> = (0..3)
            .map(|_| {
                let options = address.clone();
                async move { open(&options).await.unwrap().ping().await.unwrap() }
            })
            .collect();
        contract::all_at_once(starts).await;
        assert_eq!(server.query("SELECT count(*) FROM _sqlx_migrations"), "3");
    });
}

#[test]
fn a_login_leaves_no_line_where_nobody_wants_a_trail() {
    block_on(async {
        let server = Postgres::start().await;
        let untrailed = crate::store::Trail {
            is_written: false,
            ..crate::store::Trail::default()
        };
        let store = opened(&server).await.audited(untrailed);
        let (account, line) = account_and_line();
        store.create_account(&account, &line).await.unwrap();
        let (family, first) = (contract::family(&account), contract::token());
        let end = contract::after(60);
        let created = store
            .create_family(&family, &first.hash(), end, &line)
            .await;
        assert_eq!(created.unwrap(), crate::store::FamilyCreation::Created);
        assert!(store.recent_audit(PageLimit::MAX).await.unwrap().is_empty());
    });
}

#[test]
fn a_schema_one_version_ahead_is_used_and_two_ahead_is_refused() {
    const NEWER: &str =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        SELECT max(version) + 1, 'of a later release', true, '', 0 FROM _sqlx_migrations";
    block_on(async {
        let server = Postgres::start().await;
        opened(&server).await;
        server.query(NEWER);
        server.query("ALTER TABLE account ADD COLUMN later TEXT; CREATE TABLE later (id TEXT)");
        let store = opened(&server).await;
        let (account, line) = account_and_line();
        store.create_account(&account, &line).await.unwrap();
        assert_kept(&store, &account).await;
        server.query(NEWER);
        let refused = open(&options(&server)).await.unwrap_err();
        assert!(
            matches!(refused, StoreError::SchemaTooNew { found, ours } if found == ours + 2),
            "{refused:?}"
        );
    });
}

#[test]
fn an_instance_without_the_right_to_change_the_schema_starts_when_nothing_is_missing() {
    block_on(async {
        let server = Postgres::start().await;
        opened(&server).await;
        server.query(
            "CREATE ROLE app LOGIN PASSWORD 'app-pw';
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
        );
        let url = format!("postgres://app:app-pw@{}/postgres", server.address());
        let options = PostgresOptions {
            servers: to(&url),
            ..options(&server)
        };
        let store = open(&options).await.unwrap();
        let (account, line) = account_and_line();
        store.create_account(&account, &line).await.unwrap();
    });
}

#[test]
fn a_migration_waits_for_statements_in_its_way() {
    block_on(async {
        let server = Postgres::start().await;
        let pool = pool(&options(&server)).await;
        let mut others = pool.connections().begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(migrate::LOCK)
            .execute(&mut *others)
            .await
            .unwrap();
        let options = options(&server);
        let opening = tokio::spawn(async move { open(&options).await });
        wait_until("a migration that waits", async || {
            let waits = server.query("SELECT count(*) FROM pg_locks WHERE NOT granted");
            (waits == "1").then_some(())
        })
        .await;
        others.commit().await.unwrap();
        opening.await.unwrap().unwrap();
    });
}

#[test]
fn a_wrong_password_is_told_without_any() {
    block_on(async {
        let server = Postgres::start().await;
        let url = server
            .url()
            .replace(portcullis_testkit::postgres::PASSWORD, "hunter2");
        let options = PostgresOptions {
            servers: to(&url),
            ..options(&server)
        };
        let refused = open(&options).await.unwrap_err();
        let told = format!("{refused} {refused:?}");
        assert!(told.contains("password authentication failed"), "{told}");
        assert!(
            !told.contains("hunter2") && !told.contains("pg-pw"),
            "{told}"
        );
    });
}

#[test]
fn a_server_is_believed_over_tls_only_with_a_certificate_of_the_named_authority() {
    block_on(async {
        let authority = Authority::new();
        let server = Postgres::start_with_tls(&authority).await;
        let to = |authority: &Authority| {
            let url = server.url().replace("127.0.0.1", "localhost");
            let root = authority.root_file();
            let url = format!("{url}?sslmode=verify-full&sslrootcert={}", root.display());
            PostgresOptions {
                servers: to(&url),
                ..options(&server)
            }
        };
        let store = open(&to(&authority)).await.unwrap();
        let on_tls = "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                      WHERE ssl AND application_name = 'portcullis-auth'";
        assert_eq!(server.query(on_tls), "t");
        store.close().await;
        let refused = open(&to(&Authority::new())).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_killed_server_fails_writes_soon_and_is_found_again_with_all_it_acknowledged() {
    block_on(async {
        let mut server = Postgres::start().await;
        let store = opened(&server).await;
        let (account, line) = account_and_line();
        store.create_account(&account, &line).await.unwrap();
        server.kill().await;
        let began = Instant::now();
        let refused = store.append_audit(&line).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        server.restart().await;
        store.append_audit(&line).await.unwrap();
        assert_kept(&store, &account).await;
    });
}

#[test]
fn a_store_closes_soon_although_its_server_is_gone() {
    block_on(async {
        let mut server = Postgres::start().await;
        let store = opened(&server).await;
        server.kill().await;
        assert!(
            store.ping().await.is_err(),
            "the connection is missed from now on"
        );
        let closing = tokio::time::timeout(Duration::from_secs(20), store.close());
        closing.await.unwrap();
    });
}

#[test]
fn connections_that_a_restart_broke_are_not_handed_out() {
    block_on(async {
        let mut server = Postgres::start().await;
        let store = Arc::new(opened(&server).await);
        let ask = |store: &Arc<SqlStore>| {
            let store = Arc::clone(store);
            async move { store.ping().await }
        };
        contract::all_at_once((0..10).map(|_| ask(&store))).await;
        let open = store.pool_metrics().open;
        assert!(open > 1, "{open}");
        server.restart().await;
        let mut failures = 0;
        for _ in 0..20 {
            failures += u32::from(store.ping().await.is_err());
        }
        assert_eq!(failures, 0);
    });
}

#[test]
fn a_paused_server_fails_everybody_within_bounds_and_serves_on_afterwards() {
    block_on(async {
        let server = Postgres::start().await;
        let store = Arc::new(opened(&server).await);
        let (account, line) = account_and_line();
        store.create_account(&account, &line).await.unwrap();
        server.pause();
        let began = Instant::now();
        let tries: Vec<_> = (0..40)
            .map(|_| {
                let (store, line) = (Arc::clone(&store), line.clone());
                async move { store.append_audit(&line).await }
            })
            .collect();
        let results = contract::all_at_once(tries).await;
        assert!(results.iter().all(Result::is_err));
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );
        server.resume();
        wait_until("a write that succeeds", async || {
            store.append_audit(&line).await.ok()
        })
        .await;
        assert_kept(&store, &account).await;
    });
}

#[test]
fn a_login_does_not_wait_long_for_a_connection() {
    block_on(async {
        let server = Postgres::start().await;
        let options = PostgresOptions {
            max_overflow: 0,
            ..options(&server)
        };
        let pool = pool(&options).await;
        let held = pool
            .write("holding the only connection", Urgency::Usual)
            .await
            .unwrap();
        let began = Instant::now();
        let shed = pool.write("logging in", Urgency::Login).await;
        assert!(matches!(
            shed,
            Err(StoreError::Busy { .. } | StoreError::Unavailable { .. })
        ));
        let took = began.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(4),
            "{took:?}"
        );
        drop(held);
        pool.write("logging in", Urgency::Login).await.unwrap();
    });
}

#[test]
fn the_server_says_how_many_connections_there_are() {
    block_on(async {
        let settings = [
            ("max_connections", "23"),
            ("superuser_reserved_connections", "3"),
        ];
        let server = Postgres::start_with(&settings).await;
        let store = opened(&server).await;
        assert_eq!(store.connection_limit().await.unwrap(), Some(20));
        assert_eq!(store.pool_metrics().max, 10);
    });
}

#[test]
fn where_the_server_lets_nobody_else_in_all_share_the_connections_there_are() {
    block_on(async {
        let full = [
            ("max_connections", "4"),
            ("superuser_reserved_connections", "0"),
        ];
        let server = Postgres::start_with(&full).await;
        let store = Arc::new(opened(&server).await);
        let began = Instant::now();
        for _ in 0..3 {
            let mut requests = tokio::task::JoinSet::new();
            for _ in 0..40 {
                let store = store.clone();
                requests.spawn(async move { store.ping().await });
            }
            for answered in requests.join_all().await {
                answered.unwrap();
            }
        }
        let took = began.elapsed();
        assert!(server.log().contains("too many clients"), "it was not full");
        assert!(took < Duration::from_secs(15), "{took:?}");
    });
}

#[test]
fn an_open_breaker_refuses_at_once_but_lets_revocations_and_questions_of_health_through() {
    block_on(async {
        let mut server = Postgres::start().await;
        let options = PostgresOptions {
            guard: Arc::new(Guard::new("database", breaker(BreakerMode::Enforce))),
            ..options(&server)
        };
        let store = open(&options).await.unwrap();
        server.kill().await;
        let (account, line) = account_and_line();
        for _ in 0..2 {
            assert!(store.append_audit(&line).await.is_err());
        }
        assert_eq!(options.guard.view().state, BreakerState::Open);
        server.restart().await;
        let began = Instant::now();
        let refused = store.account_by_id(account.id).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "it was not asked"
        );
        store.ping().await.unwrap();
        store.can_write().await.unwrap();
        let session = crate::domain::SessionId::from_random([7; 16]);
        let until = contract::after(600);
        store.revoke_session(session, until, &line).await.unwrap();
    });
}

#[test]
fn sec_d05_a_revocation_that_is_not_committed_holds_back_no_other_and_is_not_passed_over() {
    block_on(async {
        let server = Postgres::start().await;
        let (slow, quick) = (opened(&server).await, opened(&server).await);
        let revocation = |name: &str| Revocation::Token {
            jti: name.to_owned(),
            until: contract::after(600),
        };
        quick.add_revocation(&revocation("before")).await.unwrap();
        let ((written, is_written), (go_on, told)) = (oneshot::channel(), oneshot::channel());
        let late = revocation("late");
        let writing =
            tokio::spawn(async move { slow.add_revocation_slowly(&late, written, told).await });
        is_written.await.unwrap();
        let began = Instant::now();
        quick.add_revocation(&revocation("early")).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let names = async |after| {
            let page = quick
                .revocations(after, contract::START, PageLimit::MAX)
                .await;
            let name = |of: &(RevocationPosition, Revocation)| match &of.1 {
                Revocation::Token { jti, .. } => jti.clone(),
                other => panic!("{other:?}"),
            };
            Vec::from_iter(page.unwrap().iter().map(name))
        };
        let start = RevocationPosition::default();
        assert_eq!(
            names(start).await,
            ["before", "early"],
            "it can be read at once"
        );
        let settled = quick.settled_revocations().await.unwrap();
        assert_eq!(names(settled).await, ["early"], "it is read again");
        go_on.send(()).unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(names(settled).await, ["late", "early"]);
        let settled = quick.settled_revocations().await.unwrap();
        assert!(names(settled).await.is_empty());
    });
}

/// The first release took a lock alone until its position was committed.
#[test]
fn sec_d05_writes_of_the_first_release_keep_their_place_in_the_order() {
    block_on(async {
        let server = Postgres::start().await;
        let store = opened(&server).await;
        let pool = pool(&options(&server)).await;
        let mut old = pool.connections().begin().await.unwrap();
        let lock = "SELECT pg_advisory_xact_lock(x'706f727400000001'::bigint)";
        sqlx::query(lock).execute(&mut *old).await.unwrap();
        let revocation = Revocation::Token {
            jti: "new".to_owned(),
            until: contract::after(600),
        };
        let writing = tokio::spawn(async move { store.add_revocation(&revocation).await });
        wait_until("a write that waits", async || {
            let waits = server.query("SELECT count(*) FROM pg_locks WHERE NOT granted");
            (waits == "1").then_some(())
        })
        .await;
        old.commit().await.unwrap();
        writing.await.unwrap().unwrap();
    });
}
