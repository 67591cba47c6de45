//! What must survive of second factors and of proofs of identity. Never opens a secret and never knows a code.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{AccountId, AuditEntry, ProvedBy, SessionId, TokenHash, TotpStep, UnixMillis};

/// An account's authenticator as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotpRecord {
    /// Opens under the key encryption key, for this account.
    pub sealed_secret: Vec<u8>,
    /// When its enrolment began.
    pub created_at: UnixMillis,
    /// When its owner showed the first code of it: only from then on does it count.
    pub confirmed_at: Option<UnixMillis>,
}

/// An authenticator that has shown its first code.
#[derive(Clone, Copy, Debug)]
pub struct TotpConfirmation<'a> {
    /// Whose.
    pub account: AccountId,
    /// The secret that the code was of; another one may have taken its place.
    pub sealed_secret: &'a [u8],
    /// The step of the code: spent with it.
    pub step: TotpStep,
    /// The first set of recovery codes.
    pub codes: &'a [TokenHash],
}

/// Operations on second factors; see [`super::Store`]. None of them is ever answered by a replica.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// Keeps a secret that has yet to be confirmed, in place of an earlier one. `false`: one is confirmed already.
    async fn begin_totp(
        &self,
        account: AccountId,
        sealed_secret: &[u8],
        now: UnixMillis,
    ) -> StoreResult<bool>;

    /// The authenticator of an account, confirmed or not.
    async fn totp(&self, account: AccountId) -> StoreResult<Option<TotpRecord>>;

    /// Makes an authenticator count, together with its recovery codes. Of any number of confirmations one is `true`;
    /// `false`: it is confirmed already, or has been replaced.
    async fn confirm_totp(
        &self,
        confirmation: &TotpConfirmation<'_>,
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// Spends the codes up to and with a step. Of any number of uses of one step, through any number of instances,
    /// exactly one is `true`.
    async fn spend_totp_step(&self, account: AccountId, step: TotpStep) -> StoreResult<bool>;

    /// Puts a set of recovery codes in force and voids every earlier one. `false`: the account has no authenticator.
    async fn replace_recovery_codes(
        &self,
        account: AccountId,
        codes: &[TokenHash],
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// Spends a recovery code, and writes the audit line when it was good. Of any number of uses one is `true`.
    async fn spend_recovery_code(
        &self,
        account: AccountId,
        code: &TokenHash,
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// How many recovery codes are unspent.
    async fn recovery_codes_left(&self, account: AccountId) -> StoreResult<u32>;

    /// Takes authenticator and recovery codes away. `false`: there was no confirmed authenticator.
    async fn remove_factors(&self, account: AccountId, audit: &AuditEntry) -> StoreResult<bool>;

    /// Notes that whoever uses the session of the audit line has just proved who they are, and by what. `false`: it
    /// has ended.
    async fn mark_authenticated(
        &self,
        session: SessionId,
        by: ProvedBy,
        audit: &AuditEntry,
    ) -> StoreResult<bool>;

    /// When whoever uses a session last proved who they are, its login included; `None`: it has ended, or never was.
    async fn authenticated_at(
        &self,
        session: SessionId,
        now: UnixMillis,
    ) -> StoreResult<Option<UnixMillis>>;
}
