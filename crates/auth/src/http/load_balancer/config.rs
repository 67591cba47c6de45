//! `GET /api/v1/load-balancer/config`: what this instance runs with. Never a secret: of those, only whether they are set.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde_json::{Value, json};

use crate::config::Config;
use crate::http::admin::looking;
use crate::http::{ApiError, Service};

pub(in crate::http) async fn handle(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let origin = service.origin(&request);
    looking(&service, request.headers(), origin).await?;
    Ok(Json(service.settings.clone()))
}

/// The settings as they are shown, once made at start.
pub(crate) fn settings(config: &Config, shared_state: &str) -> Value {
    let Config {
        tokens,
        sessions,
        keys,
        ..
    } = config;
    let proxies: Vec<String> = config
        .instance
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "instanceId": config.instance.id,
        "version": config.instance.version,
        "environment": config.environment.as_str(),
        "stateless": true,
        "tokens": {
            "issuer": tokens.issuer,
            "audience": tokens.audience,
            "accessSeconds": tokens.access_ttl.as_secs(),
            "refreshIdleSeconds": tokens.refresh_idle_ttl.as_secs(),
            "refreshAbsoluteSeconds": tokens.refresh_absolute_ttl.as_secs(),
            "algorithm": keys.algorithm.name(),
            "rotationSeconds": keys.rotation_interval.map(|interval| interval.as_secs()),
            "privateKey": is_set(keys.given.is_some()),
        },
        "sessions": {
            "enabled": sessions.is_enabled,
            "seconds": sessions.ttl.as_secs(),
            "idleSeconds": sessions.idle_ttl.as_secs(),
            "cookieName": sessions.cookie_name,
            "secure": sessions.is_secure,
            "sameSite": sessions.same_site.as_str(),
        },
        "stores": {
            "sharedState": shared_state,
            "databasePoolSize": config.database.pool_size.get(),
            "databaseMaxOverflow": config.database.max_overflow,
        },
        "securitySalt": is_set(config.passwords.pepper.is_some()),
        "keyEncryptionKey": is_set(true),
        "hashWorkers": config.passwords.hash_workers.get(),
        "rateLimitEnabled": config.limits.slows_guessing,
        "trustedProxies": proxies,
        "shutdownTimeoutMs": config.instance.shutdown_timeout.as_millis() as u64,
        "drainDelayMs": config.instance.drain_delay.as_millis() as u64,
    })
}

fn is_set(is_set: bool) -> &'static str {
    if is_set { "set" } else { "not set" }
}
