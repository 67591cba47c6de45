//! Mail that waits to be sent, and what it proves. Never holds an address or a token: an account is named, and who sends
//! a mail makes the token when it goes out.
//!
//! Other operations queue mail in the transaction of what causes it. A store that was told that nobody sends mail
//! queues none.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Account, AccountId, AuditEntry, Email, MailKind, TokenHash, UnixMillis};

/// A mail that this instance alone may send, until its lease ends.
#[derive(Clone, Debug)]
pub struct LeasedMail {
    /// Its id.
    pub id: String,
    /// Why it is sent.
    pub kind: MailKind,
    /// To whom.
    pub account: AccountId,
    /// Where to.
    pub to: Email,
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// Which attempt this is, from 1.
    pub attempts: u32,
}

/// What there was to send.
#[derive(Clone, Debug)]
pub enum MailLease {
    /// This, and the token given along is in force if its kind carries one.
    Mail(LeasedMail),
    /// A row that concerns nobody, which is gone now. There may be more.
    Nobody,
    /// Nothing that is due.
    Nothing,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailQueue {
    /// So many mails; never counted beyond 10,000.
    pub waiting: u64,
    /// The oldest was asked for then.
    pub oldest: Option<UnixMillis>,
}

/// Queue of mails, and tokens of those that were sent.
#[async_trait]
pub trait MailStore: Send + Sync {
    /// Queues a mail to the active account of an address and writes the audit line about it. Without such an account,
    /// or with enough mail of the kind for this hour, the same work is done for nobody.
    async fn request_mail(
        &self,
        email: &Email,
        kind: MailKind,
        audit: &AuditEntry,
    ) -> StoreResult<()>;

    /// Takes the mail that is due longest, until `until`, and puts `token` in force in place of any earlier one if its
    /// kind carries one. Of any number that ask at once each gets another mail.
    async fn lease_mail(
        &self,
        token: &TokenHash,
        now: UnixMillis,
        until: UnixMillis,
    ) -> StoreResult<MailLease>;

    /// A leased mail was sent.
    async fn mail_sent(&self, mail: &LeasedMail) -> StoreResult<()>;

    /// A leased mail was not sent: it is due again then, or never.
    async fn mail_failed(&self, mail: &LeasedMail, due_at: Option<UnixMillis>) -> StoreResult<()>;

    /// What waits.
    async fn mail_queue(&self) -> StoreResult<MailQueue>;

    /// The active account that a token of a mail of this kind was sent to, if the token is in force. Consumes nothing.
    async fn account_by_mail_token(
        &self,
        token: &TokenHash,
        kind: MailKind,
        now: UnixMillis,
    ) -> StoreResult<Option<Account>>;

    /// Spends the token of a verification mail. `None`: it is unknown, spent, replaced or expired.
    async fn verify_email(
        &self,
        token: &TokenHash,
        audit: &AuditEntry,
    ) -> StoreResult<Option<AccountId>>;
}
