//! Mail that waits, and tokens of mails. Never returns a mail to two who ask at once.

use async_trait::async_trait;

use super::super::{LeasedMail, MailLease, MailQueue, MailStore, StoreResult};
use super::database::{Database, Write};
use super::statement::{Row, Statement};
use super::{SqlStore, TENANT, account, audit};
use crate::domain::{
    Account, AccountId, Actor, AuditEntry, Email, MailKind, TokenHash, UnixMillis,
};
use crate::random;

const QUEUEING: &str = "queueing mail";
const LEASING: &str = "taking mail to send";
const ENDING: &str = "noting what became of a mail";
const VERIFYING: &str = "verifying an address";
const FINDING: &str = "finding the account of a mail's token";

/// A file is changed by one at a time; on a server, those that ask at once pass over the rows that others hold.
const LEASE_ON_SQLITE: &str = "
    UPDATE mail SET due_at = $1, attempts = attempts + 1
    WHERE id = (SELECT id FROM mail WHERE state = 'waiting' AND due_at <= $2 AND tenant_id = $3 ORDER BY due_at LIMIT 1)
    RETURNING id, account_id, kind, attempts, created_at";
const LEASE_ON_POSTGRES: &str = "
    UPDATE mail SET due_at = $1, attempts = attempts + 1
    WHERE id = (SELECT id FROM mail WHERE state = 'waiting' AND due_at <= $2 AND tenant_id = $3 ORDER BY due_at LIMIT 1
                FOR UPDATE SKIP LOCKED)
    RETURNING id, account_id, kind, attempts, created_at";

#[async_trait]
impl MailStore for SqlStore {
    async fn request_mail(
        &self,
        email: &Email,
        kind: MailKind,
        audit: &AuditEntry,
    ) -> StoreResult<()> {
        let mut write = self.database.write(QUEUEING).await?;
        let found = Statement::new(
            QUEUEING,
            "SELECT id FROM account WHERE tenant_id = $1 AND email IN ($2, $4) AND status = 'active'
                 AND (email_verified_at IS NULL OR $3 <> 'verify_email') ORDER BY email = $4 DESC LIMIT 1",
        )
        .bind(TENANT)
        .bind(email.as_str())
        .bind(kind.as_str())
        .bind(email.as_stored_before())
        .fetch_optional(&mut write)
        .await?;
        let account = found
            .map(|row| row.read("account id", AccountId::parse(row.text("id")?)))
            .transpose()?;
        insert(&mut write, account, kind, audit.at).await?;
        let line = AuditEntry {
            account,
            ..audit.clone()
        };
        audit::insert(&mut write, &line).await?;
        write.commit().await
    }

    async fn lease_mail(
        &self,
        token: &TokenHash,
        now: UnixMillis,
        until: UnixMillis,
    ) -> StoreResult<MailLease> {
        // A read comes first, since it holds up nobody and mostly that is all.
        let due = Statement::new(
            LEASING,
            "SELECT 1 FROM mail WHERE state = 'waiting' AND due_at <= $1 LIMIT 1",
        )
        .bind(now.0)
        .fetch_optional(&self.database)
        .await?;
        if due.is_none() {
            return Ok(MailLease::Nothing);
        }
        let mut write = self.database.write(LEASING).await?;
        let statement = match &self.database {
            Database::Sqlite(_) => LEASE_ON_SQLITE,
            Database::Postgres(_) => LEASE_ON_POSTGRES,
        };
        let leased = Statement::new(LEASING, statement)
            .bind(until.0)
            .bind(now.0)
            .bind(TENANT)
            .fetch_optional(&mut write)
            .await?;
        let Some(row) = leased else {
            return Ok(MailLease::Nothing);
        };
        let lease = match recipient(&mut write, &row).await? {
            None => {
                delete(&mut write, row.text("id")?).await?;
                MailLease::Nobody
            }
            Some(to) => {
                let mail = leased_from(&row, to)?;
                if let Some(ttl) = mail.kind.token_ttl() {
                    put_in_force(&mut write, &mail, token, now.plus(ttl)).await?;
                }
                MailLease::Mail(mail)
            }
        };
        write.commit().await?;
        Ok(lease)
    }

    async fn mail_sent(&self, mail: &LeasedMail) -> StoreResult<()> {
        self.end_lease(mail, "sent", None).await
    }

    async fn mail_failed(&self, mail: &LeasedMail, due_at: Option<UnixMillis>) -> StoreResult<()> {
        let state = if due_at.is_some() {
            "waiting"
        } else {
            "given_up"
        };
        self.end_lease(mail, state, due_at).await
    }

    async fn mail_queue(&self) -> StoreResult<MailQueue> {
        let row = Statement::new(
            "counting mail",
            "SELECT count(*) AS waiting, min(created_at) AS oldest FROM (
                 SELECT created_at FROM mail WHERE state = 'waiting' AND account_id IS NOT NULL LIMIT 10000) AS few",
        )
        .fetch_optional(&self.database)
        .await?;
        let Some(row) = row else {
            return Ok(MailQueue::default());
        };
        Ok(MailQueue {
            waiting: u64::try_from(row.number("waiting")?).unwrap_or(0),
            oldest: row.optional_number("oldest")?.map(UnixMillis),
        })
    }

    async fn account_by_mail_token(
        &self,
        token: &TokenHash,
        kind: MailKind,
        now: UnixMillis,
    ) -> StoreResult<Option<Account>> {
        let found = Statement::new(
            FINDING,
            "SELECT t.account_id FROM mail_token t JOIN account a ON a.id = t.account_id
             WHERE t.hash = $1 AND t.kind = $2 AND t.expires_at > $3 AND t.tenant_id = $4 AND a.status = 'active'",
        )
        .bind(token.as_bytes().as_slice())
        .bind(kind.as_str())
        .bind(now.0)
        .bind(TENANT)
        .fetch_optional(&self.database)
        .await?;
        let Some(row) = found else {
            return Ok(None);
        };
        let id = row.read("account id", AccountId::parse(row.text("account_id")?))?;
        account::by_id(&self.database, id).await
    }

    async fn verify_email(
        &self,
        token: &TokenHash,
        audit: &AuditEntry,
    ) -> StoreResult<Option<AccountId>> {
        let mut write = self.database.write(VERIFYING).await?;
        let Some(account) = spend(&mut write, token, MailKind::VerifyEmail, audit.at).await? else {
            return Ok(None);
        };
        Statement::new(
            VERIFYING,
            "UPDATE account SET email_verified_at = $1 WHERE id = $2 AND email_verified_at IS NULL",
        )
        .bind(audit.at.0)
        .bind(account.to_string())
        .execute(&mut write)
        .await?;
        let line = AuditEntry {
            account: Some(account),
            actor: Actor::Account(account),
            ..audit.clone()
        };
        audit::insert(&mut write, &line).await?;
        write.commit().await?;
        Ok(Some(account))
    }
}

impl SqlStore {
    /// Compares the attempt, so that one whose lease had ended changes nothing of what another does now.
    async fn end_lease(
        &self,
        mail: &LeasedMail,
        state: &'static str,
        due_at: Option<UnixMillis>,
    ) -> StoreResult<()> {
        let mut write = self.database.write(ENDING).await?;
        Statement::new(
            ENDING,
            "UPDATE mail SET state = $1, due_at = COALESCE($2, due_at) WHERE id = $3 AND attempts = $4 AND state = 'waiting'",
        )
        .bind(state)
        .bind(due_at.map(|at| at.0))
        .bind(&mail.id)
        .bind(i64::from(mail.attempts))
        .execute(&mut write)
        .await?;
        write.commit().await
    }
}

/// Part of a write: queues a mail, unless nobody sends any. Beyond the bound of an account, and for nobody, a row of the
/// same size is queued, so that the work tells nothing.
pub(super) async fn insert(
    write: &mut Write,
    account: Option<AccountId>,
    kind: MailKind,
    now: UnixMillis,
) -> StoreResult<()> {
    if !write.sends_mail {
        return Ok(());
    }
    let id = uuid::Builder::from_random_bytes(random::bytes()).into_uuid();
    Statement::new(
        QUEUEING,
        "INSERT INTO mail (id, tenant_id, account_id, kind, state, attempts, created_at, due_at)
         SELECT $1, $2, CASE WHEN (SELECT count(*) FROM mail WHERE account_id = $3 AND kind = $4 AND created_at > $5) < $6
             THEN $3 END, $4, 'waiting', 0, $7, $7",
    )
    .bind(id.hyphenated().to_string())
    .bind(TENANT)
    .bind(account.map(|id| id.to_string()))
    .bind(kind.as_str())
    .bind(now.minus(MailKind::PERIOD).0)
    .bind(MailKind::MOST)
    .bind(now.0)
    .execute(write)
    .await
    .map(drop)
}

/// Part of a write: mails that would reset a password which is another one by now are not sent any more.
pub(super) async fn cancel_resets(write: &mut Write, account: AccountId) -> StoreResult<()> {
    Statement::new(
        QUEUEING,
        "UPDATE mail SET state = 'given_up' WHERE account_id = $1 AND kind = $2 AND state = 'waiting'",
    )
    .bind(account.to_string())
    .bind(MailKind::ResetPassword.as_str())
    .execute(write)
    .await
    .map(drop)
}

/// Part of a write, after [`cancel_resets`]: those that were sent prove nothing any more.
pub(super) async fn void_resets(write: &mut Write, account: AccountId) -> StoreResult<()> {
    Statement::new(
        QUEUEING,
        "DELETE FROM mail_token WHERE account_id = $1 AND kind = $2",
    )
    .bind(account.to_string())
    .bind(MailKind::ResetPassword.as_str())
    .execute(write)
    .await
    .map(drop)
}

/// Part of a write: compare and set, in one statement.
pub(super) async fn spend(
    write: &mut Write,
    token: &TokenHash,
    kind: MailKind,
    now: UnixMillis,
) -> StoreResult<Option<AccountId>> {
    Statement::new(
        "spending the token of a mail",
        "DELETE FROM mail_token WHERE hash = $1 AND kind = $2 AND expires_at > $3 AND tenant_id = $4 RETURNING account_id",
    )
    .bind(token.as_bytes().as_slice())
    .bind(kind.as_str())
    .bind(now.0)
    .bind(TENANT)
    .fetch_optional(write)
    .await?
    .map(|row| row.read("account id", AccountId::parse(row.text("account_id")?)))
    .transpose()
}

async fn put_in_force(
    write: &mut Write,
    mail: &LeasedMail,
    token: &TokenHash,
    expires_at: UnixMillis,
) -> StoreResult<()> {
    Statement::new(
        LEASING,
        "INSERT INTO mail_token (account_id, kind, tenant_id, hash, expires_at) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (account_id, kind) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
    )
    .bind(mail.account.to_string())
    .bind(mail.kind.as_str())
    .bind(TENANT)
    .bind(token.as_bytes().as_slice())
    .bind(expires_at.0)
    .execute(write)
    .await
    .map(drop)
}

/// The account and its address, where there is one that is active.
async fn recipient(write: &mut Write, mail: &Row) -> StoreResult<Option<(AccountId, Email)>> {
    let Some(account) = mail.optional_text("account_id")? else {
        return Ok(None);
    };
    let found = Statement::new(
        LEASING,
        "SELECT id, email FROM account WHERE id = $1 AND tenant_id = $2 AND status = 'active'",
    )
    .bind(account)
    .bind(TENANT)
    .fetch_optional(write)
    .await?;
    let read = |row: Row| {
        let id = row.read("account id", AccountId::parse(row.text("id")?))?;
        Ok((
            id,
            row.read("email address", Email::from_store(row.text("email")?).ok())?,
        ))
    };
    found.map(read).transpose()
}

fn leased_from(row: &Row, (account, to): (AccountId, Email)) -> StoreResult<LeasedMail> {
    Ok(LeasedMail {
        id: row.text("id")?.to_owned(),
        kind: row.read("kind of mail", MailKind::parse(row.text("kind")?))?,
        account,
        to,
        created_at: UnixMillis(row.number("created_at")?),
        attempts: u32::try_from(row.number("attempts")?).unwrap_or(u32::MAX),
    })
}

async fn delete(write: &mut Write, id: &str) -> StoreResult<()> {
    Statement::new(ENDING, "DELETE FROM mail WHERE id = $1")
        .bind(id)
        .execute(write)
        .await
        .map(drop)
}
