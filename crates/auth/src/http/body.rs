//! Reads a request's body: JSON only, bounded in size and time, flat objects of
//! known fields. Never repeats what the requester sent in an error.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use portcullis_ops::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tracing::Instrument;

use super::error::ApiError;
use crate::app::{Outcome, Refusal};

/// Largest body of any endpoint: credentials and tokens, nothing else.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// A body of that size arrives in this time or not at all.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a refused body is read before the answer, so that whoever is
/// still writing gets to read the answer instead of a reset connection.
const DISCARD_LIMIT: usize = 2 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// Decodes a JSON object into `T`. `T` denies unknown fields, and all its fields
/// are text: duplicates and nesting are then errors, so depth is bounded.
pub(crate) async fn decode<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let (head, body) = request.into_parts();
    if !is_json(head.headers.get(CONTENT_TYPE)) {
        discard(body).await;
        return Err(ApiError::UnsupportedMediaType);
    }
    let announced = head
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|length| length.parse().ok())
        .is_some_and(|n: u64| n > BODY_LIMIT as u64)
    {
        discard(body).await;
        return Err(ApiError::BodyTooLarge);
    }
    let bytes = read(body).await?;
    serde_json::from_slice(&bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => ApiError::InvalidBody,
        _ => ApiError::MalformedJson,
    })
}

/// Text that is wiped when dropped and never shown.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// Runs a change to its end even when the connection drops in the middle of it.
pub(super) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Outcome<T>> + Send + 'static,
) -> Outcome<T> {
    match tokio::spawn(change.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(Refusal::Internal(error.into())),
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    let mut limited = Limited::new(body, BODY_LIMIT);
    let collected = tokio::time::timeout(BODY_TIMEOUT, (&mut limited).collect()).await;
    match collected {
        Err(_) => Err(ApiError::BodyTimeout),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::BodyTooLarge),
        Ok(Err(_)) => Err(ApiError::BodyIncomplete),
    }
}

async fn discard(mut body: Body) {
    let mut seen = 0;
    let reading = async {
        while seen < DISCARD_LIMIT
            && let Some(Ok(frame)) = body.frame().await
        {
            seen += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whatever is left when time is up stays unread: the connection closes.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}

/// `application/json`, with or without parameters.
fn is_json(content_type: Option<&http::HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
