//! What an operator asks of the audit log from the command line. Reading it is a line of it.

use super::{OperatorError, find};
use crate::app::audit::{self, AuditPage, ChainReport};
use crate::config::Config;
use crate::domain::{Actor, AuditEntry, AuditEvent, AuditOutcome, AuditRow, Email, UnixMillis};
use crate::server::Stores;
use crate::store::{AuditFilter, PageLimit};

/// Which lines; everything that is said must fit.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// The word of an event.
    pub event: Option<String>,
    /// The word of an outcome.
    pub outcome: Option<String>,
    /// The address of an account, or its id, which outlives it.
    pub account: Option<String>,
    /// The id of a request.
    pub request: Option<String>,
    /// Not before.
    pub since: Option<UnixMillis>,
    /// Before.
    pub until: Option<UnixMillis>,
}

/// A page of the lines that fit, newest first.
pub async fn list(
    config: &Config,
    query: &AuditQuery,
    cursor: Option<&str>,
    limit: PageLimit,
) -> Result<AuditPage, OperatorError> {
    let stores = Stores::open(config).await?;
    let listed = async {
        let filter = filter(&stores, query).await?;
        let store = stores.store.as_ref();
        let page = audit::page(store, &stores.chain, &filter, cursor, limit, None).await?;
        let page = page.map_err(|_| OperatorError::Cursor)?;
        note(&stores, AuditEvent::AuditRead).await?;
        Ok(page)
    }
    .await;
    stores.close().await;
    listed
}

/// Goes through the whole log and tells the first line that is wrong. `expected`: the place and the link of a line, as
/// an earlier look told them.
pub async fn verify(
    config: &Config,
    expected: Option<(i64, Vec<u8>)>,
) -> Result<ChainReport, OperatorError> {
    let stores = Stores::open(config).await?;
    let report = audit::verify(stores.store.as_ref(), &stores.chain, expected).await;
    stores.close().await;
    Ok(report?)
}

/// Hands out every linked line in the order of the chain, beginning behind a position.
pub async fn export(
    config: &Config,
    after: i64,
    mut each: impl FnMut(&AuditRow) -> std::io::Result<()>,
) -> Result<u64, OperatorError> {
    let stores = Stores::open(config).await?;
    let exported = async {
        note(&stores, AuditEvent::AuditRead).await?;
        let (mut position, mut count) = (after, 0);
        loop {
            let rows = stores.store.audit_chain(position, PageLimit::MAX).await?;
            for row in &rows {
                each(row).map_err(OperatorError::Output)?;
            }
            count += rows.len() as u64;
            match rows.last().and_then(|row| row.position) {
                Some(last) => position = last,
                None => return Ok(count),
            }
        }
    }
    .await;
    stores.close().await;
    exported
}

async fn filter(stores: &Stores, query: &AuditQuery) -> Result<AuditFilter, OperatorError> {
    let unknown = |what: &'static str, word: &str| OperatorError::Unknown {
        what,
        word: word.to_owned(),
    };
    if let Some(word) = query
        .event
        .as_deref()
        .filter(|word| AuditEvent::parse(word).is_none())
    {
        return Err(unknown("event", word));
    }
    let outcome = query.outcome.as_deref();
    if let Some(word) = outcome.filter(|word| AuditOutcome::parse(word).is_none()) {
        return Err(unknown("outcome", word));
    }
    let account = match query.account.as_deref() {
        None => None,
        Some(text) => Some(match crate::domain::AccountId::parse(text) {
            Some(id) => id,
            None => find(stores, &Email::parse(text)?).await?.id,
        }),
    };
    Ok(AuditFilter {
        event: query.event.clone(),
        outcome: query.outcome.clone(),
        account,
        request: query.request.clone(),
        since: query.since,
        until: query.until,
    })
}

async fn note(stores: &Stores, event: AuditEvent) -> Result<(), OperatorError> {
    let line = AuditEntry::by(Actor::Operator, super::now(), event);
    Ok(stores.store.append_audit(&line).await?)
}
