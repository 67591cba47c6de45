//! The edge's own answers in the words of gRPC, whose clients read a status of theirs before that of
//! HTTP. Never says more than the answer that it translates.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode, Version};

use super::Answer;
use super::head::{Fields, Head};
use crate::outcome::Cause;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What all content types of gRPC begin with. Those of gRPC-Web go on with a hyphen, and its clients
/// read HTTP.
const MEDIA_TYPE: &[u8] = b"application/grpc";

/// Whether whoever asks understands a status of gRPC.
pub(super) fn is_asked_by(head: &impl Head) -> bool {
    if head.version() != Version::HTTP_2 {
        return false;
    }
    let Some(kind) = head.fields().first(&CONTENT_TYPE) else {
        return false;
    };
    let rest = kind
        .get(..MEDIA_TYPE.len())
        .filter(|begin| begin.eq_ignore_ascii_case(MEDIA_TYPE))
        .and_then(|_| kind.get(MEDIA_TYPE.len()));
    kind.eq_ignore_ascii_case(MEDIA_TYPE) || matches!(rest, Some(b'+' | b';' | b' '))
}

/// An answer as gRPC says it: head and status in one (`Trailers-Only`).
pub(super) fn translate(answer: Answer, cause: Cause, detail: &'static str) -> Answer {
    let code = code(cause, answer.status);
    let mut headers = answer.headers;
    headers
        .retain(|(name, _)| name != CONTENT_TYPE && name != CACHE_CONTROL && name != RETRY_AFTER);
    let media_type = HeaderValue::from_static("application/grpc");
    headers.push((CONTENT_TYPE, media_type));
    headers.push((GRPC_STATUS, HeaderValue::from(code)));
    // Our words are ASCII without a percent sign, which would have to be encoded.
    headers.push((GRPC_MESSAGE, HeaderValue::from_static(detail)));
    Answer {
        status: StatusCode::OK,
        headers,
        body: bytes::Bytes::new(),
        close: answer.close,
    }
}

/// The code of gRPC for what happened. Clients may repeat what is UNAVAILABLE (14).
fn code(cause: Cause, status: StatusCode) -> u16 {
    match (cause, status.as_u16()) {
        // Nothing was carried out.
        (Cause::ConnectTimeout, _) => 14,
        // DEADLINE_EXCEEDED
        (_, 408 | 504) => 4,
        // UNAUTHENTICATED and PERMISSION_DENIED
        (_, 401) => 16,
        (_, 403) => 7,
        // UNIMPLEMENTED
        (_, 404 | 405) => 12,
        // RESOURCE_EXHAUSTED
        (_, 413 | 414 | 429 | 431) => 8,
        (_, 421 | 502 | 503) => 14,
        // INTERNAL
        _ => 13,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::pipeline::fail::failure;

    #[test]
    fn every_cause_has_a_code_and_words_that_fit() {
        for (cause, expected) in [
            (Cause::NoEndpoint, "14"),
            (Cause::QueueTimeout, "14"),
            (Cause::ConnectRefused, "14"),
            (Cause::ConnectTimeout, "14"),
            (Cause::EndpointReset, "14"),
            (Cause::EndpointTimeout, "4"),
            (Cause::BodyTimeout, "4"),
            (Cause::BodyTooLarge, "8"),
            (Cause::NoRoute, "12"),
            (Cause::NoToken, "16"),
            (Cause::Forbidden, "7"),
            (Cause::Internal, "13"),
        ] {
            let failure = failure(cause);
            let answer = translate(failure.answer(None), cause, failure.detail());
            let headers: HeaderMap = answer.headers.into_iter().collect();
            assert_eq!(headers["grpc-status"], expected, "{cause:?}");
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
        }
        for cause in Cause::ALL {
            let detail = failure(cause).detail();
            assert!(detail.is_ascii() && !detail.contains('%'), "{cause:?}");
        }
    }
}
