//! `GET /api/v1/auth/verify`: whether the bearer token or the session cookie may be believed right now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::session::Presented;
use super::{ApiError, Service, now};

#[derive(Serialize)]
struct Body {
    active: bool,
    sub: String,
    sid: String,
    client_id: String,
    roles: Vec<String>,
    jti: String,
    iat: i64,
    exp: i64,
}

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (claims, renewed) = match service.cookies.presented(request.headers())? {
        Presented::Bearer(token) => (service.app.verify(token, now()).await?, None),
        Presented::Cookie(token) => {
            let session = service.app.verify_session(token, now()).await?;
            (session.claims, session.renewed)
        }
    };
    let body = Body {
        active: true,
        sub: claims.sub,
        sid: claims.sid,
        client_id: claims.client_id,
        roles: claims.roles,
        jti: claims.jti,
        iat: claims.iat,
        exp: claims.exp,
    };
    let mut response = axum::Json(body).into_response();
    if let Some(renewed) = &renewed {
        service.cookies.set(&mut response, renewed);
    }
    Ok(response)
}
