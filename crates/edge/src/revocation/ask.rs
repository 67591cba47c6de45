//! One kept connection to a feed, asked again and again. Never reads more than an answer may have,
//! waits longer than its deadline or follows a redirect.

use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use portcullis_token::feed::{self, ANSWER_BYTES_MAX, Answer, Malformed, Position};
use tokio::time::timeout;

use crate::config::{Follow, JwksSource};
use crate::line::{self, LineError, question};

/// Until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much later than asked for a heartbeat may come.
const GRACE: Duration = Duration::from_millis(750);
/// For a page of what was missed: up to two thousand records.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("it does not answer in time")]
    Late,
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is too large or broke off")]
    Body,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A connection that is asked one question at a time.
pub(super) struct Line(line::Line);

impl Line {
    pub(super) async fn open(source: &JwksSource) -> Result<Self, AskError> {
        let opened = timeout(CONNECT_TIMEOUT, line::Line::open(source, CONNECT_TIMEOUT)).await;
        Ok(Self(opened.map_err(|_elapsed| AskError::Late)??))
    }

    /// What comes behind `after`: at once, or when `wait` is over.
    pub(super) async fn ask(
        &mut self,
        follow: &Follow,
        source: &JwksSource,
        after: Option<&Position>,
        wait: Duration,
    ) -> Result<Answer, AskError> {
        let deadline = match wait {
            Duration::ZERO => PAGE_TIMEOUT,
            wait => wait + GRACE,
        };
        let request = request(follow, source, after, wait);
        let asked = async { read(self.0.ask(request).await?).await };
        timeout(deadline, asked)
            .await
            .map_err(|_elapsed| AskError::Late)?
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, AskError> {
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status()));
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = body.await.map_err(|_broken| AskError::Body)?.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| AskError::Body)?;
    Ok(Answer::decode(text)?)
}

fn request(
    follow: &Follow,
    source: &JwksSource,
    after: Option<&Position>,
    wait: Duration,
) -> Request<Empty<Bytes>> {
    let mut target = format!("{}?wait_ms={}", feed::PATH, wait.as_millis());
    if let Some(position) = after {
        target.push_str(&format!("&after={position}"));
    }
    let mut request = question(source, &target, feed::MEDIA_TYPE);
    if let Some(token) = &follow.token
        && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
    {
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    request
}
