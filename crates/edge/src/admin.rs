//! The operator's listener: health, metrics, status, and changes while the edge runs. Never carries
//! clients' traffic.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_ops::Secret;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::state::Edge;

mod access;
mod answer;
mod apply;
mod change;
mod json;
mod status;

use answer::{Answer, Refused, document, set, text};
use change::Change;

/// Connections at once: a few scrapers and an operator.
const MAX_CONNECTIONS: usize = 64;
/// A request head must be complete by then, and a body as long after.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest change: a split over many clusters.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// After a failed accept, which is lack of descriptors: others may let go of some.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests are answered from.
struct Desk {
    edge: Arc<Edge>,
    token: Option<Secret<String>>,
}

/// Answers until `stop` turns true; that is after the drain, so that readiness can be seen failing.
pub(crate) async fn run(
    edge: Arc<Edge>,
    socket: TcpListener,
    token: Option<Secret<String>>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let desk = Arc::new(Desk { edge, token });
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, operator)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answered = desk.answer(request, operator);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "admin connection ended early");
            }
            drop(place);
        });
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>, operator: SocketAddr) -> Answer {
        let answered = if *request.method() == Method::POST {
            self.change(request, operator).await
        } else {
            self.show(request.method(), request.uri().path())
        };
        answered.unwrap_or_else(|refused| refused.answer())
    }

    /// What may be read without a token.
    fn show(&self, method: &Method, path: &str) -> Result<Answer, Refused> {
        if path.starts_with("/v1/clusters/")
            || path.starts_with("/v1/routes/")
            || path.starts_with("/v1/bans/")
        {
            return Err(Refused::Method("POST"));
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Refused::Method("GET, HEAD"));
        }
        let now = Instant::now();
        match path {
            "/livez" => Ok(text(StatusCode::OK, "alive\n")),
            "/readyz" => Ok(readiness(&self.edge)),
            "/v1/status" => Ok(document(StatusCode::OK, &status::status(&self.edge, now))),
            "/v1/bans" => Ok(document(StatusCode::OK, &status::bans(&self.edge))),
            "/metrics" => {
                let mut answer = text(StatusCode::OK, self.edge.render_metrics(now));
                set(&mut answer, CONTENT_TYPE, "text/plain; version=0.0.4");
                Ok(answer)
            }
            _ => Err(Refused::NotFound(
                "Try /livez, /readyz, /metrics, /v1/status or /v1/bans.".to_owned(),
            )),
        }
    }

    /// Makes a change, if whoever asks may.
    async fn change(
        &self,
        request: Request<Incoming>,
        operator: SocketAddr,
    ) -> Result<Answer, Refused> {
        access::check(self.token.as_ref(), request.headers())?;
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let Some(path) = path.strip_prefix("/v1/") else {
            return Err(Refused::Method("GET, HEAD"));
        };
        let body = Limited::new(body, BODY_BYTES_MAX).collect();
        let body = tokio::time::timeout(READ_TIMEOUT, body).await;
        let body = body
            .map_err(|_elapsed| Refused::Invalid("The body did not arrive in time.".to_owned()))?
            .map_err(|_too_large_or_broken| Refused::TooLarge)?
            .to_bytes();
        let change = Change::parse(path, &body)?;
        let changed = apply::apply(&self.edge, &change, Instant::now())?;
        tracing::info!(%operator, ?change, "changed by the operator");
        Ok(document(StatusCode::OK, &changed))
    }
}

/// Ready unless the edge is leaving or could serve nothing at all. One cluster down is named but
/// does not take the others' traffic away.
fn readiness(edge: &Edge) -> Answer {
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
    let now = Instant::now();
    if snapshot.clusters.iter().any(|one| one.is_awaited(now)) {
        reasons.push("the endpoints of a cluster are not found yet");
    }
    let without_keys: Vec<&str> = snapshot
        .issuers
        .iter()
        .filter(|issuer| issuer.kids().is_empty())
        .map(|issuer| issuer.name())
        .collect();
    if snapshot.issuers.iter().any(|issuer| issuer.is_awaited(now)) {
        reasons.push("the keys of an issuer are not there yet");
    }
    let mut feeds = snapshot
        .issuers
        .iter()
        .filter_map(|issuer| issuer.revocations());
    if feeds.any(|follower| follower.is_awaited(now)) {
        reasons.push("the revocations of an issuer are not there yet");
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
        "issuers_without_keys": without_keys,
    });
    let mut answer = document(status, &body);
    if !is_ready {
        set(&mut answer, RETRY_AFTER, "1");
    }
    answer
}
