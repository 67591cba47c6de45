//! Asks a publisher for its keys, once. Never takes longer than its deadline, reads more than a key
//! set can hold, follows a redirect or keeps a connection.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::config::JwksSource;
use crate::line::{Line, LineError, question};

/// What a publisher said.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Here it is.
    Document { body: Bytes, etag: Option<String> },
    /// Nothing changed since.
    Unchanged,
}

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is too large or broke off")]
    Body,
}

/// Asks once. `etag`: what is known already.
pub(super) async fn fetch(source: &JwksSource, etag: Option<&str>) -> Result<Fetched, FetchError> {
    let asked = async {
        let mut line = Line::open(source, CONNECT_TIMEOUT).await?;
        read(line.ask(request(source, etag)).await?).await
    };
    timeout(DEADLINE, asked)
        .await
        .map_err(|_elapsed| FetchError::Late)?
}

async fn read(response: Response<Incoming>) -> Result<Fetched, FetchError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
        other => return Err(FetchError::Status(other)),
    }
    let etag = response
        .headers()
        .get(ETAG)
        .and_then(|tag| tag.to_str().ok());
    let etag = etag
        .filter(|tag| tag.len() <= ETAG_BYTES_MAX)
        .map(str::to_owned);
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect();
    let body = body.await.map_err(|_broken| FetchError::Body)?.to_bytes();
    Ok(Fetched::Document { body, etag })
}

/// An odd ETag is left out.
fn request(source: &JwksSource, etag: Option<&str>) -> Request<Empty<Bytes>> {
    let mut request = question(source, &source.target, "application/json");
    if let Some(etag) = etag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        request.headers_mut().insert(IF_NONE_MATCH, etag);
    }
    request
}

/// For the whole of it.
const DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// As much as a key set may have.
const BODY_BYTES_MAX: usize = 256 * 1024;
const ETAG_BYTES_MAX: usize = 256;
