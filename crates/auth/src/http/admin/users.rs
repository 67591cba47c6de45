//! `/api/v1/admin/users`: accounts, their roles and their sessions. Never a password or its hash.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{account, changing, default_limit, limit, looking};
use crate::app::Refusal;
use crate::domain::{Account, AccountStatus, Role, SessionCursor, SessionId};
use crate::http::api_keys;
use crate::http::health::iso;
use crate::http::query::Query;
use crate::http::{ApiError, Service, body, now};
use crate::store::AccountFilter;

/// No address is longer.
const SEARCH_BYTES_MAX: usize = 254;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTier {
    tier: String,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = looking(&service, request.headers(), origin).await?;
    let mut query = Query::read(request.uri().query())?;
    let filter = AccountFilter {
        address: query.take_as("search", |text| {
            let fits = !text.is_empty() && text.len() <= SEARCH_BYTES_MAX;
            fits.then(|| text.to_lowercase())
        })?,
        status: query.take_as("status", AccountStatus::parse)?,
        role: query.take_as("role", |text| {
            Some(Role::parse(text).ok()?.as_str().to_owned())
        })?,
    };
    let rows = query.take_as("limit", limit)?.unwrap_or_else(default_limit);
    let cursor = query.take("cursor");
    query.finish()?;
    let found = service
        .app
        .find_accounts(administrator, &filter, cursor.as_deref(), rows, origin);
    let page = found.await?;
    let users: Vec<Value> = page.accounts.iter().map(shown).collect();
    Ok(axum::Json(json!({ "users": users, "next": page.next })).into_response())
}

pub(super) async fn show(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = looking(&service, request.headers(), origin).await?;
    let found = service
        .app
        .account_details(administrator, account(&id)?, origin)
        .await?;
    let mut answer = shown(&found.account);
    answer["email_verified_at"] = json!(found.email_verified_at.map(iso));
    answer["mfa"] = json!({
        "totp": found.factors.has_totp,
        "recovery_codes_left": found.factors.recovery_codes_left,
    });
    Ok(axum::Json(answer).into_response())
}

pub(super) async fn disable(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    change_status(service, &id, request, AccountStatus::Disabled).await
}

pub(super) async fn enable(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    change_status(service, &id, request, AccountStatus::Active).await
}

async fn change_status(
    service: Arc<Service>,
    id: &str,
    request: Request,
    status: AccountStatus,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let id = account(id)?;
    // To its end even when the requester leaves: durable and shared, or neither.
    let changed = body::to_the_end(async move {
        let app = &service.app;
        app.change_status(administrator, id, status, origin, now)
            .await
    });
    Ok(axum::Json(shown(&changed.await?)).into_response())
}

pub(super) async fn set_roles(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let id = account(&id)?;
    let Roles { roles } = body::decode(request).await?;
    let changed = body::to_the_end(async move {
        let app = &service.app;
        app.change_roles(administrator, id, &roles, origin, now)
            .await
    });
    Ok(axum::Json(shown(&changed.await?)).into_response())
}

pub(super) async fn set_tier(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let id = account(&id)?;
    let NewTier { tier } = body::decode(request).await?;
    let changed = body::to_the_end(async move {
        let app = &service.app;
        app.change_tier(administrator, id, &tier, origin).await
    });
    Ok(axum::Json(shown(&changed.await?)).into_response())
}

pub(super) async fn reset_factors(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let reset = service
        .app
        .reset_factors(administrator, account(&id)?, origin);
    reset.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn keys(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = looking(&service, request.headers(), origin).await?;
    let keys = service
        .app
        .api_keys_of_account(administrator, account(&id)?, origin);
    Ok(api_keys::listed(&keys.await?))
}

pub(super) async fn sessions(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = looking(&service, request.headers(), origin).await?;
    let mut query = Query::read(request.uri().query())?;
    let after = query.take_as("after", SessionCursor::parse)?;
    let rows = query.take_as("limit", limit)?.unwrap_or_else(default_limit);
    query.finish()?;
    let id = account(&id)?;
    let page = service
        .app
        .sessions_of_account(administrator, id, after, rows, origin);
    let page = page.await?;
    let sessions = page.sessions.iter().map(|session| {
        json!({
            "id": session.id.to_string(),
            "began_at": iso(session.began_at),
            "last_used_at": iso(session.used_at),
            "began_from": session.began_from.map(|network| network.to_string()),
        })
    });
    let sessions: Vec<Value> = sessions.collect();
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(axum::Json(json!({ "sessions": sessions, "next": next })).into_response())
}

pub(super) async fn end_sessions(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    end(service, &id, None, request).await
}

pub(super) async fn end_session(
    State(service): State<Arc<Service>>,
    Path((id, session)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let session = SessionId::parse(&session);
    let session = session.ok_or(ApiError::Refused(Refusal::NoSuchSession));
    end(service, &id, Some(session), request).await
}

async fn end(
    service: Arc<Service>,
    id: &str,
    session: Option<Result<SessionId, ApiError>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let id = account(id)?;
    let session = session.transpose()?;
    body::to_the_end(async move {
        let app = &service.app;
        app.end_sessions_of_account(administrator, id, session, origin)
            .await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn shown(account: &Account) -> Value {
    let roles: Vec<&str> = account.roles.iter().map(Role::as_str).collect();
    json!({
        "id": account.id.to_string(),
        "email": account.email.as_str(),
        "status": account.status.as_str(),
        "roles": roles,
        "tier": account.tier.as_str(),
        "created_at": iso(account.created_at),
    })
}
