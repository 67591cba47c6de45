//! What every store must do, written once over `dyn Store`. Never knows which database it runs on.
//!
//! A case gets several instances on one database and calls them in turn, so that whatever one writes another reads.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod authorization;
pub(crate) mod directory;
pub(crate) mod factors;
pub(crate) mod instances;
pub(crate) mod keys;
pub(crate) mod mail;
pub(crate) mod refresh;
pub(crate) mod revocations;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod setup;

/// Makes a test of every case, named like it, for a module whose `$on` runs one on its database: written once, so that
/// no database is spared a case.
macro_rules! every_case {
    ($on:ident) => {
        $crate::store::contract::every_case! { $on
            accounts: [
                what_one_instance_stores_the_others_read,
                what_does_not_exist_is_none,
                an_address_is_taken_once_however_many_register_it,
                sec_h06_an_address_that_looks_the_same_is_taken,
                sec_h06_whom_an_earlier_release_stored_is_found_as_before_and_shut_out_by_nobody,
                hostile_text_is_stored_as_it_is,
                pages_are_bounded_ordered_and_complete,
                sec_a14_shutting_an_account_shuts_every_way_to_a_token,
                opening_an_account_again_does_not_bring_old_tokens_back,
                changes_to_an_unknown_account_change_nothing,
                roles_are_replaced_as_a_whole,
                a_password_hash_is_upgraded_only_from_what_was_read,
                sec_a05_a_sample_of_password_hashes_is_bounded_and_stays_the_same,
                the_audit_log_is_read_newest_first,
                an_imported_account_is_there_once_and_nobody_gets_mail,
            ]
            authorization: [
                a_permission_set_is_what_the_roles_grant_in_one_statement,
                every_change_of_who_may_do_what_raises_the_version,
                a_set_and_its_version_are_of_one_moment,
                roles_are_listed_replaced_and_removed_unless_held,
                clients_are_put_listed_and_removed_with_their_keys,
                sec_b10_an_api_key_is_found_by_its_hash_and_by_nothing_else,
                a_revoked_key_is_marked_and_revoked_like_a_token,
                an_owner_has_a_bounded_number_of_keys,
            ]
            audit: [
                lines_of_many_writers_and_linkers_make_one_chain,
                a_look_counts_every_line_once_while_others_write_and_link,
                every_way_to_write_a_line_seals_it,
                sec_i06_the_chain_is_cut_from_its_beginning_and_stays_whole,
                sec_i06_an_erased_account_leaves_a_whole_chain_and_no_trace,
                deleting_an_account_takes_all_that_is_its_own,
                sec_i06_a_job_has_one_holder_until_its_time_is_over,
                sec_h05_pages_of_the_log_fit_their_filter_and_nothing_typed_is_run,
            ]
            directory: [
                sec_h05_accounts_are_found_by_what_is_bound_and_pages_are_complete,
            ]
            settings: [
                a_setting_is_read_by_all_and_its_version_only_grows,
                changes_at_once_have_versions_of_their_own,
            ]
            refresh: [
                a_token_rotates_through_all_instances,
                sec_e12_sixty_four_parallel_uses_make_one_successor,
                sec_e12_a_use_after_the_grace_ends_the_family,
                sec_e12_a_use_after_the_successors_use_ends_the_family,
                sec_e12_parallel_reuse_ends_the_family_once,
                what_is_not_a_token_of_this_client_is_unknown_and_harms_nobody,
                an_idle_token_expires,
                sec_e13_no_number_of_rotations_outlives_the_absolute_end,
                logging_out_ends_the_session_everywhere_and_twice_is_no_error,
                a_logout_beside_rotations_always_wins,
                a_use_dropped_at_any_moment_can_be_retried,
                random_histories_agree_with_the_model,
            ]
            revocations: [
                a_follower_resumes_where_it_stopped,
                a_revocation_is_only_ever_extended_and_shows_again_when_it_is,
                sec_d05_a_recorded_revocation_covers_its_tokens_and_no_others,
                sec_d05_a_follower_gets_every_revocation_of_sixty_four_writers_once,
                sec_d05_of_many_that_revoke_one_thing_all_succeed_and_one_entry_stays,
                a_purge_is_bounded_and_takes_only_what_has_ended,
            ]
            instances: [
                instances_are_listed_until_they_leave_or_fall_silent,
            ]
            sessions: [
                a_session_is_found_by_its_newest_family,
                sec_f06_owners_see_their_sessions_and_no_others,
                a_session_is_listed_for_as_long_as_it_can_go_on,
                pages_of_sessions_are_bounded_ordered_and_complete,
                sec_f06_only_the_owner_ends_a_session,
                sec_d04_the_end_of_all_sessions_covers_every_token_issued_before,
                a_login_from_before_the_end_of_all_sessions_begins_none,
                sec_d04_of_logins_beside_the_end_of_all_sessions_none_survives,
            ]
            factors: [
                sec_g01_an_authenticator_counts_once_it_is_confirmed,
                sec_g01_of_many_uses_of_a_step_one_is_good,
                sec_g08_of_many_uses_of_a_recovery_code_one_is_good,
                sec_g08_a_new_set_voids_every_earlier_one,
                removed_factors_are_gone_and_may_come_anew,
                sec_f05_every_instance_sees_when_somebody_last_proved_who_they_are,
                by_what_somebody_proved_who_they_are_stays_with_the_session,
            ]
            mail: [
                mail_waits_from_the_moment_of_what_causes_it,
                of_many_that_take_mail_at_once_each_gets_another,
                mail_of_an_instance_that_died_is_taken_by_another,
                sec_a04_mail_to_nobody_costs_a_row_and_reaches_nobody,
                sec_a04_mail_is_the_same_work_for_everybody,
                mail_of_a_kind_is_bounded_for_each_account_and_hour,
                sec_g06_a_token_of_mail_is_good_once_until_a_newer_one,
                sec_g06_of_many_uses_of_one_token_one_resets_the_password,
                sec_b09_another_password_ends_all_that_the_one_before_began,
                sec_a14_a_disabled_account_resets_nothing,
                sec_e12_the_owner_of_a_stolen_session_gets_mail,
                old_mail_and_tokens_are_purged,
            ]
            setup: [
                sec_a10_of_many_uses_one_makes_the_administrator,
                sec_a10_an_expired_replaced_or_wrong_token_is_refused,
                a_taken_address_gives_the_token_back,
            ]
            keys: [
                of_many_cold_starts_one_makes_the_first_key,
                activation_retires_the_predecessor_in_the_same_moment,
                keys_move_forward_only_and_a_kid_is_taken_once,
                of_many_that_publish_ahead_one_does,
                a_key_of_another_algorithm_takes_over_alone,
                a_ring_with_a_long_past_still_shows_its_newest_keys,
            ]
        }
    };
    ($on:ident $($room:ident: [$($case:ident,)*])*) => {
        $($(
            #[test]
            fn $case() {
                $on($crate::store::contract::$room::$case);
            }
        )*)*
    };
}
pub(crate) use every_case;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Store;
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, AuditEvent, Email, Family, FamilyId,
    PasswordHash, Proof, ProvedBy, RefreshToken, Role, SessionId, Tier, UnixMillis,
};
use crate::random;

/// Where the clocks of all cases start.
pub(crate) const START: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const IDLE_TTL: Duration = Duration::from_secs(3600);
pub(crate) const ABSOLUTE_TTL: Duration = Duration::from_secs(7200);
pub(crate) const ACCESS_TTL: Duration = Duration::from_secs(600);

/// Several instances on one empty, migrated database.
pub(crate) struct Instances {
    stores: Vec<Arc<dyn Store>>,
    turn: AtomicUsize,
}

impl Instances {
    pub(crate) fn new(stores: Vec<Arc<dyn Store>>) -> Self {
        assert!(
            stores.len() > 1,
            "one instance proves nothing about sharing"
        );
        Self {
            stores,
            turn: AtomicUsize::new(0),
        }
    }

    /// Another instance than last time.
    pub(crate) fn next(&self) -> Arc<dyn Store> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.stores[turn % self.stores.len()])
    }

    /// Stores an active account and returns it.
    pub(crate) async fn register(&self, address: &str) -> Account {
        let account = account(address);
        self.next()
            .create_account(&account, &entry(AuditEvent::Registered, &account))
            .await
            .unwrap();
        account
    }

    /// Logs an account in at [`START`] and returns the family with its first token.
    pub(crate) async fn log_in(&self, account: &Account) -> (Family, RefreshToken) {
        let family = family(account);
        let first = token();
        let created = self
            .next()
            .create_family(
                &family,
                &first.hash(),
                START.plus(IDLE_TTL),
                &entry(AuditEvent::LoginSucceeded, account),
            )
            .await
            .unwrap();
        assert_eq!(created, super::FamilyCreation::Created);
        (family, first)
    }
}

pub(crate) fn account(address: &str) -> Account {
    Account {
        id: AccountId::from_random(random::bytes()),
        email: Email::parse(address).unwrap(),
        password_hash: PasswordHash::from_phc(format!("$argon2id$of-{address}")),
        status: AccountStatus::Active,
        roles: BTreeSet::new(),
        tier: Tier::Free,
        created_at: START,
    }
}

pub(crate) fn roles(names: &[&str]) -> BTreeSet<Role> {
    names
        .iter()
        .map(|name| Role::parse(name).unwrap())
        .collect()
}

pub(crate) fn family(account: &Account) -> Family {
    Family {
        id: FamilyId::from_random(random::bytes()),
        account: account.id,
        client_id: "web".to_owned(),
        session: SessionId::from_random(random::bytes()),
        created_at: START,
        absolute_expires_at: START.plus(ABSOLUTE_TTL),
        revoked_at: None,
        proof: Some(Proof {
            by: ProvedBy::Password,
            at: START,
        }),
    }
}

pub(crate) fn token() -> RefreshToken {
    RefreshToken::from_random(random::bytes())
}

pub(crate) fn entry(event: AuditEvent, account: &Account) -> AuditEntry {
    AuditEntry::of(START, event, account.id, Some([127, 0, 0, 1].into()))
}

pub(crate) fn after(seconds: u64) -> UnixMillis {
    START.plus(Duration::from_secs(seconds))
}

/// Runs the tasks at once on the runtime and returns their results.
pub(crate) async fn all_at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let handles: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(handles.len());
    for handle in handles {
        results.push(handle.await.unwrap());
    }
    results
}
