//! `/api/v1/admin/settings`: what may change while instances run, and where its value comes from.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{changing, looking};
use crate::http::health::iso;
use crate::http::{ApiError, Service, body};
use crate::live::Shown;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    value: String,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    Ok(answer(&service.app.settings().await?))
}

pub(super) async fn set(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let Body { value } = body::decode(request).await?;
    let changed = body::to_the_end(async move {
        let app = &service.app;
        app.change_setting(administrator, &name, Some(value.trim()), origin)
            .await
    });
    Ok(answer(&changed.await?))
}

pub(super) async fn reset(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let administrator = changing(&service, request.headers(), origin).await?;
    let changed = body::to_the_end(async move {
        let app = &service.app;
        app.change_setting(administrator, &name, None, origin).await
    });
    Ok(answer(&changed.await?))
}

fn answer(settings: &[Shown]) -> Response {
    let shown: Vec<Value> = settings.iter().map(show).collect();
    axum::Json(json!({ "settings": shown })).into_response()
}

fn show(setting: &Shown) -> Value {
    let stored = setting.stored.as_ref();
    json!({
        "name": setting.variable.name,
        "value": setting.value,
        "source": setting.source.as_str(),
        "default": setting.variable.default,
        "meaning": setting.variable.meaning,
        "stored": stored.and_then(|row| row.value.as_deref()),
        "version": stored.map(|row| row.version),
        "changed_at": stored.map(|row| iso(row.changed_at)),
        "changed_by": stored.map(|row| row.changed_by.as_str()),
    })
}
