//! What every request and every answer have in common, whatever the endpoint:
//! client, id, deadline, panic net, headers, metrics. Never decides anything else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_token::headers::{HEALTH_CAUSE, HEALTH_CAUSE_DRAINING, X_INSTANCE_ID};
use tracing::Instrument;

use super::Service;
use super::client::{Client, Peer, REQUEST_ID};
use super::error::ApiError;
use super::priority;
use crate::app::Refusal;
use crate::lifecycle::Phase;

/// Longer than the longest body and hash queue together: whoever waits beyond it has gone.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// When whoever was turned away may try again: by then much has ended.
const SHED_FOR: Duration = Duration::from_secs(1);

const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const STATELESS: HeaderName = HeaderName::from_static("x-stateless");
const LOAD_BALANCER_READY: HeaderName = HeaderName::from_static("x-load-balancer-ready");
const SESSION_SHARED: HeaderName = HeaderName::from_static("x-session-shared");
/// Paths that match no route share one label.
const UNMATCHED: &str = "unmatched";

/// The outermost layer of every route, the fallbacks included.
pub(super) async fn wrap(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let in_flight = service.metrics.in_flight();
    let client = service.client(&request);
    let endpoint = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = endpoint.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = request.method().clone();
    let id = HeaderValue::from_str(&client.request_id);
    let span = tracing::info_span!(
        "request",
        id = %client.request_id,
        %method,
        endpoint
    );
    request.extensions_mut().insert(client);

    let room = service.app.live.standing().dynamic.in_flight;
    let is_admitted = room.is_none_or(|room| priority::admits(endpoint, in_flight.count(), room));
    let answering = async {
        if !is_admitted {
            service.metrics.shed();
            return ApiError::from(Refusal::Busy {
                retry_after: SHED_FOR,
            })
            .into_response();
        }
        next.run(request).await
    };
    let answer = caught(tokio::time::timeout(REQUEST_TIMEOUT, answering));
    let mut response = match answer.instrument(span.clone()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => ApiError::Timeout.into_response(),
        Err(_) => {
            service.metrics.panic();
            span.in_scope(|| tracing::error!("a request panicked"));
            ApiError::Panicked.into_response()
        }
    };

    let took = started.elapsed();
    service.decorate(response.headers_mut(), id.ok(), took);
    let status = response.status();
    service.metrics.request(endpoint, &method, status, took);
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            took_ms = took.as_millis() as u64,
            "answered"
        )
    });
    response
}

impl Service {
    fn client(&self, request: &Request) -> Client {
        let peer = request.extensions().get::<Peer>().copied();
        let peer = peer.map_or(([0, 0, 0, 0], 0).into(), |Peer(addr)| addr);
        let (client, is_believed) = Client::of(peer, request.headers(), &self.trusted_proxies);
        // Behind a proxy that is not named, all clients look like one and share its limits.
        if !is_believed && !self.has_warned_of_proxy.swap(true, Ordering::Relaxed) {
            let peer = peer.ip();
            tracing::warn!(%peer, "X-Forwarded-For from a peer outside TRUST_PROXY is ignored");
        }
        client
    }

    fn decorate(&self, headers: &mut HeaderMap, request_id: Option<HeaderValue>, took: Duration) {
        let phase = self.phase.current();
        headers.insert(X_INSTANCE_ID, self.instance_header.clone());
        if let Some(id) = request_id {
            headers.insert(REQUEST_ID, id);
        }
        headers.insert(RESPONSE_TIME, response_time(took));
        headers.insert(STATELESS, HeaderValue::from_static("true"));
        headers.insert(SESSION_SHARED, HeaderValue::from_static("true"));
        let is_ready = if phase == Phase::Serving {
            "true"
        } else {
            "false"
        };
        headers.insert(LOAD_BALANCER_READY, HeaderValue::from_static(is_ready));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        if phase >= Phase::Draining {
            headers.insert(
                HEALTH_CAUSE,
                HeaderValue::from_static(HEALTH_CAUSE_DRAINING),
            );
        }
        if phase >= Phase::Stopping {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Milliseconds in a fixed width: the length of a refusal's headers must not
/// depend on how long it took.
fn response_time(took: Duration) -> HeaderValue {
    let mut hundredths = (took.as_micros() / 10).min(9_999_999) as u32;
    let mut text = *b"00000.00ms";
    for place in [7, 6, 4, 3, 2, 1, 0] {
        text[place] = b'0' + (hundredths % 10) as u8;
        hundredths /= 10;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0ms"))
}

/// Turns a panic of `future` into an error. What it left half-done is in the
/// store, where transactions undo it: nothing in memory outlives a request.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        },
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        assert!(caught(async { 7 }).await.is_ok());
        assert!(caught(async { panic!("on purpose") }).await.is_err());
    }

    #[test]
    fn response_time_has_one_width() {
        for (micros, text) in [
            (0, "00000.00ms"),
            (12_345, "00012.34ms"),
            (u64::MAX, "99999.99ms"),
        ] {
            assert_eq!(response_time(Duration::from_micros(micros)), text);
        }
    }
}
