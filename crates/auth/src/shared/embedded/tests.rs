//! The contract on the embedded shared state. Never leaves a file behind.

use std::sync::Arc;

use tempfile::TempDir;

use super::EmbeddedShared;
use crate::shared::Shared;
use crate::shared::contract::{self, Instances};
use crate::store::StoreError;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs a case of the contract with three instances, opened at the same moment, on one file.
fn on_embedded<F: Future<Output = ()>>(case: impl FnOnce(Instances) -> F) {
    let directory = TempDir::new().unwrap();
    block_on(async {
        let path = directory.path().join("shared.db");
        let open = || EmbeddedShared::open(&path);
        let (a, b, c) = tokio::join!(open(), open(), open());
        let all: Vec<Arc<dyn Shared>> = vec![
            Arc::new(a.unwrap()),
            Arc::new(b.unwrap()),
            Arc::new(c.unwrap()),
        ];
        case(Instances::new(all.clone())).await;
        for shared in all {
            shared.close().await;
        }
    });
}

#[test]
fn sec_d01_a_revocation_counts_on_the_very_next_request_everywhere() {
    on_embedded(contract::sec_d01_a_revocation_counts_on_the_very_next_request_everywhere);
}

#[test]
fn sec_d01_no_request_misses_a_revocation_under_load() {
    on_embedded(contract::sec_d01_no_request_misses_a_revocation_under_load);
}

#[test]
fn each_kind_covers_its_tokens_and_no_others() {
    on_embedded(contract::each_kind_covers_its_tokens_and_no_others);
}

#[test]
fn kinds_never_meet_even_if_their_names_do() {
    on_embedded(contract::kinds_never_meet_even_if_their_names_do);
}

#[test]
fn sec_d04_an_accounts_cut_spares_tokens_issued_after_it() {
    on_embedded(contract::sec_d04_an_accounts_cut_spares_tokens_issued_after_it);
}

#[test]
fn sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace() {
    on_embedded(contract::sec_d02_a_revocation_ends_and_a_purge_leaves_no_trace);
}

#[test]
fn a_raised_version_counts_on_the_very_next_request_everywhere() {
    on_embedded(contract::a_raised_version_counts_on_the_very_next_request_everywhere);
}

#[test]
fn what_is_remembered_is_read_by_all_until_its_end() {
    on_embedded(contract::what_is_remembered_is_read_by_all_until_its_end);
}

#[test]
fn a_rebuild_may_be_repeated_and_be_empty() {
    on_embedded(contract::a_rebuild_may_be_repeated_and_be_empty);
}

#[test]
fn sec_a11_hits_through_all_instances_add_up() {
    on_embedded(contract::sec_a11_hits_through_all_instances_add_up);
}

#[test]
fn sec_a12_counters_are_independent() {
    on_embedded(contract::sec_a12_counters_are_independent);
}

#[test]
fn sec_a11_hits_counted_elsewhere_are_added() {
    on_embedded(contract::sec_a11_hits_counted_elsewhere_are_added);
}

#[test]
fn a_counters_window_begins_at_its_first_hit() {
    on_embedded(contract::a_counters_window_begins_at_its_first_hit);
}

#[test]
fn allowances_are_shared_and_refill() {
    on_embedded(contract::allowances_are_shared_and_refill);
}

#[test]
fn an_allowance_is_given_out_once_to_all_at_once() {
    on_embedded(contract::an_allowance_is_given_out_once_to_all_at_once);
}

#[test]
fn the_later_of_two_writes_is_remembered_until_its_end() {
    on_embedded(contract::the_later_of_two_writes_is_remembered_until_its_end);
}

#[test]
fn instances_live_as_long_as_they_say_so() {
    on_embedded(contract::instances_live_as_long_as_they_say_so);
}

#[test]
fn once_closed_nothing_is_known_any_more() {
    on_embedded(contract::once_closed_nothing_is_known_any_more);
}

#[test]
fn what_was_shared_is_there_after_every_instance_has_gone() {
    use crate::domain::{Revocation, TokenFacts, UnixMillis};
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("shared.db");
    let (now, until) = (UnixMillis(1_000), UnixMillis(9_000));
    block_on(async {
        let shared = EmbeddedShared::open(&path).await.unwrap();
        shared
            .revoke(&[Revocation::Token {
                jti: "t1".to_owned(),
                until,
            }])
            .await
            .unwrap();
        shared.close().await;
        assert!(shared.ping().await.is_err(), "closed is closed");
        let shared = EmbeddedShared::open(&path).await.unwrap();
        let token = TokenFacts {
            jti: "t1",
            sid: None,
            sub: "s",
            kid: "k",
            issued_at: now,
        };
        assert!(shared.is_revoked(&token, now).await.unwrap());
    });
}

#[test]
fn sec_d01_instances_that_know_the_file_by_different_names_agree() {
    use crate::domain::{Revocation, TokenFacts, UnixMillis};
    let directory = TempDir::new().unwrap();
    let (path, alias) = (
        directory.path().join("shared.db"),
        directory.path().join("alias.db"),
    );
    std::os::unix::fs::symlink(&path, &alias).unwrap();
    let (now, until) = (UnixMillis(1_000), UnixMillis(9_000));
    let token = TokenFacts {
        jti: "t1",
        sid: None,
        sub: "s",
        kid: "k",
        issued_at: now,
    };
    block_on(async {
        let one = EmbeddedShared::open(&path).await.unwrap();
        let other = EmbeddedShared::open(&alias).await.unwrap();
        assert!(!one.is_revoked(&token, now).await.unwrap());
        let jti = "t1".to_owned();
        let revocation = Revocation::Token { jti, until };
        other.revoke(&[revocation]).await.unwrap();
        assert!(one.is_revoked(&token, now).await.unwrap());
    });
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("shared.db");
    std::fs::write(&path, "not a database ".repeat(1000)).unwrap();
    block_on(async {
        let refused = EmbeddedShared::open(&path).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
    });
}
