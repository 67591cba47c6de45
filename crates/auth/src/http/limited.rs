//! Answers of endpoints with a limit: the limit first, then the work, and on every answer what is left. Never counts.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{ApiError, Service};
use crate::app::{Limited, Origin};
use crate::shared::Taken;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Does `work` if the requester may still ask for it.
pub(super) async fn limited(
    service: &Service,
    asked: Limited<'_>,
    origin: Origin,
    work: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    let taken = service.app.take(asked, origin).await?;
    let mut response = work.await.unwrap_or_else(IntoResponse::into_response);
    if let Some(taken) = taken {
        write(&taken, response.headers_mut());
    }
    Ok(response)
}

/// Requests per full allowance, requests left, and seconds until it is full.
pub(super) fn write(taken: &Taken, headers: &mut HeaderMap) {
    headers.insert(LIMIT, HeaderValue::from(taken.limit));
    headers.insert(REMAINING, HeaderValue::from(taken.remaining));
    headers.insert(RESET, HeaderValue::from(whole_seconds(taken.reset_after)));
}

/// Rounded up: whoever waits for so long has waited long enough.
pub(super) fn whole_seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
