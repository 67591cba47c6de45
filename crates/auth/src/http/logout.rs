//! `POST /api/v1/auth/logout`: ends the session of the bearer token. Takes no body.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;
use portcullis_ops::Secret;

use super::{ApiError, Service, bearer, body};

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let origin = service.origin(&request);
    let token = Secret::new(bearer::token(request.headers())?.to_owned());
    // To its end even when the requester leaves: durable and shared, or neither.
    body::to_the_end(async move { service.app.log_out(token.expose(), origin).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
