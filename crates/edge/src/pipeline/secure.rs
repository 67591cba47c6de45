//! Phase 8: fields that make browsers careful, and the way from plain HTTP to TLS. Never sends a promise of TLS over plain
//! HTTP, and never repeats a host that the configuration does not name.

use http::header::{LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{HeaderName, HeaderValue, StatusCode};

use super::admit::X_REQUEST_ID;
use super::head::{Head, HeaderEdit};
use super::{Answer, Exchange};
use crate::outcome::{Cause, Outcome};

/// What certificate authorities ask for over plain HTTP (RFC 8555, 8.3).
const ACME: &str = "/.well-known/acme-challenge/";

impl Exchange {
    /// Appends the fields of the route or else of the listener; `is_said` is whether the endpoint says something under a
    /// name.
    pub(super) fn security_edits(
        &self,
        is_said: &dyn Fn(&HeaderName) -> bool,
        edits: &mut Vec<HeaderEdit>,
    ) {
        let of_route = self.route.map(|route| self.snapshot.route(route));
        let of_route = of_route.and_then(|route| route.security_headers.as_ref());
        let of_listener = self.connection.listener.security_headers.as_ref();
        let Some(policy) = of_route.or(of_listener) else {
            return;
        };
        let removed = policy.removed.iter().filter(|name| is_said(name));
        edits.extend(removed.cloned().map(HeaderEdit::Remove));
        let is_https = self.request.as_ref().is_some_and(|one| one.is_https);
        let hsts = policy.hsts.iter().filter(|_| is_https);
        let hsts = hsts.map(|value| (STRICT_TRANSPORT_SECURITY, value.clone()));
        let wanted = policy.fields.iter().cloned().chain(hsts);
        let set = wanted.filter(|(name, _)| policy.overwrites || !is_said(name));
        edits.extend(set.map(|(name, value)| HeaderEdit::Set(name, value)));
    }

    /// The way to TLS, where the listener sends everybody there.
    pub(super) fn send_to_https(&mut self, head: &impl Head, path: &str) -> Option<Answer> {
        let port = self.connection.listener.redirect_to_https?;
        let request = self.request.as_ref()?;
        if request.is_https || path.starts_with(ACME) {
            return None;
        }
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        let host = snapshot.named_host(head.authority().unwrap_or_default());
        let Some(host) = host else {
            return Some(self.on_failure(Cause::NoRoute));
        };
        let port = match port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let query = head.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        let path = if path.starts_with('/') { path } else { "/" };
        let location = HeaderValue::try_from(format!("https://{host}{port}{path}{query}"));
        let Ok(location) = location else {
            return Some(self.on_failure(Cause::HeadMalformed));
        };
        self.answered = Some(Outcome::Redirected);
        Some(Answer {
            status: StatusCode::PERMANENT_REDIRECT,
            headers: vec![
                (LOCATION, location),
                (X_REQUEST_ID, request.excerpt.id.clone()),
            ],
            body: bytes::Bytes::new(),
            close: false,
        })
    }
}
