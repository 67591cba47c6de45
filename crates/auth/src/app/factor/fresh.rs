//! Proofs of identity within a session. What changes how somebody proves who they are asks [`App::require_fresh`]
//! first: a session that was left open, or stolen, is not enough. Never kept in an instance's memory.

use std::time::Duration;

use super::super::{App, Origin, Outcome, Owner, Refusal};
use crate::domain::{AuditEvent, PresentedPassword, ProvedBy, UnixMillis};

/// How long a proof is good for.
const FRESH: Duration = Duration::from_secs(5 * 60);

impl App {
    /// Refuses unless whoever uses the session proved who they are within the last five minutes: at login, or by
    /// [`App::reauthenticate`]. A proof from before the account had its authenticator is none.
    pub(crate) async fn require_fresh(&self, owner: Owner, now: UnixMillis) -> Outcome<()> {
        let proved_at = self.store.authenticated_at(owner.session, now).await?;
        let proved_at = proved_at.ok_or(Refusal::InvalidToken)?;
        let factor = self.factor_of(owner.account).await?;
        let since = factor.and_then(|factor| factor.confirmed_at);
        let is_complete = since.is_none_or(|since| proved_at >= since);
        if now.since(proved_at) < FRESH && is_complete {
            return Ok(());
        }
        Err(Refusal::ReauthenticationRequired)
    }

    /// Takes the password, and a code where there is an authenticator, as proof for five minutes of this session.
    pub(crate) async fn reauthenticate(
        &self,
        owner: Owner,
        password: &str,
        code: Option<&str>,
        origin: Origin,
    ) -> Outcome<()> {
        let outcome = self.try_reauthenticate(owner, password, code, origin).await;
        self.counted("reauthenticate", outcome)
    }

    async fn try_reauthenticate(
        &self,
        owner: Owner,
        password: &str,
        code: Option<&str>,
        origin: Origin,
    ) -> Outcome<()> {
        let password = PresentedPassword::parse(password).ok_or(Refusal::InvalidPassword)?;
        let account = self.active(owner).await?;
        // Guesses count like those at the login form: a stolen session is no better place for them.
        self.attempt(&account.email, origin).await?;
        let stored = Some(&account.password_hash);
        let found = self.passwords.verify_or_dummy(stored, password).await?;
        let attempt = self.attempt(&account.email, origin).await?;
        if !found.is_right || attempt.is_locked {
            self.attempt_failed(&attempt, origin.now).await?;
            let line = origin
                .audit(AuditEvent::LoginFailed, account.id)
                .in_session(owner.session);
            self.store.append_audit(&line).await?;
            return Err(Refusal::BadCredentials);
        }
        let by = match self.factor_of(account.id).await? {
            Some(record) => {
                let code = code.ok_or(Refusal::CodeRequired)?;
                self.check_factor(&account, &record, code, origin).await?
            }
            None => ProvedBy::Password,
        };
        let line = origin
            .audit(AuditEvent::Reauthenticated, account.id)
            .in_session(owner.session);
        let marked = self
            .store
            .mark_authenticated(owner.session, by, &line)
            .await?;
        if !marked {
            return Err(Refusal::InvalidToken);
        }
        self.attempt_succeeded(&attempt, origin.now).await
    }
}
