//! Takes a person out: of the audit log by a pseudonym, and out of the accounts. Never breaks the chain, and never makes
//! a line good that was not.

use super::super::super::{PageLimit, StoreResult};
use super::super::database::{Database, Queue, Write};
use super::super::statement::Statement;
use super::super::{TENANT, revocation};
use super::row;
use crate::domain::{AccountId, AuditEntry, AuditRow, ChainKey, Personal, Revocation, UnixMillis};

const ERASING: &str = "erasing an account from the audit log";
const DELETING: &str = "deleting an account";
/// What never is the code of an erasure: a line that was wrong before is wrong afterwards.
const NO_CODE: [u8; 64] = [0; 64];

pub(in super::super) async fn from_audit(
    database: &Database,
    account: AccountId,
    pseudonym: AccountId,
    limit: PageLimit,
) -> StoreResult<u64> {
    let key = database.trail().key.clone();
    let (account, pseudonym) = (account.to_string(), pseudonym.to_string());
    let mut write = database.write(ERASING).await?;
    // Not beside whoever links: a line must not change between the two.
    write.wait_in(Queue::AuditChain).await?;
    let rows = Statement::new(
        ERASING,
        "SELECT id, at, event, outcome, actor_kind, actor_id, account_id, session_id, object, client, request_id,
             blind, seal, position, link, erasure FROM audit
         WHERE tenant_id = $1 AND (account_id = $2 OR actor_id = $2) ORDER BY id LIMIT $3",
    )
    .bind(TENANT)
    .bind(&account)
    .bind(limit.rows())
    .fetch_all(&mut write)
    .await?;
    for stored in &rows {
        let line = row::read(stored)?;
        erase_one(&mut write, key.as_ref(), line, &account, &pseudonym).await?;
    }
    write.commit().await?;
    Ok(rows.len() as u64)
}

async fn erase_one(
    write: &mut Write,
    key: Option<&ChainKey>,
    line: AuditRow,
    account: &str,
    pseudonym: &str,
) -> StoreResult<()> {
    let renamed = |id: &Option<String>| match id.as_deref() {
        Some(id) if id == account => Some(pseudonym.to_owned()),
        _ => id.clone(),
    };
    let left = Personal {
        actor_id: renamed(&line.personal.actor_id),
        account_id: renamed(&line.personal.account_id),
        ..Personal::default()
    };
    let erasure = match (&line.seal, key) {
        // Of an earlier release, and sealed as it is from now on when it is linked.
        (None, _) => None,
        (Some(seal), Some(key)) if key.check(&line).is_ok() => {
            let personal = match (&line.blind, &line.erasure) {
                (Some(blind), _) => Some(line.personal.digest(blind)),
                (None, erasure) => erasure
                    .as_ref()
                    .and_then(|erasure| erasure.first_chunk().copied()),
            };
            personal.map(|personal| key.erasure(seal, &personal, &left))
        }
        (Some(_), _) => Some(NO_CODE.to_vec()),
    };
    Statement::new(
        ERASING,
        "UPDATE audit SET actor_id = $1, account_id = $2, session_id = NULL, client = NULL, request_id = NULL,
             blind = NULL, erasure = $3 WHERE id = $4",
    )
    .bind(left.actor_id)
    .bind(left.account_id)
    .bind(erasure)
    .bind(line.id)
    .execute(write)
    .await?;
    Ok(())
}

pub(in super::super) async fn account(
    database: &Database,
    id: AccountId,
    until: UnixMillis,
    entry: &AuditEntry,
) -> StoreResult<Option<Revocation>> {
    let mut write = database.write_vital(DELETING).await?;
    let deleted = Statement::new(
        DELETING,
        "DELETE FROM account WHERE id = $1 AND tenant_id = $2",
    )
    .bind(id.to_string())
    .bind(TENANT)
    .execute(&mut write)
    .await?;
    if deleted == 0 {
        return Ok(None);
    }
    super::insert(&mut write, entry).await?;
    let cut = Revocation::Account {
        sub: id,
        not_before: entry.at,
        until,
    };
    revocation::insert(&mut write, &cut).await?;
    write.commit().await?;
    Ok(Some(cut))
}
