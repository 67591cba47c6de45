//! One visitor's HTTP/1.1: connections, requests, answers, all within deadlines and bounds. Never follows
//! a redirect, never keeps a cookie, and never repeats what might do something twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::target::Target;
use crate::trust::Tls;

/// Why a request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody is there.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, String),
    /// Somebody is there, but speaks no TLS that we do.
    #[error("the TLS handshake fails: {0}")]
    Tls(String),
    /// Somebody is there, but cannot prove who it is.
    #[error("the certificate is not to be trusted: {0}")]
    Untrusted(String),
    /// The answer was not there in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection ended, or what came was not HTTP.
    #[error("the connection broke before the answer was complete: {0}")]
    Broken(String),
}

/// What all visitors share.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) target: Target,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
    /// Whether HTTP is spoken over connections whose certificate is bad.
    pub(crate) is_lenient: bool,
    asked: AtomicU64,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Its beginning, if it is longer than `BODY_BYTES_MAX`.
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

/// Somebody with a connection of its own, kept as long as it lasts.
#[derive(Debug)]
pub(crate) struct Visitor {
    client: Arc<Client>,
    connection: Option<Connection>,
}

/// Sends requests one after the other; its driver ends with it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(crate) fn new(
        target: Target,
        addresses: Vec<SocketAddr>,
        tls: Option<Tls>,
        timeout: Duration,
        is_lenient: bool,
    ) -> Self {
        Self {
            target,
            addresses,
            tls,
            timeout,
            is_lenient,
            asked: AtomicU64::new(0),
        }
    }

    /// Requests sent so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn visitor(self: &Arc<Self>) -> Visitor {
        Visitor {
            client: Arc::clone(self),
            connection: None,
        }
    }

    /// Connects to the first address that accepts.
    pub(crate) async fn connect_tcp(&self) -> Result<TcpStream, Trouble> {
        let mut last = Trouble::Broken("the name has no address".to_owned());
        for &address in &self.addresses {
            match timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Requests are small; waiting to fill a segment would be measured.
                    let _unsupported = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = Trouble::Connect(address, error.to_string()),
                Err(_) => last = Trouble::Timeout(self.timeout),
            }
        }
        Err(last)
    }

    /// A handshake whose certificate nobody has judged yet.
    pub(crate) async fn shake_hands(&self, tls: &Tls) -> Result<TlsStream<TcpStream>, Trouble> {
        let tcp = self.connect_tcp().await?;
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let handshake = connector.connect(self.target.server_name(), tcp);
        match timeout(self.timeout, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Trouble::Tls(error.to_string())),
            Err(_) => Err(Trouble::Timeout(self.timeout)),
        }
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let Some(tls) = &self.tls else {
            return start(self.connect_tcp().await?).await;
        };
        let stream = self.shake_hands(tls).await?;
        if !self.is_lenient {
            let chain = chain(&stream);
            tls.judge(&chain, &self.target.server_name(), UnixTime::now())
                .map_err(|error| Trouble::Untrusted(error.to_string()))?;
        }
        start(stream).await
    }
}

/// What the other side showed.
pub(crate) fn chain(stream: &TlsStream<TcpStream>) -> Vec<CertificateDer<'static>> {
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    shown.iter().map(|c| c.clone().into_owned()).collect()
}

async fn start(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connection, Trouble> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let driver = tokio::spawn(async move {
        // Its errors come out where the request waits.
        let _ended = connection.await;
    });
    Ok(Connection { sender, driver })
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::method(Method::GET, path)
    }

    pub(crate) fn method(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn post_json(path: &str, body: &serde_json::Value) -> Self {
        let mut ask = Self::method(Method::POST, path);
        ask.body = Bytes::from(body.to_string());
        ask.with(header::CONTENT_TYPE, "application/json")
    }

    /// Adds a field; one that no field can hold is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    fn request(&self, target: &Target) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = self
            .path
            .parse()
            .map_err(|_| Trouble::Broken(format!("{:?} is no path", self.path)))?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        let host = HeaderValue::from_str(&target.authority())
            .expect("parsing made sure that it is a name");
        headers.entry(header::HOST).or_insert(host);
        headers.insert(header::USER_AGENT, USER_AGENT);
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        Ok(request)
    }

    fn may_be_repeated(&self) -> bool {
        self.method.is_safe()
    }
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A field's value, if it is text.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Visitor {
    /// Sends one request and waits for the whole answer.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Trouble> {
        let began = Instant::now();
        let limit = self.client.timeout;
        match timeout(limit, self.exchange(ask)).await {
            Ok(Ok(answer)) => Ok(Answer {
                took: began.elapsed(),
                ..answer
            }),
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => {
                self.connection = None;
                Err(Trouble::Timeout(limit))
            }
        }
    }

    async fn exchange(&mut self, ask: &Ask) -> Result<Answer, Trouble> {
        if let Some(connection) = self.connection.take()
            && !connection.sender.is_closed()
        {
            match self.once(connection, ask).await {
                // The other side closed an idle connection: nobody's fault, browsers ask again.
                Err(Trouble::Broken(_)) if ask.may_be_repeated() => {}
                ended => return ended,
            }
        }
        let connection = self.client.connect().await?;
        self.once(connection, ask).await
    }

    async fn once(&mut self, mut connection: Connection, ask: &Ask) -> Result<Answer, Trouble> {
        let sender = &mut connection.sender;
        sender.ready().await.map_err(|error| broken(&error))?;
        self.client.asked.fetch_add(1, Ordering::Relaxed);
        let request = ask.request(&self.client.target)?;
        let response = sender.send_request(request).await;
        let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
        let (body, is_whole) = read(body).await?;
        if is_whole {
            self.connection = Some(connection);
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            took: Duration::ZERO,
        })
    }
}

/// The body up to the bound, and whether that was all.
async fn read(mut body: Incoming) -> Result<(Bytes, bool), Trouble> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() {
            let room = BODY_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if data.len() > room {
                return Ok((bytes.freeze(), false));
            }
        }
    }
    Ok((bytes.freeze(), true))
}

fn broken(error: &hyper::Error) -> Trouble {
    Trouble::Broken(error.to_string())
}

const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("portcullis-probe/", env!("CARGO_PKG_VERSION")));
/// Enough for every answer that a check reads.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// As much as servers commonly send.
const HEAD_BYTES_MAX: usize = 64 * 1024;
