//! `GET /.well-known/jwks.json`: the public keys that verify our tokens. Never a
//! private member.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Service;

/// A new key is published at least this long before it signs.
const CACHE: &str = "public, max-age=300";
const JWK_SET: &str = "application/jwk-set+json";

pub(super) async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let keys = service.app.keys.jwks();
    let is_known = is_known(request.headers(), &keys.etag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(keys.body))
    };
    let headers = response.headers_mut();
    if !is_known {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JWK_SET));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE));
    // Shared with every other answer, not copied.
    if let Ok(etag) = HeaderValue::from_maybe_shared(keys.etag) {
        headers.insert(ETAG, etag);
    }
    response
}

/// RFC 9110 section 13.1.2, weak comparison.
fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag)
        })
}
