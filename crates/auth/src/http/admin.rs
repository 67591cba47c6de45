//! Everything under `/api/v1/admin`, and who may ask for it: holders of the role `admin`, by access token or, with its
//! CSRF token for changes, by session cookie. Never decides anything itself.

mod audit;
mod clients;
mod roles;
mod settings;
mod users;

use axum::routing::{delete, get, post, put};
use http::HeaderMap;

use super::session::Presented;
use super::{ApiError, Route, Service};
use crate::app::{Administrator, Origin, Refusal};
use crate::domain::AccountId;
use crate::store::PageLimit;

/// Entries in one answer, unless fewer or more are asked for.
const PAGE: u16 = 50;
const PAGE_MAX: u16 = 200;

/// Every path.
pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/api/v1/admin/users", get(users::list)),
        ("/api/v1/admin/users/{id}", get(users::show)),
        ("/api/v1/admin/users/{id}/disable", post(users::disable)),
        ("/api/v1/admin/users/{id}/enable", post(users::enable)),
        ("/api/v1/admin/users/{id}/roles", put(users::set_roles)),
        ("/api/v1/admin/users/{id}/tier", put(users::set_tier)),
        ("/api/v1/admin/users/{id}/mfa", delete(users::reset_factors)),
        ("/api/v1/admin/users/{id}/api-keys", get(users::keys)),
        (
            "/api/v1/admin/users/{id}/sessions",
            get(users::sessions).delete(users::end_sessions),
        ),
        (
            "/api/v1/admin/users/{id}/sessions/{session}",
            delete(users::end_session),
        ),
        ("/api/v1/admin/roles", get(roles::list)),
        (
            "/api/v1/admin/roles/{name}",
            get(roles::read).put(roles::define).delete(roles::remove),
        ),
        ("/api/v1/admin/clients", get(clients::list)),
        (
            "/api/v1/admin/clients/{name}",
            put(clients::put).delete(clients::remove),
        ),
        (
            "/api/v1/admin/clients/{name}/api-keys",
            get(clients::keys).post(clients::create_key),
        ),
        ("/api/v1/admin/audit", get(audit::list)),
        ("/api/v1/admin/settings", get(settings::list)),
        (
            "/api/v1/admin/settings/{name}",
            put(settings::set).delete(settings::reset),
        ),
    ]
}

/// An administrator who looks.
pub(super) async fn looking(
    service: &Service,
    headers: &HeaderMap,
    origin: Origin,
) -> Result<Administrator, ApiError> {
    let app = &service.app;
    Ok(match service.cookies.presented(headers)? {
        Presented::Bearer(token) => app.administrator_by_token(token, origin.now).await?,
        Presented::Cookie(token) => {
            app.administrator_by_session(token, None, origin.now)
                .await?
        }
    })
}

/// An administrator who changes something.
pub(super) async fn changing(
    service: &Service,
    headers: &HeaderMap,
    origin: Origin,
) -> Result<Administrator, ApiError> {
    let app = &service.app;
    Ok(match service.cookies.presented(headers)? {
        Presented::Bearer(token) => app.administrator_by_token(token, origin.now).await?,
        Presented::Cookie(token) => {
            let csrf = Some(service.cookies.csrf(headers)?);
            app.administrator_by_session(token, csrf, origin.now)
                .await?
        }
    })
}

/// The account that a path names.
fn account(id: &str) -> Result<AccountId, ApiError> {
    AccountId::parse(id).ok_or(ApiError::Refused(Refusal::NoSuchAccount))
}

fn limit(text: &str) -> Option<PageLimit> {
    let rows = text.parse().ok()?;
    (1..=PAGE_MAX).contains(&rows).then(|| PageLimit::new(rows))
}

fn default_limit() -> PageLimit {
    PageLimit::new(PAGE)
}

#[cfg(test)]
mod tests;
