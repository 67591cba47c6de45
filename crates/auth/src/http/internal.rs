//! What edges and scrapers ask an instance, on a listener of its own. Never answers without the
//! token where there is one.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use portcullis_ops::Secret;
use portcullis_token::feed::{self, Answer, Position, WAIT_MAX};

use super::error::ApiError;
use super::{Service, bearer, enveloped, health, metrics as exposition};
use crate::feed::Feed;
use crate::lifecycle::{Phase, PhaseWatch};
use crate::metrics::{Metrics, Told};

/// What the internal listener works with.
pub(crate) struct Desk {
    pub(crate) feed: Feed,
    /// What opens it; `None` leaves it open to this machine.
    pub(crate) token: Option<Secret<String>>,
    pub(crate) phase: PhaseWatch,
}

/// Every path of the internal listener.
pub(super) const PATHS: [&str; 3] = [feed::PATH, "/metrics", "/health/live"];

/// What answers them.
pub(crate) fn router(service: Arc<Service>, desk: Arc<Desk>) -> Router {
    let revocations = {
        let (desk, metrics) = (desk.clone(), service.metrics.clone());
        async move |RawQuery(query): RawQuery| desk.revocations(query.as_deref(), &metrics).await
    };
    let [feed, metrics, live] = PATHS;
    let routes = Router::new()
        .route(feed, get(revocations))
        .route(metrics, get(exposition::handle))
        .route(live, get(health::live))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(desk, guard));
    enveloped(routes, &service).with_state(service)
}

async fn guard(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match desk.token.as_ref().map(|token| is_sent(token, &request)) {
        None | Some(true) => next.run(request).await,
        Some(false) => ApiError::InternalToken.into_response(),
    }
}

fn is_sent(token: &Secret<String>, request: &Request) -> bool {
    // Of digests, a comparison tells not even the length.
    let digest = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    bearer::token(request.headers()).is_ok_and(|sent| {
        let (sent, token) = (digest(sent), digest(token.expose()));
        constant_time::verify_slices_are_equal(sent.as_ref(), token.as_ref()).is_ok()
    })
}

impl Desk {
    async fn revocations(&self, query: Option<&str>, metrics: &Metrics) -> Response {
        let Some((after, wait)) = question(query.unwrap_or_default()) else {
            return ApiError::InvalidQuery(None).into_response();
        };
        let _follower = metrics.follower();
        let mut phase = self.phase.clone();
        let answer = tokio::select! {
            answer = self.feed.answer(after, wait) => answer.ok(),
            // Whoever waits is sent to another instance in time.
            () = phase.reached(Phase::Stopping) => None,
        };
        metrics.told(match &answer {
            Some(Answer::Page(_)) => Told::Page,
            Some(Answer::Gap) => Told::Gap,
            None => Told::Lost,
        });
        match answer {
            Some(answer) => ([(CONTENT_TYPE, feed::MEDIA_TYPE)], answer.encode()).into_response(),
            None => ApiError::FeedLost.into_response(),
        }
    }
}

/// `after=LOG.SEQUENCE&wait_ms=N`, both optional, nothing else.
fn question(query: &str) -> Option<(Option<Position>, Duration)> {
    let (mut after, mut wait) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("after", position) if after.is_none() => after = Some(position.parse().ok()?),
            ("wait_ms", millis) if wait.is_none() => {
                let millis = Duration::from_millis(millis.parse().ok()?);
                wait = Some(millis).filter(|wait| *wait <= WAIT_MAX);
                wait?;
            }
            _ => return None,
        }
    }
    Some((after, wait.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_strictly() {
        let asked = question("after=log.7&wait_ms=250").unwrap();
        assert_eq!(asked.0.unwrap().to_string(), "log.7");
        assert_eq!(asked.1, Duration::from_millis(250));
        assert_eq!(question(""), Some((None, Duration::ZERO)));
        assert!(question("wait_ms=25000").is_some());
        for bad in [
            "wait_ms=25001",
            "wait_ms=-1",
            "wait_ms=",
            "wait_ms=1&wait_ms=1",
            "after=7",
            "after=a.1&after=a.1",
            "before=1",
            "after",
        ] {
            assert_eq!(question(bad), None, "{bad}");
        }
    }
}
