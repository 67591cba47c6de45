//! What an operator does to the sessions of an account. Never shows anything that could continue one.

use super::{Cut, OperatorError, find};
use crate::app::revocations::share;
use crate::config::Config;
use crate::domain::{Account, AuditEntry, AuditEvent, Email, SessionRecord};
use crate::server::Stores;
use crate::store::PageLimit;

/// The sessions of an account that may go on, newest first; at most 500.
pub async fn sessions(config: &Config, email: &str) -> Result<Vec<SessionRecord>, OperatorError> {
    let email = Email::parse(email)?;
    let stores = Stores::open(config).await?;
    let listed = async {
        let account = find(&stores, &email).await?;
        let now = super::now();
        let cookies = now.minus(config.sessions.ttl);
        let sessions = stores
            .store
            .sessions_of(account.id, cookies, now, None, PageLimit::MAX);
        Ok(sessions.await?)
    }
    .await;
    stores.close().await;
    listed
}

/// Ends every session of an account; it may log in again.
pub async fn log_out(config: &Config, email: &str) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let stores = Stores::open(config).await?;
    let ended = async {
        let account = find(&stores, &email).await?;
        let cut = Cut::now();
        let event = AuditEvent::LoggedOutEverywhere;
        let line = AuditEntry::of(cut.at, event, account.id, None);
        let ended = stores
            .store
            .end_all_sessions_of(account.id, cut.until, &line)
            .await?;
        let nobody = || OperatorError::NoSuchAccount(email.as_str().to_owned());
        share(stores.shared.as_ref(), ended.ok_or_else(nobody)?).await?;
        Ok(account)
    }
    .await;
    stores.close().await;
    ended
}
