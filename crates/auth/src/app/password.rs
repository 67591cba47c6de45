//! Another password for an account: by who knows the present one, or by who reads the mail of its address. Never lets
//! anybody learn whether an address has an account, and never leaves a session that was begun before.

use super::{App, Grant, Origin, Outcome, Owner, Refusal};
use crate::domain::{
    AccountStatus, Actor, AuditEvent, Email, MailKind, MailToken, NewPassword, PresentedPassword,
    ProvedBy, UnixMillis,
};

impl App {
    /// Replaces the password of who knows it. Every session ends, and one begins for who asked.
    pub(crate) async fn change_password(
        &self,
        owner: Owner,
        current: &str,
        new: &str,
        origin: Origin,
    ) -> Outcome<Grant> {
        let outcome = self.try_change_password(owner, current, new, origin).await;
        self.counted("change_password", outcome)
    }

    async fn try_change_password(
        &self,
        owner: Owner,
        current: &str,
        new: &str,
        origin: Origin,
    ) -> Outcome<Grant> {
        let account = self.store.account_by_id(owner.account).await?;
        let account = account
            .filter(|account| account.status == AccountStatus::Active)
            .ok_or(Refusal::InvalidToken)?;
        let current = PresentedPassword::parse(current).ok_or(Refusal::InvalidPassword)?;
        let new = NewPassword::parse(new, &account.email)?;
        // The session that begins here counts as a proof by all factors: let it follow from one.
        let by = match self.factor_of(account.id).await? {
            Some(_) => self.proved_freshly_by(owner, origin.now).await?,
            None => ProvedBy::Password,
        };
        // Whoever found a session open must not get to guess the password behind it.
        self.attempt(&account.email, origin).await?;
        let stored = Some(&account.password_hash);
        let found = self.passwords.verify_or_dummy(stored, current).await?;
        let attempt = self.attempt(&account.email, origin).await?;
        if !found.is_right || attempt.is_locked {
            self.attempt_failed(&attempt, origin.now).await?;
            let event = AuditEvent::LoginFailed;
            let audit = origin.audit(event, owner.account).in_session(owner.session);
            self.store.append_audit(&audit).await?;
            return Err(Refusal::WrongPassword);
        }
        let hash = self.passwords.hash(new).await?;
        let event = AuditEvent::PasswordChanged;
        let audit = origin.audit(event, owner.account).in_session(owner.session);
        let until = self.owners_tokens_end(owner, origin);
        let cut = self
            .store
            .change_password(&account.password_hash, &hash, until, &audit)
            .await?;
        // Somebody else changed it since it was looked at.
        let cut = cut.ok_or(Refusal::WrongPassword)?;
        self.attempt_succeeded(&attempt, origin.now).await?;
        self.share_cut(cut, origin.now).await?;
        tracing::info!(account = %account.id, "password changed");
        // The second of the cut is over by now, so that these tokens are not among those it voids.
        let now = UnixMillis::from_seconds(origin.now.seconds().saturating_add(1));
        let origin = Origin { now, ..origin };
        self.begin_session(&account, by, origin).await
    }

    /// What the proof of the last five minutes in this session was by; refused without one.
    async fn proved_freshly_by(&self, owner: Owner, now: UnixMillis) -> Outcome<ProvedBy> {
        self.require_fresh(owner, now).await?;
        let family = self.store.family_by_session(owner.session).await?;
        let proof = family.and_then(|family| family.proof);
        Ok(proof.map_or(ProvedBy::Password, |proof| proof.by))
    }

    /// Sends the means to reset the password to an address, if it has an active account. The same work otherwise.
    pub(crate) async fn forget_password(&self, email: &str, origin: Origin) -> Outcome<()> {
        let (kind, event) = (MailKind::ResetPassword, AuditEvent::PasswordResetRequested);
        let outcome = self.ask_for_mail(email, kind, event, origin).await;
        self.counted("forget_password", outcome)
    }

    pub(super) async fn ask_for_mail(
        &self,
        email: &str,
        kind: MailKind,
        event: AuditEvent,
        origin: Origin,
    ) -> Outcome<()> {
        if !self.policy.sends_mail {
            return Err(Refusal::NoMail);
        }
        let email = Email::parse(email)?;
        let audit = origin.audit_by(Actor::Unproven, event);
        Ok(self.store.request_mail(&email, kind, &audit).await?)
    }

    /// Replaces the password of the account that a mail was sent to. Every session ends and none begins: whoever resets
    /// a password logs in with it, by every factor that the account has.
    pub(crate) async fn reset_password(
        &self,
        token: &str,
        new: &str,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_reset_password(token, new, origin).await;
        self.counted("reset_password", outcome)
    }

    async fn try_reset_password(&self, token: &str, new: &str, origin: Origin) -> Outcome<()> {
        let token = MailToken::parse(token)
            .ok_or(Refusal::InvalidMailToken)?
            .hash();
        let kind = MailKind::ResetPassword;
        let found = self
            .store
            .account_by_mail_token(&token, kind, origin.now)
            .await?;
        let account = found.ok_or(Refusal::InvalidMailToken)?;
        // A refused password leaves the token as it is.
        let new = NewPassword::parse(new, &account.email)?;
        let hash = self.passwords.hash(new).await?;
        let event = AuditEvent::PasswordReset;
        let audit = origin.audit(event, account.id);
        let until = self.tokens_end(origin.now);
        let cut = self
            .store
            .reset_password(&token, &hash, until, &audit)
            .await?;
        let cut = cut.ok_or(Refusal::InvalidMailToken)?;
        tracing::info!(account = %account.id, "password reset");
        self.share_cut(cut, origin.now).await
    }
}
