//! What an operator does for somebody who lost their phone and their recovery codes. Never shows a secret.

use std::time::SystemTime;

use super::{OperatorError, find};
use crate::config::Config;
use crate::domain::{Account, AuditEntry, AuditEvent, Email, UnixMillis};
use crate::server::Stores;

/// Takes authenticator and recovery codes of an account away: from its next login on the password is enough. Its
/// sessions go on. Refused where there is no authenticator.
pub async fn reset(config: &Config, email: &str) -> Result<Account, OperatorError> {
    let email = Email::parse(email)?;
    let stores = Stores::open(config).await?;
    let reset = async {
        let account = find(&stores, &email).await?;
        let now = UnixMillis::from_system(SystemTime::now());
        let line = AuditEntry::of(now, AuditEvent::FactorsReset, account.id, None);
        match stores.store.remove_factors(account.id, &line).await? {
            true => Ok(account),
            false => Err(OperatorError::NoFactor(email.as_str().to_owned())),
        }
    }
    .await;
    stores.close().await;
    reset
}
