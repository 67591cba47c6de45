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
    let bytes = read(body, BODY_TIMEOUT).await?;
    match serde_json::from_slice(&bytes) {
        // serde also fills the fields of a struct from an array, in order.
        Ok(_) if bytes.trim_ascii_start().first() != Some(&b'{') => {
            Err(ApiError::InvalidBody(Some(NO_OBJECT.to_owned())))
        }
        Ok(decoded) => Ok(decoded),
        Err(error) if error.is_data() => Err(ApiError::InvalidBody(hint(&error.to_string()))),
        Err(_) => Err(ApiError::MalformedJson),
    }
}

const NO_OBJECT: &str = "The body has to be one JSON object.";

/// What would be right: out of serde's message only the words that are ours, which stand behind all that was sent.
fn hint(message: &str) -> Option<String> {
    let (message, _) = message.rsplit_once(" at line ")?;
    let name = |text: &str| Some(text.split('`').next()?.to_owned());
    if let Some(rest) = message.strip_prefix("missing field `") {
        return name(rest).map(|name| format!("The member {name} is missing."));
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        return name(rest).map(|name| format!("The member {name} is there twice."));
    }
    let (_, expected) = message.rsplit_once(", expected ")?;
    if message.starts_with("unknown field `") {
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let names = names.join(", ");
        return Some(format!(
            "A member is not known here; those that are: {names}."
        ));
    }
    let kind = match expected {
        "a string" => "a text",
        "a sequence" => "a list",
        "u64" => "a whole number, 0 or more",
        expected if expected.starts_with("struct ") => return Some(NO_OBJECT.to_owned()),
        _ => return None,
    };
    Some(format!("A member has to be {kind} and is not."))
}

/// Text that is wiped when dropped and never shown.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// As [`secret`], for a field that may be missing.
pub(super) fn optional_secret<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Secret<String>>, D::Error> {
    String::deserialize(from).map(|text| Some(Secret::new(text)))
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

async fn read(body: Body, timeout: Duration) -> Result<Bytes, ApiError> {
    let mut limited = Limited::new(body, BODY_LIMIT);
    let collected = tokio::time::timeout(timeout, (&mut limited).collect()).await;
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// A body whose sender says nothing more, or goes away.
    struct Unfinished(bool);

    impl hyper::body::Body for Unfinished {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.0 {
                true => Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
                false => Poll::Pending,
            }
        }
    }

    #[test]
    fn a_wrong_body_is_told_what_would_be_right_and_never_what_it_was() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Taken {
            #[expect(dead_code, reason = "only read")]
            name: String,
            #[expect(dead_code, reason = "only read")]
            roles: Vec<String>,
            #[expect(dead_code, reason = "only read")]
            life: Option<u64>,
        }
        for (sent, told) in [
            (r#"{"name":"a"}"#, "The member roles is missing."),
            (
                r#"{"name":"a","name":"b"}"#,
                "The member name is there twice.",
            ),
            (
                r#"{"s3cret, expected `x` at line 1":1}"#,
                "A member is not known here; those that are: name, roles, life.",
            ),
            (r#"{"name":7}"#, "A member has to be a text and is not."),
            (
                r#"{"roles":"s3cret, expected a list at line 2"}"#,
                "A member has to be a list and is not.",
            ),
            (
                r#"{"life":-1}"#,
                "A member has to be a whole number, 0 or more and is not.",
            ),
            (r#""s3cret""#, NO_OBJECT),
            ("null", NO_OBJECT),
        ] {
            let error = serde_json::from_str::<Taken>(sent).unwrap_err();
            assert_eq!(hint(&error.to_string()).as_deref(), Some(told), "{sent}");
        }
    }

    #[tokio::test]
    async fn sec_h04_a_body_that_never_comes_is_given_up() {
        let silent = read(Body::new(Unfinished(false)), Duration::from_millis(1)).await;
        assert!(matches!(silent, Err(ApiError::BodyTimeout)));
        let gone = read(Body::new(Unfinished(true)), BODY_TIMEOUT).await;
        assert!(matches!(gone, Err(ApiError::BodyIncomplete)));
    }

    #[tokio::test]
    async fn sec_h04_a_body_one_byte_beyond_the_limit_is_refused() {
        let fits = read(Body::from(vec![b' '; BODY_LIMIT]), BODY_TIMEOUT).await;
        assert_eq!(fits.unwrap().len(), BODY_LIMIT);
        let beyond = read(Body::from(vec![b' '; BODY_LIMIT + 1]), BODY_TIMEOUT).await;
        assert!(matches!(beyond, Err(ApiError::BodyTooLarge)));
    }
}
