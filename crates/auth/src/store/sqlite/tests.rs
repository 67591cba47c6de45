//! The contract on SQLite, and what only a file can get wrong. Never leaves a file behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteSynchronous;
use tempfile::TempDir;

use super::file::{DatabaseFile, FileOptions};
use super::{SqliteOptions, SqliteStore};
use crate::store::contract::{self, Instances, all_at_once};
use crate::store::{PageLimit, Store, StoreError};

fn options(path: &Path) -> SqliteOptions {
    SqliteOptions {
        path: path.to_owned(),
        pool_size: 1,
        max_overflow: 3,
    }
}

async fn open(path: &Path) -> SqliteStore {
    let store = SqliteStore::connect(&options(path)).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

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
fn what_one_instance_stores_the_others_read() {
    on_sqlite(contract::accounts::what_one_instance_stores_the_others_read);
}

#[test]
fn what_does_not_exist_is_none() {
    on_sqlite(contract::accounts::what_does_not_exist_is_none);
}

#[test]
fn an_address_is_taken_once_however_many_register_it() {
    on_sqlite(contract::accounts::an_address_is_taken_once_however_many_register_it);
}

#[test]
fn hostile_text_is_stored_as_it_is() {
    on_sqlite(contract::accounts::hostile_text_is_stored_as_it_is);
}

#[test]
fn pages_are_bounded_ordered_and_complete() {
    on_sqlite(contract::accounts::pages_are_bounded_ordered_and_complete);
}

#[test]
fn sec_a14_shutting_an_account_shuts_every_way_to_a_token() {
    on_sqlite(contract::accounts::sec_a14_shutting_an_account_shuts_every_way_to_a_token);
}

#[test]
fn opening_an_account_again_does_not_bring_old_tokens_back() {
    on_sqlite(contract::accounts::opening_an_account_again_does_not_bring_old_tokens_back);
}

#[test]
fn changes_to_an_unknown_account_change_nothing() {
    on_sqlite(contract::accounts::changes_to_an_unknown_account_change_nothing);
}

#[test]
fn roles_are_replaced_as_a_whole() {
    on_sqlite(contract::accounts::roles_are_replaced_as_a_whole);
}

#[test]
fn a_password_hash_is_upgraded_only_from_what_was_read() {
    on_sqlite(contract::accounts::a_password_hash_is_upgraded_only_from_what_was_read);
}

#[test]
fn the_audit_log_is_read_newest_first() {
    on_sqlite(contract::accounts::the_audit_log_is_read_newest_first);
}

#[test]
fn a_token_rotates_through_all_instances() {
    on_sqlite(contract::refresh::a_token_rotates_through_all_instances);
}

#[test]
fn sec_e12_sixty_four_parallel_uses_make_one_successor() {
    on_sqlite(contract::refresh::sec_e12_sixty_four_parallel_uses_make_one_successor);
}

#[test]
fn sec_e12_a_use_after_the_grace_ends_the_family() {
    on_sqlite(contract::refresh::sec_e12_a_use_after_the_grace_ends_the_family);
}

#[test]
fn sec_e12_a_use_after_the_successors_use_ends_the_family() {
    on_sqlite(contract::refresh::sec_e12_a_use_after_the_successors_use_ends_the_family);
}

#[test]
fn sec_e12_parallel_reuse_ends_the_family_once() {
    on_sqlite(contract::refresh::sec_e12_parallel_reuse_ends_the_family_once);
}

#[test]
fn what_is_not_a_token_of_this_client_is_unknown_and_harms_nobody() {
    on_sqlite(contract::refresh::what_is_not_a_token_of_this_client_is_unknown_and_harms_nobody);
}

#[test]
fn an_idle_token_expires() {
    on_sqlite(contract::refresh::an_idle_token_expires);
}

#[test]
fn sec_e13_no_number_of_rotations_outlives_the_absolute_end() {
    on_sqlite(contract::refresh::sec_e13_no_number_of_rotations_outlives_the_absolute_end);
}

#[test]
fn logging_out_ends_the_session_everywhere_and_twice_is_no_error() {
    on_sqlite(contract::refresh::logging_out_ends_the_session_everywhere_and_twice_is_no_error);
}

#[test]
fn a_logout_beside_rotations_always_wins() {
    on_sqlite(contract::refresh::a_logout_beside_rotations_always_wins);
}

#[test]
fn a_use_dropped_at_any_moment_can_be_retried() {
    on_sqlite(contract::refresh::a_use_dropped_at_any_moment_can_be_retried);
}

#[test]
fn random_histories_agree_with_the_model() {
    on_sqlite(contract::refresh::random_histories_agree_with_the_model);
}

#[test]
fn a_follower_resumes_where_it_stopped() {
    on_sqlite(contract::revocations::a_follower_resumes_where_it_stopped);
}

#[test]
fn a_revocation_is_only_ever_extended_and_shows_again_when_it_is() {
    on_sqlite(contract::revocations::a_revocation_is_only_ever_extended_and_shows_again_when_it_is);
}

#[test]
fn sec_d05_a_recorded_revocation_covers_its_tokens_and_no_others() {
    on_sqlite(contract::revocations::sec_d05_a_recorded_revocation_covers_its_tokens_and_no_others);
}

#[test]
fn a_purge_is_bounded_and_takes_only_what_has_ended() {
    on_sqlite(contract::revocations::a_purge_is_bounded_and_takes_only_what_has_ended);
}

#[test]
fn sec_a10_of_many_uses_one_makes_the_administrator() {
    on_sqlite(contract::setup::sec_a10_of_many_uses_one_makes_the_administrator);
}

#[test]
fn sec_a10_an_expired_replaced_or_wrong_token_is_refused() {
    on_sqlite(contract::setup::sec_a10_an_expired_replaced_or_wrong_token_is_refused);
}

#[test]
fn a_taken_address_gives_the_token_back() {
    on_sqlite(contract::setup::a_taken_address_gives_the_token_back);
}

#[test]
fn of_many_cold_starts_one_makes_the_first_key() {
    on_sqlite(contract::keys::of_many_cold_starts_one_makes_the_first_key);
}

#[test]
fn activation_retires_the_predecessor_in_the_same_moment() {
    on_sqlite(contract::keys::activation_retires_the_predecessor_in_the_same_moment);
}

#[test]
fn keys_move_forward_only_and_a_kid_is_taken_once() {
    on_sqlite(contract::keys::keys_move_forward_only_and_a_kid_is_taken_once);
}

#[test]
fn of_many_that_publish_ahead_one_does() {
    on_sqlite(contract::keys::of_many_that_publish_ahead_one_does);
}

#[test]
fn a_key_of_another_algorithm_takes_over_alone() {
    on_sqlite(contract::keys::a_key_of_another_algorithm_takes_over_alone);
}

#[test]
fn a_ring_with_a_long_past_still_shows_its_newest_keys() {
    on_sqlite(contract::keys::a_ring_with_a_long_past_still_shows_its_newest_keys);
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
                    store.migrate().await.unwrap();
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
        let store = open(&path).await;
        for name in ["auth.db", "auth.db-wal", "auth.db-shm"] {
            let mode = std::fs::metadata(directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let mut write = store.file.write("asking").await.unwrap();
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
        let error = SqliteStore::connect(&options(Path::new("/nonexistent/auth.db")))
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
        let refused = SqliteStore::connect(&options(&path)).await;
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
        let store = SqliteStore::connect(&options(&directory.path().join("auth.db")))
            .await
            .unwrap();
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
        let store = open(&path).await;
        let account = contract::account("ada@example.com");
        let line = contract::entry(crate::domain::AuditEvent::Registered, &account);
        store.create_account(&account, &line).await.unwrap();
        for damage in [
            "UPDATE account SET email = 'no address'",
            "UPDATE account SET id = 'no id'",
            "INSERT INTO account_role SELECT id, 'Not A Role' FROM account",
            "UPDATE audit SET event = 'no event'",
        ] {
            let mut write = store.file.write("damaging").await.unwrap();
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
        let store = open(&path).await;
        let impatient = DatabaseFile::open(&FileOptions {
            path: path.clone(),
            synchronous: SqliteSynchronous::Full,
            pool_size: 1,
            max_overflow: 0,
            busy_timeout: Duration::from_millis(50),
        })
        .await
        .unwrap();
        let held = store.file.write("holding the lock").await.unwrap();
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

/// SQLite undoes the whole transaction by itself then, which the driver does not notice.
#[test]
fn writing_goes_on_once_a_full_disk_has_room_again() {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let store = open(&directory.path().join("auth.db")).await;
        let mut write = store.file.write("filling up").await.unwrap();
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
        let store = open(&directory.path().join("auth.db")).await;
        let strayed = sqlx::query("DELETE FROM account")
            .execute(store.file.readers())
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
