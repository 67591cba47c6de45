//! `/api/v1/api-keys`: the caller's own API keys. By access token or session alone: a key makes no further keys, and ends
//! none. The key itself is in one answer, once.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::health::iso;
use super::{ApiError, Service, body, owner};
use crate::app::authorization::NewApiKey;
use crate::domain::{ApiKey, ApiKeySecret, SubjectId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewKey {
    name: String,
    permissions: Vec<String>,
    expires_in_seconds: Option<u64>,
}

impl NewKey {
    pub(super) fn wanted(&self) -> NewApiKey<'_> {
        NewApiKey {
            name: &self.name,
            permissions: &self.permissions,
            expires_in: self.expires_in_seconds,
        }
    }
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::looking(&service, request.headers(), origin).await?;
    let owner = SubjectId::Account(owner.account);
    let keys = service.app.api_keys_of(&owner).await?;
    Ok(listed(&keys))
}

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    service.app.require_fresh(owner, origin.now).await?;
    let caller = service.app.caller_of(owner.account, origin.now).await?;
    let body: NewKey = body::decode(request).await?;
    let made = service
        .app
        .create_api_key(&caller, body.wanted(), origin)
        .await?;
    Ok(created(&made))
}

pub(super) async fn revoke(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let caller = service.app.caller_of(owner.account, origin.now).await?;
    // To its end even when the requester leaves: durable and shared, or neither.
    body::to_the_end(async move { service.app.revoke_api_key(&id, &caller, origin).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The only answer that ever holds the key.
pub(super) fn created((key, secret): &(ApiKey, ApiKeySecret)) -> Response {
    let mut answer = shown(key);
    answer["key"] = json!(secret.expose());
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}

pub(in crate::http) fn listed(keys: &[ApiKey]) -> Response {
    let keys: Vec<Value> = keys.iter().map(shown).collect();
    axum::Json(json!({ "api_keys": keys })).into_response()
}

fn shown(key: &ApiKey) -> Value {
    let permissions: Vec<&str> = key.permissions.iter().map(|grant| grant.as_str()).collect();
    json!({
        "id": key.id.to_string(),
        "name": key.name.as_str(),
        "prefix": key.prefix,
        "owner": key.owner.to_string(),
        "permissions": permissions,
        "created_at": iso(key.created_at),
        "expires_at": key.expires_at.map(iso),
        "revoked_at": key.revoked_at.map(iso),
        "last_used_at": key.last_used_at.map(iso),
    })
}
