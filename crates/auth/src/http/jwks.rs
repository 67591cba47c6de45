//! `GET /.well-known/jwks.json`: the public keys that verify our tokens. Never a
//! private member.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

use super::Service;

/// A new key is published at least this long before it signs.
const CACHE: &str = "public, max-age=300";

pub(super) async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let keys = service.app.keys.jwks();
    let is_known = is_known(request.headers(), &keys.etag);
    let headers = [(CACHE_CONTROL, CACHE.to_owned()), (ETAG, keys.etag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (
        headers,
        [(CONTENT_TYPE, "application/jwk-set+json")],
        keys.body,
    )
        .into_response()
}

/// RFC 9110 section 13.1.2, weak comparison.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
        })
}
