//! `GET /api/v1/load-balancer/health`: everything a balancer may want to know
//! about one instance.

pub(super) mod check;
pub(crate) mod config;
pub(super) mod instances;
pub(super) mod metrics;

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use portcullis_token::headers::HEALTH_CAUSE_DRAINING;
use serde_json::{Value, json};

use super::health::memory::Memory;
use super::health::{iso, with_cause, word};
use super::{Service, now};
use crate::app::health::Dependencies;

pub(super) async fn handle(State(service): State<Arc<Service>>) -> Response {
    let started = Instant::now();
    let dependencies = service.dependencies().await;
    let cause = service.unready_cause().await;
    let status = match cause {
        None if dependencies.are_up() => "healthy",
        None => "degraded",
        Some(HEALTH_CAUSE_DRAINING) => "draining",
        Some(_) => "unhealthy",
    };
    let memory = Memory::now();
    let body = json!({
        "status": status,
        "timestamp": iso(now()),
        "instanceId": service.identity.instance_id,
        "responseTime": format!("{}ms", started.elapsed().as_millis()),
        "uptime": service.identity.started.elapsed().as_secs(),
        "loadBalancer": {
            "ready": cause.is_none(),
            "stateless": true,
            "sessionStore": service.app.shared.kind(),
            "cacheStore": service.app.shared.kind(),
        },
        "dependencies": named(&service, dependencies),
        "resources": {
            "memory": {
                "used": megabytes(memory.used),
                "total": megabytes(memory.total),
                "percentage": format!("{:.1}%", memory.percentage()),
            },
        },
    });
    with_cause(cause, Json(body))
}

/// Whether each dependency answers, by its name.
fn named(service: &Service, dependencies: Dependencies) -> Value {
    let shared_state = word(dependencies.is_shared_state_up);
    let mut named = json!({
        "database": word(dependencies.is_database_up),
        "shared_state": shared_state,
    });
    if service.app.shared.kind() == "redis" {
        named["redis"] = json!(shared_state);
    }
    named
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}MB", bytes as f64 / (1024.0 * 1024.0))
}
