//! What every store must do, written once over `dyn Store`. Never knows which database it runs on.
//!
//! A case gets several instances on one database and calls them in turn, so that whatever one writes another reads.

pub(crate) mod accounts;
pub(crate) mod keys;
pub(crate) mod refresh;
pub(crate) mod revocations;
pub(crate) mod setup;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Store;
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEntry, AuditEvent, Email, Family, FamilyId,
    PasswordHash, RefreshToken, Role, SessionId, UnixMillis,
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
