//! The operator's listener: `/livez`, `/readyz` and `/metrics`. Never carries clients' traffic.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::state::Edge;

/// Connections at once: a few scrapers and an operator.
const MAX_CONNECTIONS: usize = 64;
/// A request head must be complete by then.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers until `stop` turns true; that is after the drain, so that readiness can be seen failing.
pub(crate) async fn run(edge: Arc<Edge>, socket: TcpListener, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(HEADER_TIMEOUT / 50).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let edge = Arc::clone(&edge);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(&edge, request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "admin connection ended early");
            }
            drop(place);
        });
    }
}

fn respond(edge: &Edge, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are served here\n",
        );
    }
    match path {
        "/livez" => text(StatusCode::OK, "alive\n"),
        "/readyz" => readiness(edge),
        "/metrics" => {
            let mut response = text(StatusCode::OK, edge.render_metrics(Instant::now()));
            let format = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, format);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "try /livez, /readyz or /metrics\n"),
    }
}

/// Ready unless the edge is leaving or could serve nothing at all. One cluster down is named but
/// does not take the others' traffic away.
fn readiness(edge: &Edge) -> Response<Full<Bytes>> {
    let snapshot = edge.snapshot.load();
    let without_endpoint: Vec<&str> = snapshot
        .clusters
        .iter()
        .filter(|cluster| !cluster.has_eligible())
        .map(|cluster| cluster.name())
        .collect();
    let mut reasons = Vec::new();
    if edge.is_draining() {
        reasons.push("draining");
    }
    if without_endpoint.len() == snapshot.clusters.len() {
        reasons.push("no cluster has an eligible endpoint");
    }
    let is_ready = reasons.is_empty();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": is_ready,
        "generation": snapshot.generation,
        "reasons": reasons,
        "clusters_without_endpoint": without_endpoint,
    });
    let mut response = text(status, format!("{body}\n"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !is_ready {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
