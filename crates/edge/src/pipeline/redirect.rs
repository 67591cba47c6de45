//! Answers that a route gives by itself: redirects and fixed ones. Never repeats a host that neither
//! the route nor the configuration names.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_traffic::route::plain_path;

use super::Answer;
use super::admit::{Request, X_REQUEST_ID};
use super::head::Head;
use super::rewrite;
use crate::config::{Location, Redirect, Respond};
use crate::outcome::Cause;
use crate::state::Snapshot;

/// Clients and proxies take no longer ones.
const LOCATION_BYTES_MAX: usize = 64 * 1024;

/// Sends the client elsewhere.
pub(super) fn redirect(
    to: &Redirect,
    head: &impl Head,
    request: &Request,
    snapshot: &Snapshot,
) -> Result<Answer, Cause> {
    let mut location = match &to.location {
        Location::Fixed(address) => address.clone(),
        Location::Changed {
            scheme,
            host,
            port,
            path,
        } => {
            let own = if request.is_https { "https" } else { "http" };
            let origin = match (scheme, host, port) {
                (None, None, None) => String::new(),
                (scheme, host, port) => {
                    let scheme = scheme.map_or(own, |scheme| scheme.name());
                    let host = match host {
                        Some(host) => host.as_str(),
                        None => snapshot
                            .named_host(head.authority().unwrap_or_default())
                            .ok_or(Cause::NoRoute)?,
                    };
                    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                    format!("{scheme}://{host}{port}")
                }
            };
            let asked = plain_path(head.path());
            let path = rewrite::path(path, &asked, LOCATION_BYTES_MAX)?;
            let path = path.as_deref().unwrap_or(&asked);
            // Two slashes at the beginning would name another host.
            let below = path.trim_start_matches(['/', '\\']);
            format!("{origin}/{below}")
        }
    };
    if let Some(query) = head.query().filter(|_| to.keeps_query) {
        location.push(if location.contains('?') { '&' } else { '?' });
        location.push_str(query);
    }
    // Line ends and control characters are no header value.
    let location = HeaderValue::try_from(location).map_err(|_| Cause::HeadMalformed)?;
    Ok(answer(to.status, vec![(LOCATION, location)], request))
}

/// A fixed answer.
pub(super) fn respond(with: &Respond, request: &Request) -> Answer {
    let mut headers = Vec::with_capacity(4);
    if !with.body.is_empty() {
        headers.push((CONTENT_TYPE, with.content_type.clone()));
    }
    Answer {
        body: with.body.clone(),
        ..answer(with.status, headers, request)
    }
}

fn answer(
    status: StatusCode,
    mut headers: Vec<(HeaderName, HeaderValue)>,
    request: &Request,
) -> Answer {
    headers.push((X_REQUEST_ID, request.excerpt.id.clone()));
    Answer {
        status,
        headers,
        body: bytes::Bytes::new(),
        close: false,
    }
}
