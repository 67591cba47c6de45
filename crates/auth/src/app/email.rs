//! Whether an address is its account's. Never lets anybody learn whether it has one.

use super::{App, Origin, Outcome, Refusal};
use crate::domain::{Actor, AuditEvent, MailKind, MailToken};

impl App {
    /// Spends the token of a verification mail.
    pub(crate) async fn verify_email(&self, token: &str, origin: Origin) -> Outcome<()> {
        let outcome = self.try_verify_email(token, origin).await;
        self.counted("verify_email", outcome)
    }

    async fn try_verify_email(&self, token: &str, origin: Origin) -> Outcome<()> {
        let token = MailToken::parse(token).ok_or(Refusal::InvalidMailToken)?;
        let audit = origin.audit_by(Actor::Unproven, AuditEvent::EmailVerified);
        let verified = self.store.verify_email(&token.hash(), &audit).await?;
        let account = verified.ok_or(Refusal::InvalidMailToken)?;
        tracing::info!(%account, "address verified");
        Ok(())
    }

    /// Sends another verification mail to an address whose active account is not verified. The same work otherwise.
    pub(crate) async fn resend_verification(&self, email: &str, origin: Origin) -> Outcome<()> {
        let (kind, event) = (MailKind::VerifyEmail, AuditEvent::VerificationRequested);
        let outcome = self.ask_for_mail(email, kind, event, origin).await;
        self.counted("resend_verification", outcome)
    }
}
