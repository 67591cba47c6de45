//! `POST /api/v1/auth/email/{verify,resend}`. Never says whether an address is known.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_ops::Secret;
use serde::Deserialize;

use super::limited::limited;
use super::password::{Address, accepted};
use super::{ApiError, Service, body};
use crate::app::Limited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "body::secret")]
    token: Secret<String>,
}

pub(super) async fn verify(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Body = body::decode(request).await?;
    let work = async {
        service
            .app
            .verify_email(body.token.expose(), origin)
            .await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    limited(&service, Limited::MailToken, origin, work).await
}

pub(super) async fn resend(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Address = body::decode(request).await?;
    let work = async {
        service.app.resend_verification(&body.email, origin).await?;
        Ok(accepted())
    };
    limited(&service, Limited::Mail(&body.email), origin, work).await
}
