//! `GET /api/v1/load-balancer/instances`: who lives, and which settings of theirs differ from ours. Never for strangers: it
//! names internal addresses.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Map, Value, json};

use crate::domain::InstanceRecord;
use crate::http::admin::looking;
use crate::http::health::iso;
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
    let own = own(&service, &instances);
    let shown: Vec<Value> = instances
        .iter()
        .map(|instance| show(instance, &own))
        .collect();
    Ok(Json(json!({
        "timestamp": iso(now),
        "answeredBy": service.identity.instance_id,
        "count": shown.len(),
        "instances": shown,
    })))
}

/// The entry of the instance that answers; an empty one, which differs from nobody, while it is missing.
pub(super) fn own(service: &Service, instances: &[InstanceRecord]) -> Fingerprint {
    let own = instances
        .iter()
        .find(|instance| instance.id == service.identity.instance_id);
    Fingerprint::parse(own.map_or("", |own| &own.fingerprint))
}

fn show(instance: &InstanceRecord, own: &Fingerprint) -> Value {
    let fingerprint = Fingerprint::parse(&instance.fingerprint);
    let parts: Map<String, Value> = fingerprint
        .parts()
        .map(|(name, digits)| (name.to_owned(), json!(digits)))
        .collect();
    json!({
        "instanceId": instance.id,
        "address": instance.address,
        "version": instance.version,
        "fingerprint": parts,
        "differs": own.differences(&fingerprint),
        "state": instance.state.as_str(),
        "startedAt": iso(instance.started_at),
    })
}
