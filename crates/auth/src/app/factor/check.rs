//! Decides whether a code is good, and slows down whoever guesses codes. Never looks at a code of an authenticator
//! while the account's lock runs, and never tells a spent code from a wrong one.
//!
//! A code has twenty bits, and three of them are good at any moment: after five failures of an account, from whatever
//! networks, tries have to wait for a lock that doubles. A try counts before the code is looked at, so that many sent
//! at once are many. Recovery codes have eighty bits and pass the lock: whoever holds the password cannot keep the
//! owner out.

use std::time::Duration;

use super::super::attempts::{WINDOW, lock_length};
use super::super::{App, Origin, Outcome, Refusal};
use crate::domain::{
    Account, AccountId, AuditEvent, ProvedBy, RecoveryCode, TotpCode, TotpSecret, TotpStep,
};
use crate::shared::CounterKey;
use crate::store::TotpRecord;

/// Failures of one account before its first lock.
const FREE: u32 = 5;

/// What somebody typed in the place of a code.
enum Typed {
    Totp(TotpCode),
    Recovery(RecoveryCode),
}

impl Typed {
    fn parse(text: &str) -> Option<Self> {
        let totp = TotpCode::parse(text).map(Self::Totp);
        totp.or_else(|| RecoveryCode::parse(text).map(Self::Recovery))
    }
}

/// The counters of one account.
struct Keys {
    tries: CounterKey,
    lock: CounterKey,
}

impl Keys {
    fn of(account: AccountId) -> Self {
        let id = account.to_string();
        Self {
            tries: CounterKey::new("second factor tries of an account", &[&id]),
            lock: CounterKey::new("second factor lock of an account", &[&id]),
        }
    }
}

impl App {
    /// Spends the code, of whom the password was right; says what both together are. Whoever fails is counted before
    /// they hear of it.
    pub(super) async fn check_factor(
        &self,
        account: &Account,
        record: &TotpRecord,
        code: &str,
        origin: Origin,
    ) -> Outcome<ProvedBy> {
        let (by, is_right) = match Typed::parse(code) {
            Some(Typed::Totp(code)) => {
                let secret = self.totp_secret(account.id, record)?;
                let step = self.try_code(account.id, &secret, &code, origin).await?;
                let is_right = match step {
                    Some(step) => self.store.spend_totp_step(account.id, step).await?,
                    None => false,
                };
                if is_right {
                    self.code_was_right(account.id).await?;
                }
                (ProvedBy::PasswordAndCode, is_right)
            }
            Some(Typed::Recovery(code)) => {
                let line = origin.audit(AuditEvent::RecoveryCodeUsed, account.id);
                let hash = code.hash(account.id);
                let id = account.id;
                let is_right = self.store.spend_recovery_code(id, &hash, &line).await?;
                (ProvedBy::PasswordAndRecoveryCode, is_right)
            }
            None => (ProvedBy::Password, false),
        };
        if is_right {
            return Ok(by);
        }
        self.network_failed(origin).await?;
        let line = origin.audit(AuditEvent::SecondFactorFailed, account.id);
        self.store.append_audit(&line).await?;
        Err(Refusal::InvalidCode)
    }

    /// The step of the code, unless it is wrong or may not be looked at now.
    pub(super) async fn try_code(
        &self,
        account: AccountId,
        secret: &TotpSecret,
        code: &TotpCode,
        origin: Origin,
    ) -> Outcome<Option<TotpStep>> {
        let keys = Keys::of(account);
        let now = origin.now;
        if self.counter(&keys.lock, origin).await? > 0 {
            return Ok(None);
        }
        let tries = self.hit(&keys.tries, WINDOW, origin).await?;
        if let Some(length) = lock_length(tries, FREE) {
            // Of those that come at once, the one that begins the lock is looked at.
            if self.hit(&keys.lock, length, origin).await? > 1 {
                return Ok(None);
            }
        }
        Ok(secret.step_of(code, now))
    }

    /// Forgets the failures: only the owner's authenticator makes a right code.
    pub(super) async fn code_was_right(&self, account: AccountId) -> Outcome<()> {
        let keys = Keys::of(account);
        self.shared.reset(&keys.tries).await?;
        self.shared.reset(&keys.lock).await?;
        Ok(())
    }

    async fn hit(&self, key: &CounterKey, window: Duration, origin: Origin) -> Outcome<u32> {
        let counted = self.shared.count(&[*key], window, origin.now).await?;
        Ok(counted.first().map_or(u32::MAX, |counter| counter.count))
    }

    async fn counter(&self, key: &CounterKey, origin: Origin) -> Outcome<u32> {
        let found = self.shared.counters(&[*key], origin.now).await?;
        Ok(found.first().map_or(u32::MAX, |counter| counter.count))
    }
}
