//! Takes from a request who sees to their own account: by the access token, or by the session cookie, which changes
//! things only with its CSRF token. Never from anywhere else.

use std::sync::Arc;

use http::HeaderMap;

use super::session::Presented;
use super::{ApiError, Service};
use crate::app::{Origin, Owner};

/// Who looks at what is theirs.
pub(super) async fn looking(
    service: &Arc<Service>,
    headers: &HeaderMap,
    origin: Origin,
) -> Result<Owner, ApiError> {
    let app = &service.app;
    Ok(match service.cookies.presented(headers)? {
        Presented::Bearer(token) => app.owner_by_token(token, origin.now).await?,
        Presented::Cookie(token) => app.owner_by_session(token, origin.now).await?,
    })
}

/// Who changes what is theirs.
pub(super) async fn changing(
    service: &Arc<Service>,
    headers: &HeaderMap,
    origin: Origin,
) -> Result<Owner, ApiError> {
    let app = &service.app;
    Ok(match service.cookies.presented(headers)? {
        Presented::Bearer(token) => app.owner_by_token(token, origin.now).await?,
        Presented::Cookie(token) => {
            let csrf = service.cookies.csrf(headers)?;
            app.owner_by_session_and_csrf(token, csrf, origin.now)
                .await?
        }
    })
}
