//! Takes a person out of everything at once. Never leaves half of it undone without saying so: whatever was interrupted
//! is done by asking again.

use super::{Cut, OperatorError, find};
use crate::app::revocations::share;
use crate::config::Config;
use crate::domain::{AccountId, Actor, AuditEntry, AuditEvent, Email};
use crate::random;
use crate::server::Stores;
use crate::store::{PageLimit, StoreResult};

/// What was erased.
#[derive(Clone, Copy, Debug)]
pub struct Erased {
    /// Lines of the audit log that have a pseudonym now.
    pub audit_lines: u64,
}

/// Deletes the account with this address or id, and puts a pseudonym in its place in the audit log.
pub async fn erase(config: &Config, account: &str) -> Result<Erased, OperatorError> {
    let stores = Stores::open(config).await?;
    let erased = try_erase(&stores, account).await;
    stores.close().await;
    erased
}

async fn try_erase(stores: &Stores, account: &str) -> Result<Erased, OperatorError> {
    let id = match AccountId::parse(account) {
        Some(id) => id,
        None => find(stores, &Email::parse(account)?).await?.id,
    };
    let pseudonym = AccountId::from_random(random::bytes());
    // The log first: the account's id is how it is found again when this ends in the middle.
    let before = from_audit(stores, id, pseudonym).await?;
    let cut = Cut::now();
    let line = AuditEntry {
        account: Some(pseudonym),
        ..AuditEntry::by(Actor::Operator, cut.at, AuditEvent::AccountErased)
    };
    let deleted = stores.store.delete_account(id, cut.until, &line).await?;
    let is_deleted = deleted.is_some();
    if let Some(revocation) = deleted {
        share(stores.shared.as_ref(), revocation).await?;
    }
    // What was written in between.
    let after = from_audit(stores, id, pseudonym).await?;
    let audit_lines = before + after;
    if !is_deleted && audit_lines == 0 {
        return Err(OperatorError::NoSuchAccount(account.to_owned()));
    }
    Ok(Erased { audit_lines })
}

async fn from_audit(stores: &Stores, id: AccountId, pseudonym: AccountId) -> StoreResult<u64> {
    let limit = PageLimit::MAX;
    let mut lines = 0;
    loop {
        let erased = stores.store.erase_from_audit(id, pseudonym, limit).await?;
        lines += erased;
        if erased < u64::from(limit.rows()) {
            return Ok(lines);
        }
    }
}
