//! The routes of the auth service on one screen, and what every handler works
//! with. Never decides anything: handlers decode, call `app`, encode.

mod admin;
mod api_keys;
mod bearer;
mod body;
mod client;
pub(crate) mod connection;
mod discovery;
mod email;
mod envelope;
mod error;
mod factors;
mod health;
pub(crate) mod internal;
mod jwks;
mod limited;
pub(crate) mod load_balancer;
mod login;
mod logout;
mod metrics;
mod openapi;
mod owner;
mod password;
mod permissions;
mod priority;
mod query;
mod reauthenticate;
mod refresh;
mod register;
mod second_factor;
pub(crate) mod session;
mod sessions;
mod setup;
mod tokens;
mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::routing::{MethodRouter, delete, get, post};
use http::HeaderValue;
use ipnet::IpNet;

use crate::app::health::{Checker, Dependencies};
use crate::app::{App, Origin};
use crate::config::Flags;
use crate::domain::{RequestId, UnixMillis};
use crate::lifecycle::PhaseWatch;
use crate::mail::outbox::MailHealth;
use crate::metrics::Metrics;
use client::Client;
#[cfg(test)]
pub(crate) use client::Peer;
use error::ApiError;
pub(crate) use internal::Desk;

/// Every path there is, and every method it takes. The envelope is around all of them.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let routes = routes()
        .into_iter()
        .filter(|(path, _)| *path != METRICS || service.shows_metrics);
    let routes = routes
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    enveloped(routes, &service).with_state(service)
}

/// Only where there is no internal listener for it.
const METRICS: &str = "/metrics";

/// A path, and what answers it.
type Route = (&'static str, MethodRouter<Arc<Service>>);

/// One list, so that whatever must hold for every path can be tried on all of them.
fn routes() -> Vec<Route> {
    let mut routes = vec![
        ("/api/v1/auth/register", post(register::handle)),
        ("/api/v1/auth/login", post(login::handle)),
        (
            "/api/v1/auth/login/second-factor",
            post(second_factor::handle),
        ),
        ("/api/v1/auth/reauthenticate", post(reauthenticate::handle)),
        ("/api/v1/auth/mfa", get(factors::show)),
        (
            "/api/v1/auth/mfa/totp",
            post(factors::begin).delete(factors::remove),
        ),
        ("/api/v1/auth/mfa/totp/confirm", post(factors::confirm)),
        (
            "/api/v1/auth/mfa/recovery-codes",
            post(factors::recovery_codes),
        ),
        ("/api/v1/auth/refresh", post(refresh::handle)),
        ("/api/v1/auth/logout", post(logout::handle)),
        ("/api/v1/auth/logout-all", post(sessions::end_all)),
        ("/api/v1/auth/sessions", get(sessions::list)),
        ("/api/v1/auth/sessions/{id}", delete(sessions::end_one)),
        ("/api/v1/auth/password/change", post(password::change)),
        ("/api/v1/auth/password/forgot", post(password::forgot)),
        ("/api/v1/auth/password/reset", post(password::reset)),
        ("/api/v1/auth/email/verify", post(email::verify)),
        ("/api/v1/auth/email/resend", post(email::resend)),
        ("/api/v1/auth/verify", get(verify::handle)),
        ("/api/v1/auth/setup", post(setup::handle)),
        ("/api/v1/openapi.json", get(openapi::handle)),
        ("/.well-known/jwks.json", get(jwks::handle)),
        ("/.well-known/openid-configuration", get(discovery::handle)),
        ("/health", get(health::basic)),
        ("/health/detailed", get(health::detailed)),
        ("/health/ready", get(health::ready)),
        ("/health/live", get(health::live)),
        ("/ready", get(health::ready)),
        ("/alive", get(health::live)),
        ("/api/v1/load-balancer/health", get(load_balancer::handle)),
        (
            "/api/v1/load-balancer/instances",
            get(load_balancer::instances::handle),
        ),
        (
            "/api/v1/load-balancer/metrics",
            get(load_balancer::metrics::handle),
        ),
        (
            "/api/v1/load-balancer/config",
            get(load_balancer::config::handle),
        ),
        (
            "/api/v1/load-balancer/health-check",
            post(load_balancer::check::handle),
        ),
        (METRICS, get(metrics::handle)),
    ];
    routes.extend(about_permissions());
    routes.extend(admin::routes());
    routes
}

/// Permissions and API keys.
fn about_permissions() -> [Route; 4] {
    [
        ("/api/v1/permissions/check", post(permissions::check)),
        ("/api/v1/permissions/check/batch", post(permissions::batch)),
        (
            "/api/v1/api-keys",
            get(api_keys::list).post(api_keys::create),
        ),
        ("/api/v1/api-keys/{id}", delete(api_keys::revoke)),
    ]
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
    pub(crate) cookies: session::Cookies,
    pub(crate) dependencies: Checker,
    /// `None`: nobody sends mail.
    pub(crate) mail: Option<Arc<MailHealth>>,
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
    pub(crate) flags: Flags,
    pub(crate) started: Instant,
}

impl Service {
    /// When and from where a request came, for the use cases.
    fn origin(&self, request: &Request) -> Origin {
        let client = request.extensions().get::<Client>();
        let client = client.expect("the envelope puts the client into every request");
        Origin {
            now: now(),
            client: client.addr,
            request: RequestId::parse(&client.request_id),
        }
    }

    async fn dependencies(&self) -> Dependencies {
        self.dependencies.check(&self.app).await
    }
}

/// The one place where the service reads the clock.
fn now() -> UnixMillis {
    UnixMillis::from_system(SystemTime::now())
}

/// Every path there is with every method that it takes, found out by asking.
#[cfg(test)]
pub(crate) async fn served(service: Arc<Service>) -> Vec<(&'static str, http::Method)> {
    use tower::ServiceExt as _;
    let mut served = Vec::new();
    for (path, _) in routes() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let request = http::Request::builder()
                .method(method)
                .uri(path.replace(['{', '}'], ""));
            let request = request.body(axum::body::Body::empty());
            let request = request.expect("a path of ours is a URI");
            let Ok(answer) = router(service.clone()).oneshot(request).await;
            if answer.status() != http::StatusCode::METHOD_NOT_ALLOWED {
                let method = http::Method::from_bytes(method.as_bytes());
                served.push((path, method.expect("one of the list")));
            }
        }
    }
    served
}
