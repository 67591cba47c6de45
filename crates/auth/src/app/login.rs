//! Logs in with email and password. Never lets anybody learn why it failed: an
//! unknown, disabled, locked or mistyped login costs the same work and ends the same way.

use super::attempts::Attempt;
use super::{App, FIRST_PARTY, Grant, Origin, Outcome, Refusal};
use crate::domain::{
    Account, AccountStatus, Actor, AuditEntry, AuditEvent, Email, Family, FamilyId, PasswordHash,
    PresentedPassword, Proof, ProvedBy, RefreshToken, SessionId,
};
use crate::random;
use crate::store::FamilyCreation;

impl App {
    /// Checks the password and begins a session.
    pub(crate) async fn log_in(
        &self,
        email: &str,
        password: &str,
        origin: Origin,
    ) -> Outcome<Grant> {
        let outcome = self.try_log_in(email, password, origin).await;
        self.counted("login", outcome)
    }

    async fn try_log_in(&self, email: &str, password: &str, origin: Origin) -> Outcome<Grant> {
        let email = Email::parse(email)?;
        let password = PresentedPassword::parse(password).ok_or(Refusal::InvalidPassword)?;
        self.attempt(&email, origin).await?;
        let account = self.store.account_by_email(&email).await?;
        // One hash in every case, and lock and status only afterwards.
        let stored = account.as_ref().map(|account| &account.password_hash);
        let found = self
            .passwords
            .verify_or_dummy_of(stored, self.stand_in(&email), password.clone())
            .await?;
        // Looked up again: of many guesses sent at once, those behind the failures that lock count as locked.
        let attempt = self.attempt(&email, origin).await?;
        let is_right = found.is_right && !attempt.is_locked;
        let account = match account {
            Some(account) if is_right && account.status == AccountStatus::Active => account,
            other => return self.failed(&attempt, other.as_ref(), origin).await,
        };
        if self.factor_of(account.id).await?.is_some() {
            let upgraded = match found.is_outdated {
                true => self.upgrade(&account, password).await,
                false => None,
            };
            let hash = upgraded.as_ref().unwrap_or(&account.password_hash);
            let challenge = self.challenge(&account, hash, origin.now);
            return Err(Refusal::SecondFactorRequired(challenge));
        }
        let grant = self
            .begin_session(&account, ProvedBy::Password, origin)
            .await?;
        self.attempt_succeeded(&attempt, origin.now).await?;
        if found.is_outdated {
            self.upgrade(&account, password).await;
        }
        Ok(grant)
    }

    /// Which hash stands in for that of an address without an account: always the same one, and nobody can tell which.
    fn stand_in(&self, email: &Email) -> u64 {
        let tag = self.keys.mac("login stand-in v1", email.as_str());
        let first = tag.as_ref().first_chunk().copied();
        u64::from_be_bytes(first.unwrap_or_default())
    }

    async fn failed(
        &self,
        attempt: &Attempt,
        account: Option<&Account>,
        origin: Origin,
    ) -> Outcome<Grant> {
        let audit = AuditEntry {
            account: account.map(|account| account.id),
            ..origin.audit_by(Actor::Unproven, AuditEvent::LoginFailed)
        };
        self.attempt_failed(attempt, origin.now).await?;
        self.store.append_audit(&audit).await?;
        Err(Refusal::BadCredentials)
    }

    /// For an account all of whose factors were shown: of nobody else.
    pub(super) async fn begin_session(
        &self,
        account: &Account,
        by: ProvedBy,
        origin: Origin,
    ) -> Outcome<Grant> {
        let now = origin.now;
        let proof = Some(Proof { by, at: now });
        let session = SessionId::from_random(random::bytes());
        let family = Family {
            id: FamilyId::from_random(random::bytes()),
            account: account.id,
            client_id: FIRST_PARTY.to_owned(),
            session,
            created_at: now,
            absolute_expires_at: now.plus(self.policy.refresh_absolute_ttl),
            revoked_at: None,
            proof,
        };
        let refresh_token = RefreshToken::from_random(random::bytes());
        let expires_at = now
            .plus(self.policy.refresh_idle_ttl)
            .min(family.absolute_expires_at);
        let audit = origin
            .audit(AuditEvent::LoginSucceeded, account.id)
            .in_session(session);
        let created = self
            .store
            .create_family(&family, &refresh_token.hash(), expires_at, &audit)
            .await?;
        match created {
            FamilyCreation::Created => Ok(Grant {
                session: self.session_cookie(account, session, proof, now)?,
                ..self
                    .grant(account, session, proof, &refresh_token, expires_at, now)
                    .await?
            }),
            FamilyCreation::AccountNotActive => Err(Refusal::BadCredentials),
        }
    }

    /// Rewrites a hash made with older parameters, and returns the one that is stored now. The login has succeeded
    /// already; when this fails, the next one tries again.
    async fn upgrade(
        &self,
        account: &Account,
        password: PresentedPassword,
    ) -> Option<PasswordHash> {
        let (id, old) = (account.id, &account.password_hash);
        let upgraded = async {
            let hash = self.passwords.rehash(password).await?;
            let is_stored = self.store.upgrade_password_hash(id, old, &hash).await?;
            Outcome::Ok(is_stored.then_some(hash))
        };
        upgraded.await.unwrap_or_else(|refusal| {
            tracing::warn!(account = %id, ?refusal, "an old password hash stays for now");
            None
        })
    }
}

#[cfg(test)]
mod tests;
