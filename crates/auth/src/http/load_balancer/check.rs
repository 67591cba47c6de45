//! `POST /api/v1/load-balancer/health-check`: asks the dependencies now, whatever they said a moment ago. Never for strangers:
//! each question is work for the database.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::named;
use crate::http::admin::changing;
use crate::http::health::iso;
use crate::http::{ApiError, Service, now};

pub(in crate::http) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    changing(&service, request.headers(), origin).await?;
    let started = Instant::now();
    let dependencies = service.dependencies.ask(&service.app).await.for_writing();
    let cause = service.unready_cause().await;
    let is_healthy = cause.is_none() && dependencies.are_up();
    let body = json!({
        "status": if is_healthy { "healthy" } else { "unhealthy" },
        "timestamp": iso(now()),
        "instanceId": service.identity.instance_id,
        "responseTime": format!("{}ms", started.elapsed().as_millis()),
        "ready": cause.is_none(),
        "cause": cause,
        "dependencies": named(&service, dependencies),
    });
    let status = if is_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((status, Json(body)).into_response())
}
