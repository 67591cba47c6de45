//! `GET /api/v1/admin/audit`: the audit log, newest lines first. Reading it is a line of it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{default_limit, limit, looking};
use crate::domain::{AccountId, AuditEvent, AuditOutcome, AuditRow, RequestId, UnixMillis};
use crate::http::health::iso;
use crate::http::query::Query;
use crate::http::{ApiError, Service};
use crate::operator::instant;
use crate::store::AuditFilter;

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = looking(&service, request.headers(), origin).await?;
    let mut query = Query::read(request.uri().query())?;
    let filter = AuditFilter {
        event: query.take_as("event", |text| {
            Some(AuditEvent::parse(text)?.as_str().to_owned())
        })?,
        outcome: query.take_as("outcome", |text| {
            Some(AuditOutcome::parse(text)?.as_str().to_owned())
        })?,
        account: query.take_as("account", AccountId::parse)?,
        request: query.take_as("request", |text| Some(RequestId::parse(text)?.to_string()))?,
        since: query.take_as("since", at)?,
        until: query.take_as("until", at)?,
    };
    let rows = query.take_as("limit", limit)?.unwrap_or_else(default_limit);
    let cursor = query.take("cursor");
    query.finish()?;
    let page = service
        .app
        .read_audit(administrator, &filter, cursor.as_deref(), rows, origin);
    let page = page.await?;
    let lines: Vec<Value> = page.rows.iter().map(shown).collect();
    Ok(axum::Json(json!({ "lines": lines, "next": page.next })).into_response())
}

fn at(text: &str) -> Option<UnixMillis> {
    instant::parse(text).ok()
}

fn shown(row: &AuditRow) -> Value {
    json!({
        "id": row.id,
        "at": iso(row.at),
        "event": row.event,
        "outcome": row.outcome,
        "actor": row.actor_kind,
        "actor_id": row.personal.actor_id,
        "account_id": row.personal.account_id,
        "session_id": row.personal.session_id,
        "object": row.object,
        "client": row.personal.client,
        "request_id": row.personal.request_id,
        "erased": row.erasure.is_some(),
        "position": row.position,
    })
}
