//! What the operator's listener answers. Never decides what.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

/// A whole answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why a request got nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request is not one of those that are served; says what is wrong with it.
    Invalid(String),
    /// It names something that does not exist.
    NotFound(String),
    /// It contradicts what is there.
    Conflict(String),
    /// The path is served for other methods only.
    Method(&'static str),
    /// The body is too large.
    TooLarge,
    /// No token, or a wrong one.
    Unauthorized,
    /// Changes are switched off.
    ReadOnly,
}

impl Refused {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ReadOnly => StatusCode::FORBIDDEN,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Invalid(detail) | Self::NotFound(detail) | Self::Conflict(detail) => {
                detail.clone()
            }
            Self::Method(allowed) => format!("Use {allowed} here."),
            Self::TooLarge => "The body is larger than any change needs.".to_owned(),
            Self::Unauthorized => {
                "Send `Authorization: Bearer` with the value of `admin.token`.".to_owned()
            }
            Self::ReadOnly => {
                "Nothing can be changed here: give `admin` a `token` in the configuration."
                    .to_owned()
            }
        }
    }

    /// A problem document (RFC 9457).
    pub(super) fn answer(&self) -> Answer {
        let status = self.status();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        let mut answer = whole(status, "application/problem+json", format!("{body}\n"));
        match self {
            Self::Method(allowed) => set(&mut answer, ALLOW, allowed),
            Self::Unauthorized => set(&mut answer, WWW_AUTHENTICATE, "Bearer"),
            _ => {}
        }
        answer
    }
}

/// Plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", body)
}

/// One JSON document, ended like a line.
pub(super) fn document(status: StatusCode, value: &Value) -> Answer {
    whole(status, "application/json", format!("{value}\n"))
}

/// Sets a field.
pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
}

fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, content_type);
    set(&mut answer, CACHE_CONTROL, "no-store");
    answer
}
