//! `POST /api/v1/auth/logout`: ends the session of the bearer token or of the cookie. Takes no body.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use portcullis_ops::Secret;

use super::session::Presented;
use super::{ApiError, Service, body};

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let mut response = StatusCode::NO_CONTENT.into_response();
    // To its end even when the requester leaves: durable and shared, or neither.
    match service.cookies.presented(request.headers())? {
        Presented::Bearer(token) => {
            let token = Secret::new(token.to_owned());
            body::to_the_end(async move { service.app.log_out(token.expose(), origin).await })
                .await?;
        }
        Presented::Cookie(token) => {
            let csrf = service.cookies.csrf(request.headers())?.to_owned();
            let token = Secret::new(token.to_owned());
            service.cookies.remove(&mut response);
            body::to_the_end(async move {
                let app = &service.app;
                app.log_out_session(token.expose(), &csrf, origin).await
            })
            .await?;
        }
    }
    Ok(response)
}
