//! `GET /.well-known/openid-configuration`: what a relying party can rely on.
//! Names only what exists: no authorization or token endpoint yet.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;

use super::Service;

pub(super) async fn handle(State(service): State<Arc<Service>>) -> Response {
    let issuer = &service.app.policy.verifier.issuer;
    let document = axum::Json(serde_json::json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "subject_types_supported": ["public"],
        "response_types_supported": [],
        "grant_types_supported": [],
        "claims_supported":
            ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "sid", "roles"],
    }));
    ([(CACHE_CONTROL, "public, max-age=300")], document).into_response()
}
