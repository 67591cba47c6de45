//! `POST /api/v1/auth/login/second-factor`: the challenge of a login and a code give tokens.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_ops::Secret;
use serde::Deserialize;

use super::limited::limited;
use super::{ApiError, Service, body, login};
use crate::app::{Challenge, Limited};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(deserialize_with = "body::secret")]
    challenge: Secret<String>,
    #[serde(deserialize_with = "body::secret")]
    code: Secret<String>,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let Body { challenge, code } = body::decode(request).await?;
    let limits = service.clone();
    // To its end even when the requester leaves: whoever hangs up has still guessed, and it counts.
    let grant = body::to_the_end(async move {
        let (challenge, code) = (challenge.expose(), code.expose());
        service.app.log_in_with_code(challenge, code, origin).await
    });
    let work = async { Ok(login::granted(&limits, &grant.await?)) };
    limited(&limits, Limited::SecondFactor, origin, work).await
}

/// The answer to a right password that is not enough. No error: the login goes on with it.
pub(super) fn challenged(challenge: &Challenge) -> Response {
    let answer = axum::Json(serde_json::json!({
        "status": "second_factor_required",
        "challenge": challenge.token.expose(),
        "expires_in": challenge.expires_in.as_secs(),
    }));
    (StatusCode::ACCEPTED, answer).into_response()
}
