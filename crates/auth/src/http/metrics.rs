//! `GET /metrics`: Prometheus text exposition.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use super::health::memory::Memory;
use super::{ApiError, Service};
use crate::app::Refusal;
use crate::metrics::Snapshot;

pub(super) async fn handle(State(service): State<Arc<Service>>) -> Result<Response, ApiError> {
    let dependencies = service.dependencies().await;
    let snapshot = Snapshot {
        is_ready: service.unready_cause().await.is_none(),
        database_up: dependencies.is_database_up,
        shared_state_up: dependencies.is_shared_state_up,
        store_connections: service.app.store.pool_metrics(),
        topology: service.app.store.topology(),
        resident_bytes: Memory::now().used,
        signatures: service.app.keys.signatures(),
        hasher: service.app.passwords.metrics(),
        breakers: service.app.breakers.views(),
        usage: service.app.shared.usage().await.ok().flatten(),
    };
    let text = service
        .metrics
        .render(snapshot)
        .map_err(|error| Refusal::Internal(error.into()))?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
