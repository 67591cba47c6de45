//! What the matched route does with one request: where it goes, what is changed on the way. Never
//! finds the route.

use std::sync::Arc;

use http::HeaderValue;
use http::header::{HOST, SET_COOKIE};

use super::admit::Request;
use super::changes::{self, Facts};
use super::head::{Fields, Head, HeaderEdit};
use super::{Answer, Exchange, idempotency, redirect, rewrite, select, split, unix_seconds};
use crate::affinity::hide_cookies;
use crate::config::{Action, HostChange};
use crate::outcome::{Cause, Outcome};
use crate::state::{RouteId, RouteState};

impl Exchange {
    /// What the route does with the request. `Err` is the answer to send now.
    pub(super) fn aim(&mut self, route: RouteId, head: &impl Head) -> Result<(), Answer> {
        let state = self.snapshot.route(route);
        let (Some(targets), Some(request)) = (&state.targets, &self.request) else {
            return Err(self.answer_by_itself(route, head));
        };
        let (target, key) = split::choose(&targets.now(), head, request, self.ids());
        self.is_keyed = state.idempotency_key && idempotency::is_keyed(head.fields());
        if let Some(affinity) = target.as_ref().and_then(|target| target.cluster.affinity()) {
            self.bond = match self.is_rehearsed() {
                true => affinity.look_up(head, unix_seconds()),
                false => affinity.recognise(head, unix_seconds()),
            };
        }
        let hash = target.as_ref().and_then(|target| target.cluster.hash_key());
        self.balancing_key = hash.and_then(|hash| select::key(hash, head, request.client));
        (self.target, self.split_key) = (target, key);
        match rewrite::target(&state.rewrite.path, head, self.limits().target_bytes) {
            Ok(rewritten) => self.rewritten = rewritten.or_else(|| self.sent_instead(head)),
            Err(cause) => return Err(self.on_failure(cause)),
        }
        Ok(())
    }

    /// The client's target with the path that it was routed by, if that is another.
    fn sent_instead(&self, head: &impl Head) -> Option<String> {
        let path = self.path.as_deref()?;
        Some(match head.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }

    /// The answer of a route that asks no endpoint.
    fn answer_by_itself(&mut self, route: RouteId, head: &impl Head) -> Answer {
        let snapshot = Arc::clone(&self.snapshot);
        let route = snapshot.route(route);
        let Some(request) = &self.request else {
            return self.on_failure(Cause::Internal);
        };
        let (outcome, answer) = match &route.action {
            Action::Redirect(to) => (
                Outcome::Redirected,
                redirect::redirect(to, head, request, &self.snapshot),
            ),
            Action::Respond(with) => (Outcome::Responded, Ok(redirect::respond(with, request))),
            Action::Cluster(_) | Action::Split(_) => (Outcome::Internal, Err(Cause::Internal)),
        };
        match answer {
            Ok(mut answer) => {
                let facts = Facts {
                    request,
                    route: &route.name,
                    cluster: "",
                };
                answer = self.dressed(answer);
                changes::apply(&route.response_headers, &facts, &mut answer.headers);
                self.answered = Some(outcome);
                answer
            }
            Err(cause) => self.on_failure(cause),
        }
    }

    /// Path and query that the endpoint is asked for, where they are not the client's.
    pub fn forwarded_target(&self) -> Option<&str> {
        self.rewritten.as_deref()
    }

    /// What the route asks for on the way to the endpoint.
    pub(super) fn route_request_edits(
        &self,
        request: &Request,
        fields: &impl Fields,
        edits: &mut Vec<HeaderEdit>,
    ) {
        let Some(route) = self.route.map(|route| self.snapshot.route(route)) else {
            return;
        };
        let host = match (&route.rewrite.host, &self.endpoint) {
            (Some(HostChange::To(host)), _) => Some(host.clone()),
            (Some(HostChange::Endpoint), Some(endpoint)) => {
                HeaderValue::from_str(endpoint.label()).ok()
            }
            _ => None,
        };
        edits.extend(host.map(|host| HeaderEdit::Set(HOST, host)));
        changes::remove_lookalikes(&route.request_headers, fields, edits);
        changes::append(&route.request_headers, &self.facts(route, request), edits);
    }

    /// What the route asks for on the way to the client.
    pub(super) fn route_response_edits(&self, request: &Request, edits: &mut Vec<HeaderEdit>) {
        let key = self.split_key;
        let cookie = key.and_then(|key| split::set_cookie(key, request.is_https));
        edits.extend(cookie.map(|cookie| HeaderEdit::Append(SET_COOKIE, cookie)));
        if let Some(route) = self.route.map(|route| self.snapshot.route(route)) {
            changes::append(&route.response_headers, &self.facts(route, request), edits);
        }
    }

    /// Cookies that are ours alone: of affinity and of splits.
    pub(super) fn hide_own_cookies(&self, fields: &impl Fields) -> Option<HeaderEdit> {
        let affinity = self.cluster().and_then(|cluster| cluster.affinity());
        let of_affinity = affinity.and_then(|affinity| affinity.cookie_name());
        let of_splits = split::COOKIE_NAME;
        hide_cookies(fields, &[of_splits, of_affinity.unwrap_or(of_splits)])
    }

    fn facts<'a>(&'a self, route: &'a RouteState, request: &'a Request) -> Facts<'a> {
        Facts {
            request,
            route: &route.name,
            cluster: self.cluster().map_or("", |cluster| cluster.name()),
        }
    }
}
