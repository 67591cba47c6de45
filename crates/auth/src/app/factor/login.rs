//! The second step of a login: the challenge of the first one and a code begin a session. Never without both.

use super::super::{App, Grant, Origin, Outcome, Refusal};
use crate::domain::AccountStatus;

impl App {
    /// Checks the code and begins the session that the password alone did not.
    pub(crate) async fn log_in_with_code(
        &self,
        challenge: &str,
        code: &str,
        origin: Origin,
    ) -> Outcome<Grant> {
        let outcome = self.try_log_in_with_code(challenge, code, origin).await;
        self.counted("second_factor", outcome)
    }

    async fn try_log_in_with_code(
        &self,
        challenge: &str,
        code: &str,
        origin: Origin,
    ) -> Outcome<Grant> {
        let challenged = self.challenged(challenge, origin.now);
        let challenged = challenged.ok_or(Refusal::InvalidChallenge)?;
        let account = self.store.account_by_id(challenged.account).await?;
        // Shut, or with another password, since: the first step has to be taken anew.
        let account = account
            .filter(|account| account.status == AccountStatus::Active)
            .filter(|account| challenged.is_of(&account.password_hash))
            .ok_or(Refusal::InvalidChallenge)?;
        let record = self.factor_of(account.id).await?;
        let record = record.ok_or(Refusal::InvalidChallenge)?;
        let attempt = self.attempt(&account.email, origin).await?;
        let by = self.check_factor(&account, &record, code, origin).await?;
        let grant = self.begin_session(&account, by, origin).await?;
        self.attempt_succeeded(&attempt, origin.now).await?;
        Ok(grant)
    }
}
