//! `GET /api/v1/auth/sessions`, `DELETE /api/v1/auth/sessions/{id}` and `POST /api/v1/auth/logout-all`: the owner's
//! sessions. An id of somebody else's session is one that does not exist.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::health::iso;
use super::session::Presented;
use super::{ApiError, Service, body, owner};
use crate::app::Refusal;
use crate::domain::{SessionCursor, SessionId};
use crate::store::PageLimit;

/// Sessions in one answer, unless fewer are asked for.
const PAGE: u16 = 50;
/// Most that can be asked for.
const PAGE_MAX: u16 = 200;

#[derive(Serialize)]
struct Body {
    sessions: Vec<Entry>,
    /// Where to go on, as `?after=`; `null` at the end.
    next: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    began_at: String,
    last_used_at: String,
    began_from: Option<String>,
    is_current: bool,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let (after, limit) =
        question(request.uri().query().unwrap_or_default()).ok_or(ApiError::InvalidQuery(None))?;
    let owner = owner::looking(&service, request.headers(), origin).await?;
    let page = service
        .app
        .list_sessions(owner, after, limit, origin.now)
        .await?;
    let sessions = page.sessions.iter().map(|session| Entry {
        id: session.id.to_string(),
        began_at: iso(session.began_at),
        last_used_at: iso(session.used_at),
        began_from: session.began_from.map(|network| network.to_string()),
        is_current: session.id == owner.session,
    });
    let body = Body {
        sessions: sessions.collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    };
    Ok(axum::Json(body).into_response())
}

pub(super) async fn end_one(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let session = SessionId::parse(&id).ok_or(ApiError::Refused(Refusal::NoSuchSession))?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if session == owner.session && is_cookie(&service, &request) {
        service.cookies.remove(&mut response);
    }
    // To its end even when the requester leaves: durable and shared, or neither.
    body::to_the_end(async move {
        service
            .app
            .end_session_by_name(owner, session, origin)
            .await
    })
    .await?;
    Ok(response)
}

pub(super) async fn end_all(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = service.origin(&request);
    let owner = owner::changing(&service, request.headers(), origin).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if is_cookie(&service, &request) {
        service.cookies.remove(&mut response);
    }
    body::to_the_end(async move { service.app.log_out_everywhere(owner, origin).await }).await?;
    Ok(response)
}

pub(super) fn is_cookie(service: &Service, request: &Request) -> bool {
    let presented = service.cookies.presented(request.headers());
    matches!(presented, Ok(Presented::Cookie(_)))
}

/// `after=CURSOR&limit=N`, both optional, nothing else.
fn question(query: &str) -> Option<(Option<SessionCursor>, PageLimit)> {
    let (mut after, mut limit) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("after", cursor) if after.is_none() => after = Some(SessionCursor::parse(cursor)?),
            ("limit", rows) if limit.is_none() => {
                let rows = rows
                    .parse()
                    .ok()
                    .filter(|rows| (1..=PAGE_MAX).contains(rows));
                limit = Some(rows?);
            }
            _ => return None,
        }
    }
    Some((after, PageLimit::new(limit.unwrap_or(PAGE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_strictly() {
        assert_eq!(question(""), Some((None, PageLimit::new(PAGE))));
        let id = SessionId::from_random([1; 16]);
        let (after, limit) = question(&format!("limit=200&after=7.{id}")).unwrap();
        assert_eq!((after.unwrap().id, limit.rows()), (id, 200));
        for bad in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=",
            "limit=1&limit=1",
            "after=7",
            "after=",
            "offset=1",
            "limit",
        ] {
            assert_eq!(question(bad), None, "{bad}");
        }
    }
}
