//! `/api/v1/admin/clients`: machine identities and their API keys.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{changing, looking};
use crate::app::Refusal;
use crate::app::authorization::Unauthorized;
use crate::app::authorization::administration::NewClient;
use crate::domain::{AccountStatus, Client, ClientName, Role, SubjectId};
use crate::http::api_keys::{self, NewKey};
use crate::http::query::Query;
use crate::http::{ApiError, Service, body};
use crate::store::PageLimit;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    roles: Vec<String>,
    tier: Option<String>,
    status: Option<String>,
}

/// Pages of them: `?after=` the last one of the page before.
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    let mut query = Query::read(request.uri().query())?;
    let after = query.take_as("after", |text| ClientName::parse(text).ok())?;
    query.finish()?;
    let clients = service.app.clients(after.as_ref(), PageLimit::MAX).await?;
    let is_full = clients.len() == usize::from(PageLimit::MAX.rows());
    let next = clients.last().filter(|_| is_full);
    let next = next.map(|client| client.name.as_str());
    let clients: Vec<Value> = clients.iter().map(shown).collect();
    Ok(axum::Json(json!({ "clients": clients, "next": next })).into_response())
}

pub(super) async fn put(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let by = changing(&service, request.headers(), origin).await?;
    let body: Body = body::decode(request).await?;
    let status = body.status.as_deref().map(AccountStatus::parse);
    let Some(status) = status.unwrap_or(Some(AccountStatus::Active)) else {
        let hint = "The member status has to be active or disabled.";
        return Err(ApiError::InvalidBody(Some(hint.to_owned())));
    };
    let client = body::to_the_end(async move {
        let wanted = NewClient {
            name: &name,
            roles: &body.roles,
            tier: body.tier.as_deref(),
            is_active: status == AccountStatus::Active,
        };
        service.app.put_client(wanted, by, origin).await
    });
    Ok(axum::Json(shown(&client.await?)).into_response())
}

pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let by = changing(&service, request.headers(), origin).await?;
    body::to_the_end(async move { service.app.remove_client(&name, by, origin).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn keys(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    let keys = service.app.api_keys_of_client(&owner(&name)?).await?;
    Ok(api_keys::listed(&keys))
}

pub(super) async fn create_key(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let by = changing(&service, request.headers(), origin).await?;
    let owner = owner(&name)?;
    let body: NewKey = body::decode(request).await?;
    let created = service
        .app
        .create_client_key(owner, body.wanted(), by, origin);
    Ok(api_keys::created(&created.await?))
}

fn owner(name: &str) -> Result<SubjectId, ApiError> {
    let name = ClientName::parse(name).map_err(|_| Refusal::from(Unauthorized::NotFound))?;
    Ok(SubjectId::Client(name))
}

fn shown(client: &Client) -> Value {
    let roles: Vec<&str> = client.roles.iter().map(Role::as_str).collect();
    json!({
        "name": client.name.as_str(),
        "status": if client.is_active { "active" } else { "disabled" },
        "tier": client.tier.as_str(),
        "roles": roles,
        "subject": SubjectId::Client(client.name.clone()).to_string(),
    })
}
