//! `POST /api/v1/auth/login`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::{ApiError, Service, body, tokens};
use crate::app::Refusal;

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
    // A task of its own: whoever hangs up after asking has still guessed, and it counts.
    let login = tokio::spawn(async move {
        let Body { email, password } = body;
        service.app.log_in(&email, password.expose(), origin).await
    });
    match login.await {
        Ok(outcome) => Ok(tokens::response(&outcome?)),
        Err(ended) => match ended.try_into_panic() {
            // For the envelope, which answers and counts panics.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(Refusal::Internal(cancelled.into()).into()),
        },
    }
}
