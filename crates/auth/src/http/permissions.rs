//! `POST /api/v1/permissions/check` and `/check/batch`: what the caller may do, or somebody else whom it may ask about.
//! Takes an access token or an API key, never a cookie: pages of other sites have no business here.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;

use super::{ApiError, Service, bearer, body, limited};
use crate::app::authorization::{Caller, Credential, Unauthorized};
use crate::app::{Origin, Refusal};
use crate::domain::{Permission, SubjectId};
use crate::shared::Taken;

/// Questions of one request.
const BATCH_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    permission: String,
    subject: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    permissions: Vec<String>,
    subject: Option<String>,
}

pub(super) async fn check(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let caller = caller(&service, request.headers(), origin).await?;
    let taken = service.app.take_by_tier(&caller, origin)?;
    let body: One = body::decode(request).await?;
    let asked = [body.permission];
    let (_, answers) = ask(&service, &caller, &asked, body.subject.as_deref()).await?;
    let allowed = answers.first().copied().unwrap_or(false);
    let answer = axum::Json(json!({ "allowed": allowed })).into_response();
    Ok(with_limit(answer, taken))
}

pub(super) async fn batch(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let caller = caller(&service, request.headers(), origin).await?;
    let taken = service.app.take_by_tier(&caller, origin)?;
    let body: Many = body::decode(request).await?;
    if body.permissions.is_empty() || body.permissions.len() > BATCH_MAX {
        return Err(Refusal::from(Unauthorized::TooMany).into());
    }
    let subject = body.subject.as_deref();
    let (subject, answers) = ask(&service, &caller, &body.permissions, subject).await?;
    let results = body.permissions.iter().zip(answers);
    let results = results
        .map(|(permission, allowed)| json!({ "permission": permission, "allowed": allowed }));
    let answer = json!({ "subject": subject.to_string(), "results": results.collect::<Vec<_>>() });
    Ok(with_limit(axum::Json(answer).into_response(), taken))
}

fn with_limit(mut answer: Response, taken: Option<Taken>) -> Response {
    if let Some(taken) = taken {
        limited::write(&taken, answer.headers_mut());
    }
    answer
}

/// Before the body: who may not ask is not listened to.
async fn caller(
    service: &Service,
    headers: &HeaderMap,
    origin: Origin,
) -> Result<Caller, ApiError> {
    let credential = match bearer::api_key(headers)? {
        Some(key) => Credential::ApiKey(key),
        None => Credential::Token(bearer::token(headers)?),
    };
    Ok(service.app.caller(credential, origin).await?)
}

async fn ask(
    service: &Service,
    caller: &Caller,
    permissions: &[String],
    subject: Option<&str>,
) -> Result<(SubjectId, Vec<bool>), ApiError> {
    let parsed = permissions.iter().map(|name| Permission::parse(name));
    let parsed = parsed.collect::<Result<Vec<_>, _>>();
    let parsed = parsed.map_err(|_| Refusal::from(Unauthorized::InvalidPermission))?;
    let subject = match subject {
        None => caller.subject.id.clone(),
        Some(text) => SubjectId::parse(text).ok_or(Refusal::from(Unauthorized::InvalidSubject))?,
    };
    let answers = service
        .app
        .check(caller, &parsed, Some(&subject), super::now());
    let answers = answers.await?;
    Ok((subject, answers))
}
