//! An endpoint that speaks HTTP/2 in the clear, and misbehaves on demand. Never speaks HTTP/1.1.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum H2Behavior {
    /// 200 with a JSON object of the request as received; its trailers come back.
    Echo,
    /// Each piece of the body comes back at once; behind the last, trailers of gRPC.
    EchoStream,
    /// A body that never ends, as fast as it is taken.
    Flood,
    /// The head and the trailers of a gRPC answer around the body as received.
    Grpc,
    /// The head of a gRPC answer that is all there is.
    GrpcFailure,
    /// As `Echo`, once released.
    Wait,
    /// `REFUSED_STREAM`.
    Refuse,
    /// As `Echo`, and a polite farewell.
    Leave,
}

/// Speaks HTTP/2 with prior knowledge.
pub struct H2Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

struct Shared {
    behavior: Mutex<H2Behavior>,
    released: Notify,
    connections: AtomicUsize,
    open_connections: AtomicUsize,
    requests: AtomicUsize,
    in_flight: AtomicUsize,
    cancelled: AtomicUsize,
    flooded: AtomicUsize,
    streams_max: u32,
    window: u32,
}

impl H2Endpoint {
    /// Starts one that takes a hundred streams at once.
    pub async fn start(behavior: H2Behavior) -> H2Endpoint {
        H2Endpoint::with(behavior, 100, 65_535).await
    }

    /// Starts one that takes so many streams, and so many bytes of each at once.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn with(behavior: H2Behavior, streams_max: u32, window: u32) -> H2Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            behavior: Mutex::new(behavior),
            released: Notify::new(),
            connections: AtomicUsize::new(0),
            open_connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            flooded: AtomicUsize::new(0),
            streams_max,
            window,
        });
        let serving = Arc::clone(&shared);
        let accept = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                serving.open_connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    serve(tcp, Arc::clone(&shared)).await;
                    shared.open_connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        H2Endpoint {
            address,
            shared,
            accept,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves otherwise from now on.
    pub fn behave(&self, behavior: H2Behavior) {
        let current = &self.shared.behavior;
        *current.lock().unwrap_or_else(PoisonError::into_inner) = behavior;
    }

    /// Lets all that wait go on.
    pub fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open_connections.load(Ordering::Relaxed)
    }

    /// Requests received so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests being served now.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that were cancelled while they waited.
    pub fn cancelled(&self) -> usize {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Bytes of floods that were taken so far.
    pub fn flooded(&self) -> usize {
        self.shared.flooded.load(Ordering::Relaxed)
    }
}

impl Drop for H2Endpoint {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn serve(tcp: TcpStream, shared: Arc<Shared>) {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(shared.streams_max)
        .initial_window_size(shared.window);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(tcp).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let behavior = *shared
            .behavior
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if behavior == H2Behavior::Refuse {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if behavior == H2Behavior::Leave {
            connection.graceful_shutdown();
        }
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            shared.in_flight.fetch_add(1, Ordering::Relaxed);
            if behavior != H2Behavior::Wait || is_released(&shared, &mut respond).await {
                // Whoever leaves in the middle does so.
                let _ = answer(request, respond, behavior, &shared).await;
            }
            shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// `false`: the client has cancelled before.
async fn is_released(shared: &Shared, respond: &mut SendResponse<Bytes>) -> bool {
    tokio::select! {
        () = shared.released.notified() => true,
        reason = poll_fn(|cx| respond.poll_reset(cx)) => {
            let is_cancelled = matches!(reason, Ok(Reason::CANCEL));
            shared.cancelled.fetch_add(usize::from(is_cancelled), Ordering::Relaxed);
            false
        }
    }
}

async fn flood(mut stream: SendStream<Bytes>, shared: &Shared) -> Result<(), h2::Error> {
    let piece = Bytes::from_static(&[b'x'; 16 * 1024]);
    loop {
        stream.reserve_capacity(piece.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let now = piece.slice(..room?.min(piece.len()));
        shared.flooded.fetch_add(now.len(), Ordering::Relaxed);
        stream.send_data(now, false)?;
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    behavior: H2Behavior,
    shared: &Shared,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    if behavior == H2Behavior::GrpcFailure {
        let answer = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "5")
            .body(())
            .expect("a plain answer");
        respond.send_response(answer, true)?;
        return Ok(());
    }
    if behavior == H2Behavior::Flood {
        return flood(respond.send_response(Response::new(()), false)?, shared).await;
    }
    if behavior == H2Behavior::EchoStream {
        let answer = Response::builder().header("content-type", "application/grpc");
        let answer = answer.body(()).expect("a plain answer");
        let mut stream = respond.send_response(answer, false)?;
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            stream.send_data(piece, false)?;
        }
        let mut trailers = body.trailers().await?.unwrap_or_default();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        return stream.send_trailers(trailers);
    }
    let mut received = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        received.extend_from_slice(&piece);
    }
    let mut trailers = body.trailers().await?.unwrap_or_default();
    let mut answer = Response::new(());
    let told = match behavior {
        H2Behavior::Grpc => {
            let kind = "application/grpc".parse().expect("a plain value");
            answer.headers_mut().insert("content-type", kind);
            trailers.insert("grpc-status", "0".parse().expect("a plain value"));
            received
        }
        _ => json!({
            "method": head.method.as_str(),
            "path": head.uri.path_and_query().map(|path| path.as_str()),
            "scheme": head.uri.scheme_str(),
            "authority": head.uri.authority().map(|one| one.as_str()),
            "headers": pairs(&head.headers),
            "trailers": pairs(&trailers),
            "body": String::from_utf8_lossy(&received),
        })
        .to_string()
        .into_bytes(),
    };
    let mut stream = respond.send_response(answer, false)?;
    stream.send_data(told.into(), trailers.is_empty())?;
    if !trailers.is_empty() {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

fn pairs(fields: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    fields
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}
