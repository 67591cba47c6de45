//! `POST /api/v1/auth/refresh`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::limited::limited;
use super::{ApiError, Service, body, tokens};
use crate::app::Limited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "body::secret")]
    refresh_token: portcullis_ops::Secret<String>,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let body: Body = body::decode(request).await?;
    let token = body.refresh_token;
    let limits = service.clone();
    // To its end even when the requester leaves: a theft that was noticed must reach all instances.
    let grant = body::to_the_end(async move { service.app.refresh(token.expose(), origin).await });
    let work = async { Ok(tokens::response(&grant.await?)) };
    limited(&limits, Limited::Refresh, origin, work).await
}
