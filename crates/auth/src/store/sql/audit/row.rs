//! Lines of the audit log as they are stored. Never refuses a word that only a later release knows.

use super::super::super::StoreResult;
use super::super::statement::Row;
use crate::domain::{AuditRow, Personal, UnixMillis};

pub(super) fn read(row: &Row) -> StoreResult<AuditRow> {
    let text = |column| Ok(row.optional_text(column)?.map(str::to_owned));
    Ok(AuditRow {
        id: row.number("id")?,
        at: UnixMillis(row.number("at")?),
        event: row.text("event")?.to_owned(),
        outcome: text("outcome")?,
        actor_kind: text("actor_kind")?,
        object: text("object")?,
        personal: Personal {
            actor_id: text("actor_id")?,
            account_id: text("account_id")?,
            session_id: text("session_id")?,
            client: text("client")?,
            request_id: text("request_id")?,
        },
        blind: row.optional_bytes("blind")?,
        seal: row.optional_bytes("seal")?,
        position: row.optional_number("position")?,
        link: row.optional_bytes("link")?,
        erasure: row.optional_bytes("erasure")?,
    })
}
