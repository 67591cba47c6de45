//! Asks a publisher for its keys, once. Never takes longer than its deadline, reads more than a key
//! set can hold, follows a redirect or keeps a connection.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::JwksSource;
use crate::engine::connect;

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
    #[error("its name cannot be resolved: {0}")]
    Name(std::io::Error),
    #[error("it cannot be reached ({0:?})")]
    Unreachable(crate::outcome::Cause),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is too large or broke off")]
    Body,
}

/// Asks once. `etag`: what is known already.
pub(super) async fn fetch(source: &JwksSource, etag: Option<&str>) -> Result<Fetched, FetchError> {
    let deadline = Instant::now() + DEADLINE;
    let fetched = timeout_at(deadline, connect_and_ask(source, etag)).await;
    fetched.map_err(|_elapsed| FetchError::Late)?
}

async fn connect_and_ask(source: &JwksSource, etag: Option<&str>) -> Result<Fetched, FetchError> {
    let stream = reach(source).await?;
    let Some(tls) = &source.tls else {
        return ask(stream, source, etag).await;
    };
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    let shaken = connector.connect(tls.server_name.clone(), stream).await;
    ask(shaken.map_err(FetchError::Tls)?, source, etag).await
}

/// The first of its addresses that answers.
async fn reach(source: &JwksSource) -> Result<TcpStream, FetchError> {
    let addresses = tokio::net::lookup_host((source.host.as_str(), source.port)).await;
    let addresses = addresses.map_err(FetchError::Name)?;
    let mut last = FetchError::Name(std::io::Error::other("it has no address"));
    for address in addresses.take(ADDRESSES_MAX) {
        match connect(address, CONNECT_TIMEOUT).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = FetchError::Unreachable(cause),
        }
    }
    Err(last)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    source: &JwksSource,
    etag: Option<&str>,
) -> Result<Fetched, FetchError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::Http)?;
    let asked = async {
        let answered = sender.send_request(request(source, etag)).await;
        read(answered.map_err(FetchError::Http)?).await
    };
    let (mut asked, connection) = (pin!(asked), pin!(connection));
    tokio::select! {
        biased;
        answered = asked.as_mut() => answered,
        // The connection may end before its last bytes are looked at.
        _ended = connection => asked.await,
    }
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

/// Every part was checked when the configuration was read; an odd ETag is left out.
fn request(source: &JwksSource, etag: Option<&str>) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = source.target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&source.authority) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("portcullis-edge"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(etag) = etag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        headers.insert(IF_NONE_MATCH, etag);
    }
    request
}

/// For the whole of it.
const DEADLINE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ADDRESSES_MAX: usize = 4;
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// As much as a key set may have.
const BODY_BYTES_MAX: usize = 256 * 1024;
const ETAG_BYTES_MAX: usize = 256;
