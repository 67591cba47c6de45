//! The routes of the auth service on one screen, and what every handler works
//! with. Never decides anything: handlers decode, call `app`, encode.

mod bearer;
mod body;
mod client;
pub(crate) mod connection;
mod discovery;
mod envelope;
mod error;
mod health;
pub(crate) mod internal;
mod jwks;
mod limited;
pub(crate) mod load_balancer;
mod login;
mod logout;
mod metrics;
mod priority;
mod refresh;
mod register;
pub(crate) mod session;
mod setup;
mod tokens;
mod verify;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use http::HeaderValue;
use ipnet::IpNet;

use crate::app::health::{Checker, Dependencies};
use crate::app::{App, Origin};
use crate::domain::UnixMillis;
use crate::lifecycle::PhaseWatch;
use crate::metrics::Metrics;
use client::Client;
use error::ApiError;
pub(crate) use internal::Desk;

/// Every path, and every method it takes. The envelope is around all of them.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let mut routes = Router::new()
        .route("/api/v1/auth/register", post(register::handle))
        .route("/api/v1/auth/login", post(login::handle))
        .route("/api/v1/auth/refresh", post(refresh::handle))
        .route("/api/v1/auth/logout", post(logout::handle))
        .route("/api/v1/auth/verify", get(verify::handle))
        .route("/api/v1/auth/setup", post(setup::handle))
        .route("/.well-known/jwks.json", get(jwks::handle))
        .route("/.well-known/openid-configuration", get(discovery::handle))
        .route("/health", get(health::basic))
        .route("/health/detailed", get(health::detailed))
        .route("/health/ready", get(health::ready))
        .route("/health/live", get(health::live))
        .route("/ready", get(health::ready))
        .route("/alive", get(health::live))
        .route("/api/v1/load-balancer/health", get(load_balancer::handle))
        .route(
            "/api/v1/load-balancer/instances",
            get(load_balancer::instances::handle),
        )
        .route(
            "/api/v1/load-balancer/metrics",
            get(load_balancer::metrics::handle),
        )
        .route(
            "/api/v1/load-balancer/config",
            get(load_balancer::config::handle),
        )
        .route(
            "/api/v1/load-balancer/health-check",
            post(load_balancer::check::handle),
        )
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    if service.shows_metrics {
        routes = routes.route("/metrics", get(metrics::handle));
    }
    enveloped(routes, &service).with_state(service)
}

/// The routes with the one layer that is around all of them.
pub(crate) fn enveloped(
    routes: Router<Arc<Service>>,
    service: &Arc<Service>,
) -> Router<Arc<Service>> {
    routes.layer(axum::middleware::from_fn_with_state(
        service.clone(),
        envelope::wrap,
    ))
}

/// What handlers work with; built once by `server.rs`.
pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) identity: Identity,
    pub(crate) phase: PhaseWatch,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Requests under way at once; `None` for no bound.
    pub(crate) room: Option<NonZeroUsize>,
    pub(crate) cookies: session::Cookies,
    pub(crate) dependencies: Checker,
    /// What `/api/v1/load-balancer/config` shows.
    pub(crate) settings: serde_json::Value,
    /// Whether `/metrics` is here: there is no internal listener for it.
    pub(crate) shows_metrics: bool,
    pub(crate) has_warned_of_proxy: AtomicBool,
    /// `identity.instance_id` as it goes into every answer.
    pub(crate) instance_header: HeaderValue,
}

/// Who this instance says it is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) instance_id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) environment: &'static str,
    pub(crate) started: Instant,
}

impl Service {
    /// When and from where a request came, for the use cases.
    fn origin(&self, request: &Request) -> Origin {
        let client = request.extensions().get::<Client>();
        let client = client
            .expect("the envelope puts the client into every request")
            .addr;
        Origin { now: now(), client }
    }

    async fn dependencies(&self) -> Dependencies {
        self.dependencies.check(&self.app).await
    }
}

/// The one place where the service reads the clock.
fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}
