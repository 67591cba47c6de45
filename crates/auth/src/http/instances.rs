//! `GET /api/v1/load-balancer/instances`: who lives, for administrators. Never for
//! strangers: it names internal addresses.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};

use super::health::iso;
use super::{ApiError, Service, bearer, now};

pub(super) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let now = now();
    let instances = service
        .app
        .instances(bearer::token(request.headers())?, now)
        .await?;
    let instances: Vec<Value> = instances
        .iter()
        .map(|instance| {
            json!({
                "instanceId": instance.id,
                "address": instance.address,
                "version": instance.version,
                "fingerprint": instance.fingerprint,
                "state": instance.state.as_str(),
                "startedAt": iso(instance.started_at),
            })
        })
        .collect();
    Ok(Json(
        json!({ "timestamp": iso(now), "count": instances.len(), "instances": instances }),
    ))
}
