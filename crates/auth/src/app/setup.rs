//! Creates the first administrator from the one-time set-up token. Never works twice.

use super::{App, Origin, Outcome, Refusal};
use crate::domain::{AccountId, AuditEvent, Role, SetupToken};
use crate::store::SetupOutcome;

impl App {
    /// Spends the set-up token; afterwards there is an administrator.
    pub(crate) async fn set_up(
        &self,
        token: &str,
        email: &str,
        password: &str,
        origin: Origin,
    ) -> Outcome<AccountId> {
        let outcome = self.try_set_up(token, email, password, origin).await;
        self.counted("setup", outcome)
    }

    async fn try_set_up(
        &self,
        token: &str,
        email: &str,
        password: &str,
        origin: Origin,
    ) -> Outcome<AccountId> {
        let token = SetupToken::parse(token).ok_or(Refusal::InvalidSetupToken)?;
        let roles = [Role::admin()].into();
        let administrator = self.new_account(email, password, roles, origin).await?;
        let audit = origin.audit(AuditEvent::SetUp, administrator.id);
        match self
            .store
            .consume_setup_token(&token.hash(), &administrator, &audit)
            .await?
        {
            SetupOutcome::Created => {
                tracing::info!(account = %administrator.id, "the first administrator is set up");
                Ok(administrator.id)
            }
            SetupOutcome::InvalidToken => Err(Refusal::InvalidSetupToken),
            SetupOutcome::EmailTaken => Err(Refusal::EmailTaken),
        }
    }
}
