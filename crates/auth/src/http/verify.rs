//! `GET /api/v1/auth/verify`: whether the bearer token or the session cookie may be believed right now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use portcullis_token::Claims;
use serde::Serialize;

use super::session::Presented;
use super::{ApiError, Service, now};

#[derive(Serialize)]
struct Body<'a> {
    active: bool,
    sub: &'a str,
    sid: &'a str,
    client_id: &'a str,
    roles: &'a [String],
    jti: &'a str,
    iat: i64,
    exp: i64,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    match service.cookies.presented(request.headers())? {
        Presented::Bearer(token) => {
            let verified = service.app.verify(token, now()).await?;
            Ok(active(&verified.claims))
        }
        Presented::Cookie(token) => {
            let session = service.app.verify_session(token, now()).await?;
            let mut response = active(&session.claims);
            if let Some(renewed) = &session.renewed {
                service.cookies.set(&mut response, renewed);
            }
            Ok(response)
        }
    }
}

fn active(claims: &Claims) -> Response {
    let body = Body {
        active: true,
        sub: &claims.sub,
        sid: &claims.sid,
        client_id: &claims.client_id,
        roles: &claims.roles,
        jti: &claims.jti,
        iat: claims.iat,
        exp: claims.exp,
    };
    axum::Json(body).into_response()
}
