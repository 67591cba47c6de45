//! Phase 4: pages of other origins. Answers their preflights, which carry no token and need none, and says who may read an
//! answer. Refuses nobody else: whoever is no browser asks without an origin.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::admit::X_REQUEST_ID;
use super::head::{Fields, Head, HeaderEdit, Said};
use super::{Answer, Exchange};
use crate::config::{Cors, CorsPolicy};
use crate::outcome::{Cause, Outcome};
use crate::state::RouteId;

const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What endpoints might say of it.
const GOVERNED: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    PRIVATE_NETWORK,
];

/// The method that a preflight asks for, if the request is one.
pub(super) fn asked_method(head: &impl Head) -> Option<Method> {
    if *head.method() != Method::OPTIONS || !head.fields().has(&ORIGIN) {
        return None;
    }
    match head.fields().said(&ACCESS_CONTROL_REQUEST_METHOD) {
        Said::Once(method) => Method::from_bytes(method).ok(),
        Said::Never | Said::Repeatedly => None,
    }
}

impl Exchange {
    /// Takes note of the page that asks. `Some` is the answer to send now; `true` beside it means that the request is a
    /// preflight for the endpoint.
    pub(super) fn cross_origin(
        &mut self,
        route: RouteId,
        head: &impl Head,
    ) -> (Option<Answer>, bool) {
        if self.snapshot.route(route).cors.is_none() {
            return (None, false);
        }
        let snapshot = Arc::clone(&self.snapshot);
        let is_preflight = asked_method(head).is_some();
        match &snapshot.route(route).cors {
            None => (None, false),
            Some(Cors::Endpoint) => (None, is_preflight),
            Some(Cors::Edge(policy)) => {
                let origin = match head.fields().said(&ORIGIN) {
                    Said::Once(origin) if policy.allows(origin) => {
                        HeaderValue::from_bytes(origin).ok()
                    }
                    _ => None,
                };
                self.reader = origin;
                let answer = is_preflight.then(|| self.answer_preflight(policy, head));
                (answer, false)
            }
        }
    }

    fn answer_preflight(&mut self, policy: &CorsPolicy, head: &impl Head) -> Answer {
        if self.reader.is_none() {
            return self.on_failure(Cause::OriginRefused);
        }
        let names = |names: &[HeaderName]| list(names.iter().map(HeaderName::as_str));
        let headers = match &policy.headers {
            Some(allowed) => names(allowed),
            None => head
                .fields()
                .first(&ACCESS_CONTROL_REQUEST_HEADERS)
                .filter(|asked| asked.iter().all(is_of_list))
                .and_then(|asked| HeaderValue::from_bytes(asked).ok()),
        };
        let methods = list(policy.methods.iter().map(Method::as_str));
        let mut fields = vec![(ACCESS_CONTROL_MAX_AGE, policy.max_age.as_secs().into())];
        fields.extend(methods.map(|value| (ACCESS_CONTROL_ALLOW_METHODS, value)));
        fields.extend(headers.map(|value| (ACCESS_CONTROL_ALLOW_HEADERS, value)));
        for name in [
            ACCESS_CONTROL_REQUEST_METHOD,
            ACCESS_CONTROL_REQUEST_HEADERS,
        ] {
            let name = HeaderValue::from_name(name);
            fields.push((VARY, name));
        }
        if let Some(request) = &self.request {
            fields.push((X_REQUEST_ID, request.excerpt.id.clone()));
        }
        self.answered = Some(Outcome::Responded);
        self.dressed(Answer {
            status: StatusCode::NO_CONTENT,
            headers: fields,
            body: Bytes::new(),
            close: false,
        })
    }

    /// Appends who may read the answer; `is_said` is whether the endpoint says something under a name.
    pub(super) fn cors_edits(
        &self,
        is_said: &dyn Fn(&HeaderName) -> bool,
        edits: &mut Vec<HeaderEdit>,
    ) {
        let route = self.route.map(|route| self.snapshot.route(route));
        let Some(Cors::Edge(policy)) = route.and_then(|route| route.cors.as_ref()) else {
            return;
        };
        let said = GOVERNED.into_iter().filter(|name| is_said(name));
        edits.extend(said.map(HeaderEdit::Remove));
        if !policy.is_for_all() {
            edits.push(HeaderEdit::Append(VARY, HeaderValue::from_name(ORIGIN)));
        }
        let Some(reader) = &self.reader else {
            return;
        };
        let origin = match policy.is_for_all() {
            true => HeaderValue::from_static("*"),
            false => reader.clone(),
        };
        edits.push(HeaderEdit::Set(ACCESS_CONTROL_ALLOW_ORIGIN, origin));
        if policy.credentials {
            let value = HeaderValue::from_static("true");
            edits.push(HeaderEdit::Set(ACCESS_CONTROL_ALLOW_CREDENTIALS, value));
        }
        if !policy.expose.is_empty() {
            let value = list(policy.expose.iter().map(HeaderName::as_str));
            let edit = |value| HeaderEdit::Set(ACCESS_CONTROL_EXPOSE_HEADERS, value);
            edits.extend(value.map(edit));
        }
    }
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> Option<HeaderValue> {
    HeaderValue::try_from(names.collect::<Vec<_>>().join(", ")).ok()
}

fn is_of_list(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, ".contains(byte)
}
