//! `POST /api/v1/auth/login`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::limited::limited;
use super::{ApiError, Service, body, second_factor, tokens};
use crate::app::{Grant, Limited, Refusal};

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
    let Body { email, password } = body;
    let (limits, typed) = (service.clone(), email.clone());
    // To its end even when the requester leaves: whoever hangs up has still guessed, and it counts.
    let grant =
        body::to_the_end(
            async move { service.app.log_in(&email, password.expose(), origin).await },
        );
    let work = async {
        match grant.await {
            Ok(grant) => Ok(granted(&limits, &grant)),
            Err(Refusal::SecondFactorRequired(challenge)) => {
                Ok(second_factor::challenged(&challenge))
            }
            Err(refusal) => Err(refusal.into()),
        }
    };
    limited(&limits, Limited::Login(&typed), origin, work).await
}

/// Tokens, and the session of a browser.
pub(super) fn granted(service: &Service, grant: &Grant) -> Response {
    let mut response = tokens::response(grant);
    if let Some(session) = &grant.session {
        service.cookies.set(&mut response, session);
    }
    response
}
