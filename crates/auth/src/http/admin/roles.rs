//! `/api/v1/admin/roles`: what roles grant.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{changing, looking};
use crate::app::Refusal;
use crate::app::authorization::Unauthorized;
use crate::domain::{Role, RoleDefinition};
use crate::http::{ApiError, Service, body};
use crate::store::PageLimit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    permissions: Vec<String>,
}

/// All of them: there are no more than a page.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    let roles = service.app.roles(None, PageLimit::MAX).await?;
    let roles: Vec<Value> = roles.iter().map(shown).collect();
    Ok(axum::Json(json!({ "roles": roles })).into_response())
}

pub(super) async fn read(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    let role = Role::parse(&name).map_err(|_| Refusal::from(Unauthorized::NotFound))?;
    let found = service.app.roles(None, PageLimit::MAX).await?;
    let found = found.iter().find(|definition| definition.role == role);
    let found = found.ok_or(Refusal::from(Unauthorized::NotFound))?;
    Ok(axum::Json(shown(found)).into_response())
}

pub(super) async fn define(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let by = changing(&service, request.headers(), origin).await?;
    let body: Body = body::decode(request).await?;
    // To its end even when the requester leaves: durable and known everywhere, or neither.
    let defined = body::to_the_end(async move {
        let app = &service.app;
        app.define_role(&name, &body.permissions, by, origin).await
    });
    Ok(axum::Json(shown(&defined.await?)).into_response())
}

pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let by = changing(&service, request.headers(), origin).await?;
    body::to_the_end(async move { service.app.remove_role(&name, by, origin).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn shown(definition: &RoleDefinition) -> Value {
    let permissions = definition.permissions.iter();
    let permissions: Vec<&str> = permissions.map(|grant| grant.as_str()).collect();
    json!({ "name": definition.role.as_str(), "permissions": permissions })
}
