//! `GET /api/v1/auth/verify`: whether the bearer token may be believed right now.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::{ApiError, Service, bearer, now};

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
    let token = bearer::token(request.headers())?;
    let claims = service.app.verify(token, now()).await?;
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
    Ok(axum::Json(body).into_response())
}
