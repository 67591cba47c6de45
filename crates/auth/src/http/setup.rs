//! `POST /api/v1/auth/setup`: the first administrator, once.

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
    #[serde(deserialize_with = "body::secret")]
    setup_token: portcullis_ops::Secret<String>,
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
        let (token, password) = (body.setup_token.expose(), body.password.expose());
        let account = service
            .app
            .set_up(token, &body.email, password, origin)
            .await?;
        let answer = axum::Json(serde_json::json!({
            "account_id": account.to_string(),
            "roles": ["admin"],
        }));
        Ok((StatusCode::CREATED, answer).into_response())
    };
    limited(&service, Limited::SetUp, origin, work).await
}
