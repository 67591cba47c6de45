//! `/api/v1/auth/mfa/...`: an account's authenticator and recovery codes. Secrets and codes are in one answer each,
//! which nobody may keep.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use portcullis_ops::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Service, body, owner};
use crate::domain::RecoveryCode;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(deserialize_with = "body::secret")]
    code: Secret<String>,
}

/// `GET /api/v1/auth/mfa`.
pub(super) async fn show(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::looking(&service, request.headers(), origin).await?;
    let factors = service.app.factors(owner.account).await?;
    let answer = axum::Json(json!({
        "totp": factors.has_totp,
        "recovery_codes_left": factors.recovery_codes_left,
    }));
    Ok(answer.into_response())
}

/// `POST /api/v1/auth/mfa/totp`.
pub(super) async fn begin(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let enrolment = service.app.begin_totp(owner, origin).await?;
    Ok(shown_once(json!({
        "secret": enrolment.secret.expose(),
        "otpauth_url": enrolment.url.expose(),
    })))
}

/// `POST /api/v1/auth/mfa/totp/confirm`.
pub(super) async fn confirm(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let Confirmation { code } = body::decode(request).await?;
    let codes = body::to_the_end(async move {
        let app = &service.app;
        app.confirm_totp(owner, code.expose(), origin).await
    });
    Ok(listed(&codes.await?))
}

/// `DELETE /api/v1/auth/mfa/totp`.
pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    service.app.remove_totp(owner, origin).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /api/v1/auth/mfa/recovery-codes`.
pub(super) async fn recovery_codes(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let codes = service.app.new_recovery_codes(owner, origin).await?;
    Ok(listed(&codes))
}

fn listed(codes: &[RecoveryCode]) -> Response {
    let codes: Vec<Secret<String>> = codes.iter().map(RecoveryCode::reveal).collect();
    let codes: Vec<&str> = codes.iter().map(|code| code.expose().as_str()).collect();
    shown_once(json!({ "recovery_codes": codes }))
}

fn shown_once(answer: Value) -> Response {
    let mut response = axum::Json(answer).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
