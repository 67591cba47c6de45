//! Gives an account an authenticator and recovery codes, and takes them away. Never shows a secret or a code again, and
//! changes nothing for somebody who has not just proved who they are.

use portcullis_ops::Secret;

use super::super::{App, Origin, Outcome, Owner, Refusal};
use crate::domain::{
    Account, AccountId, AccountStatus, AuditEvent, ENROLMENT_TTL, ProvedBy, RECOVERY_CODES,
    RecoveryCode, TotpCode, TotpSecret,
};
use crate::keys::Purpose;
use crate::random;
use crate::store::TotpConfirmation;

/// What an owner may know of their factors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Factors {
    pub(crate) has_totp: bool,
    pub(crate) recovery_codes_left: u32,
}

/// What an app needs to make codes. Shown once.
#[derive(Debug)]
pub(crate) struct Enrolment {
    pub(crate) secret: Secret<String>,
    pub(crate) url: Secret<String>,
}

impl App {
    /// Makes a secret that counts once a code of it was shown.
    pub(crate) async fn begin_totp(&self, owner: Owner, origin: Origin) -> Outcome<Enrolment> {
        let outcome = self.try_begin_totp(owner, origin).await;
        self.counted("totp_begin", outcome)
    }

    /// Makes the secret count, and hands out the recovery codes.
    pub(crate) async fn confirm_totp(
        &self,
        owner: Owner,
        code: &str,
        origin: Origin,
    ) -> Outcome<Vec<RecoveryCode>> {
        let outcome = self.try_confirm_totp(owner, code, origin).await;
        self.counted("totp_confirm", outcome)
    }

    /// Takes authenticator and recovery codes away.
    pub(crate) async fn remove_totp(&self, owner: Owner, origin: Origin) -> Outcome<()> {
        let outcome = self.try_remove_totp(owner, origin).await;
        self.counted("totp_remove", outcome)
    }

    /// Hands out a new set of recovery codes, and voids the one before.
    pub(crate) async fn new_recovery_codes(
        &self,
        owner: Owner,
        origin: Origin,
    ) -> Outcome<Vec<RecoveryCode>> {
        let outcome = self.try_new_recovery_codes(owner, origin).await;
        self.counted("recovery_codes", outcome)
    }

    /// Whether there is an authenticator, and how many recovery codes are left.
    pub(crate) async fn factors(&self, account: AccountId) -> Outcome<Factors> {
        Ok(Factors {
            has_totp: self.factor_of(account).await?.is_some(),
            recovery_codes_left: self.store.recovery_codes_left(account).await?,
        })
    }

    async fn try_begin_totp(&self, owner: Owner, origin: Origin) -> Outcome<Enrolment> {
        self.require_fresh(owner, origin.now).await?;
        let account = self.active(owner).await?;
        let secret = TotpSecret::from_random(random::bytes());
        let id = account.id.to_string();
        let sealed = self.keys.seal(Purpose::Totp, &id, secret.expose());
        let begun = self
            .store
            .begin_totp(account.id, &sealed, origin.now)
            .await?;
        if !begun {
            return Err(Refusal::FactorExists);
        }
        Ok(Enrolment {
            secret: secret.to_base32(),
            url: secret.to_url(&self.policy.factor_issuer, &account.email),
        })
    }

    async fn try_confirm_totp(
        &self,
        owner: Owner,
        code: &str,
        origin: Origin,
    ) -> Outcome<Vec<RecoveryCode>> {
        let id = owner.account;
        let record = self.store.totp(id).await?.ok_or(Refusal::NoFactor)?;
        if record.confirmed_at.is_some() {
            return Err(Refusal::FactorExists);
        }
        if origin.now.since(record.created_at) >= ENROLMENT_TTL {
            return Err(Refusal::NoFactor);
        }
        let secret = self.totp_secret(id, &record)?;
        let code = TotpCode::parse(code).ok_or(Refusal::InvalidCode)?;
        let step = self.try_code(id, &secret, &code, origin).await?;
        let step = step.ok_or(Refusal::InvalidCode)?;
        let (codes, hashes) = fresh_codes(owner);
        let confirmation = TotpConfirmation {
            account: id,
            sealed_secret: &record.sealed_secret,
            step,
            codes: &hashes,
        };
        let line = origin
            .audit(AuditEvent::FactorEnrolled, id)
            .in_session(owner.session);
        if !self.store.confirm_totp(&confirmation, &line).await? {
            return Err(Refusal::FactorExists);
        }
        self.code_was_right(id).await?;
        // This session has shown the factor: it alone may change it without being asked for a code again.
        let line = origin
            .audit(AuditEvent::Reauthenticated, id)
            .in_session(owner.session);
        let by = ProvedBy::PasswordAndCode;
        let session = owner.session;
        self.store.mark_authenticated(session, by, &line).await?;
        Ok(codes)
    }

    async fn try_remove_totp(&self, owner: Owner, origin: Origin) -> Outcome<()> {
        self.require_fresh(owner, origin.now).await?;
        let line = origin
            .audit(AuditEvent::FactorRemoved, owner.account)
            .in_session(owner.session);
        match self.store.remove_factors(owner.account, &line).await? {
            true => Ok(()),
            false => Err(Refusal::NoFactor),
        }
    }

    async fn try_new_recovery_codes(
        &self,
        owner: Owner,
        origin: Origin,
    ) -> Outcome<Vec<RecoveryCode>> {
        self.require_fresh(owner, origin.now).await?;
        let (codes, hashes) = fresh_codes(owner);
        let line = origin
            .audit(AuditEvent::RecoveryCodesReplaced, owner.account)
            .in_session(owner.session);
        let replaced = self
            .store
            .replace_recovery_codes(owner.account, &hashes, &line)
            .await?;
        replaced.then_some(codes).ok_or(Refusal::NoFactor)
    }

    pub(super) async fn active(&self, owner: Owner) -> Outcome<Account> {
        let account = self.store.account_by_id(owner.account).await?;
        account
            .filter(|account| account.status == AccountStatus::Active)
            .ok_or(Refusal::InvalidToken)
    }
}

fn fresh_codes(owner: Owner) -> (Vec<RecoveryCode>, Vec<crate::domain::TokenHash>) {
    (0..RECOVERY_CODES)
        .map(|_| {
            let code = RecoveryCode::from_random(random::bytes());
            let hash = code.hash(owner.account);
            (code, hash)
        })
        .unzip()
}
