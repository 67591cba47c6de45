//! What the operator's listener answers. Never decides what.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use portcullis_ops::diagnostic::Diagnostics;
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
    /// The token is of somebody who may not ask for this; their name.
    Role(String),
    /// A page of another origin may have asked; says why.
    Foreign(String),
    /// Changes are switched off.
    ReadOnly,
    /// The configuration has these, and the old one goes on.
    Mistakes(Diagnostics),
    /// It was tried and did not work out: why, and what the process that failed wrote last.
    InVain {
        detail: String,
        last_words: Vec<String>,
    },
    /// The state is another one than the request was made for: which, and what led to it.
    Stale { revision: u64, since: Vec<Value> },
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
            Self::ReadOnly | Self::Role(_) | Self::Foreign(_) => StatusCode::FORBIDDEN,
            Self::Mistakes(_) | Self::InVain { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stale { .. } => StatusCode::PRECONDITION_FAILED,
        }
    }

    /// What is wrong, as a sentence.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Invalid(detail)
            | Self::NotFound(detail)
            | Self::Conflict(detail)
            | Self::Foreign(detail)
            | Self::InVain { detail, .. } => detail.clone(),
            Self::Mistakes(_) => {
                "The configuration has mistakes; the one in force goes on.".to_owned()
            }
            Self::Method(allowed) => format!("Use {allowed} here."),
            Self::TooLarge => "The body is larger than any change needs.".to_owned(),
            Self::Unauthorized => {
                "Send `Authorization: Bearer` with a token of `admin` in the configuration."
                    .to_owned()
            }
            Self::Role(name) => format!("The token `{name}` may only read."),
            Self::Stale { revision, .. } => {
                format!("This was decided before revision {revision}: look again, then decide.")
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
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.detail(),
        });
        if let Self::Stale { revision, since } = self {
            body["revision"] = json!(revision);
            body["changed_since"] = json!(since);
        }
        if let Self::InVain { last_words, .. } = self {
            body["last_words"] = json!(last_words);
        }
        if let Self::Mistakes(mistakes) = self {
            let errors = serde_json::from_str(&mistakes.to_json());
            body["errors"] = errors.unwrap_or(Value::Null);
        }
        let mut answer = whole(status, "application/problem+json", format!("{body}\n"));
        match self {
            Self::Method(allowed) => set(&mut answer, ALLOW, allowed),
            Self::Unauthorized => set(&mut answer, WWW_AUTHENTICATE, "Bearer"),
            Self::Stale { revision, .. } => tag(&mut answer, *revision),
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

/// Says which state it tells of.
pub(super) fn tag(answer: &mut Answer, revision: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"r{revision}\"")) {
        answer.headers_mut().insert(ETAG, value);
    }
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
