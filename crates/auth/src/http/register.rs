//! `POST /api/v1/auth/register`. Never says whether the address was known.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use super::limited::limited;
use super::{ApiError, Service, body};
use crate::app::Limited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    email: String,
    #[serde(deserialize_with = "body::secret")]
    password: portcullis_ops::Secret<String>,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Body = body::decode(request).await?;
    let work = async {
        let (email, password) = (&body.email, body.password.expose());
        service.app.register(email, password, origin).await?;
        let answer = axum::Json(serde_json::json!({ "status": "accepted" }));
        Ok((StatusCode::ACCEPTED, answer).into_response())
    };
    limited(&service, Limited::Registration, origin, work).await
}
