//! One kept connection to a feed, asked again and again. Never reads more than an answer may have,
//! waits longer than its deadline or follows a redirect.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use portcullis_token::feed::{self, ANSWER_BYTES_MAX, Answer, Malformed, Position};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::{Follow, JwksSource};
use crate::engine::connect;

/// Until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much later than asked for a heartbeat may come.
const GRACE: Duration = Duration::from_millis(750);
/// For a page of what was missed: up to two thousand records.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
const ADDRESSES_MAX: usize = 4;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("it does not answer in time")]
    Late,
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(hyper::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer is too large or broke off")]
    Body,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A connection that is asked one question at a time.
pub(super) struct Line {
    sender: SendRequest<Empty<Bytes>>,
    /// Carries the bytes; ends with the line.
    _carrier: JoinSet<()>,
}

impl Line {
    pub(super) async fn open(source: &JwksSource) -> Result<Self, AskError> {
        timeout(CONNECT_TIMEOUT, reach(source))
            .await
            .map_err(|_elapsed| AskError::Late)?
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
        let asked = async {
            let answered = self.sender.send_request(request).await;
            read(answered.map_err(AskError::Http)?).await
        };
        timeout(deadline, asked)
            .await
            .map_err(|_elapsed| AskError::Late)?
    }
}

/// The first of its addresses that answers.
async fn reach(source: &JwksSource) -> Result<Line, AskError> {
    let unreachable = |reason: String| AskError::Unreachable(reason);
    let addresses = tokio::net::lookup_host((source.host.as_str(), source.port)).await;
    let addresses = addresses.map_err(|error| unreachable(error.to_string()))?;
    let mut last = unreachable("it has no address".to_owned());
    for address in addresses.take(ADDRESSES_MAX) {
        match connect(address, CONNECT_TIMEOUT).await {
            Ok(stream) => return speak(stream, source).await,
            Err(cause) => last = unreachable(format!("{cause:?}")),
        }
    }
    Err(last)
}

async fn speak(stream: TcpStream, source: &JwksSource) -> Result<Line, AskError> {
    let Some(tls) = &source.tls else {
        return shake(stream).await;
    };
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    let shaken = connector.connect(tls.server_name.clone(), stream).await;
    shake(shaken.map_err(AskError::Tls)?).await
}

async fn shake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Line, AskError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let shaken = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(AskError::Http)?;
    let mut carrier = JoinSet::new();
    carrier.spawn(async move {
        // Whoever asks next is told how it ended.
        let _ended = connection.await;
    });
    Ok(Line {
        sender,
        _carrier: carrier,
    })
}

async fn read(response: Response<Incoming>) -> Result<Answer, AskError> {
    if response.status() != StatusCode::OK {
        return Err(AskError::Status(response.status()));
    }
    let body = pin!(Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect());
    let body = body.await.map_err(|_broken| AskError::Body)?.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| AskError::Body)?;
    Ok(Answer::decode(text)?)
}

/// Every part was checked when the configuration was read.
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
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&source.authority) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("portcullis-edge"));
    headers.insert(ACCEPT, HeaderValue::from_static(feed::MEDIA_TYPE));
    if let Some(token) = &follow.token
        && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    request
}
