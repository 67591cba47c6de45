//! `POST /api/v1/auth/password/{change,forgot,reset}`. Never says whether an address is known, and nothing here is done
//! by a GET: programs that look at mail follow its links.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_ops::Secret;
use serde::Deserialize;

use super::limited::limited;
use super::sessions::is_cookie;
use super::{ApiError, Service, body, owner, tokens};
use crate::app::Limited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(deserialize_with = "body::secret")]
    current_password: Secret<String>,
    #[serde(deserialize_with = "body::secret")]
    new_password: Secret<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Address {
    pub(super) email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    #[serde(deserialize_with = "body::secret")]
    token: Secret<String>,
    #[serde(deserialize_with = "body::secret")]
    new_password: Secret<String>,
}

pub(super) async fn change(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let is_cookie = is_cookie(&service, &request);
    let body: Change = body::decode(request).await?;
    let answering = service.clone();
    // To its end even when the requester leaves: whoever hangs up has still guessed, and it counts.
    let grant = body::to_the_end(async move {
        let (current, new) = (body.current_password.expose(), body.new_password.expose());
        service
            .app
            .change_password(owner, current, new, origin)
            .await
    });
    let work = async {
        let grant = grant.await?;
        let mut response = tokens::response(&grant);
        if let Some(session) = grant.session.as_ref().filter(|_| is_cookie) {
            answering.cookies.set(&mut response, session);
        }
        Ok(response)
    };
    limited(&answering, Limited::PasswordChange, origin, work).await
}

pub(super) async fn forgot(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Address = body::decode(request).await?;
    let work = async {
        service.app.forget_password(&body.email, origin).await?;
        Ok(accepted())
    };
    limited(&service, Limited::Mail(&body.email), origin, work).await
}

pub(super) async fn reset(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Reset = body::decode(request).await?;
    let limits = service.clone();
    let done = body::to_the_end(async move {
        let (token, new) = (body.token.expose(), body.new_password.expose());
        service.app.reset_password(token, new, origin).await
    });
    let work = async {
        done.await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    limited(&limits, Limited::MailToken, origin, work).await
}

/// What is said whether or not mail is on its way.
pub(super) fn accepted() -> Response {
    let answer = axum::Json(serde_json::json!({ "status": "accepted" }));
    (StatusCode::ACCEPTED, answer).into_response()
}
