//! The contract on SQLite, and what only a file can get wrong. Never leaves a file behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteSynchronous;
use tempfile::TempDir;

use super::file::{DatabaseFile, FileOptions};
use super::{SqliteOptions, migrate, open_file};
use crate::store::contract::{self, Instances, all_at_once};
use crate::store::sql::database::Database;
use crate::store::{PageLimit, SqlStore, Store, StoreError};

fn options(path: &Path) -> SqliteOptions {
    SqliteOptions {
        path: path.to_owned(),
        pool_size: 1,
        max_overflow: 3,
    }
}

async fn open(path: &Path) -> SqlStore {
    let store = super::open(&options(path)).await.unwrap();
    store.audited(contract::audit::trail())
}

/// An open store beside its file, for what goes around it.
async fn open_both(path: &Path) -> (SqlStore, DatabaseFile) {
    let file = open_file(&options(path)).await.unwrap();
    migrate::run(&file, migrate::store()).await.unwrap();
    (SqlStore::new(Database::Sqlite(file.clone())), file)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

contract::every_case!(on_sqlite);

/// Runs a case of the contract with three instances, each with pools of its own, on one file.
fn on_sqlite<F: Future<Output = ()>>(case: impl FnOnce(Instances) -> F) {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let path = directory.path().join("auth.db");
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..3 {
            stores.push(Arc::new(open(&path).await));
        }
        let closing = stores.clone();
        case(Instances::new(stores)).await;
        for store in closing {
            store.close().await;
        }
    });
}

#[test]
fn three_cold_starts_at_once_all_succeed() {
    for _ in 0..5 {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth.db");
        block_on(async {
            let starts = (0..3).map(|_| {
                let path = path.clone();
                async move {
                    let store = open(&path).await;
                    store.ping().await.unwrap();
                    store.close().await;
                }
            });
            all_at_once(starts.collect::<Vec<_>>()).await;
        });
    }
}

#[test]
fn the_file_is_its_owners_alone_and_full_on_every_commit() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    block_on(async {
        let (_, file) = open_both(&path).await;
        for name in ["auth.db", "auth.db-wal", "auth.db-shm"] {
            let mode = std::fs::metadata(directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let mut write = file.write("asking").await.unwrap();
        let ask = |pragma: &'static str| sqlx::query_scalar::<_, i64>(pragma);
        assert_eq!(
            ask("PRAGMA synchronous")
                .fetch_one(&mut *write)
                .await
                .unwrap(),
            2,
            "FULL"
        );
        assert_eq!(
            ask("PRAGMA foreign_keys")
                .fetch_one(&mut *write)
                .await
                .unwrap(),
            1
        );
    });
}

#[test]
fn a_missing_directory_is_named() {
    block_on(async {
        let error = super::open(&options(Path::new("/nonexistent/auth.db")))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/auth.db"),
            "{error}"
        );
    });
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    let text = "This is somebody's letter, not a database.".repeat(100);
    std::fs::write(&path, &text).unwrap();
    block_on(async {
        let refused = super::open(&options(&path)).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
    });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_database_without_our_schema_is_no_sign_of_life() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let file = open_file(&options(&directory.path().join("auth.db")))
            .await
            .unwrap();
        let store = SqlStore::new(Database::Sqlite(file));
        assert!(matches!(
            store.ping().await,
            Err(StoreError::Unavailable { .. })
        ));
    });
}

#[test]
fn a_row_this_version_cannot_read_is_an_error_not_a_panic() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    block_on(async {
        let (store, file) = open_both(&path).await;
        let account = contract::account("ada@example.com");
        let line = contract::entry(crate::domain::AuditEvent::Registered, &account);
        store.create_account(&account, &line).await.unwrap();
        for damage in [
            "UPDATE account SET email = 'no address'",
            // It knows the account by its id.
            "DELETE FROM mail",
            "UPDATE account SET id = 'no id'",
            "INSERT INTO account_role SELECT id, 'Not A Role' FROM account",
            "UPDATE audit SET event = 'no event'",
        ] {
            let mut write = file.write("damaging").await.unwrap();
            sqlx::query(damage).execute(&mut *write).await.unwrap();
            write.commit().await.unwrap();
        }
        assert!(matches!(
            store.accounts(None, PageLimit::MAX).await,
            Err(StoreError::BadRow { .. })
        ));
        assert!(matches!(
            store.recent_audit(PageLimit::MAX).await,
            Err(StoreError::BadRow { .. })
        ));
    });
}

#[test]
fn a_writer_that_waits_too_long_is_told_so_and_readers_do_not_wait() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    block_on(async {
        let (store, file) = open_both(&path).await;
        let impatient = DatabaseFile::open(&FileOptions {
            path: path.clone(),
            synchronous: SqliteSynchronous::Full,
            pool_size: 1,
            max_overflow: 0,
            busy_timeout: Duration::from_millis(50),
        })
        .await
        .unwrap();
        let held = file.write("holding the lock").await.unwrap();
        let refused = impatient.write("writing beside it").await;
        assert!(
            matches!(&refused, Err(StoreError::Busy { .. })),
            "{refused:?}"
        );
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("writing beside it")
        );
        store.ping().await.unwrap();
        drop(held);
        impatient.write("writing afterwards").await.unwrap();
    });
}

#[test]
fn migration_waits_for_its_turn_longer_than_a_write_may() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    let opened = async |milliseconds| {
        let options = FileOptions {
            path: path.clone(),
            synchronous: SqliteSynchronous::Full,
            pool_size: 1,
            max_overflow: 0,
            busy_timeout: Duration::from_millis(milliseconds),
        };
        DatabaseFile::open(&options).await.unwrap()
    };
    block_on(async {
        let (_store, file) = open_both(&path).await;
        let (starting, writing) = (opened(5).await, opened(100).await);
        let held = file.write("holding the lock").await.unwrap();
        let release = async {
            let refused = writing.write("waiting twenty times as long").await;
            assert!(refused.is_err(), "{refused:?}");
            drop(held);
        };
        let (migrated, ()) = tokio::join!(migrate::run(&starting, migrate::store()), release);
        migrated.unwrap();
    });
}

/// SQLite undoes the whole transaction by itself then, which the driver does not notice.
#[test]
fn writing_goes_on_once_a_full_disk_has_room_again() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let (store, file) = open_both(&directory.path().join("auth.db")).await;
        let mut write = file.write("filling up").await.unwrap();
        let fill = "PRAGMA max_page_count = 1";
        sqlx::query(fill).execute(&mut *write).await.unwrap();
        let insert = "INSERT INTO setup_token VALUES ('t', zeroblob(1000000), 1, 1, NULL)";
        let refused = sqlx::query(insert).execute(&mut *write).await;
        assert!(
            refused.unwrap_err().to_string().contains("full"),
            "the file cannot grow"
        );
        drop(write);
        let account = contract::account("ada@example.com");
        let line = contract::entry(crate::domain::AuditEvent::Registered, &account);
        // The limit was the connection's own: a fresh one has room.
        store.create_account(&account, &line).await.unwrap();
    });
}

#[test]
fn a_file_that_was_deleted_or_replaced_shows_no_sign_of_life() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.db");
    block_on(async {
        let store = open(&path).await;
        store.ping().await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(store.ping().await.is_err(), "deleted");
        open(&path).await.ping().await.unwrap();
        assert!(store.ping().await.is_err(), "replaced");
    });
}

#[test]
fn a_write_through_a_reading_connection_fails() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let (_, file) = open_both(&directory.path().join("auth.db")).await;
        let strayed = sqlx::query("DELETE FROM account")
            .execute(file.readers())
            .await;
        assert!(strayed.is_err());
    });
}

#[test]
fn every_connection_is_counted() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let store = open(&directory.path().join("auth.db")).await;
        let metrics = store.pool_metrics();
        assert_eq!(metrics.max, 1 + 4);
        assert!(
            (2..=5).contains(&metrics.open) && metrics.idle <= metrics.open,
            "{metrics:?}"
        );
    });
}

/// None of what requests ask for again and again may read a table from its beginning.
#[test]
fn indexes_carry_the_frequent_queries() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let (_store, file) = open_both(&directory.path().join("auth.db")).await;
        for query in [
            "SELECT 1 FROM api_key WHERE hash = x'00'",
            "SELECT 1 FROM api_key WHERE account_id = 'a' ORDER BY created_at DESC",
            "SELECT 1 FROM api_key WHERE tenant_id = 't' AND client = 'c' ORDER BY created_at DESC",
            "SELECT p.permission FROM account a JOIN permission_version v ON v.tenant_id = a.tenant_id
             LEFT JOIN account_role r ON r.account_id = a.id
             LEFT JOIN role_permission p ON p.tenant_id = a.tenant_id AND p.role = r.role
             WHERE a.tenant_id = 't' AND a.id = 'i'",
            "SELECT p.permission FROM client c JOIN permission_version v ON v.tenant_id = c.tenant_id
             LEFT JOIN client_role r ON r.tenant_id = c.tenant_id AND r.client = c.name
             LEFT JOIN role_permission p ON p.tenant_id = c.tenant_id AND p.role = r.role
             WHERE c.tenant_id = 't' AND c.name = 'n'",
            "SELECT 1 FROM account WHERE tenant_id = 't' AND email = 'e'",
            "SELECT 1 FROM refresh_token t JOIN refresh_family f ON f.id = t.family_id WHERE t.hash = x'00'",
            "SELECT 1 FROM refresh_family WHERE session_id = 's'",
            "SELECT 1 FROM revocation WHERE tenant_id = 't' AND kind = 'token' AND subject = 's'",
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {query}");
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(plan))
                .fetch_all(file.readers())
                .await
                .unwrap();
            let steps: Vec<&str> = plan.iter().map(|step| step.3.as_str()).collect();
            assert!(steps.iter().any(|step| step.starts_with("SEARCH")), "{query}: {steps:?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN")), "{query}: {steps:?}");
        }
    });
}
