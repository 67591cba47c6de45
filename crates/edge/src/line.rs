//! A connection to somebody the operator named, an issuer or one of its feeds: the first of its addresses
//! that answers, TLS where asked for, HTTP/1.1. Never follows a redirect, and bounds nothing but the head:
//! how long an answer may take and how large it may be, its readers say.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::config::JwksSource;
use crate::engine::connect;
use crate::outcome::Cause;

const ADDRESSES_MAX: usize = 4;
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("its name cannot be resolved: {0}")]
    Name(std::io::Error),
    #[error("it cannot be reached ({0:?})")]
    Unreachable(Cause),
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(hyper::Error),
}

/// A connection that is asked one question at a time.
pub(crate) struct Line {
    sender: SendRequest<Empty<Bytes>>,
    /// Carries the bytes; ends with the line.
    _carrier: JoinSet<()>,
}

impl Line {
    /// Connects. Each address gets `timeout`.
    pub(crate) async fn open(source: &JwksSource, timeout: Duration) -> Result<Self, LineError> {
        let stream = reach(source, timeout).await?;
        let Some(tls) = &source.tls else {
            return Self::over(stream).await;
        };
        let connector = TlsConnector::from(Arc::clone(&tls.client));
        let shaken = connector.connect(tls.server_name.clone(), stream).await;
        Self::over(shaken.map_err(LineError::Tls)?).await
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, LineError> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(LineError::Http)?;
        let mut carrier = JoinSet::new();
        carrier.spawn(async move {
            // Whoever asks next is told how it ended.
            let _ended = connection.await;
        });
        Ok(Self {
            sender,
            _carrier: carrier,
        })
    }

    /// Sends a question and returns the head of the answer.
    pub(crate) async fn ask(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, LineError> {
        let answered = self.sender.send_request(request).await;
        answered.map_err(LineError::Http)
    }
}

/// A GET for `target` in the media type `accept`. Every part was checked when the configuration was read.
pub(crate) fn question(
    source: &JwksSource,
    target: &str,
    accept: &'static str,
) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&source.authority) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("portcullis-edge"));
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    request
}

/// The first of its addresses that answers.
async fn reach(source: &JwksSource, timeout: Duration) -> Result<TcpStream, LineError> {
    let addresses = tokio::net::lookup_host((source.host.as_str(), source.port)).await;
    let addresses = addresses.map_err(LineError::Name)?;
    let mut last = LineError::Name(std::io::Error::other("it has no address"));
    for address in addresses.take(ADDRESSES_MAX) {
        match connect(address, timeout).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => last = LineError::Unreachable(cause),
        }
    }
    Err(last)
}
