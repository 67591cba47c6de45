//! `GET /api/v1/load-balancer/metrics`: the figures of this instance that a person asks for first, as JSON. Never all of
//! them: `/metrics` has those.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};

use super::instances::own;
use super::megabytes;
use crate::domain::{InstanceRecord, InstanceState};
use crate::http::admin::looking;
use crate::http::health::iso;
use crate::http::health::memory::Memory;
use crate::http::{ApiError, Service};
use crate::registry::Fingerprint;

pub(in crate::http) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    let now = origin.now;
    let instances = service.app.instances(now).await?;
    let count = |state| instances.iter().filter(|of| of.state == state).count();
    let own = own(&service, &instances);
    let differs = |of: &&InstanceRecord| {
        let other = Fingerprint::parse(&of.fingerprint);
        !own.differences(&other).is_empty()
    };
    let differing = instances.iter().filter(differs).count();
    let totals = service.metrics.totals();
    let pool = service.app.store.pool_metrics();
    let hasher = service.app.passwords.metrics();
    let memory = Memory::now();
    Ok(Json(json!({
        "timestamp": iso(now),
        "instanceId": service.identity.instance_id,
        "uptime": service.identity.started.elapsed().as_secs(),
        "requests": {
            "total": totals.requests,
            "failed": totals.failed,
            "inFlight": totals.in_flight,
            "connections": totals.connections,
        },
        "passwordHashes": { "total": hasher.hashes_total, "queued": hasher.queued },
        "database": { "open": pool.open, "idle": pool.idle, "max": pool.max },
        "memory": {
            "used": megabytes(memory.used),
            "total": megabytes(memory.total),
            "percentage": format!("{:.1}%", memory.percentage()),
        },
        "instances": {
            "ready": count(InstanceState::Ready),
            "draining": count(InstanceState::Draining),
            "differing": differing,
        },
    })))
}
