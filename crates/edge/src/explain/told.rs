//! An explanation as a JSON document. Never shows what may be a secret of the configuration.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::HeaderValue;
use portcullis_ops::tells_of_secret;
use portcullis_traffic::containment::Obstacle;
use portcullis_traffic::endpoint::EndpointId;
use portcullis_traffic::select::{Balance, Candidate, Skipped};
use serde_json::{Value, json};

use super::play::{Decided, Ended};
use super::{Explained, steps};
use crate::cluster::{Cluster, EndpointStatus, Rehearsed, obstacle_name};
use crate::config::{HostPattern, PathPattern, Pattern};
use crate::pipeline::{AskedLimit, Findings, HeaderEdit, Missed, asked_for, told};
use crate::state::{RouteState, Snapshot};

/// More routes than somebody reads.
pub(super) const ROUTES_MAX: usize = 20;
/// More endpoints than somebody reads.
const ENDPOINTS_MAX: usize = 1_000;

/// The whole explanation.
pub(super) fn document(explained: &Explained<'_>, now: Instant) -> Value {
    let Explained {
        asked, connection, ..
    } = explained;
    let findings = explained.exchange.as_ref().map(|one| one.findings());
    let route = findings.as_ref().and_then(|found| found.route);
    let target = findings.as_ref().and_then(|found| found.target);
    let decided = explained.decided.as_ref();
    let rehearsed = decided.and_then(|decided| decided.rehearsed.as_ref());
    json!({
        "seed": format!("{:016x}", explained.seed),
        "request": {
            "method": asked.method,
            "target": asked.target,
            "host": asked.host(),
            "listener": connection.listener.name,
            "from": connection.client.ip().to_canonical().to_string(),
            "client": findings.as_ref().and_then(|found| found.client).map(|ip| ip.to_string()),
            "scheme": findings.as_ref().map(|found| if found.is_https { "https" } else { "http" }),
        },
        "ends": ends(explained, findings.as_ref()),
        "steps": steps::steps(explained, findings.as_ref()),
        "route": findings.as_ref().and_then(|found| Some(route_told(found.snapshot, found.route?))),
        "other_routes": findings.as_ref().map(|found| other_routes(explained, found)),
        "limits": findings.as_ref().map(limits),
        "token": findings.as_ref().and_then(token),
        "cluster": target.map(|target| target.cluster.name()),
        "balance": target.map(|target| balance(target.cluster.balance())),
        "shares": route.and_then(shares),
        "endpoints": rehearsed.map(|rehearsed| endpoints(rehearsed, chosen(decided), now)),
        "sent": decided.and_then(|decided| sent(explained, decided, findings.as_ref())),
        "timeouts": target.map(|target| timeouts(&target.cluster)),
        "retries": target.map(|target| retries(&target.cluster, findings.as_ref())),
    })
}

fn chosen(decided: Option<&Decided>) -> Option<EndpointId> {
    match &decided?.ended {
        Ended::Reaches(endpoint, _) => Some(endpoint.id()),
        _ => None,
    }
}

/// What becomes of it at last.
fn ends(explained: &Explained<'_>, findings: Option<&Findings<'_>>) -> Value {
    match explained.ended() {
        Ended::Refused => json!({
            "by": "edge",
            "status": null,
            "outcome": "refused_client",
            "says": "the connection is closed before anything is read from it",
        }),
        Ended::Unreadable(cause) => {
            let told = told(*cause);
            json!({
                "by": "edge",
                "status": told.status.as_u16(),
                "outcome": told.outcome.name(),
            })
        }
        Ended::Answered(answer) => json!({
            "by": "edge",
            "status": answer.status.as_u16(),
            "outcome": findings.and_then(|found| found.outcome).map(|outcome| outcome.name()),
            "headers": answer.headers.iter().map(|(name, value)| {
                json!([name.as_str(), shown(name.as_str(), value)])
            }).collect::<Vec<_>>(),
        }),
        Ended::Waits {
            before,
            for_at_most,
        } => json!({
            "by": "queue",
            "before": before,
            "for_at_most_seconds": for_at_most.as_secs_f64(),
        }),
        Ended::Reaches(endpoint, why) => json!({
            "by": "endpoint",
            "endpoint": endpoint.label(),
            "why": steps::why(*why),
        }),
    }
}

/// A value, unless its name says that it may be a secret.
fn shown(name: &str, value: &HeaderValue) -> String {
    match tells_of_secret(name) {
        true => "(hidden)".to_owned(),
        false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
    }
}

/// Which requests a route takes.
pub(super) fn pattern(snapshot: &Snapshot, pattern: &Pattern) -> String {
    let host = match &pattern.host {
        HostPattern::Any => "any host".to_owned(),
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(name) => format!("*.{name}"),
    };
    let path = match &pattern.path {
        PathPattern::Exact(path) => format!("exactly {path}"),
        PathPattern::Prefix(path) => format!("{path} and below"),
        PathPattern::Regex(regex) => format!("paths like {}", regex.source()),
    };
    let mut told = format!("{host}, {path}");
    for condition in asked_for(snapshot, &pattern.conditions) {
        told.push_str(", ");
        told.push_str(&condition);
    }
    told
}

fn route_told(snapshot: &Snapshot, route: &RouteState) -> Value {
    json!({ "name": route.name, "takes": pattern(snapshot, &route.pattern) })
}

/// Those that nearly took it, or would have if another had not gone first.
fn other_routes(explained: &Explained<'_>, findings: &Findings<'_>) -> Value {
    let taken = findings.route;
    let mut others: Vec<_> = explained.compared();
    others.retain(|(route, _)| taken.is_none_or(|taken| taken.name != route.name));
    let far = |missed: &Option<Missed>| match missed {
        None => 0,
        Some(Missed::Conditions(_)) => 1,
        Some(Missed::Path) => 2,
        Some(Missed::Host) => 3,
    };
    others.sort_by(|(a, a_missed), (b, b_missed)| {
        let nearness = far(a_missed).cmp(&far(b_missed));
        nearness.then_with(|| b.pattern.cmp(&a.pattern))
    });
    let why = |missed: &Option<Missed>| match (missed, taken) {
        (None, Some(taken)) => format!("takes it, too, but {} is more specific", taken.name),
        (None, None) => "takes it, but was not asked".to_owned(),
        (Some(Missed::Host), _) => "is for other hosts".to_owned(),
        (Some(Missed::Path), _) => "is for other paths".to_owned(),
        (Some(Missed::Conditions(unmet)), _) => format!("asks for {}", unmet.join(" and for ")),
    };
    let listed = others.iter().take(ROUTES_MAX).map(|(route, missed)| {
        json!({
            "name": route.name,
            "takes": pattern(findings.snapshot, &route.pattern),
            "why_not": why(missed),
        })
    });
    json!({
        "listed": listed.collect::<Vec<_>>(),
        "more": others.len().saturating_sub(ROUTES_MAX),
    })
}

/// What a limit answers, in a word.
pub(super) fn limit_result(asked: Option<&AskedLimit>, is_dry_run: bool) -> &'static str {
    match (asked, is_dry_run) {
        (None, _) => "exempt",
        (Some(asked), _) if asked.is_admitted => "admits",
        (Some(_), true) => "would refuse",
        (Some(_), false) => "refuses",
    }
}

fn limits(findings: &Findings<'_>) -> Value {
    let told = findings.limits.iter().filter_map(|(position, asked)| {
        let limiter = findings.snapshot.limiter(*position)?;
        let verdict = asked.and_then(|asked| asked.verdict);
        Some(json!({
            "name": limiter.name(),
            "result": limit_result(asked.as_ref(), limiter.policy.is_dry_run),
            "dry_run": limiter.policy.is_dry_run,
            "cost": asked.map(|asked| asked.cost),
            "limit": verdict.map(|verdict| verdict.limit),
            "left": verdict.map(|verdict| verdict.remaining),
            "window_seconds": asked.and_then(|asked| asked.rate).map(|rate| seconds(rate.window())),
            "retry_after_seconds": verdict.map(|verdict| seconds(verdict.retry_after)),
            "running": asked.and_then(|asked| asked.running),
            "may_run": asked.and_then(|asked| asked.may_run),
        }))
    });
    told.collect()
}

fn token(findings: &Findings<'_>) -> Option<Value> {
    let result = findings.token?;
    let passport = findings.passport;
    Some(json!({
        "result": result.name(),
        "subject": passport.map(|passport| passport.claims.subject()),
        "roles": passport.map(|passport| passport.claims.roles()),
        "scope": passport.map(|passport| passport.claims.scope()),
    }))
}

fn shares(route: &RouteState) -> Option<Value> {
    let choice = route.targets.as_ref()?.now();
    choice.by.as_ref()?;
    let share = |target: &std::sync::Arc<crate::state::Target>| json!({ "cluster": target.cluster.name(), "weight": target.weight });
    Some(choice.targets.iter().map(share).collect())
}

fn balance(rule: Balance) -> &'static str {
    match rule {
        Balance::RoundRobin => "round_robin",
        Balance::LeastConn => "least_conn",
        Balance::P2c => "p2c",
        Balance::PeakEwma { .. } => "peak_ewma",
        Balance::Hash { .. } => "hash",
    }
}

fn endpoints(rehearsed: &Rehearsed, chosen: Option<EndpointId>, now: Instant) -> Value {
    let all = rehearsed.status.endpoints.iter();
    let status: HashMap<EndpointId, _> = all.map(|one| (one.endpoint.id(), one)).collect();
    let mut candidates: Vec<_> = rehearsed.candidates.iter().collect();
    // The one that it is about first, so that no cut takes it.
    candidates.sort_by_key(|(endpoint, _)| Some(endpoint.id()) != chosen);
    let told = candidates.iter().take(ENDPOINTS_MAX);
    let told = told.filter_map(|(endpoint, candidate)| {
        let status = status.get(&endpoint.id())?;
        Some(one_endpoint(status, candidate, chosen, now))
    });
    told.collect()
}

fn one_endpoint(
    status: &EndpointStatus,
    candidate: &Candidate,
    chosen: Option<EndpointId>,
    now: Instant,
) -> Value {
    let is_chosen = chosen == Some(candidate.id);
    let skipped = candidate.skipped.filter(|_| !is_chosen);
    let obstacles = status.report.obstacles.iter();
    json!({
        "address": status.endpoint.label(),
        "chosen": is_chosen,
        "skipped": skipped.map(Skipped::name),
        "state": status.state(),
        "why": obstacles.map(|one| obstacle(one, now)).collect::<Vec<_>>(),
        "tier": candidate.priority,
        "other_zone": candidate.is_elsewhere,
        "traffic_percent": candidate.traffic_percent,
        "weight": status.weight,
        "slow_start_percent": status.slow_start_percent,
        "in_flight": status.in_flight,
        "max_in_flight": candidate.max_in_flight,
        "score": candidate.score.map(rounded),
        "turn": candidate.turn.map(rounded),
    })
}

fn obstacle(obstacle: &Obstacle, now: Instant) -> String {
    let mut told = obstacle_name(obstacle.kind).to_owned();
    if let Some(trouble) = &obstacle.trouble {
        told.push_str(&format!(": {trouble}"));
    }
    if let Some(until) = obstacle.until {
        let left = until.saturating_duration_since(now);
        told.push_str(&format!(", for {} s", left.as_secs_f64().ceil()));
    }
    told
}

/// What the endpoint would get.
fn sent(
    explained: &Explained<'_>,
    decided: &Decided,
    findings: Option<&Findings<'_>>,
) -> Option<Value> {
    let Ended::Reaches(..) = decided.ended else {
        return None;
    };
    let target = findings.and_then(|found| found.rewritten);
    let edit = |edit: &HeaderEdit| match edit {
        HeaderEdit::Set(name, value) => json!(["set", name.as_str(), shown(name.as_str(), value)]),
        HeaderEdit::Append(name, value) => {
            json!(["add", name.as_str(), shown(name.as_str(), value)])
        }
        HeaderEdit::Remove(name) => json!(["remove", name.as_str(), null]),
    };
    Some(json!({
        "target": target.unwrap_or(&explained.asked.target),
        "header_edits": decided.edits.iter().map(edit).collect::<Vec<_>>(),
    }))
}

fn timeouts(cluster: &Cluster) -> Value {
    let timeouts = cluster.timeouts();
    json!({
        "connect_seconds": seconds(timeouts.connect),
        "read_seconds": seconds(timeouts.read),
        "write_seconds": seconds(timeouts.write),
    })
}

fn retries(cluster: &Cluster, findings: Option<&Findings<'_>>) -> Value {
    let rules = cluster.retries();
    json!({
        "count": rules.count,
        "may_be_repeated": findings.is_some_and(|found| found.is_repeatable),
        "backoff_seconds": [seconds(rules.backoff.base), seconds(rules.backoff.max)],
        "budget": { "percent": rules.budget.percent, "min": rules.budget.min },
    })
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

/// To a millionth: more digits say nothing.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
