//! The health family, in the shapes that monitoring, balancers and Kubernetes
//! expect. Never does work of its own: dependencies are asked once a second at most.

pub(super) mod memory;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use portcullis_token::headers::{
    HEALTH_CAUSE, HEALTH_CAUSE_DATABASE, HEALTH_CAUSE_DRAINING, HEALTH_CAUSE_SHARED_STATE,
};
use serde_json::{Value, json};

use super::{Service, now};
use crate::app::health::Dependencies;
use crate::domain::UnixMillis;
use crate::store::topology::Topology;

/// `GET /health`: the process answers. Says nothing about dependencies, so that
/// a database that is away does not get processes restarted.
pub(super) async fn basic(State(service): State<Arc<Service>>) -> Response {
    let now = now();
    let mut body = service.about("healthy", now);
    body["ok"] = json!(true);
    body["success"] = json!(true);
    body["data"] = service.data("healthy", now);
    Json(body).into_response()
}

/// `GET /health/detailed`: 503 when any dependency is down or takes no writes. For people and
/// monitoring: an edge must not eject on it, or one outage ejects everyone.
pub(super) async fn detailed(State(service): State<Arc<Service>>) -> Response {
    let dependencies = service.dependencies().await.for_writing();
    let now = now();
    let status = word(dependencies.are_up());
    let pool = service.app.store.pool_metrics();
    let mut body = service.about(status, now);
    body["ok"] = json!(dependencies.are_up());
    body["checks"] = json!({
        "database": word(dependencies.is_database_up),
        "shared_state": word(dependencies.is_shared_state_up),
    });
    let shared_state = service.app.shared.kind();
    if shared_state == "redis" {
        body["checks"]["redis"] = json!(word(dependencies.is_shared_state_up));
    }
    body["data"] = service.data(status, now);
    let store = service.app.store.kind();
    body["data"]["services"] = json!({
        store: {
            "status": word(dependencies.is_database_up),
            "metrics": {
                "total": pool.open,
                "active": pool.open.saturating_sub(pool.idle),
                "idle": pool.idle,
                "max": pool.max,
            },
        },
        "shared_state": { "kind": shared_state, "status": word(dependencies.is_shared_state_up) },
    });
    if let Some(endpoints) = endpoints(&service.app.store.topology()) {
        body["data"]["services"][store]["endpoints"] = endpoints;
    }
    // Mail waits for a server that is away, and nothing else does: no status follows from it.
    if let Some(mail) = &service.mail {
        body["data"]["services"]["mail"] =
            json!({ "status": word(mail.is_up()), "waiting": mail.waiting() });
    }
    body["data"]["circuitBreakers"] = service.circuit_breakers();
    body["data"]["flags"] = service.flags();
    with_cause(dependencies.what_is_down(), Json(body))
}

/// `GET /health/ready` and `/ready`: whether requests should come here.
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Response {
    let cause = service.unready_cause().await;
    let mut body = json!({
        "ready": cause.is_none(),
        "timestamp": iso(now()),
        "instanceId": service.identity.instance_id,
        "version": service.identity.version,
        "loadBalancerReady": cause.is_none(),
    });
    if let Some(cause) = cause {
        body["cause"] = json!(cause);
    }
    let degraded = service.degraded().await;
    if !degraded.is_empty() {
        body["degraded"] = json!(degraded);
    }
    with_cause(cause, Json(body))
}

/// `GET /health/live` and `/alive`: the process is not stuck.
pub(super) async fn live(State(service): State<Arc<Service>>) -> Response {
    let body = json!({
        "alive": true,
        "status": "alive",
        "timestamp": iso(now()),
        "instanceId": service.identity.instance_id,
        "uptime": service.identity.started.elapsed().as_secs(),
    });
    Json(body).into_response()
}

impl Service {
    /// Why requests should not come here, if they should not.
    pub(super) async fn unready_cause(&self) -> Option<&'static str> {
        if self.phase.is_draining() {
            return Some(HEALTH_CAUSE_DRAINING);
        }
        self.dependencies().await.cause()
    }

    /// What is down although requests can be answered.
    pub(super) async fn degraded(&self) -> Vec<&'static str> {
        let dependencies = self.dependencies().await;
        match (dependencies.suffice(), dependencies.is_shared_state_up) {
            (true, false) if self.app.shared.kind() == "redis" => vec!["redis"],
            (true, false) => vec![HEALTH_CAUSE_SHARED_STATE],
            _ => Vec::new(),
        }
    }

    fn about(&self, status: &str, now: UnixMillis) -> Value {
        json!({
            "status": status,
            "service": self.identity.name,
            "version": self.identity.version,
            "environment": self.identity.environment,
            "timestamp": now.0 as f64 / 1000.0,
        })
    }

    /// Which features this instance has.
    fn flags(&self) -> Value {
        let flags = self.identity.flags.named().into_iter();
        Value::Object(
            flags
                .map(|(name, is_on)| (name.to_owned(), json!(is_on)))
                .collect(),
        )
    }

    fn circuit_breakers(&self) -> Value {
        let views = self.app.breakers.views().into_iter();
        let shown = views.map(|view| {
            let about = json!({
                "state": view.state.as_str(),
                "failures": view.failures,
                "mode": view.mode.as_str(),
                "opened": view.opened_total,
                "rejected": view.rejected_total,
            });
            (view.dependency.to_owned(), about)
        });
        Value::Object(shown.collect())
    }

    fn data(&self, status: &str, now: UnixMillis) -> Value {
        json!({
            "status": status,
            "timestamp": iso(now),
            "uptime": self.identity.started.elapsed().as_secs(),
            "version": self.identity.version,
        })
    }
}

impl Dependencies {
    /// Why requests cannot be answered, if they cannot.
    fn cause(self) -> Option<&'static str> {
        self.what_is_down().filter(|_| !self.suffice())
    }

    fn what_is_down(self) -> Option<&'static str> {
        match (self.is_database_up, self.is_shared_state_up) {
            (false, _) => Some(HEALTH_CAUSE_DATABASE),
            (_, false) => Some(HEALTH_CAUSE_SHARED_STATE),
            _ => None,
        }
    }
}

/// The servers of the database, where it has any.
fn endpoints(topology: &Topology) -> Option<Value> {
    let shown = topology.endpoints.iter().map(|endpoint| {
        let (open, idle) = endpoint.connections;
        json!({
            "endpoint": endpoint.name,
            "role": endpoint.role.as_str(),
            "lagSeconds": endpoint.lag.map(|lag| lag.as_secs_f64()),
            "total": open,
            "idle": idle,
        })
    });
    let shown: Vec<Value> = shown.collect();
    (!shown.is_empty()).then_some(Value::Array(shown))
}

/// 503 with the cause for the edge, or 200 without.
pub(super) fn with_cause(cause: Option<&'static str>, body: Json<Value>) -> Response {
    match cause {
        None => body.into_response(),
        Some(cause) => {
            let cause = [(HEALTH_CAUSE, HeaderValue::from_static(cause))];
            (StatusCode::SERVICE_UNAVAILABLE, cause, body).into_response()
        }
    }
}

pub(super) fn word(is_up: bool) -> &'static str {
    if is_up { "healthy" } else { "unhealthy" }
}

/// `2026-01-31T23:59:59.123Z`.
pub(super) fn iso(at: UnixMillis) -> String {
    let nanos = i128::from(at.0) * 1_000_000;
    // Out of range only beyond the year 9999.
    let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_in_utc_with_milliseconds() {
        assert_eq!(
            iso(UnixMillis(1_704_067_200_000)),
            "2024-01-01T00:00:00.000Z"
        );
        assert_eq!(
            iso(UnixMillis(1_234_567_890_123)),
            "2009-02-13T23:31:30.123Z"
        );
    }
}
