//! Registers an account. Never lets anybody learn whether an address has one.

use std::collections::BTreeSet;

use super::{App, Origin, Outcome};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEvent, Email, NewPassword, Role, Tier,
};
use crate::random;
use crate::store::AccountCreation;

impl App {
    /// Takes a registration. An address that is taken ends like one that is not,
    /// after the same work.
    pub(crate) async fn register(
        &self,
        email: &str,
        password: &str,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_register(email, password, origin).await;
        self.counted("register", outcome)
    }

    async fn try_register(&self, email: &str, password: &str, origin: Origin) -> Outcome<()> {
        let account = self
            .new_account(email, password, BTreeSet::new(), origin)
            .await?;
        let audit = origin.audit(AuditEvent::Registered, account.id);
        match self.store.create_account(&account, &audit).await? {
            AccountCreation::Created => tracing::info!(account = %account.id, "registered"),
            AccountCreation::EmailTaken => tracing::info!("registration of a known address"),
        }
        Ok(())
    }

    /// An account that is not stored yet; its password passed the policy and is hashed.
    pub(super) async fn new_account(
        &self,
        email: &str,
        password: &str,
        roles: BTreeSet<Role>,
        origin: Origin,
    ) -> Outcome<Account> {
        let email = Email::parse(email)?;
        let password = NewPassword::parse(password, &email)?;
        let password_hash = self.passwords.hash(password).await?;
        Ok(Account {
            id: AccountId::from_random(random::bytes()),
            email,
            password_hash,
            status: AccountStatus::Active,
            roles,
            tier: Tier::Free,
            created_at: origin.now,
        })
    }
}
