//! `POST /api/v1/auth/reauthenticate`: whoever uses a session proves again who they are.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_ops::Secret;
use serde::Deserialize;

use super::limited::limited;
use super::{ApiError, Service, body, owner};
use crate::app::Limited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "body::secret")]
    password: Secret<String>,
    #[serde(default, deserialize_with = "body::optional_secret")]
    code: Option<Secret<String>>,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let Body { password, code } = body::decode(request).await?;
    let limits = service.clone();
    // To its end even when the requester leaves: whoever hangs up has still guessed, and it counts.
    let proof = body::to_the_end(async move {
        let code = code.as_ref().map(|code| code.expose().as_str());
        let app = &service.app;
        app.reauthenticate(owner, password.expose(), code, origin)
            .await
    });
    let work = async {
        proof.await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    limited(&limits, Limited::Reauthentication, origin, work).await
}
