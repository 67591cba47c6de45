//! `POST /api/v1/auth/login`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::{ApiError, Service, body, tokens};

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
    let grant = service
        .app
        .log_in(&body.email, body.password.expose(), origin)
        .await?;
    Ok(tokens::response(&grant))
}
