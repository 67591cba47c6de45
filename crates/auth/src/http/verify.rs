//! `GET /api/v1/auth/verify`: whether the bearer token, the API key or the session cookie may be believed right now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use portcullis_token::Claims;
use serde::Serialize;

use super::session::Presented;
use super::{ApiError, Service, bearer, now};
use crate::app::authorization::{Caller, Credential};
use crate::domain::{ApiKey, Role};

#[derive(Serialize)]
struct Body<'a> {
    active: bool,
    sub: &'a str,
    sid: &'a str,
    client_id: &'a str,
    roles: &'a [String],
    jti: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(key) = bearer::api_key(request.headers())? {
        let (key, origin) = (Credential::ApiKey(key), service.origin(&request));
        let caller = service.app.verify_key(key, origin).await?;
        return caller
            .key()
            .map(|key| by_key(&caller, key))
            .ok_or(ApiError::MissingToken);
    }
    match service.cookies.presented(request.headers())? {
        Presented::Bearer(token) => {
            let verified = service.app.verify(token, now()).await?;
            Ok(active(&verified.claims))
        }
        Presented::Cookie(token) => {
            let session = service.app.verify_session(token, now()).await?;
            let mut response = active(&session.claims);
            if let Some(renewed) = &session.renewed {
                service.cookies.set(&mut response, renewed);
            }
            Ok(response)
        }
    }
}

fn active(claims: &Claims) -> Response {
    let body = Body {
        active: true,
        sub: &claims.sub,
        sid: &claims.sid,
        client_id: &claims.client_id,
        roles: &claims.roles,
        jti: &claims.jti,
        iat: claims.iat,
        exp: claims.exp,
        tier: claims.tier.as_deref(),
        auth_time: claims.authentication.time,
        acr: claims.authentication.class.as_deref(),
        amr: &claims.authentication.methods,
    };
    axum::Json(body).into_response()
}

/// A key has no session and need not end; it says what it gives.
fn by_key(caller: &Caller, key: &ApiKey) -> Response {
    let roles: Vec<&str> = caller.subject.roles.iter().map(Role::as_str).collect();
    let permissions: Vec<&str> = key.permissions.iter().map(|grant| grant.as_str()).collect();
    let body = serde_json::json!({
        "active": true,
        "sub": key.owner.to_string(),
        "roles": roles,
        "tier": caller.subject.tier.as_str(),
        "jti": key.id.to_string(),
        "iat": key.created_at.seconds(),
        "exp": key.expires_at.map(|end| end.seconds_up()),
        "api_key": { "name": key.name.as_str(), "prefix": key.prefix, "permissions": permissions },
    });
    axum::Json(body).into_response()
}
