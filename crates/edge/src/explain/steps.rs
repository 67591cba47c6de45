//! The steps of a request in their order, each in a sentence. Never decides: it says what was found.

use portcullis_traffic::select::Why;
use serde_json::{Value, json};

use super::Explained;
use super::play::{Ended, host};
use super::told::{limit_result, pattern};
use crate::affinity::Bond;
use crate::cluster::Would;
use crate::config::{Action, HashKey, SplitBy};
use crate::gate::{Gate, Opinion};
use crate::outcome::{Outcome, TokenResult};
use crate::pipeline::{AskedLimit, Findings, Head, told};
use crate::state::{RouteState, Target};

/// Sentences in their order.
struct Steps(Vec<Value>);

impl Steps {
    fn add(&mut self, step: &str, result: &str, says: impl Into<String>) {
        let says: String = says.into();
        self.0
            .push(json!({ "step": step, "result": result, "says": says }));
    }
}

/// All of them, up to where the request comes.
pub(super) fn steps(explained: &Explained<'_>, findings: Option<&Findings<'_>>) -> Value {
    let mut steps = Steps(Vec::new());
    let listener = &explained.connection.listener;
    let speaks = if listener.is_tls { "TLS" } else { "plain HTTP" };
    let found = format!("{} on port {}, {speaks}", listener.name, listener.port);
    steps.add("listener", "found", found);
    match (explained.ended(), findings) {
        (Ended::Refused, _) => {
            let client = explained.connection.client.ip().to_canonical();
            let by = match explained.edge.bans.contains(client) {
                true => "a ban keeps it out",
                false => "the lists of the listener keep it out",
            };
            let says = format!("connections of {client} are closed at once: {by}");
            steps.add("connection", "refused", says);
        }
        (Ended::Unreadable(cause), None) => {
            let told = told(*cause);
            let (status, outcome) = (told.status.as_u16(), told.outcome.name());
            let says = format!("this is no request that is read: {status} {outcome}");
            steps.add("head", "refused", says);
        }
        (ended, Some(findings)) => {
            admission(&mut steps, explained, findings);
            if let Some(route) = findings.route {
                of_route(&mut steps, findings, route);
            }
            end(&mut steps, explained, findings, ended);
        }
        (_, None) => {}
    }
    Value::Array(steps.0)
}

/// Who asks for what, and whether a route takes it.
fn admission(steps: &mut Steps, explained: &Explained<'_>, findings: &Findings<'_>) {
    let peer = explained.connection.client.ip().to_canonical();
    let client = match (findings.client, findings.is_peer_trusted) {
        (Some(client), true) if client != peer => {
            format!("{client}, as the trusted proxy {peer} says")
        }
        (Some(client), true) => format!("{client}, a trusted proxy that names nobody else"),
        (Some(client), false) => client.to_string(),
        (None, _) => peer.to_string(),
    };
    steps.add("client", "found", client);
    let gate = findings
        .snapshot
        .listener_gate(explained.connection.listener.index);
    opinion(steps, "the listener", gate, findings);
    if let Some(path) = findings.path {
        let says = format!("goes by {path}, which is what was sent in its plain spelling");
        steps.add("path", "changed", says);
    }
    match (findings.route, findings.outcome) {
        (Some(route), _) => {
            let says = format!(
                "{}: {}",
                route.name,
                pattern(findings.snapshot, &route.pattern)
            );
            steps.add("route", "found", says);
        }
        (None, Some(Outcome::RefusedNoRoute)) => {
            let head = explained.head();
            let host = head.as_ref().map_or("", |head| host(head));
            let path = head.as_ref().map_or("", |head| head.path());
            let says = format!("none takes {host} {path}");
            steps.add("route", "refused", says);
        }
        (None, _) => {}
    }
}

/// What a list says of the client.
fn opinion(steps: &mut Steps, of: &str, gate: Option<&Gate>, findings: &Findings<'_>) {
    let (Some(gate), Some(client)) = (gate, findings.client) else {
        return;
    };
    let (result, says) = match gate.opinion(client) {
        Opinion::Passes => ("passes", "let the client in"),
        Opinion::WouldBeRefused => ("would refuse", "would keep the client out, but run dry"),
        Opinion::Refused => ("refused", "keep the client out"),
    };
    steps.add("clients", result, format!("the lists of {of} {says}"));
}

/// What the route asks and does.
fn of_route(steps: &mut Steps, findings: &Findings<'_>, route: &RouteState) {
    opinion(steps, "the route", route.gate.as_ref(), findings);
    if let (Some(maintenance), Some(client)) = (&route.maintenance, findings.client) {
        let (result, says) = match maintenance.lets_in(client) {
            true => ("passes", "closed, but not for this client"),
            false => ("refused", "closed"),
        };
        steps.add("maintenance", result, says);
    }
    let (before, after): (Vec<_>, Vec<_>) = findings.limits.iter().partition(|(position, _)| {
        let limiter = findings.snapshot.limiter(*position);
        limiter.is_some_and(|limiter| !limiter.policy.needs_token())
    });
    before
        .into_iter()
        .for_each(|one| limit(steps, findings, one));
    if let Some(result) = findings.token {
        token(steps, findings, route, result);
    }
    after
        .into_iter()
        .for_each(|one| limit(steps, findings, one));
    if let Some(target) = findings.target {
        of_target(steps, findings, route, target);
    }
}

fn limit(steps: &mut Steps, findings: &Findings<'_>, one: &(usize, Option<AskedLimit>)) {
    let (position, asked) = one;
    let Some(limiter) = findings.snapshot.limiter(*position) else {
        return;
    };
    let result = limit_result(asked.as_ref(), limiter.policy.is_dry_run);
    let verdict = asked.and_then(|asked| asked.verdict);
    let running = asked.and_then(|asked| asked.running.zip(asked.may_run));
    let mut says = limiter.name().to_owned();
    if let Some(verdict) = verdict {
        let (left, limit) = (verdict.remaining, verdict.limit);
        says.push_str(&format!(": {left} of {limit} left after it"));
        if !verdict.is_admitted {
            let wait = verdict.retry_after.as_secs_f64().ceil();
            says.push_str(&format!(", again in {wait} s"));
        }
    }
    if let Some((running, may_run)) = running {
        says.push_str(&format!(": {running} of {may_run} run"));
    }
    steps.add("limit", result, says);
}

fn token(steps: &mut Steps, findings: &Findings<'_>, route: &RouteState, result: TokenResult) {
    let mut says = match findings.passport {
        Some(passport) => format!("of {}", passport.claims.subject()),
        None => result.name().replace('_', " "),
    };
    if let Some(auth) = &route.auth {
        if !auth.roles.is_empty() {
            says.push_str(&format!("; one of the roles {}", auth.roles.join(", ")));
        }
        if !auth.scopes.is_empty() {
            says.push_str(&format!("; all scopes {}", auth.scopes.join(", ")));
        }
    }
    if result == TokenResult::UnknownKey {
        says.push_str("; a real request may first wait for newer keys of the issuer");
    }
    let word = match result.cause() {
        Some(_) => "refused",
        None => "passes",
    };
    steps.add("token", word, says);
}

fn of_target(steps: &mut Steps, findings: &Findings<'_>, route: &RouteState, target: &Target) {
    let name = target.cluster.name();
    let by = route
        .targets
        .as_ref()
        .and_then(|targets| targets.now().by.clone());
    let says = match (&by, findings.split_key) {
        (Some(SplitBy::OwnCookie), Some(key)) => {
            format!("{name}, by the drawn number {key:016x}, which a cookie keeps from then on")
        }
        (Some(SplitBy::OwnCookie), None) => format!("{name}, by the cookie portcullis_split"),
        (Some(SplitBy::Cookie(cookie)), _) => {
            format!("{name}, by the cookie {cookie}, or else the client's address")
        }
        (Some(SplitBy::Header(header)), _) => {
            format!("{name}, by the header {header}, or else the client's address")
        }
        (None, _) => name.to_owned(),
    };
    let result = if by.is_some() { "chosen" } else { "found" };
    steps.add("cluster", result, says);
    if let Some(rewritten) = findings.rewritten {
        steps.add(
            "rewrite",
            "changed",
            format!("the endpoint is asked for {rewritten}"),
        );
    }
    if let Some(says) = affinity(findings.bond, target) {
        steps.add("affinity", "read", says);
    }
    if let Some(key) = target.cluster.hash_key() {
        let says = match findings.balancing_key {
            Some(bytes) => format!(
                "goes by the hash of {} ({} bytes)",
                hashed(key),
                bytes.len()
            ),
            None => format!("has no {}, so it goes where its turn is", hashed(key)),
        };
        steps.add("hash", "read", says);
    }
}

fn affinity(bond: Bond, target: &Target) -> Option<String> {
    target.cluster.affinity()?;
    let bound = bond.endpoint().and_then(|id| target.cluster.bound_to(id));
    let endpoints = target.cluster.endpoints().iter();
    let bound = bound.and_then(|id| endpoints.clone().find(|one| one.id() == id));
    Some(match (bond, bound) {
        (Bond::None, _) => "the client belongs to no endpoint yet".to_owned(),
        (_, Some(endpoint)) => format!("the client belongs to {}", endpoint.label()),
        (Bond::Cookie(_), None) => "its cookie names an endpoint that is gone".to_owned(),
        (Bond::Value { .. }, None) => "its value points at an endpoint by hash".to_owned(),
    })
}

fn hashed(key: &HashKey) -> String {
    match key {
        HashKey::Source => "the client's address".to_owned(),
        HashKey::Path => "the path".to_owned(),
        HashKey::Host => "the host".to_owned(),
        HashKey::Header(name) => format!("header {name}"),
        HashKey::Cookie(name) => format!("cookie {name}"),
        HashKey::Query(name) => format!("query {name}"),
    }
}

/// What comes of it.
fn end(steps: &mut Steps, explained: &Explained<'_>, findings: &Findings<'_>, ended: &Ended) {
    let decided = explained.decided.as_ref();
    let rehearsed = decided.and_then(|decided| decided.rehearsed.as_ref());
    match ended {
        Ended::Reaches(endpoint, because) => {
            let says = format!("{}, {}", endpoint.label(), why(*because));
            steps.add("endpoint", "chosen", says);
        }
        Ended::Waits {
            before,
            for_at_most,
        } => {
            let most = for_at_most.as_secs_f64();
            let says =
                format!("all are busy: it waits behind {before} others, for {most} s at most");
            steps.add("endpoint", "waits", says);
        }
        Ended::Answered(answer) => {
            let status = answer.status.as_u16();
            let outcome = findings.outcome.map_or("", Outcome::name);
            let by_itself = matches!(
                findings.outcome,
                Some(Outcome::Redirected | Outcome::Responded)
            );
            if rehearsed.is_some_and(|one| matches!(one.would, Would::Fail(_))) {
                steps.add("endpoint", "refused", "there is none that takes it");
            }
            let result = if by_itself { "answers" } else { "refused" };
            let by = match findings.route.map(|route| &route.action) {
                Some(Action::Redirect(_)) if by_itself => "the route redirects",
                Some(Action::Respond(_)) if by_itself => "the route answers",
                _ if by_itself => "the edge answers by itself",
                _ => "the edge refuses",
            };
            steps.add("answer", result, format!("{by}: {status} {outcome}"));
        }
        Ended::Refused | Ended::Unreadable(_) => {}
    }
}

/// How an endpoint came to be chosen.
pub(super) fn why(why: Why) -> &'static str {
    match why {
        Why::Bound => "since the client belongs to it",
        Why::Balanced => "as the balance rule says",
        Why::Spilled => "as the preferred tier or zone is short of endpoints",
        Why::Panic => "as a last resort: nobody is eligible",
    }
}
