//! An endpoint that speaks the gRPC health protocol over HTTP/2. Never serves anything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::certificates::Identity;

/// What it says of every service.
#[derive(Clone, Debug)]
pub enum Reply {
    /// SERVING.
    Serving,
    /// NOT_SERVING.
    NotServing,
    /// This state, and status 0.
    State(u8),
    /// This status, and nothing else.
    Status(u16),
    /// Status 0 after these bytes.
    Message(Vec<u8>),
    /// A message and no status.
    WithoutStatus,
    /// This status of HTTP.
    Http(u16),
    /// Nothing at all.
    Silence,
}

/// Answers `grpc.health.v1.Health/Check`.
pub struct GrpcEndpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

struct Shared {
    reply: Mutex<Reply>,
    services: Mutex<Vec<String>>,
}

impl Shared {
    /// Remembers what was asked about, and says what is to be answered.
    fn note(&self, service: String) -> Reply {
        let services = self.services.lock();
        services
            .unwrap_or_else(PoisonError::into_inner)
            .push(service);
        let reply = self.reply.lock();
        reply.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl GrpcEndpoint {
    /// Starts one, over TLS if it is given a certificate.
    ///
    /// # Panics
    /// When no port is free or the files of `identity` cannot be used.
    pub async fn start(reply: Reply, identity: Option<&Identity>) -> GrpcEndpoint {
        let acceptor = identity.map(Identity::acceptor);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            services: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(tcp).await {
                                serve(stream, shared).await;
                            }
                        }
                        None => serve(tcp, shared).await,
                    }
                });
            }
        });
        GrpcEndpoint {
            address,
            shared,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says something else from now on.
    pub fn set(&self, reply: Reply) {
        let shared = &self.shared.reply;
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = reply;
    }

    /// The services that were asked about, in order.
    pub fn services(&self) -> Vec<String> {
        let services = self.shared.services.lock();
        services.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for GrpcEndpoint {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let _ = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
) -> Response<BoxBody<Bytes, Infallible>> {
    let is_check = request.uri().path() == "/grpc.health.v1.Health/Check"
        && request
            .headers()
            .get("te")
            .is_some_and(|te| te == "trailers");
    let body = request.into_body().collect().await;
    let asked = body.map(|body| body.to_bytes()).unwrap_or_default();
    // Five bytes of frame, then field 1 with its length in one byte.
    let service = asked.get(7..).unwrap_or_default();
    let service = String::from_utf8_lossy(service).into_owned();
    let reply = shared.note(service);
    let state = |state| vec![0, 0, 0, 0, 2, 8, state];
    let (message, status) = match reply {
        _ if !is_check => return head(404, None),
        Reply::Silence => std::future::pending().await,
        Reply::Http(status) => return head(status, None),
        Reply::Status(status) => return head(200, Some(status)),
        Reply::Serving => (state(1), true),
        Reply::NotServing => (state(2), true),
        Reply::State(number) => (state(number), true),
        Reply::Message(message) => (message, true),
        Reply::WithoutStatus => (state(1), false),
    };
    let trailers = status.then(|| {
        let zero = HeaderValue::from_static("0");
        Ok(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            zero,
        )]))
    });
    let body = Full::new(Bytes::from(message));
    let body = body.with_trailers(std::future::ready(trailers)).boxed();
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(body).expect("a plain answer")
}

/// An answer of its head alone.
fn head(status: u16, grpc_status: Option<u16>) -> Response<BoxBody<Bytes, Infallible>> {
    let mut answer = Response::builder()
        .status(status)
        .header("content-type", "application/grpc");
    if let Some(status) = grpc_status {
        answer = answer.header("grpc-status", status);
    }
    let body = Full::new(Bytes::new()).boxed();
    answer.body(body).expect("a plain answer")
}
