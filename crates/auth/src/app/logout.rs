//! Ends the session an access token belongs to, for every instance from its next
//! request on. Never says so before it is durable and shared.

use super::{App, Origin, Outcome, Refusal};
use crate::domain::{AccountId, AuditEntry, AuditEvent, SessionId};

impl App {
    /// Revokes the session's refresh tokens and every access token of it.
    pub(crate) async fn log_out(&self, token: &str, origin: Origin) -> Outcome<()> {
        let outcome = self.try_log_out(token, origin).await;
        self.counted("logout", outcome)
    }

    async fn try_log_out(&self, token: &str, origin: Origin) -> Outcome<()> {
        let claims = self.try_verify(token, origin.now).await?;
        let session = SessionId::parse(&claims.sid).ok_or(Refusal::InvalidToken)?;
        let account = AccountId::parse(&claims.sub).ok_or(Refusal::InvalidToken)?;
        let mut audit = AuditEntry::of(
            origin.now,
            AuditEvent::LoggedOut,
            account,
            Some(origin.client),
        );
        audit.session = Some(session);
        let until = self.tokens_end(origin.now);
        let revocation = self.store.revoke_session(session, until, &audit).await?;
        self.shared.revoke(&[revocation]).await?;
        Ok(())
    }
}
